"""What a client may say with a request, and what it gets back."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from svcdns.objects import conversion
from svcdns.objects.kinds import Kind
from svcdns.objects.selectors import FieldSelector, LabelSelector


class _Metadata(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Metadata


_labelled = msgspec.json.Decoder(_Labelled).decode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Options of create, replace and patch."""

    dry_run: bool = False
    field_validation: str = "Warn"
    """Strict, Warn or Ignore: what happens to unknown fields."""
    field_manager: str = ""
    """Whose the written fields are; "" for the server itself."""
    force: bool = False
    """Of an apply: take fields that others own."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Options of delete; `uid` and `resource_version` are preconditions."""

    dry_run: bool = False
    grace_period_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    propagation: str = ""
    """Background (as is ""), Foreground or Orphan: what becomes of an object's dependents."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch: its type ("json", "merge", "strategic", or "apply") and the decoded document."""

    type: str
    document: Any


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection are meant."""

    labels: LabelSelector | None = None
    fields: FieldSelector | None = None

    def __bool__(self) -> bool:
        return self.labels is not None or self.fields is not None

    def matches(self, obj: dict[str, Any]) -> bool:
        """Return whether an object (or what `selectable` keeps of it) is meant."""
        labels = obj["metadata"].get("labels") or {}
        by_label = self.labels is None or self.labels.matches(labels)
        return by_label and (self.fields is None or self.fields.matches(obj))

    def matches_json(self, octets: bytes) -> bool:
        """Return whether an object in JSON is meant; selected by labels, nothing else of it is read."""
        if self.fields is None:
            return self.labels is None or self.labels.matches(_labelled(octets).metadata.labels or {})
        return self.matches(_decode(octets))


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to; `object` is JSON as served, of a delete the last state."""

    object: bytes
    created: bool = False
    warnings: tuple[str, ...] = ()

    def noting(self, warnings: tuple[str, ...]) -> Written:
        """Return it with warnings before its own."""
        return replace(self, warnings=(*warnings, *self.warnings)) if warnings else self

    def shown(self, kind: Kind) -> Written:
        """Return it with the object as a kind shows it that may be stored as another."""
        if kind.stored is kind:
            return self
        return replace(self, object=conversion.shown_octets(kind, self.object))


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list: objects as JSON, the list's revision, and where to go on ("" = at the end)."""

    items: list[bytes]
    revision: int
    continue_: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch: ADDED, MODIFIED, DELETED, or BOOKMARK (whose object is empty)."""

    type: str
    object: bytes
    revision: int


Encoded = dict[Hashable, bytes]
"""What the API has made of objects that were read together, by form: once for all who are given them."""


@dataclass(slots=True)
class Batch:
    """Events of a watch that were read together, in order; the same one may be given to many watchers."""

    events: Sequence[Event]
    encoded: Encoded = field(default_factory=dict)


@dataclass(slots=True)
class Piece:
    """A part of a list that was read in one go; the same one may be given to many who read."""

    items: list[bytes]
    after: bytes
    """Key of the last row that was looked at: here it goes on."""
    is_last: bool
    octets: int
    """Of the rows that were looked at."""
    encoded: Encoded = field(default_factory=dict)
    batch: Batch | None = None
    """The items as events of a watch, once somebody wanted them so."""
