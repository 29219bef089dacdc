"""/openapi/v3: the official schemas of our kinds, and that the server validates fields itself.

A client reads from the parameters of a PATCH operation that it may leave validation to the server, and
from the components what `kubectl explain` shows.  Each group is published with every schema its kinds
refer to: half a schema would be worse than none.
https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from svcdns.objects import openapi
from svcdns.objects.kinds import Kind

from .discovery import groups, kinds_of
from .review_kinds import REVIEWS

_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def _path(kind: Kind) -> str:
    root = f"/apis/{kind.group}" if kind.group else "/api"
    if kind in REVIEWS:
        return f"{root}/{kind.version}/{kind.plural}"
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    return f"{root}/{kind.version}{scope}/{kind.plural}/{{name}}"


def _operations(kind: Kind) -> dict[str, Any]:
    whose = {"group": kind.group, "version": kind.version, "kind": kind.name}
    content = {"application/json": {"schema": {"$ref": openapi.reference(openapi.component(kind))}}}
    answers = {"responses": {"200": {"description": "OK", "content": content}}}
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in _WRITE_PARAMETERS
    ]

    def operation(action: str, **more: Any) -> dict[str, Any]:
        about = {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": whose}
        return {action: {**about, **more, **answers}}

    if kind in REVIEWS:
        return operation("post", parameters=parameters)
    changing = {} if kind.read_only else operation("patch", parameters=parameters)
    return operation("get") | changing


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for inner in node.values():
            yield from _references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _references(inner)


def _closure(names: list[str]) -> dict[str, Any]:
    """Return the schemas of these names and all that they refer to."""
    found: dict[str, Any] = {}
    while names:
        name = names.pop()
        if name not in found:
            found[name] = openapi.schemas()[name]
            names.extend(_references(found[name]))
    return dict(sorted(found.items()))


def group_octets(group: str, version: str) -> bytes:
    """Return the OpenAPI document of one group, as JSON."""
    kinds = kinds_of(group, version)
    official = openapi.document()
    return msgspec.json.encode(
        {
            "openapi": official["openapi"],
            "info": official["info"],
            "paths": {_path(kind): _operations(kind) for kind in kinds},
            "components": {"schemas": _closure([openapi.component(kind) for kind in kinds])},
        }
    )


def documents() -> dict[str, bytes]:
    """Return path -> JSON of /openapi/v3 and of each group's document.

    The index names each document with a hash of its content, by which clients cache it.
    """
    found: dict[str, bytes] = {}
    index: dict[str, Any] = {}
    for group, version in groups():
        short = f"apis/{group}/{version}" if group else f"api/{version}"
        path = f"/openapi/v3/{short}"
        found[path] = group_octets(group, version)
        digest = hashlib.sha256(found[path]).hexdigest()[:32].upper()
        index[short] = {"serverRelativeURL": f"{path}?hash={digest}"}
    found["/openapi/v3"] = msgspec.json.encode({"paths": index})
    return found
