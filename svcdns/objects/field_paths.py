"""Sets of fields in the form of FieldsV1, the form in which managedFields says who owns what.

A set is a tree of dictionaries: `f:NAME` is a field or a key of a map, `k:{"port":80,"protocol":"TCP"}` the
element of a list that these fields name, `v:VALUE` an element of a list that is a set.  A node is a member
if it is empty or holds `.`; the root is none, so an empty root is the empty set.

    {"f:spec": {"f:type": {}, "f:ports": {'k:{"port":80}': {".": {}, "f:name": {}}}}}

All functions are pure and share parts with what they are given; nothing here is ever changed in place, and a
set to which nothing happens comes back as the same object.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Fields = dict[str, Any]

LEAF: Fields = {}
"""A member with nothing below it; shared, never changed."""
SELF = "."
DEEPEST = 64
"""Levels of the deepest set that is accepted from clients."""


def is_member(node: Fields) -> bool:
    """Return whether a node that is not the root belongs to the set itself."""
    return not node or SELF in node


def union(a: Fields, b: Fields) -> Fields:
    """Return the members of either set."""
    if not b:
        return a
    return _united(a, b) if a else b


def _united(a: Fields, b: Fields) -> Fields:
    if a is b:
        return a
    if not b:  # a member, and that is all
        return a if is_member(a) else {SELF: LEAF, **a}
    if not a:
        return b if is_member(b) else {SELF: LEAF, **b}
    out = a
    for key, node in b.items():
        mine = a.get(key)
        joined = node if mine is None else _united(mine, node)
        if joined is not mine:
            if out is a:
                out = dict(a)
            out[key] = joined
    return out


def difference(a: Fields, b: Fields) -> Fields:
    """Return the members of `a` that are not members of `b`."""
    if not a or not b:
        return a
    left = _minus(a, b)
    return LEAF if left is None else left


def _minus(a: Fields, b: Fields) -> Fields | None:
    """Return what is left of a node, None for nothing."""
    goes = is_member(a) and is_member(b)
    out = a
    for key, node in b.items():
        mine = a.get(key)
        if mine is None or key == SELF:
            continue
        left = _minus(mine, node)
        if left is mine:
            continue
        if out is a:
            out = dict(a)
        if left is None:
            del out[key]
        else:
            out[key] = left
    if goes:
        out = {key: node for key, node in out.items() if key != SELF}
        return out or None
    if out is a:
        return a
    return _compact(out)


def intersection(a: Fields, b: Fields) -> Fields:
    """Return the members of both sets."""
    if not a or not b:
        return LEAF
    shared = _common(a, b)
    return LEAF if shared is None else shared


def _common(a: Fields, b: Fields) -> Fields | None:
    out: Fields = {SELF: LEAF} if is_member(a) and is_member(b) else {}
    for key, node in a.items():
        other = b.get(key)
        if other is None or key == SELF:
            continue
        shared = _common(node, other)
        if shared is not None:
            out[key] = shared
    return _compact(out)


def _compact(node: Fields) -> Fields | None:
    if not node:
        return None
    return LEAF if len(node) == 1 and SELF in node else node


def ordered(node: Fields) -> Fields:
    """Return the same set with the keys of each node sorted, as Kubernetes writes them."""
    return {key: ordered(node[key]) if node[key] else LEAF for key in sorted(node)}


def paths(fields: Fields) -> Iterator[str]:
    """Yield each member as Kubernetes names it: .spec.ports[port=80,protocol="TCP"].targetPort."""
    for key, node in fields.items():
        if key != SELF:
            yield from _paths(_step(key), node)


def _paths(path: str, node: Fields) -> Iterator[str]:
    if is_member(node):
        yield path
    for key, inner in node.items():
        if key != SELF:
            yield from _paths(path + _step(key), inner)


def _step(key: str) -> str:
    word, text = key[:2], key[2:]
    if word == "f:":
        return "." + text
    if word == "k:":
        pairs = ",".join(f"{name}={_text(value)}" for name, value in json.loads(text).items())
        return f"[{pairs}]"
    return f"[={_text(json.loads(text))}]" if word == "v:" else f"[{text}]"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def is_fields(value: Any, depth: int = 0) -> bool:
    """Return whether a value that a client sent is a set in this form, its root or any node of it."""
    if not isinstance(value, dict) or depth > DEEPEST:
        return False
    return all(
        node == {} if key == SELF and depth else _is_key(key) and is_fields(node, depth + 1)
        for key, node in value.items()
    )


def _is_key(key: str) -> bool:
    word, text = key[:2], key[2:]
    if word == "f:":
        return True
    if word not in ("k:", "v:"):
        return word == "i:" and text.isdecimal()
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict) or word == "v:"
