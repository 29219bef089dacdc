"""What an object means where it says nothing: Kubernetes' defaults.

Defaults that belong to a type stand in a table of type_defaults; here is what follows from other fields.

Pure and idempotent: default(default(x)) == default(x), else a client that applies the same manifest twice
would see a change. Addresses, ports and IP families are filled in by allocation, not here.
"""

from __future__ import annotations

from typing import Any

from .carry_over import carry_over
from .kinds import ENDPOINTSLICE, LEASE, NAMESPACE, NODE, POD, SERVICE, Kind
from .pod_defaults import before_types
from .service_rules import externally_accessible
from .type_defaults import fill_in

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
    own = _OWN.get(kind)
    return fill_in(kind, obj if own is None else own(obj))


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
    return {**service, "spec": spec, "status": _service_status(service.get("status", {}), spec["type"])}


def _service_status(status: Object, service_type: str) -> Object:
    balancer = status.get("loadBalancer", {})
    if service_type == "LoadBalancer" and balancer.get("ingress"):
        ingress = [
            {**entry, "ipMode": "VIP"} if _lacks_mode(entry) else entry for entry in balancer["ingress"]
        ]
        balancer = {**balancer, "ingress": ingress}
    return {**status, "loadBalancer": balancer}


def _lacks_mode(ingress: Object) -> bool:
    return bool(ingress.get("ip")) and not ingress.get("ipMode")


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
    ports = [{"name": "", **port} for port in endpoint_slice["ports"]]
    return {**endpoint_slice, "ports": ports}


def _node(node: Object) -> Object:
    spec, status = dict(node.get("spec", {})), dict(node.get("status", {}))
    spec.pop("configSource", None)  # Kubernetes drops both: the feature is removed
    status.pop("config", None)
    single, several = spec.pop("podCIDR", ""), spec.pop("podCIDRs", [])
    if single and single != (several or [""])[0]:
        several = [single]
    if several:
        spec |= {"podCIDR": several[0], "podCIDRs": several}
    if "capacity" in status:
        status.setdefault("allocatable", status["capacity"])
    shown: Object = {"daemonEndpoints": {"kubeletEndpoint": {}}, "nodeInfo": {}}
    return {**node, "spec": spec, "status": {**shown, **status}}


def _lease(lease: Object) -> Object:
    return {"spec": {}, **lease}


_OWN = {
    SERVICE: _service,
    POD: before_types,
    NAMESPACE: _namespace,
    ENDPOINTSLICE: _slice,
    NODE: _node,
    LEASE: _lease,
}
