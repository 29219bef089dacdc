"""The schema as a tree to walk beside an object: which fields there are, and how patches merge them.

A node is one place in an object (spec, spec.ports, an element of spec.ports, ...). Nodes are built when a
walk first comes to them and kept, so a walk costs dictionary look-ups only.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from . import openapi
from .kinds import Kind


class SchemaNode:
    """One place in an object. The attributes are read only."""

    def __init__(self, node: dict[str, Any]) -> None:
        """`node` is the schema as it stands at the property: patch strategies stand beside its `$ref`."""
        target = openapi.resolve(node)
        self._target = target
        self.type_name: str = openapi.type_name(node)
        """The short name of the type, such as "Container" or "Quantity"; "" for one without a name."""
        self.enum: tuple[str, ...] = tuple(target.get("enum", ()))
        """The words that may stand here; () where any may."""
        self.required: tuple[str, ...] = tuple(target.get("required", ()))
        """The named fields that must be there."""
        self.type: str = target.get("type", "")
        """JSON Schema's type; "" for what may have several."""
        self.is_string: bool = target.get("type") == "string"
        self.has_fields: bool = "properties" in target
        """An object with named fields, as against a map or something free."""
        self.merge_key: str = node.get("x-kubernetes-patch-merge-key", "")
        """The field by which a strategic merge finds the elements of this list, such as "port"."""
        self.strategies: tuple[str, ...] = tuple(
            word for word in node.get("x-kubernetes-patch-strategy", "").split(",") if word
        )
        """How a strategic merge treats this field: of "merge", "replace", "retainKeys"."""
        self.list_type: str = node.get("x-kubernetes-list-type", "atomic")
        """How server-side apply merges a list: "map" by `list_keys`, "set" by value, "atomic" not at all."""
        self.list_keys: tuple[str, ...] = tuple(sorted(node.get("x-kubernetes-list-map-keys", ())))
        """The fields that together name an element of a list of type "map", sorted."""
        whole = "atomic" in (node.get("x-kubernetes-map-type"), target.get("x-kubernetes-map-type"))
        self.granular: bool = not whole and (self.has_fields or "additionalProperties" in target)
        """Whether the fields of this object, or the values of this map, have owners of their own."""
        self.is_divisible: bool = self.granular or self.list_type in ("map", "set")
        """Whether what is in here can have several owners; else it has one as a whole."""

    @functools.cached_property
    def fields(self) -> dict[str, SchemaNode]:
        """The named fields of an object; {} for anything else."""
        return {name: SchemaNode(node) for name, node in self._target.get("properties", {}).items()}

    @functools.cached_property
    def items(self) -> SchemaNode | None:
        """The elements of a list, or None."""
        node = self._target.get("items")
        return None if node is None else SchemaNode(node)

    @functools.cached_property
    def values(self) -> SchemaNode | None:
        """The values of a map, or None."""
        node = self._target.get("additionalProperties")
        return SchemaNode(node) if isinstance(node, dict) else None


@functools.cache
def schema_of(kind: Kind) -> SchemaNode:
    """Return the root of a kind's schema."""
    return SchemaNode({"$ref": openapi.reference(openapi.component(kind))})


def path_text(path: Iterable[str | int]) -> str:
    """Return a path as Kubernetes writes it: spec.ports[0].port, metadata.annotations[a.example/b]."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            out = below(out, part)
    return out


def below(path: str, key: str) -> str:
    """Return the path of a field or key below a path."""
    if not key.replace("-", "").replace("_", "").replace("$", "").isalnum():
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key
