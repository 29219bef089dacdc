"""Values that Kubernetes' decoder reads: quantities and times, wherever they stand, in one written form.

What the decoder can't read refuses the whole body (400): a single Pod with `cpu: "abc"` would otherwise keep
every typed client from listing Pods at all.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from . import causes, quantity, times
from .kinds import Kind
from .schema_tree import SchemaNode, schema_of
from .schema_walks import Walk, compile_walk

Object = dict[str, Any]
Reader = Callable[[Any], Any]
"""From the value to its written form, None where that is no value. Raises ValueError."""

_MOST_WRONG = 20


class Unreadable(Exception):
    """Values that Kubernetes' decoder would refuse; `wrong` says of each where it stands and why."""

    def __init__(self, wrong: list[tuple[str, str]]) -> None:
        """`wrong` holds (path, what is wrong)."""
        super().__init__(", ".join(text for _, text in wrong))
        self.wrong = wrong


def canonical(kind: Kind, body: Object) -> Object:
    """Return a structured body with its quantities and times as Kubernetes writes them.

    The body is not changed; the result is the body itself where nothing had to be. Raises Unreadable.
    """
    walk = _walk(kind)
    if walk is None:
        return body
    try:
        found: Object = _canonical(walk, body)
    except ValueError:
        raise Unreadable(list(itertools.islice(_wrong(walk, body), _MOST_WRONG))) from None
    return found


def without_unreadable(kind: Kind, body: Object) -> tuple[Object, list[str]]:
    """Return the body without what `canonical` would refuse, and what that was."""
    walk = _walk(kind)
    if walk is None:
        return body, []
    wrong = [text for _, text in _wrong(walk, body)]
    readable: Object = _canonical(_lenient_walk(kind), body) if wrong else body
    return readable, wrong


@functools.cache
def _lenient_walk(kind: Kind) -> Walk[Reader]:
    """The same walk with readers that leave out what they can't read."""

    def lenient(reader: Reader) -> Reader:
        def read(value: Any) -> Any:
            try:
                return reader(value)
            except ValueError:
                return None

        return read

    def leaf_of(name: str, node: SchemaNode) -> Reader | None:
        reader = _READERS.get(node.type_name)
        return None if reader is None else lenient(reader)

    return compile_walk(schema_of(kind), leaf_of) or Walk(None)


@functools.cache
def _walk(kind: Kind) -> Walk[Reader] | None:
    def leaf_of(name: str, node: SchemaNode) -> Reader | None:
        return _READERS.get(node.type_name)

    return compile_walk(schema_of(kind), leaf_of)


def _quantity(value: Any) -> str:
    return quantity.canonical(value if isinstance(value, str) else repr(value))


def _time(value: str) -> str | None:
    return times.canonical_time(value) or None


def _micro_time(value: str) -> str | None:
    return times.canonical_micro_time(value) or None


_READERS: dict[str, Reader] = {"Quantity": _quantity, "Time": _time, "MicroTime": _micro_time}


def _canonical(walk: Walk[Reader], value: Any) -> Any:
    """Return what a walk makes of a value: the value itself where nothing changes, else a copy."""
    if walk.leaf is not None:
        read = walk.leaf(value)
        return value if read == value else read
    if isinstance(value, dict):
        return _canonical_fields(walk, value)
    if isinstance(value, list) and walk.items is not None:
        out = [_canonical(walk.items, element) for element in value]
        return out if any(new is not old for new, old in zip(out, value, strict=True)) else value
    return value


def _canonical_fields(walk: Walk[Reader], value: Object) -> Object:
    changed: Object = {}
    branches, inner = walk.fields, walk.values
    for key, old in value.items():
        branch = branches.get(key, inner)
        if branch is not None:
            new = _canonical(branch, old)
            if new is not old:
                changed[key] = new
    if not changed:
        return value
    return {key: changed.get(key, old) for key, old in value.items() if changed.get(key, old) is not None}


def _wrong(walk: Walk[Reader], body: Object) -> Iterator[tuple[str, str]]:
    """Yield (path, what is wrong) of each value that can't be read."""
    for reader, path, value in walk.places(body):
        try:
            reader(value)
        except ValueError as error:
            yield path, f"{path}: {causes.shown(value)} {error}"
