"""Services and their Pods in the words of somebody who has processes: add, remove, ready, unready.

`add` makes what is missing and leaves what is there: a namespace, a Service that selects `app: NAME`, its
ports, and one Pod for each address, called NAME-10-0-0-5.  So it can be said again, by several at once, and
for one address after the other: whoever comes second finds the Service, and adds to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from svcdns.objects.kinds import NAMESPACE, POD, SERVICE
from svcdns.objects.service_aliases import ALIASES_ANNOTATION, spelt

from . import calls, explanations, spelling
from .exchange import STRATEGIC, ApiError, Call, Mistake, Object, Request, answer

APP = "app"
"""The label by which a Service finds the Pods that were added to it."""
_BECAUSE = "SetByHand"
_CONFLICT, _ATTEMPTS = 409, 16


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` came to."""

    service: Object
    pods: list[Object]
    is_new: bool = False
    """Whether the Service was not there before."""


def add(
    name: str,
    addresses: Sequence[str],
    *,
    namespace: str = "default",
    ports: Mapping[str, int] | None = None,
    cluster_ip: bool | str = False,
    labels: Mapping[str, str] | None = None,
    host_name: str = "",
    aliases: Sequence[str] = (),
) -> Call[Added]:
    """Register a Service (headless, or with a cluster IP) and a Pod for each address.

    `ports` are numbers by name, and come to those that are there; `cluster_ip` is whether it gets one, or
    which; `host_name` gives the one address a name below the Service's own; `aliases` are names of its own,
    and come to those that it has.  Raises Mistake and ApiError.
    """
    _check_words(name, namespace, ports or {}, cluster_ip, host_name, len(addresses))
    for alias in aliases:
        spelling.alias(alias)
    there = dict.fromkeys(map(spelling.address, addresses))
    pods = [_pod(name, address, namespace, labels or {}, host_name) for address in there]
    found = yield from calls.get(SERVICE, namespace, name)
    created = None
    if found is None:
        if cluster_ip and not ports:
            raise Mistake("a Service with a cluster IP has at least one port; say it: --port http=80")
        yield from make_namespace(namespace)
        created = yield from calls.create(_service(name, namespace, ports or {}, cluster_ip), namespace)
    service = created or (yield from _with_ports(name, namespace, ports or {}, cluster_ip))
    made = []
    for pod in pods:
        made.append((yield from calls.apply(pod)))
    if aliases:
        service = yield from _change_aliases(name, namespace, lambda there: [*there, *aliases])
    return Added(service, made, is_new=created is not None)


def _with_ports(name: str, namespace: str, ports: Mapping[str, int], cluster_ip: bool | str) -> Call[Object]:
    """Add ports to the Service that is there; one of the same name gets the new number.

    Raises Mistake where it is another kind of Service, or just went away.
    """
    found = yield from calls.get(SERVICE, namespace, name)
    if found is None:
        raise Mistake(f"Service {name} was removed in this moment; say it again")
    _check_kind(found, cluster_ip)
    has = {one.get("name", ""): one["port"] for one in found["spec"].get("ports") or []}
    changed = {word: number for word, number in ports.items() if has.get(word) != number}
    if not changed:
        return found
    for word, number in has.items():
        if word not in changed and number in changed.values():
            raise Mistake(f"Service {name} has port {number} already, called {word or 'nothing'}")
    before = [{"$patch": "delete", "port": has[word]} for word in changed if word in has]
    patch = {"spec": {"ports": [*before, *_ports(changed)]}}
    return (yield from calls.merge(SERVICE, namespace, name, patch, form=STRATEGIC))


def _check_words(
    name: str, namespace: str, ports: Mapping[str, int], cluster_ip: bool | str, host_name: str, count: int
) -> None:
    """Check what is said before anything is written.  Raises Mistake."""
    spelling.label("the name of a Service", name)
    spelling.label("the name of a namespace", namespace)
    for word, number in ports.items():
        spelling.port(word, number)
    if isinstance(cluster_ip, str):
        spelling.address(cluster_ip)
    if host_name:
        spelling.label("a host name", host_name)
        if count != 1:
            raise Mistake(f"a host name belongs to one address, and here are {count}")


