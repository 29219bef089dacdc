"""Walks beside an object that stop only where something is to be done: compiled once for each kind.

A walk is made of what is done at which place of the schema (a leaf). Branches without leaves are left out,
so that a walk of a Pod costs what its quantities, times or enums cost, and not what the Pod weighs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from .schema_tree import SchemaNode, below

L = TypeVar("L")


class Walk(Generic[L]):
    """One place of the schema: what is done with the value there, and where to go on."""

    __slots__ = ("fields", "items", "leaf", "values")

    def __init__(self, leaf: L | None) -> None:
        """Begin with no branches; `compile_walk` adds them."""
        self.leaf = leaf
        self.fields: dict[str, Walk[L]] = {}
        self.items: Walk[L] | None = None
        self.values: Walk[L] | None = None

    def places(self, value: Any, path: str = "") -> Iterator[tuple[L, str, Any]]:
        """Yield (leaf, path, value) of each place in an object that has a leaf."""
        if self.leaf is not None:
            yield self.leaf, path, value
        if isinstance(value, dict):
            if self.fields:
                prefix = f"{path}." if path else ""
                for name, walk in self.fields.items():
                    if name in value:
                        yield from walk.places(value[name], prefix + name)
            elif self.values is not None:
                for key, element in value.items():
                    yield from self.values.places(element, below(path, key))
        elif self.items is not None and isinstance(value, list):
            for i, element in enumerate(value):
                yield from self.items.places(element, f"{path}[{i}]")


def compile_walk(node: SchemaNode, leaf_of: Callable[[str, SchemaNode], L | None]) -> Walk[L] | None:
    """Return the walk of a schema, or None if there is nothing to do.

    `leaf_of` is asked for each place: with the short name of the field, "ContainerPort.hostPort" (what
    stands in a list or map has the name of the list or map with "[]"), and its node.
    """
    return _compiled(node, "", leaf_of)


def _compiled(node: SchemaNode, name: str, leaf_of: Callable[[str, SchemaNode], L | None]) -> Walk[L] | None:
    walk: Walk[L] = Walk(leaf_of(name, node))
    for field, inner in node.fields.items():
        branch = _compiled(inner, f"{node.type_name}.{field}", leaf_of)
        if branch is not None:
            walk.fields[field] = branch
    if node.items is not None:
        walk.items = _compiled(node.items, f"{name}[]", leaf_of)
    if node.values is not None:
        walk.values = _compiled(node.values, f"{name}[]", leaf_of)
    empty = walk.leaf is None and not walk.fields and walk.items is None and walk.values is None
    return None if empty else walk
