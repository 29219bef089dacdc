"""What a field holds where nothing is said, by the type that it belongs to: tables, and one walk.

As Kubernetes' pkg/apis/core/v1/defaults.go and the admission plugins that are on by default do it. Below
status, a field that the schema requires gets its zero value, since Go's encoder writes one there: strict
clients (the official Python client, say) refuse a whole list for one that is missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .kinds import Kind
from .schema_tree import SchemaNode, schema_of
from .schema_walks import Walk, compile_walk

Object = dict[str, Any]
Leaf = Callable[[Object], Object]
"""From an object to the same with its defaults, itself if there was nothing to fill in."""

_WHERE_ABSENT: dict[str, Any] = {
    "AzureDiskVolumeSource.cachingMode": "ReadWrite",
    "AzureDiskVolumeSource.fsType": "ext4",
    "AzureDiskVolumeSource.kind": "Shared",
    "AzureDiskVolumeSource.readOnly": False,
    "ConfigMapVolumeSource.defaultMode": 0o644,
    "Container.resources": {},
    "DownwardAPIVolumeSource.defaultMode": 0o644,
    "EphemeralContainer.resources": {},
    "GRPCAction.service": "",
    "HostPathVolumeSource.type": "",
    "PersistentVolumeClaimSpec.resources": {},
    "PersistentVolumeClaimSpec.volumeMode": "Filesystem",
    "PodSpec.enableServiceLinks": True,
    "PodSpec.preemptionPolicy": "PreemptLowerPriority",
    "PodSpec.priority": 0,
    "PodSpec.securityContext": {},
    "PodSpec.terminationGracePeriodSeconds": 30,
    "ProjectedVolumeSource.defaultMode": 0o644,
    "SecretVolumeSource.defaultMode": 0o644,
    "ServiceAccountTokenProjection.expirationSeconds": 3600,
}

_WHERE_EMPTY: dict[str, Any] = {
    "Container.terminationMessagePath": "/dev/termination-log",
    "Container.terminationMessagePolicy": "File",
    "ContainerPort.protocol": "TCP",
    "EndpointPort.protocol": "TCP",
    "EphemeralContainer.terminationMessagePath": "/dev/termination-log",
    "EphemeralContainer.terminationMessagePolicy": "File",
    "HTTPGetAction.path": "/",
    "HTTPGetAction.scheme": "HTTP",
    "ISCSIVolumeSource.iscsiInterface": "default",
    "ObjectFieldSelector.apiVersion": "v1",
    "PodSpec.dnsPolicy": "ClusterFirst",
    "PodSpec.restartPolicy": "Always",
    "PodSpec.schedulerName": "default-scheduler",
    "Probe.failureThreshold": 3,
    "Probe.periodSeconds": 10,
    "Probe.successThreshold": 1,
    "Probe.timeoutSeconds": 1,
    "RBDVolumeSource.keyring": "/etc/ceph/keyring",
    "RBDVolumeSource.pool": "rbd",
    "RBDVolumeSource.user": "admin",
    "ScaleIOVolumeSource.fsType": "xfs",
    "ScaleIOVolumeSource.storageMode": "ThinProvisioned",
    "ServicePort.protocol": "TCP",
}

_ZERO = {"string": "", "integer": 0, "boolean": False, "array": [], "object": {}}


def fill_in(kind: Kind, obj: Object) -> Object:
    """Return a structured object with what its types say filled in; the object given is not changed."""
    walk = _walk(kind)
    filled: Object = obj if walk is None else _filled(walk, obj)
    return filled


@functools.cache
def _walk(kind: Kind) -> Walk[Leaf] | None:
    schema = schema_of(kind)
    walk = compile_walk(schema, lambda _, node: _leaf_of(node, below_status=False))
    if "status" in schema.fields:
        status = compile_walk(schema.fields["status"], lambda _, node: _leaf_of(node, below_status=True))
        if status is not None:
            walk = walk or Walk(None)
            walk.fields["status"] = status
    return walk


def _leaf_of(node: SchemaNode, *, below_status: bool) -> Leaf | None:
    if not node.has_fields:
        return None
    places = [(field, f"{node.type_name}.{field}") for field in node.fields]
    absent = {field: _WHERE_ABSENT[place] for field, place in places if place in _WHERE_ABSENT}
    empty = {field: _WHERE_EMPTY[place] for field, place in places if place in _WHERE_EMPTY}
    if below_status:
        required = ((field, node.fields[field]) for field in node.required)
        absent |= {field: _zero(inner) for field, inner in required if inner.type_name != "Time"}
    choose = _CHOICES.get(node.type_name)
    if not absent and not empty and choose is None:
        return None

    def leaf(obj: Object) -> Object:
        new = {field: value for field, value in absent.items() if field not in obj}
        for field, value in empty.items():
            if not obj.get(field):
                new[field] = value
        if choose is not None:
            new |= choose(obj)
        return {**obj, **new} if new else obj

    return leaf


def _zero(node: SchemaNode) -> Any:
    return "0" if node.type_name == "Quantity" else _ZERO[node.type]


def _pull_policy(reference: str) -> str:
    """`Always` for the tag "latest", which is also that of an image without a tag or digest."""
    rest, _, digest = reference.partition("@")
    tag = rest.rpartition("/")[2].partition(":")[2]
    latest = tag == "latest" or (reference and not tag and not digest)
    return "Always" if latest else "IfNotPresent"


def _container(container: Object) -> Object:
    if container.get("imagePullPolicy"):
        return {}
    return {"imagePullPolicy": _pull_policy(container.get("image", ""))}


def _volume(volume: Object) -> Object:
    return {"emptyDir": {}} if all(key == "name" for key in volume) else {}


def _image_volume(source: Object) -> Object:
    return {} if source.get("pullPolicy") else {"pullPolicy": _pull_policy(source.get("reference", ""))}


def _service_port(port: Object) -> Object:
    if port.get("targetPort") in (None, 0, "") and "port" in port:
        return {"targetPort": port["port"]}
    return {}


_CHOICES: dict[str, Leaf] = {
    "Container": _container,
    "EphemeralContainer": _container,
    "ImageVolumeSource": _image_volume,
    "ServicePort": _service_port,
    "Volume": _volume,
}


def _filled(walk: Walk[Leaf], value: Any) -> Any:
    """Return a value with its defaults; what is new is filled in before the walk goes on into it."""
    if isinstance(value, dict):
        if walk.leaf is not None:
            value = walk.leaf(value)
        changed: Object = {}
        branches, inner = walk.fields, walk.values
        for key, old in value.items():
            branch = branches.get(key, inner)
            if branch is not None:
                new = _filled(branch, old)
                if new is not old:
                    changed[key] = new
        return {**value, **changed} if changed else value
    if isinstance(value, list) and walk.items is not None:
        out = [_filled(walk.items, element) for element in value]
        return out if any(new is not old for new, old in zip(out, value, strict=True)) else value
    return value
