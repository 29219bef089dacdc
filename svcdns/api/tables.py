"""Tables: what `kubectl get` prints, made by the server as in Kubernetes.

Columns are those of Kubernetes' own printers, their descriptions come from the official schema.
Columns of priority 1 are shown with `-o wide` only.
https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from svcdns.objects import conversion, openapi
from svcdns.objects.kinds import (
    ENDPOINTS,
    ENDPOINTSLICE,
    EVENT,
    IPADDRESS,
    LEASE,
    NAMESPACE,
    NEWER_EVENT,
    NODE,
    POD,
    SERVICE,
    SERVICECIDR,
    Kind,
)
from svcdns.registry.requests import Page

from . import node_cells, table_cells

_CORE = "io.k8s.api.core.v1."
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `source` is the schema and field that describe it, or a text of its own."""

    name: str
    source: tuple[str, str] | str
    priority: int = 0
    format: str = ""

    def definition(self) -> dict[str, Any]:
        """Return the column as it stands in columnDefinitions."""
        described = self.source
        if not isinstance(described, str):
            component, field = described
            described = openapi.schemas()[component]["properties"][field].get("description", "")
        return {
            "name": self.name,
            "type": "string",
            "format": self.format,
            "description": described,
            "priority": self.priority,
        }


_NAME = Column("Name", (_META, "name"), format="name")
_AGE = Column("Age", (_META, "creationTimestamp"))
_SLICE = "io.k8s.api.discovery.v1.EndpointSlice"
_EVENT = _CORE + "Event"
_NETWORKING = "io.k8s.api.networking.v1."
_NODE_INFO = _CORE + "NodeSystemInfo"
_SERVICE_SPEC = _CORE + "ServiceSpec"
_RESTARTS = (
    "The number of times the containers in this pod have been restarted and when the last container in "
    "this pod has restarted."
)

_COLUMNS: dict[Kind, tuple[Column, ...]] = {
    NAMESPACE: (_NAME, Column("Status", "The status of the namespace"), _AGE),
    SERVICE: (
        _NAME,
        Column("Type", (_SERVICE_SPEC, "type")),
        Column("Cluster-IP", (_SERVICE_SPEC, "clusterIP")),
        Column("External-IP", (_SERVICE_SPEC, "externalIPs")),
        Column("Port(s)", (_SERVICE_SPEC, "ports")),
        _AGE,
        Column("Selector", (_SERVICE_SPEC, "selector"), 1),
    ),
    POD: (
        _NAME,
        Column("Ready", "The aggregate readiness state of this pod for accepting traffic."),
        Column("Status", "The aggregate status of the containers in this pod."),
        Column("Restarts", _RESTARTS),
        _AGE,
        Column("IP", (_CORE + "PodStatus", "podIP"), 1),
        Column("Node", (_CORE + "PodSpec", "nodeName"), 1),
        Column("Nominated Node", (_CORE + "PodStatus", "nominatedNodeName"), 1),
        Column("Readiness Gates", (_CORE + "PodSpec", "readinessGates"), 1),
    ),
    ENDPOINTSLICE: (
        _NAME,
        Column("AddressType", (_SLICE, "addressType")),
        Column("Ports", (_SLICE, "ports")),
        Column("Endpoints", (_SLICE, "endpoints")),
        _AGE,
    ),
    ENDPOINTS: (_NAME, Column("Endpoints", (_CORE + "Endpoints", "subsets")), _AGE),
    NODE: (
        _NAME,
        Column("Status", "The status of the node"),
        Column("Roles", "The roles of the node"),
        _AGE,
        Column("Version", (_NODE_INFO, "kubeletVersion")),
        Column("Internal-IP", (_CORE + "NodeStatus", "addresses"), 1),
        Column("External-IP", (_CORE + "NodeStatus", "addresses"), 1),
        Column("OS-Image", (_NODE_INFO, "osImage"), 1),
        Column("Kernel-Version", (_NODE_INFO, "kernelVersion"), 1),
        Column("Container-Runtime", (_NODE_INFO, "containerRuntimeVersion"), 1),
    ),
    LEASE: (_NAME, Column("Holder", ("io.k8s.api.coordination.v1.LeaseSpec", "holderIdentity")), _AGE),
    SERVICECIDR: (_NAME, Column("CIDRs", (_NETWORKING + "ServiceCIDRSpec", "cidrs")), _AGE),
    IPADDRESS: (_NAME, Column("ParentRef", (_NETWORKING + "IPAddressSpec", "parentRef"))),
    EVENT: (
        Column("Last Seen", (_EVENT, "lastTimestamp")),
        Column("Type", (_EVENT, "type")),
        Column("Reason", (_EVENT, "reason")),
        Column("Object", (_EVENT, "involvedObject")),
        Column("Subobject", (_CORE + "ObjectReference", "fieldPath"), 1),
        Column("Source", (_EVENT, "source"), 1),
        Column("Message", (_EVENT, "message")),
        Column("First Seen", (_EVENT, "firstTimestamp"), 1),
        Column("Count", (_EVENT, "count"), 1),
        Column("Name", (_META, "name"), 1),
    ),
}
_COLUMNS[NEWER_EVENT] = _COLUMNS[EVENT]