def remove(
    name: str, addresses: Sequence[str] = (), *, aliases: Sequence[str] = (), namespace: str = "default"
) -> Call[list[str]]:
    """Take a Service and the Pods that were added to it away, or only some addresses or aliases.

    Returns what is gone, as `kind/name`.
    """
    spelling.label("the name of a Service", name)
    names = [_pod_name(name, spelling.address(text)) for text in addresses]
    gone = yield from _remove_aliases(name, aliases, namespace)
    if aliases and not addresses:
        return gone
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
        conditions = (pod.get("status") or {}).get("conditions") or []
        others = [one for one in conditions if one.get("type") != "Ready"]
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
    others = yield from explanations.elsewhere(POD, name, namespace)
    others += yield from explanations.elsewhere(SERVICE, name, namespace)
    hint = f"there is one in {others[0]}: -n {others[0]}" if others else "see: svcdns get pods -A"
    raise Mistake(
        f"namespace {namespace} has neither a Pod {name} nor a Service of that name with Pods; {hint}"
    )


def _remove_aliases(name: str, aliases: Sequence[str], namespace: str) -> Call[list[str]]:
    going = {spelling.alias(alias) for alias in aliases}
    if not aliases or (yield from calls.get(SERVICE, namespace, name)) is None:
        return []
    gone: list[str] = []

    def without(there: list[str]) -> list[str]:
        gone[:] = [f"alias/{alias}" for alias in there if spelt(alias) in going]
        return [alias for alias in there if spelt(alias) not in going]

    yield from _change_aliases(name, namespace, without)
    return gone


def _change_aliases(name: str, namespace: str, change: Callable[[list[str]], list[str]]) -> Call[Object]:
    """Give a Service other aliases, each once however it is spelt; several may do so at once."""
    for attempt in range(1, _ATTEMPTS + 1):
        service: Object = yield from answer(Request("GET", calls.path(SERVICE, namespace, name)))
        metadata = service["metadata"]
        text = (metadata.get("annotations") or {}).get(ALIASES_ANNOTATION) or ""
        there = [part.strip() for part in text.split(",") if part.strip()]
        after = list({spelt(alias): alias for alias in reversed(change(there))}.values())[::-1]
        if after == there:
            return service
        note = {ALIASES_ANNOTATION: ", ".join(after) or None}
        patch = {"metadata": {"annotations": note, "resourceVersion": metadata["resourceVersion"]}}
        try:
            changed: Object = yield from calls.merge(SERVICE, namespace, name, patch)
            return changed
        except ApiError as wrong:
            if wrong.status != _CONFLICT or attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def make_namespace(name: str) -> Call[None]:
    """Make a namespace where it is not there."""
    if (yield from calls.get(NAMESPACE, "", name)) is None:
        yield from calls.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def _check_kind(service: Object, cluster_ip: bool | str) -> None:
    spec, name = service["spec"], service["metadata"]["name"]
    is_headless = spec.get("clusterIP") == "None"
    if spec.get("type") == "ExternalName":
        raise Mistake(f"Service {name} is an ExternalName: it has no addresses of its own")
    if cluster_ip and is_headless:
        raise Mistake(f"Service {name} is there and headless; remove it first: svcdns remove {name}")
    has = spec.get("clusterIPs") or []
    if isinstance(cluster_ip, str) and spelling.address(cluster_ip) not in has:
        raise Mistake(f"Service {name} is there with {', '.join(has)}; remove it first: svcdns remove {name}")
    if (spec.get("selector") or {}).get(APP) != name:
        found = "its Pods are found otherwise"
        raise Mistake(f"Service {name} is there and does not select {APP}={name}: {found}")


def _service(name: str, namespace: str, ports: Mapping[str, int], cluster_ip: bool | str) -> Object:
    spec: Object = {"selector": {APP: name}}
    if ports:
        spec["ports"] = _ports(ports)
    if not cluster_ip:
        spec["clusterIP"] = "None"
    elif isinstance(cluster_ip, str):
        spec["clusterIP"] = spelling.address(cluster_ip)
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _ports(ports: Mapping[str, int]) -> list[Object]:
    return [{"name": word, "port": number} for word, number in ports.items()]


def _pod(name: str, address: str, namespace: str, labels: Mapping[str, str], host_name: str) -> Object:
    metadata = {
        "name": _pod_name(name, address),
        "namespace": namespace,
        "labels": {**labels, APP: name},
    }
    spec = {"hostname": host_name, "subdomain": name} if host_name else {}
    status = {"podIP": address}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _pod_name(name: str, address: str) -> str:
    """Return what the Pod of an address is called."""
    return f"{name}-{address.replace('.', '-').replace(':', '-')}".rstrip("-")
