"""Why a name of a Service answers nothing: the few words that go with its NXDOMAIN (RFC 8914, INFO-CODE 0).

Only a name at or below a Service that is registered, in a namespace that is served, has a reason; one that
does not exist at all gets none.  What is said comes from the snapshot that gave the answer, from a bounded
number of rows.  A reason takes 60 us, so a worker gives one in 10 ms (`Pace`), and of a batch of questions (a
snapshot) the first that could have one is looked at: a flood costs no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from svcdns.objects.kinds import SERVICE
from svcdns.store import service_backing
from svcdns.store.rows import object_key

from .view import View

MOST_CHARACTERS = 120
"""Of a reason: a selector may be long."""
MOST_OCTETS = 64 * 1024
"""Of a Service that is read for a reason: to decode a larger one takes too long here."""
_NAMESPACE_AND_SERVICE = 2
_PORT_AND_PROTOCOL = 2
_decode = msgspec.json.Decoder().decode


def may_have_reason(view: View, key: bytes) -> bool:
    """Return whether it is time for a reason, and a name (its stored key) is at or below a Service."""
    if view.pace is None or not view.pace.is_due():
        return False
    if _service(view, key) is not None:
        return True
    view.pace.looked_in_vain()
    return False


def why_empty(view: View, key: bytes) -> str:
    """Return why a name that has no row answers nothing, "" where it is no name of a Service, or not time."""
    if view.pace is None or not view.pace.is_due():
        return ""
    octets = _service(view, key)
    namespace, name, *front = _labels(view, key)
    if (
        octets is None
        or len(octets) > MOST_OCTETS
        or view.snapshot.row(view.table.svc_key + namespace + b"\0") is None
    ):
        return ""
    view.pace.given()
    service = _decode(octets)
    own = view.table.svc_key + b"".join(label + b"\0" for label in (namespace, name))
    if front and view.snapshot.row(own) is not None:
        return _no_such_front(service["metadata"]["name"], front)
    return _nothing_behind(view, service)[:MOST_CHARACTERS]


def _labels(view: View, key: bytes) -> list[bytes]:
    """Return the labels below `svc`, the namespace first; two empty ones for another name."""
    beneath = key[len(view.table.svc_key) : -1].split(b"\0") if key.startswith(view.table.svc_key) else []
    most = _NAMESPACE_AND_SERVICE + _PORT_AND_PROTOCOL
    return beneath if _NAMESPACE_AND_SERVICE <= len(beneath) <= most else [b"", b""]


def _service(view: View, key: bytes) -> bytes | None:
    """Return the Service that a name belongs to, as JSON."""
    namespace, name, *_ = _labels(view, key)
    if not name:
        return None
    stored = object_key(SERVICE, namespace.decode("latin-1"), name.decode("latin-1"))
    found: bytes | None = view.snapshot.txn.get(stored, db=view.snapshot.store.tables.objects)  # type: ignore[assignment]
    return found


def _no_such_front(name: str, front: list[bytes]) -> str:
    """Return what a Service that answers lacks: no labels of the client's own are repeated."""
    if all(label.startswith(b"_") for label in front):
        return f"Service {name} has no port of this name and protocol"
    return f"Service {name} has no ready endpoint of this name" if len(front) == 1 else ""


def _nothing_behind(view: View, service: Mapping[str, Any]) -> str:
    spec, metadata = service["spec"], service["metadata"]
    if spec.get("type") == "ExternalName":
        return ""
    where = view.snapshot.txn, view.snapshot.store.tables, metadata["namespace"], metadata["name"]
    count = service_backing.endpoint_count(*where)
    selector = spec.get("selector") or {}
    if count:
        return f"no ready endpoint: 0 of {count} {'is' if count == 1 else 'are'} ready"
    if not selector:
        return f"Service {metadata['name']} has no selector and no endpoints"
    if service_backing.has_pods(*where, selector):
        return "no ready endpoint: its Pods have no address, or have ended"
    from svcdns.cluster.reasons import selector_text  # here: most workers never need what it brings along

    return f"selector {selector_text(selector)} matches no Pod"
