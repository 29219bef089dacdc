"""Services, EndpointSlices, Nodes and Leases as far as traffic depends on them: what JSON is decoded to.

Rules:

* all else that an object says is skipped while it is decoded, so ten thousand of them take little memory;
* a field that is missing, or null, has the value that the API gives it then.

https://kubernetes.io/docs/reference/kubernetes-api/service-resources/
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import DecodeError, Struct, field, json

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
ZONE_LABEL = "topology.kubernetes.io/zone"
ANNOUNCES_IN = "svcdns.io/announces-in"
"""Of a node's Lease: networks in which its proxy answers for load balancer addresses."""
ANNOUNCES = "svcdns.io/announces"
"""Of a node's Lease: the addresses that it answers for, or will as soon as no other one does."""
ANNOUNCES_ALONE = "svcdns.io/announces-alone"
"""Of a node's Lease, "true": it goes on answering whatever becomes of its proxy."""
PROXY_RUNNING, PROXY_ENDED, NODE_UNKNOWN = "ProxyRunning", "ProxyEnded", "NodeStatusUnknown"
"""Reasons of a Node's Ready condition, where proxies write it."""

_T = TypeVar("_T", bound="Struct")


class Labels(Struct, frozen=True, gc=False):
    """The labels that mean something to a proxy."""

    service: str = field(name=SERVICE_NAME_LABEL, default="")
    proxy: str | None = field(name=PROXY_NAME_LABEL, default=None)
    headless: str | None = field(name=HEADLESS_LABEL, default=None)
    zone: str = field(name=ZONE_LABEL, default="")


NO_LABELS = Labels()


class Metadata(Struct, frozen=True, gc=False, rename="camel"):
    """Of any object."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    labels: Labels | None = None

    @property
    def key(self) -> str:
        """NAMESPACE/NAME."""
        return f"{self.namespace}/{self.name}"


class ServicePort(Struct, frozen=True, gc=False, rename="camel"):
    """A port of a Service."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    node_port: int = 0


class ClientIp(Struct, frozen=True, gc=False, rename="camel"):
    """How long a client's address stays with its endpoint."""

    timeout_seconds: int | None = None


class AffinityConfig(Struct, frozen=True, rename="camel"):
    """What sessionAffinity is configured with."""

    client_ip: ClientIp | None = field(name="clientIP", default=None)


class ServiceSpec(Struct, frozen=True, rename="camel"):
    """What is asked for."""

    type: str = "ClusterIP"
    cluster_ip: str = field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] | None = field(name="clusterIPs", default=None)
    ports: tuple[ServicePort, ...] | None = None
    external_ips: tuple[str, ...] | None = field(name="externalIPs", default=None)
    load_balancer_source_ranges: tuple[str, ...] | None = None
    external_traffic_policy: str = ""
    internal_traffic_policy: str | None = None
    health_check_node_port: int = 0
    session_affinity: str = "None"
    session_affinity_config: AffinityConfig | None = None


class Ingress(Struct, frozen=True, gc=False, rename="camel"):
    """An address of a load balancer."""

    ip: str = ""
    ip_mode: str | None = None


class LoadBalancer(Struct, frozen=True):
    """The addresses that a Service was given."""

    ingress: tuple[Ingress, ...] | None = None


class ServiceStatus(Struct, frozen=True, rename="camel"):
    """What became of it."""

    load_balancer: LoadBalancer | None = None


class Service(Struct, frozen=True):
    """A Service."""

    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus | None = None


class Conditions(Struct, frozen=True, gc=False):
    """What is known of an endpoint; None: ready and serving, and not terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Name(Struct, frozen=True, gc=False):
    """A zone or a node, in hints."""

    name: str


class Hints(Struct, frozen=True, rename="camel"):
    """Whom an endpoint is for."""

    for_zones: tuple[Name, ...] | None = None
    for_nodes: tuple[Name, ...] | None = None


class SliceEndpoint(Struct, frozen=True, rename="camel"):
    """An endpoint of a slice."""

    addresses: tuple[str, ...] = ()
    conditions: Conditions | None = None
    node_name: str | None = None
    hints: Hints | None = None


class SlicePort(Struct, frozen=True, gc=False):
    """A port of a slice; without a number it is none that a proxy can send to."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None


class Slice(Struct, frozen=True, rename="camel"):
    """An EndpointSlice."""

    metadata: Metadata
    address_type: str
    endpoints: tuple[SliceEndpoint, ...] | None = None
    ports: tuple[SlicePort, ...] | None = None


class Node(Struct, frozen=True):
    """A Node."""

    metadata: Metadata

    @property
    def zone(self) -> str:
        """The zone that it is in, "" where nobody said."""
        return (self.metadata.labels or NO_LABELS).zone


class LeaseAnnotations(Struct, frozen=True, gc=False):
    """What the proxy of a node says of load balancer addresses, in words with blanks between."""

    networks: str = field(name=ANNOUNCES_IN, default="")
    addresses: str = field(name=ANNOUNCES, default="")
    lasting: str = field(name=ANNOUNCES_ALONE, default="")


NO_LEASE_ANNOTATIONS = LeaseAnnotations()


class LeaseMetadata(Metadata, frozen=True, gc=False):
    """Of a Lease."""

    annotations: LeaseAnnotations | None = None


class LeaseSpec(Struct, frozen=True, rename="camel"):
    """Who has it, and for how long after each renewal."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None


class Lease(Struct, frozen=True):
    """A Lease."""

    metadata: LeaseMetadata
    spec: LeaseSpec = LeaseSpec()


class RangeSpec(Struct, frozen=True):
    """Networks that cluster IPs come from."""

    cidrs: tuple[str, ...] | None = None


class ServiceCidr(Struct, frozen=True):
    """A ServiceCIDR."""

    metadata: Metadata
    spec: RangeSpec = RangeSpec()


class Unreadable(ValueError):
    """An object that is not what the API defines; the text says where."""


def decoded(kind: type[_T], octets: bytes) -> _T:
    """Return the object that JSON of the API holds.  Raises Unreadable."""
    try:
        return json.decode(octets, type=kind)
    except (DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise Unreadable(f"{kind.__name__}: {wrong}") from None
