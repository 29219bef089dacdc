"""The kinds of object that can be registered, and how clients name them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A kind: its name in manifests, its resource name in paths, and what kubectl calls it.

    There is one object of each, so kinds are compared and hashed as objects: a write looks them up often, and
    a hash of all fields takes ten times as long.
    """

    name: str
    plural: str
    singular: str
    group: str
    version: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    read_only: bool = False
    """A view computed from other objects; of Endpoints only some are."""
    stored_as: Kind | None = None
    """The kind as which its objects are kept, where that is another (see conversion)."""

    @property
    def stored(self) -> Kind:
        """The kind as which its objects are kept."""
        return self.stored_as or self

    @property
    def api_version(self) -> str:
        """As in manifests: "v1" or "discovery.k8s.io/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version


NAMESPACE = Kind("Namespace", "namespaces", "namespace", "", "v1", False, ("ns",), has_status=True)
SERVICE = Kind("Service", "services", "service", "", "v1", True, ("svc",), ("all",), has_status=True)
POD = Kind("Pod", "pods", "pod", "", "v1", True, ("po",), ("all",), has_status=True)
ENDPOINTSLICE = Kind("EndpointSlice", "endpointslices", "endpointslice", "discovery.k8s.io", "v1", True)
ENDPOINTS = Kind("Endpoints", "endpoints", "endpoints", "", "v1", True, ("ep",))
EVENT = Kind("Event", "events", "event", "", "v1", True, ("ev",))
NEWER_EVENT = Kind("Event", "events", "event", "events.k8s.io", "v1", True, stored_as=EVENT)
"""The same Events by the names of events.k8s.io/v1; without `ev`, or kubectl warns that it means both."""
NODE = Kind("Node", "nodes", "node", "", "v1", False, ("no",), has_status=True)
LEASE = Kind("Lease", "leases", "lease", "coordination.k8s.io", "v1", True)
SERVICECIDR = Kind(
    "ServiceCIDR", "servicecidrs", "servicecidr", "networking.k8s.io", "v1", False, read_only=True
)
IPADDRESS = Kind(
    "IPAddress", "ipaddresses", "ipaddress", "networking.k8s.io", "v1", False, ("ip",), read_only=True
)

KINDS: tuple[Kind, ...] = (
    NAMESPACE,
    SERVICE,
    POD,
    ENDPOINTSLICE,
    ENDPOINTS,
    EVENT,
    NEWER_EVENT,
    NODE,
    LEASE,
    SERVICECIDR,
    IPADDRESS,
)
STORED: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind.stored is kind and not kind.read_only)

FIRST_NAMESPACES = ("default", "kube-system")
"""Namespaces that exist from the start and can't be deleted."""

STORED_BY_NAME = {kind.name: kind for kind in STORED}
"""Of those that are stored, none has the name of another."""
_BY_MANIFEST = {(kind.api_version, kind.name): kind for kind in KINDS}
_BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}


def by_manifest(api_version: str, name: str) -> Kind | None:
    """Return the kind of a manifest's apiVersion and kind, or None."""
    return _BY_MANIFEST.get((api_version, name))


def by_path(group: str, version: str, plural: str) -> Kind | None:
    """Return the kind of a request path's group, version and resource, or None."""
    return _BY_PATH.get((group, version, plural))
