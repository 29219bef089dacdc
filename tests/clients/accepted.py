"""What svcdns stores of objects that are made from the official schema, for decoders that are to read it.

An object goes the way of a POST without a server: structure, defaults, validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.schema_values import objects_of, plain_objects_of

from svcdns.objects.conversion import shown
from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import KINDS, Kind
from svcdns.objects.schema import structure
from svcdns.objects.validation import validate


def bodies_of(kind: Kind) -> st.SearchStrategy[Any]:
    """Return a strategy for what clients may send."""
    return st.one_of(objects_of(kind), plain_objects_of(kind))


def stored(kind: Kind, body: Any) -> dict[str, Any] | None:
    """Return what would be stored of a body, None if it would be refused."""
    try:
        structured, _ = structure(kind, body, "Ignore", fill_kind=True)
    except StatusError:
        return None
    given_there = {"namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}
    metadata = {**structured.get("metadata", {}), **given_there}
    if not kind.namespaced:
        metadata.pop("namespace")
    made = default(kind, {**structured, "metadata": metadata})
    assert default(kind, made) == made, "defaults are not idempotent"
    assert structure(kind, made) == (made, ()), "what is stored would be stored otherwise"
    return None if validate(kind, made) else made


def forms(kind: Kind, made: dict[str, Any]) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """Yield a stored object with its kind, and with each other kind that it is shown as."""
    yield kind, made
    for other in KINDS:
        if other.stored is kind and other is not kind:
            yield other, shown(other, made)


def lines_of(kinds: Sequence[Kind], examples: int) -> list[str]:
    """Return what would be stored, and shown, of so many objects of each kind: an object as JSON a line."""
    lines: list[str] = []
    for kind in kinds:
        _collect(kind, examples, lines)
    return lines


def _collect(kind: Kind, examples: int, lines: list[str]) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(bodies_of(kind))
    def one(body: Any) -> None:
        made = stored(kind, body)
        if made is not None:
            lines.extend(json.dumps(form) for _, form in forms(kind, made))

    one()
