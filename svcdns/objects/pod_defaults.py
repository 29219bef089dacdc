"""What a Pod means where it says nothing and one field follows from others; the rest is in type_defaults.

https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/ and Kubernetes' pkg/apis/core/v1/defaults.go.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from . import quantity

Object = dict[str, Any]

_NO_CONTAINERS = ({"name": "registered", "image": ""},)
"""What stands for the processes of a Pod that was registered without containers: clients expect one."""
_COMPUTE = ("cpu", "memory")
_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_TOLERATED_SECONDS = 300


def before_types(pod: Object) -> Object:
    """Return a Pod with its containers and the two names of its service account."""
    spec = dict(pod.get("spec", {}))
    if not spec.get("containers"):
        spec["containers"] = [dict(container) for container in _NO_CONTAINERS]
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    spec["tolerations"] = _tolerations(spec.get("tolerations", []))
    if spec.get("hostNetwork"):
        for word in ("initContainers", "containers"):
            if word in spec:
                spec[word] = [_with_host_ports(container) for container in spec[word]]
    for word in ("initContainers", "containers"):
        if word in spec:
            spec[word] = [_with_requests(container) for container in spec[word]]
    return {**pod, "spec": spec, "status": _status(pod.get("status", {}), spec)}


def _tolerations(given: list[Object]) -> list[Object]:
    """Add those that the admission plugin DefaultTolerationSeconds adds, unless the Pod has its own."""
    out = list(given)
    for key in _TOLERATED:
        if not any(t.get("key", "") in (key, "") and t.get("effect", "") in ("NoExecute", "") for t in given):
            mine = {"key": key, "operator": "Exists", "effect": "NoExecute"}
            out.append({**mine, "tolerationSeconds": _TOLERATED_SECONDS})
    return out


def _with_host_ports(container: Object) -> Object:
    """With the host's network, a port of a container is a port of the host."""
    if "ports" not in container:
        return container
    return {**container, "ports": [_opened(port) for port in container["ports"]]}


def _opened(port: Object) -> Object:
    if port.get("hostPort") or "containerPort" not in port:
        return port
    return {**port, "hostPort": port["containerPort"]}


def _with_requests(container: Object) -> Object:
    """Who limits a resource and requests none of it requests as much."""
    resources = container.get("resources", {})
    limits, requests = resources.get("limits"), resources.get("requests", {})
    if not limits or limits.keys() <= requests.keys():
        return container
    return {**container, "resources": {**resources, "requests": {**limits, **requests}}}


def _status(status: Object, spec: Object) -> Object:
    status = dict(status)
    _mirror_pod_ips(status)
    if not status.get("phase"):
        status["phase"] = "Running" if status.get("podIP") else "Pending"
    if not status.get("qosClass"):
        status["qosClass"] = _qos_class(spec)
    return status


def _mirror_pod_ips(status: Object) -> None:
    """PodIP is the first of podIPs; either may be given alone. Empty ones are absent ones."""
    single, several = status.pop("podIP", ""), status.pop("podIPs", [])
    single = single or (several[0].get("ip", "") if several else "")
    several = several or ([{"ip": single}] if single else [])
    if single:
        status["podIP"] = single
    if several:
        status["podIPs"] = several


def _qos_class(spec: Object) -> str:
    """Guaranteed: each container limits both, and requests just that. BestEffort: none says a word."""
    requests: dict[str, Decimal] = {}
    limits: dict[str, Decimal] = {}
    all_limited = True
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        resources = container.get("resources", {})
        _add(requests, resources.get("requests", {}))
        limited = _add(limits, resources.get("limits", {}))
        all_limited = all_limited and limited == len(_COMPUTE)
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if all_limited and requests == limits else "Burstable"


def _add(total: dict[str, Decimal], amounts: dict[str, str]) -> int:
    """Add what is asked of CPU and memory; return of how many of the two there is any."""
    found = 0
    for word in _COMPUTE:
        if word in amounts and (amount := quantity.amount(amounts[word])) > 0:
            total[word] = total.get(word, Decimal(0)) + amount
            found += 1
    return found
