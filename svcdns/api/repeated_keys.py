"""Keys that stand twice in one object of a body: of these only the last counts, so the client is told.

With field validation Strict the body is refused, with Warn the answer has a Warning for each, as in
Kubernetes.  The usual body has none, which is found out by counting, without a second reading.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from svcdns.objects.errors import bad_request
from svcdns.objects.schema_tree import path_text

MOST = 100
"""Keys that warnings name."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def in_json(octets: bytes, value: Any) -> list[str]:
    """Return what is said of each key that stands twice; `value` is what the octets were decoded to."""
    again = msgspec.json.encode(value)
    if b"\\" not in octets and octets.count(b":") == again.count(b":"):
        return []  # without escapes, colons in strings are as many before and after
    if _members(octets) == _members(again):
        return []
    found: list[str] = []
    _collect(json.loads(octets, object_pairs_hook=_Object), (), found)
    return found


def warnings_of(repeated: list[str], field_validation: str) -> tuple[str, ...]:
    """Return the warnings for an answer.  Raises StatusError 400 with Strict."""
    if repeated and field_validation == "Strict":
        raise bad_request("strict decoding error: " + ", ".join(repeated[:MOST]))
    return tuple(repeated[:MOST]) if field_validation == "Warn" else ()


def _members(octets: bytes) -> int:
    """Return how many members the objects of a JSON text have: each has one colon that is not in a string."""
    return without_strings(octets).count(b":")


def without_strings(octets: bytes) -> bytes:
    """Return a JSON text without its strings: what is left is punctuation, numbers and blanks."""
    return _STRING.sub(b"", octets)


class _Object(dict[str, Any]):
    """A JSON object that knows which of its keys stood there twice."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__()
        self.repeated: list[str] = []
        for key, value in pairs:
            if key in self:
                self.repeated.append(key)
            self[key] = value


def _collect(value: Any, path: tuple[str | int, ...], found: list[str]) -> None:
    """Add what is said of the keys in a value; it is not deeper than a body may be."""
    if isinstance(value, _Object):
        found += [f'duplicate field "{path_text((*path, key))}"' for key in value.repeated[: MOST + 1]]
        for key, inner in value.items():
            _collect(inner, (*path, key), found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _collect(inner, (*path, index), found)
