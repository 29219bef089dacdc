"""Services and their Pods in the words of somebody who has processes: add, remove, ready, unready.

`add` makes what is missing and leaves what is there: a namespace, a Service that selects `app: NAME`, and one
Pod for each address, called NAME-10-0-0-5.  So it can be said again, by several at once, and for one address
after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from svcdns.objects.kinds import NAMESPACE, POD, SERVICE

from . import calls
from .exchange import Call, Object

APP = "app"
"""The label by which a Service finds the Pods that were added to it."""
_BECAUSE = "SetByHand"


class Mistake(Exception):
    """What was asked for can't be done; the text says why, and what can."""


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` came to."""

    service: Object
    pods: list[Object]


def add(
    name: str,
    addresses: Sequence[str],
    *,
    namespace: str = "default",
    ports: Mapping[str, int] | None = None,
    cluster_ip: bool = False,
    labels: Mapping[str, str] | None = None,
    host_name: str = "",
) -> Call[Added]:
    """Register a Service (headless, or with a cluster IP) and a Pod for each address.

    `ports` are numbers by name; `host_name` gives the one address a name below the Service's own.
    Raises Mistake and ApiError.
    """
    if host_name and len(addresses) != 1:
        raise Mistake(f"a host name belongs to one address, and here are {len(addresses)}")
    pods = [_pod(name, address, namespace, labels or {}, host_name) for address in addresses]
    yield from make_namespace(namespace)
    service = yield from calls.get(SERVICE, namespace, name)
    if service is not None:
        _check_kind(service, cluster_ip)
    if service is None or ports:
        service = yield from calls.apply(_service(name, namespace, ports or {}, cluster_ip))
    made = []
    for pod in pods:
        made.append((yield from calls.apply(pod)))
    return Added(service, made)


def remove(name: str, addresses: Sequence[str] = (), *, namespace: str = "default") -> Call[list[str]]:
    """Take a Service and the Pods that were added to it away, or only those with some addresses.

    Returns what is gone, as `kind/name`.
    """
    gone = []
    names = [_pod_name(name, address) for address in addresses]
    for pod in (yield from calls.list_objects(POD, namespace, labels=f"{APP}={name}")):
        pod_name = pod["metadata"]["name"]
        if (not addresses or pod_name in names) and (yield from calls.delete(POD, namespace, pod_name)):
            gone.append(f"pod/{pod_name}")
    if not addresses and (yield from calls.delete(SERVICE, namespace, name)):
        gone.append(f"service/{name}")
    return gone


def set_ready(name: str, ready: bool, because: str = "", *, namespace: str = "default") -> Call[list[str]]:
    """Say that a Pod is ready or not, or all Pods of a Service; return the names of these Pods.

    Raises Mistake where there is neither.
    """
    pods = yield from report(name, ready, because, namespace=namespace)
    return [pod["metadata"]["name"] for pod in pods]


def report(name: str, ready: bool, because: str = "", *, namespace: str = "default") -> Call[list[Object]]:
    """Say the same; return the Pods as they are then: other sources may hold back who is said to be ready."""
    pods = yield from _pods_of(name, namespace)
    written = []
    condition = {"type": "Ready", "status": "True" if ready else "False", "reason": _BECAUSE}
    for pod in pods:
        others = [one for one in pod["status"].get("conditions") or [] if one.get("type") != "Ready"]
        status = {"conditions": [*others, {**condition, "message": because}]}
        merged = calls.merge(POD, namespace, pod["metadata"]["name"], {"status": status}, "status")
        written.append((yield from merged))
    return written


def _pods_of(name: str, namespace: str) -> Call[list[Object]]:
    pod = yield from calls.get(POD, namespace, name)
    if pod is not None:
        return [pod]
    service = yield from calls.get(SERVICE, namespace, name)
    selector = (service or {}).get("spec", {}).get("selector") or {}
    if selector:
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        pods: list[Object] = yield from calls.list_objects(POD, namespace, labels=labels)
        if pods:
            return pods
    raise Mistake(
        f"namespace {namespace} has neither a Pod {name} nor a Service of that name with Pods; "
        "see: svcdns get pods -A"
    )


def make_namespace(name: str) -> Call[None]:
    """Make a namespace where it is not there."""
    if (yield from calls.get(NAMESPACE, "", name)) is None:
        yield from calls.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def _check_kind(service: Object, cluster_ip: bool) -> None:
    spec, name = service["spec"], service["metadata"]["name"]
    is_headless = spec.get("clusterIP") == "None"
    if spec.get("type") == "ExternalName":
        raise Mistake(f"Service {name} is an ExternalName: it has no addresses of its own")
    if cluster_ip and is_headless:
        raise Mistake(f"Service {name} is there and headless; remove it first: svcdns remove {name}")
    if (spec.get("selector") or {}).get(APP) != name:
        found = "its Pods are found otherwise"
        raise Mistake(f"Service {name} is there and does not select {APP}={name}: {found}")


def _service(name: str, namespace: str, ports: Mapping[str, int], cluster_ip: bool) -> Object:
    spec: Object = {"selector": {APP: name}}
    if ports:
        spec["ports"] = [{"name": word, "port": number} for word, number in ports.items()]
    if not cluster_ip:
        spec["clusterIP"] = "None"
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _pod(name: str, address: str, namespace: str, labels: Mapping[str, str], host_name: str) -> Object:
    metadata = {
        "name": _pod_name(name, address),
        "namespace": namespace,
        "labels": {**labels, APP: name},
    }
    spec = {"hostname": host_name, "subdomain": name} if host_name else {}
    status = {"podIP": str(ip_address(address))}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _pod_name(name: str, address: str) -> str:
    """Return what the Pod of an address is called.  Raises Mistake."""
    try:
        text = str(ip_address(address))
    except ValueError:
        raise Mistake(f"{address!r} is no address; allowed: such as 10.0.0.5 or 2001:db8::5") from None
    return f"{name}-{text.replace('.', '-').replace(':', '-')}".rstrip("-")