_CELLS: dict[Kind, Callable[[dict[str, Any], float], list[str]]] = {
    NAMESPACE: table_cells.of_namespace,
    SERVICE: table_cells.of_service,
    POD: table_cells.of_pod,
    ENDPOINTSLICE: table_cells.of_endpointslice,
    ENDPOINTS: table_cells.of_endpoints,
    EVENT: table_cells.of_event,
    NEWER_EVENT: lambda event, now: table_cells.of_event(conversion.renamed(NEWER_EVENT, event), now),
    NODE: node_cells.of_node,
    LEASE: table_cells.of_lease,
    SERVICECIDR: table_cells.of_service_cidr,
    IPADDRESS: table_cells.of_ip_address,
}


@functools.cache
def definitions(kind: Kind) -> msgspec.Raw:
    """Return the columns of a kind, in JSON."""
    return msgspec.Raw(msgspec.json.encode([column.definition() for column in _COLUMNS[kind]]))


def of_object(
    kind: Kind,
    octets: bytes,
    now: float,
    version: str = "v1",
    included: str = "Metadata",
    columns: bool = True,
) -> bytes:
    """Return a Table with one row, in JSON, under the resourceVersion of its object.

    `now` is in seconds since 1970; `included` is what stands beside the cells: Metadata, Object or None;
    `columns` is False for all but the first Table of a watch.
    """
    metadata = msgspec.json.decode(octets).get("metadata") or {}
    return msgspec.json.encode(
        {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": {"resourceVersion": str(metadata.get("resourceVersion", ""))},
            "columnDefinitions": definitions(kind) if columns else [],
            "rows": [msgspec.Raw(row(kind, octets, now, version, included))],
        }
    )


def list_metadata(page: Page) -> dict[str, Any]:
    """Return the metadata of a list."""
    metadata: dict[str, Any] = {"resourceVersion": str(page.revision)}
    if page.continue_:
        metadata["continue"] = page.continue_
    if page.remaining is not None:
        metadata["remainingItemCount"] = page.remaining
    return metadata


def row(kind: Kind, octets: bytes, now: float, version: str, included: str) -> bytes:
    """Return the row of one object, in JSON; see `of_object`."""
    obj = msgspec.json.decode(octets)
    shown: dict[str, Any] = {"cells": _CELLS[kind](obj, now)}
    if included == "Object":
        shown["object"] = msgspec.Raw(octets)
    elif included != "None":
        api_version = f"meta.k8s.io/{version}"
        metadata = obj.get("metadata") or {}
        shown["object"] = {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata}
    return msgspec.json.encode(shown)
