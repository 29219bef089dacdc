"""Which fields an object has, and in which two objects differ, as sets of field_paths.

Walks run beside the schema of the kind: a list of type "map" or "set" is walked by its elements' keys, what
is atomic is one field.  Two sets can be taken of an object: `everything` holds the containers too (what
someone who wrote the object has made), `configured` only what an apply configuration asserts; the difference
shows in Kubernetes' managedFields as the `.` of a map or a list.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import msgspec

from .field_paths import LEAF, SELF, Fields, is_member
from .schema_tree import SchemaNode

_KEY_DEFAULTS = {"protocol": "TCP"}
"""Of the fields that name elements; the published schema doesn't say it."""

_SHORT, _FEW = 64, 32
"""Letters of a key and fields of an object up to which what follows from them is kept in memory."""

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Comparison:
    """What became of the fields of an object; each of the three is a set, empty ({}) if there are none."""

    added: Fields
    modified: Fields
    removed: Fields

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)

    def only_in(self, key: str) -> bool:
        """Return whether nothing differs but one field of the root, such as "f:status"."""
        return {key}.issuperset((*self.added, *self.modified, *self.removed))


def element_key(schema: SchemaNode, element: Any) -> str:
    """Return the key of an element of a list of type "map" or "set", such as `v:"a"`."""
    names = schema.list_keys
    if not names:
        return "v:" + _encode(element).decode()
    values = [element.get(name, _KEY_DEFAULTS.get(name)) for name in names]
    short = all(value.__class__ is not str or len(value) <= _SHORT for value in values)
    return (_kept_key if short else _key)(names, *values)


def _key(names: tuple[str, ...], *values: Any) -> str:
    named = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    return "k:" + _encode(named).decode()


_kept_key = functools.lru_cache(maxsize=1024, typed=True)(_key)


def missing_keys(schema: SchemaNode, element: Any) -> list[str]:
    """Return the key fields that an element of a list of type "map" lacks."""
    return [name for name in schema.list_keys if name not in element and name not in _KEY_DEFAULTS]


def child_of(schema: SchemaNode, name: str) -> SchemaNode | None:
    """Return the schema of a field or of a map's value; None where the schema says nothing."""
    return schema.fields.get(name) if schema.has_fields else schema.values


def everything(schema: SchemaNode | None, value: Any) -> Fields:
    """Return the node of a value with all that it holds, containers included."""
    if schema is None or not value or not schema.is_divisible:
        return LEAF
    if isinstance(value, dict):
        template, divisible = (_kept_plan if len(value) <= _FEW else _plan)(schema, tuple(value))
        if not divisible:
            return template
        out = template.copy()
        for name, key, inner in divisible:
            out[key] = everything(inner, value[name])
        return out
    if isinstance(value, list):
        items = schema.items
        out = {SELF: LEAF}
        for element in value:
            out[element_key(schema, element)] = everything(items, element)
        return out
    return LEAF


def _plan(
    schema: SchemaNode, names: tuple[str, ...]
) -> tuple[Fields, tuple[tuple[str, str, SchemaNode], ...]]:
    """Return the node of an object with these fields, and those of them whose nodes depend on the values."""
    template: Fields = {SELF: LEAF, **{"f:" + name: LEAF for name in sorted(names)}}
    found = [(name, "f:" + name, child_of(schema, name)) for name in names]
    divisible = tuple((name, key, inner) for name, key, inner in found if inner and inner.is_divisible)
    return template, divisible


_kept_plan = functools.lru_cache(maxsize=1024)(_plan)


def configured(schema: SchemaNode | None, value: Any) -> Fields | None:
    """Return the node of what a configuration asserts, None for nothing (a list without elements)."""
    if schema is None or not schema.is_divisible:
        return LEAF
    if isinstance(value, dict):
        return _configured_object(schema, value)
    if isinstance(value, list):
        nodes = {
            element_key(schema, element): _as_member(configured(schema.items, element)) for element in value
        }
        return {key: nodes[key] for key in sorted(nodes)} or None
    return LEAF


def _configured_object(schema: SchemaNode, value: dict[str, Any]) -> Fields | None:
    if not value:
        return LEAF
    out = {}
    for name in sorted(value):
        node = configured(child_of(schema, name), value[name])
        if node is not None:
            out["f:" + name] = node
    return out or None


def _as_member(node: Fields | None) -> Fields:
    if node is None:
        return LEAF
    return node if is_member(node) else {SELF: LEAF, **node}


def compare(schema: SchemaNode, old: dict[str, Any], new: dict[str, Any]) -> Comparison:
    """Return how two objects differ, field by field; the order of lists that are merged is no difference."""
    out = Comparison({}, {}, {})
    _compare_fields(schema, old, new, out)
    return out


def _compare_fields(schema: SchemaNode, old: dict[str, Any], new: dict[str, Any], out: Comparison) -> None:
    for name, value in new.items():
        if name not in old:
            out.added["f:" + name] = everything(child_of(schema, name), value)
            continue
        before = old[name]
        if value is not before and value != before:
            _compare_values(child_of(schema, name), "f:" + name, before, value, out)
    for name, value in old.items():
        if name not in new:
            out.removed["f:" + name] = everything(child_of(schema, name), value)


def _compare_values(schema: SchemaNode | None, key: str, old: Any, new: Any, out: Comparison) -> None:
    """Note under `key` how two unequal values differ."""
    below = Comparison({}, {}, {})
    if schema is None or not schema.is_divisible:
        out.modified[key] = LEAF
        return
    if isinstance(old, dict) and isinstance(new, dict):
        _compare_fields(schema, old, new, below)
    elif isinstance(old, list) and isinstance(new, list):
        _compare_lists(schema, old, new, below)
    else:
        out.modified[key] = LEAF
        return
    if below.added:
        out.added[key] = below.added
    if below.modified:
        out.modified[key] = below.modified
    if below.removed:
        out.removed[key] = below.removed


def _compare_lists(schema: SchemaNode, old: list[Any], new: list[Any], out: Comparison) -> None:
    items = schema.items
    before = {element_key(schema, element): element for element in old}
    after = {element_key(schema, element): element for element in new}
    for key, element in after.items():
        if key not in before:
            out.added[key] = everything(items, element)
        elif element != before[key]:
            _compare_values(items, key, before[key], element, out)
    for key, element in before.items():
        if key not in after:
            out.removed[key] = everything(items, element)
