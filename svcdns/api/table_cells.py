"""The cells of each kind's row, as Kubernetes' own printers write them.

Works on any object of the kind, also on one that is half empty (a bookmark).
After pkg/printers/internalversion/printers.go and apimachinery's duration.HumanDuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .humanize import age_of, labels_text
from .pod_table_cells import of_pod

__all__ = ["of_endpoints", "of_endpointslice", "of_namespace", "of_pod", "of_service"]

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


def of_endpointslice(obj: Object, now: float) -> list[str]:
    """Return Name, AddressType, Ports, Endpoints, Age."""
    ports = [str(port.get("port") or port.get("name") or "*") for port in obj.get("ports") or []]
    addresses = [ip for endpoint in obj.get("endpoints") or [] for ip in endpoint.get("addresses") or []]
    return [
        _name(obj),
        obj.get("addressType", ""),
        _shortened(ports) or "<unset>",
        _shortened(addresses) or "<unset>",
        age_of(obj, now),
    ]


def of_endpoints(obj: Object, now: float) -> list[str]:
    """Return Name, Endpoints, Age."""
    subsets = obj.get("subsets") or []
    listed = [text for subset in subsets for text in _subset(subset)]
    return [_name(obj), _shortened(listed) if subsets else "<none>", age_of(obj, now)]


def _subset(subset: Object) -> Iterable[str]:
    addresses = [entry.get("ip", "") for entry in subset.get("addresses") or []]
    ports = [port.get("port") for port in subset.get("ports") or []]
    if not ports:
        return addresses
    return [_joined(ip, port) for port in ports for ip in addresses]


def _joined(ip: str, port: object) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _shortened(texts: list[str]) -> str:
    shown = ",".join(texts[:_SHOWN])
    return f"{shown} + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else shown


def _name(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name", ""))
