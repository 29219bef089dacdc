"""The cells of a Node's row, as Kubernetes' own printer writes them: what whoever plays kubelet reports."""

from __future__ import annotations

from typing import Any

from .humanize import age_of

Object = dict[str, Any]

_ROLE, _OLDER_ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"


def of_node(obj: Object, now: float) -> list[str]:
    """Return Name, Status, Roles, Age, Version.

    Wide: Internal-IP, External-IP, OS-Image, Kernel-Version, Container-Runtime.
    """
    metadata, status = obj.get("metadata") or {}, obj.get("status") or {}
    info, addresses = status.get("nodeInfo") or {}, status.get("addresses") or []
    kernel, architecture = info.get("kernelVersion") or "<unknown>", info.get("architecture")
    return [
        metadata.get("name", ""),
        _state(obj.get("spec") or {}, status),
        ",".join(_roles(metadata.get("labels") or {})) or "<none>",
        age_of(obj, now),
        info.get("kubeletVersion", ""),
        _address(addresses, "InternalIP"),
        _address(addresses, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        f"{kernel} ({architecture})" if architecture else kernel,
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _state(spec: Object, status: Object) -> str:
    states = {entry.get("type"): entry.get("status") for entry in status.get("conditions") or []}
    word = "Unknown"
    if "Ready" in states:
        word = "Ready" if states["Ready"] == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if spec.get("unschedulable") else word


def _roles(labels: dict[str, str]) -> list[str]:
    named = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)}
    return sorted((named | {labels.get(_OLDER_ROLE, "")}) - {""})


def _address(addresses: list[Object], type_: str) -> str:
    return next((entry["address"] for entry in addresses if entry.get("type") == type_), "<none>")
