"""The cells of each kind's row, as Kubernetes' own printers write them.

Works on any object of the kind, also on one that is half empty (a bookmark).
After pkg/printers/internalversion/printers.go and apimachinery's duration.HumanDuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from svcdns.cluster.readiness import addresses, is_finished, is_ready

from .humanize import age_of, labels_text, since

Object = dict[str, Any]
_SHOWN = 3
"""Endpoints or ports shown before the rest is counted."""


def of_namespace(obj: Object, now: float) -> list[str]:
    """Return Name, Status, Age."""
    status = (obj.get("status") or {}).get("phase", "")
    return [_name(obj), status, age_of(obj, now)]


def of_service(obj: Object, now: float) -> list[str]:
    """Return Name, Type, Cluster-IP, External-IP, Port(s), Age; wide: Selector."""
    spec = obj.get("spec") or {}
    cluster_ips = spec.get("clusterIPs") or [spec.get("clusterIP") or "<none>"]
    ports = ",".join(_service_port(port) for port in spec.get("ports") or [])
    return [
        _name(obj),
        spec.get("type", ""),
        cluster_ips[0],
        _external(spec, obj.get("status") or {}),
        ports or "<none>",
        age_of(obj, now),
        labels_text(spec.get("selector")),
    ]


def _service_port(port: Object) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol', '')}"


def _external(spec: Object, status: Object) -> str:
    kind, external = spec.get("type"), spec.get("externalIPs") or []
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind == "LoadBalancer":
        ingress = (status.get("loadBalancer") or {}).get("ingress") or []
        given = sorted({entry.get("ip") or entry.get("hostname") or "" for entry in ingress} - {""})
        return ",".join([*given, *external]) or "<pending>"
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(external) or "<none>"
    return "<unknown>"


def of_pod(obj: Object, now: float) -> list[str]:
    """Return Name, Ready, Status, Restarts, Age; wide: IP, Node, Nominated Node, Readiness Gates.

    There is no kubelet here, so nobody reports on containers: Ready counts all containers of a Pod that is
    ready and has an address, and none of any other; none has been restarted; Status is the phase.
    """
    metadata, spec, status = obj.get("metadata") or {}, obj.get("spec") or {}, obj.get("status") or {}
    return [
        _name(obj),
        _pod_ready(metadata, spec, status),
        _pod_status(metadata, status),
        "0",
        age_of(obj, now),
        _pod_address(status),
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(spec, status),
    ]


def _pod_ready(metadata: Object, spec: Object, status: Object) -> str:
    restarted = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    total = len(spec.get("containers") or []) + len(restarted)  # a sidecar is an init container that stays
    pod = {"metadata": metadata, "spec": spec, "status": status}
    runs = addresses(pod) and not is_finished(pod)
    return f"{total if runs and is_ready(pod) else 0}/{total}"


def _pod_status(metadata: Object, status: Object) -> str:
    phase = status.get("phase") or ""
    if metadata.get("deletionTimestamp") and phase not in ("Succeeded", "Failed"):
        return "Terminating"
    return str(status.get("reason") or phase)


def _pod_address(status: Object) -> str:
    listed = [entry.get("ip") for entry in status.get("podIPs") or []] or [status.get("podIP")]
    return listed[0] or "<none>"


def _gates(spec: Object, status: Object) -> str:
    gates = [gate.get("conditionType", "") for gate in spec.get("readinessGates") or []]
    if not gates:
        return "<none>"
    true = {entry.get("type") for entry in status.get("conditions") or [] if entry.get("status") == "True"}
    return f"{sum(gate in true for gate in gates)}/{len(gates)}"


def of_endpointslice(obj: Object, now: float) -> list[str]:
    """Return Name, AddressType, Ports, Endpoints, Age."""
    ports = [str(port.get("port") or port.get("name") or "*") for port in obj.get("ports") or []]
    listed = [ip for endpoint in obj.get("endpoints") or [] for ip in endpoint.get("addresses") or []]
    return [
        _name(obj),
        obj.get("addressType", ""),
        _shortened(ports) or "<unset>",
        _shortened(listed) or "<unset>",
        age_of(obj, now),
    ]


def of_endpoints(obj: Object, now: float) -> list[str]:
    """Return Name, Endpoints, Age."""
    subsets = obj.get("subsets") or []
    listed = [text for subset in subsets for text in _subset(subset)]
    return [_name(obj), _shortened(listed) if subsets else "<none>", age_of(obj, now)]


def _subset(subset: Object) -> Iterable[str]:
    ips = [entry.get("ip", "") for entry in subset.get("addresses") or []]
    ports = [port.get("port") for port in subset.get("ports") or []]
    if not ports:
        return ips
    return [_joined(ip, port) for port in ports for ip in ips]


def _joined(ip: str, port: object) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def of_lease(obj: Object, now: float) -> list[str]:
    """Return Name, Holder, Age."""
    return [_name(obj), (obj.get("spec") or {}).get("holderIdentity", ""), age_of(obj, now)]


def of_service_cidr(obj: Object, now: float) -> list[str]:
    """Return Name, CIDRs, Age."""
    return [_name(obj), ",".join((obj.get("spec") or {}).get("cidrs") or []), age_of(obj, now)]


def of_ip_address(obj: Object, now: float) -> list[str]:
    """Return Name, ParentRef."""
    parent = (obj.get("spec") or {}).get("parentRef") or {}
    named = (parent.get("resource"), parent.get("namespace"), parent.get("name"))
    return [_name(obj), "/".join(word for word in named if word) or "<none>"]


def of_event(obj: Object, now: float) -> list[str]:
    """Return Last Seen, Type, Reason, Object, Message; wide: Subobject, Source, First Seen, Count, Name.

    The older form of Events has a count and two times, the newer one an eventTime and a series; a client may
    write either.
    """
    involved, series = obj.get("involvedObject") or {}, obj.get("series") or {}
    first = since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series:
        last, count = since(series.get("lastObservedTime"), now), series.get("count", 0)
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        _involved(involved),
        involved.get("fieldPath", ""),
        _source(obj),
        obj.get("message", "").strip(),
        first,
        str(count),
        _name(obj),
    ]


def _involved(involved: Object) -> str:
    kind, name = involved.get("kind", "").lower(), involved.get("name", "")
    return f"{kind}/{name}" if name else kind


def _source(obj: Object) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent", "")
    instance = source.get("host") or obj.get("reportingInstance", "")
    return f"{component}, {instance}" if instance else component


def _shortened(texts: list[str]) -> str:
    shown = ",".join(texts[:_SHOWN])
    return f"{shown} + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else shown


def _name(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name", ""))
