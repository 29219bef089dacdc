"""What an object means where it says nothing: Kubernetes' defaults.

Pure and idempotent: default(default(x)) == default(x), else a client that applies the same manifest twice
would see a change. Addresses, ports and IP families are filled in by allocation, not here.
"""

from __future__ import annotations

from typing import Any

from .carry_over import carry_over
from .kinds import ENDPOINTSLICE, NAMESPACE, POD, SERVICE, Kind
from .service_rules import externally_accessible

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label of a Namespace that holds its name, so that a selector can choose it."""

_AFFINITY_SECONDS = 10800

Object = dict[str, Any]


def default(kind: Kind, obj: Object, old: Object | None = None) -> Object:
    """Return a structured object with its defaults filled in; the object given is not changed.

    On an update, `old` is the stored object: what the server once allocated and the new object leaves out is
    carried over from it (see carry_over.py). The result may share parts with `obj` and `old`.
    """
    if old is not None:
        obj = carry_over(kind, obj, old)
    if kind is SERVICE:
        return _service(obj)
    if kind is POD:
        return _pod(obj)
    if kind is NAMESPACE:
        return _namespace(obj)
    if kind is ENDPOINTSLICE:
        return _slice(obj)
    return obj


def _service(service: Object) -> Object:
    spec = dict(service.get("spec", {}))
    _fill(spec, "type", "ClusterIP")
    _mirror_cluster_ips(spec)
    _fill(spec, "sessionAffinity", "None")
    _default_affinity(spec)
    if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
        _fill(spec, "internalTrafficPolicy", "Cluster")
    if externally_accessible(spec):
        _fill(spec, "externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if "ports" in spec:
        spec["ports"] = [_service_port(port) for port in spec["ports"]]
    return {**service, "spec": spec, "status": {"loadBalancer": {}, **service.get("status", {})}}


def _fill(spec: Object, field: str, value: str) -> None:
    """Set a field that is absent or empty (the same in Kubernetes)."""
    if not spec.get(field):
        spec[field] = value


def _mirror_cluster_ips(spec: Object) -> None:
    """ClusterIP is the first of clusterIPs; either may be given alone. Empty ones are absent ones."""
    single, several = spec.pop("clusterIP", ""), spec.pop("clusterIPs", [])
    single = single or (several[0] if several else "")
    several = several or ([single] if single else [])
    if single:
        spec["clusterIP"] = single
    if several:
        spec["clusterIPs"] = several


def _default_affinity(spec: Object) -> None:
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = spec.get("sessionAffinityConfig", {}).get("clientIP", {})
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS, **client}}


def _service_port(port: Object) -> Object:
    port = dict(port)
    _fill(port, "protocol", "TCP")
    if port.get("targetPort") in (None, 0, "") and "port" in port:
        port["targetPort"] = port["port"]
    return port


def _pod(pod: Object) -> Object:
    spec = dict(pod.get("spec", {}))
    _fill(spec, "restartPolicy", "Always")
    _fill(spec, "dnsPolicy", "ClusterFirst")
    for word in ("initContainers", "containers", "ephemeralContainers"):
        if word in spec:
            spec[word] = [_container(container) for container in spec[word]]
    status = dict(pod.get("status", {}))
    _mirror_pod_ips(status)
    _fill(status, "phase", "Running" if status.get("podIP") else "Pending")
    return {**pod, "spec": spec, "status": status}


def _container(container: Object) -> Object:
    if "ports" not in container:
        return container
    return {**container, "ports": [_with_protocol(port) for port in container["ports"]]}


def _with_protocol(port: Object) -> Object:
    return port if port.get("protocol") else {**port, "protocol": "TCP"}


def _mirror_pod_ips(status: Object) -> None:
    """PodIP is the first of podIPs; either may be given alone. Empty ones are absent ones."""
    single, several = status.pop("podIP", ""), status.pop("podIPs", [])
    single = single or (several[0].get("ip", "") if several else "")
    several = several or ([{"ip": single}] if single else [])
    if single:
        status["podIP"] = single
    if several:
        status["podIPs"] = several


def _namespace(namespace: Object) -> Object:
    metadata = dict(namespace.get("metadata", {}))
    if name := metadata.get("name"):
        metadata["labels"] = {**metadata.get("labels", {}), NAME_LABEL: name}
    return {
        **namespace,
        "metadata": metadata,
        "spec": {"finalizers": ["kubernetes"], **namespace.get("spec", {})},
        "status": {"phase": "Active", **namespace.get("status", {})},
    }


def _slice(endpoint_slice: Object) -> Object:
    if "ports" not in endpoint_slice:
        return endpoint_slice
    ports = [{"name": "", **_with_protocol(port)} for port in endpoint_slice["ports"]]
    return {**endpoint_slice, "ports": ports}
