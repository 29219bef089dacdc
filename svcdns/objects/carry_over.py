"""What an update leaves out and the stored object knows: allocated addresses and ports.

A client that replaces a Service from its manifest doesn't know the address it was given; one that changes its
type doesn't know that the node ports must go. As Kubernetes does (pkg/registry/core/service: normalize
ClusterIPs, patch allocated values, drop type-dependent fields): what is absent is kept while it is needed,
and what is no longer needed goes if the client left it as it was.
"""

from __future__ import annotations

from typing import Any

from .kinds import POD, SERVICE, Kind
from .service_rules import externally_accessible, needs_health_check

Object = dict[str, Any]

_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def carry_over(kind: Kind, new: Object, old: Object) -> Object:
    """Return the new object with what it leaves out and the old one knows; neither is changed."""
    if kind is SERVICE:
        spec, before = dict(new.get("spec", {})), old.get("spec", {})
        _follow_cluster_ip(spec, before)
        _keep_allocated(spec, before)
        _drop_unneeded(spec, before)
        if _type(before) == "LoadBalancer" != _type(spec):
            new = {**new, "status": {**new.get("status", {}), "loadBalancer": {}}}
        return {**new, "spec": spec}
    if kind is POD and "status" in new:
        status, before = dict(new["status"]), old.get("status", {})
        _follow_pod_ip(status, before)
        return {**new, "status": status}
    return new


def _type(spec: Object) -> str:
    found: str = spec.get("type") or "ClusterIP"
    return found


def _follow_cluster_ip(spec: Object, before: Object) -> None:
    """A client that changed one of clusterIP and clusterIPs meant both."""
    single, several = spec.get("clusterIP"), spec.get("clusterIPs")
    if several and several == before.get("clusterIPs"):
        if not single and before.get("clusterIP"):
            spec.pop("clusterIPs")
        elif single and single != before.get("clusterIP"):
            spec["clusterIPs"] = [single]
    elif not several and single and single == before.get("clusterIP"):
        spec["clusterIPs"] = before["clusterIPs"]


def _keep_allocated(spec: Object, before: Object) -> None:
    after_type, before_type = _type(spec), _type(before)
    if "ExternalName" not in (after_type, before_type):
        if not spec.get("clusterIP") and not spec.get("clusterIPs"):
            for word in ("clusterIP", "clusterIPs"):
                if word in before:
                    spec[word] = before[word]
        _keep_families(spec, before)
    if after_type in _WITH_NODE_PORTS and before_type in _WITH_NODE_PORTS:
        spec["ports"] = _keep_node_ports(spec.get("ports", []), before.get("ports", []))
        if not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = before["healthCheckNodePort"]
    kept_port = spec.get("healthCheckNodePort") == before.get("healthCheckNodePort")
    if kept_port and needs_health_check(before) and not needs_health_check(spec):
        spec.pop("healthCheckNodePort", None)


def _keep_families(spec: Object, before: Object) -> None:
    for word in ("ipFamilies", "ipFamilyPolicy"):
        if not spec.get(word) and before.get(word):
            spec[word] = before[word]
    if spec.get("ipFamilyPolicy") == "SingleStack":
        # Asking for one family gives up the second one of what is otherwise left as it was.
        for word in ("clusterIPs", "ipFamilies"):
            if len(spec.get(word, [])) == 2 and spec[word] == before.get(word):
                spec[word] = spec[word][:1]


def _keep_node_ports(ports: list[Object], before: list[Object]) -> list[Object]:
    """Ports are known by their names: numbers and protocols may have changed."""
    known = {port.get("name", ""): port.get("nodePort", 0) for port in before}
    used = {port.get("nodePort", 0) for port in ports}
    out = []
    for port in ports:
        number = known.get(port.get("name", ""), 0)
        if not port.get("nodePort") and number and number not in used:
            used.add(number)
            port = {**port, "nodePort": number}
        out.append(port)
    return out


def _drop_unneeded(spec: Object, before: Object) -> None:
    after_type, before_type = _type(spec), _type(before)
    if after_type == "ExternalName" and before_type != "ExternalName":
        for word in _ADDRESS_FIELDS:
            if word in spec and spec[word] == before.get(word):
                spec.pop(word)
    if before_type in _WITH_NODE_PORTS and after_type not in _WITH_NODE_PORTS:
        _drop_node_ports(spec, before)
    kept_policy = spec.get("externalTrafficPolicy") == before.get("externalTrafficPolicy")
    external = externally_accessible({**spec, "type": after_type})
    if kept_policy and externally_accessible(before) and not external:
        spec.pop("externalTrafficPolicy", None)
    if before_type == "LoadBalancer" and after_type != "LoadBalancer":
        for word in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if word in spec and spec[word] == before.get(word):
                spec.pop(word)


def _drop_node_ports(spec: Object, before: Object) -> None:
    old_numbers = {0, *(port.get("nodePort", 0) for port in before.get("ports", []))}
    ports = spec.get("ports", [])
    if all(port.get("nodePort", 0) in old_numbers for port in ports):
        spec["ports"] = [{key: port[key] for key in port if key != "nodePort"} for port in ports]


def _follow_pod_ip(status: Object, before: Object) -> None:
    """A client that changed one of podIP and podIPs meant both; a Pod that gets its address starts."""
    single, several = status.get("podIP", ""), status.get("podIPs", [])
    if single and several and single != several[0].get("ip"):
        if several == before.get("podIPs"):
            status.pop("podIPs")
        elif single == before.get("podIP"):
            status.pop("podIP")
    had, has = before.get("podIP") or before.get("podIPs"), status.get("podIP") or status.get("podIPs")
    if has and not had and status.get("phase") == "Pending" == before.get("phase"):
        status.pop("phase")
