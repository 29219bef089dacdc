"""Who owns which fields: the bookkeeping of metadata.managedFields.

One entry for each (manager, operation, subresource): what a manager applied ("Apply") is apart from what it
wrote otherwise ("Update").  Rules that hold here, all Kubernetes' own:

- a write takes the fields that it adds or changes away from all others; those it removes nobody owns;
- an object without entries (stored by an older version, or reset by a client) is not tracked until something
  is applied to it: then whatever is there belongs to "before-first-apply";
- at most ten Update entries are kept; the oldest beyond that become one, "ancient-changes";
- what the server gives (uid, revision, allocated addresses, ...) is owned by nobody, and so is the status
  with which an object came.

One rule is ours: a Pod has one owner whose fields are not written down (fieldsV1 is {}) until a write that is
neither its creation nor a change of its status.  Pods come and report by the thousand; a list of their fields
would be longer than they are, and each status would be written with it.

Pure: the time of a write is given.  Entries are plain JSON and never changed in place.
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from . import field_paths
from .field_paths import LEAF, SELF, Fields
from .field_sets import compare, everything
from .kinds import POD, Kind
from .schema_tree import schema_of

Object = dict[str, Any]
Entry = dict[str, Any]
Owner = tuple[str, str, str]
"""(manager, operation, subresource)."""

APPLY, UPDATE = "Apply", "Update"
SERVER = "svcdns"
"""The manager of what the server itself writes."""
BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT = "ancient-changes"
MOST_UPDATERS = 10
MOST_ENTRIES = 200
"""Entries that are accepted from a client that sets managedFields itself."""
LONGEST_MANAGER = 128

_METADATA = ("annotations", "finalizers", "generateName", "labels", "ownerReferences")
"""What can be owned there; all else names the object, or is the server's."""
_TYPE = frozenset({"apiVersion", "kind"})
ALWAYS_THERE = ("metadata", "spec", "status")
"""Fields that are not added or removed themselves, only what is in them."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Authorship:
    """Whose a write is."""

    manager: str = SERVER
    given: list[Entry] | None = None
    """The entries that the write itself sets, see given_entries()."""
    settled: list[Entry] | None = None
    """The entries after the write, where they are known already: it is an apply."""


def owned_part(kind: Kind, obj: Object, subresource: str = "") -> Object:
    """Return the part of an object whose fields a write to it (or to its status) can own.

    The status of a Pod can be written with the Pod, that of the other kinds only by itself.
    """
    if subresource == "status":
        return {"status": obj["status"]} if obj.get("status") else {}
    out = {key: value for key, value in obj.items() if key not in _TYPE}
    metadata = obj.get("metadata") or {}
    out["metadata"] = {key: metadata[key] for key in _METADATA if key in metadata}
    if kind is not POD:
        out.pop("status", None)
    for key in ALWAYS_THERE:
        if key in out and not out[key]:
            del out[key]
    return out


def entry(kind: Kind, owner: Owner, fields: Fields, time: str) -> Entry:
    """Return one entry of managedFields; `time` is RFC 3339."""
    manager, operation, subresource = owner
    out = {
        "manager": manager,
        "operation": operation,
        "apiVersion": kind.api_version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {**out, "subresource": subresource} if subresource else out


def owner_of(given: Entry) -> Owner:
    """Return whose entry it is."""
    return given.get("manager", ""), given["operation"], given.get("subresource", "")


def created(kind: Kind, obj: Object, manager: str, time: str) -> list[Entry]:
    """Return the entries of a new object, complete with its defaults: its creator owns all but the status."""
    if kind is POD:
        return [entry(kind, (manager, UPDATE, ""), LEAF, time)]
    fields = _all_of(kind, obj)
    return [entry(kind, (manager, UPDATE, ""), fields, time)] if fields else []


def _is_unwritten(kind: Kind, entries: list[Entry]) -> bool:
    """Whether the fields of the one owner of a Pod have not been written down."""
    return kind is POD and len(entries) == 1 and entries[0].get("fieldsV1") == {}


def written_out(kind: Kind, obj: Object, entries: list[Entry]) -> list[Entry]:
    """Return entries that name their fields; `obj` is the object to which they belong."""
    if not _is_unwritten(kind, entries):
        return entries
    return [{**entries[0], "fieldsV1": _all_of(kind, obj)}]


def _all_of(kind: Kind, obj: Object) -> Fields:
    part = owned_part(kind, obj)
    part.pop("status", None)
    fields_of, out = schema_of(kind).fields, {}
    for key in sorted(part):
        node = everything(fields_of.get(key), part[key])
        if key in ALWAYS_THERE:  # as if there from the start, so nobody's
            node = {inner: below for inner, below in node.items() if inner != SELF}
            if not node:
                continue
        out["f:" + key] = node
    return out


def updated(
    kind: Kind, old: Object, new: Object, entries: list[Entry], owner: Owner, time: str
) -> list[Entry]:
    """Return the entries after a write that isn't an apply, as they were if it changed nothing."""
    if not entries or (owner[2] and _is_unwritten(kind, entries)):
        return entries
    before, after = owned_part(kind, old, owner[2]), owned_part(kind, new, owner[2])
    for key in ALWAYS_THERE:
        if key in after:
            before.setdefault(key, {})
    change = compare(schema_of(kind), before, after)
    if not change or (change.only_in("f:status") and _is_unwritten(kind, entries)):
        return entries
    entries = written_out(kind, old, entries)
    written = field_paths.union(change.added, change.modified)
    rest, own = without(entries, owner, field_paths.union(written, change.removed))
    fields = field_paths.union(field_paths.difference(own, change.removed), written)
    if fields:
        fields = fields if fields is own else field_paths.ordered(fields)
        rest.append(entry(kind, owner, fields, time))
    return rest if len(rest) <= MOST_UPDATERS else _capped(kind, rest)


def without(entries: list[Entry], owner: Owner, fields: Fields) -> tuple[list[Entry], Fields]:
    """Return the other owners' entries without these fields, and what the owner itself has had so far."""
    rest, own = [], LEAF
    for each in entries:
        held: Fields = each.get("fieldsV1") or {}
        if owner_of(each) == owner:
            own = field_paths.union(own, held)
            continue
        left = field_paths.difference(held, fields)
        if left:
            rest.append(each if left is held else {**each, "fieldsV1": left})
    return rest, own


def arranged(entries: list[Entry]) -> list[Entry]:
    """Return entries in Kubernetes' order: applied ones first, then by time."""
    return sorted(entries, key=_place)


def _place(given: Entry) -> tuple[str, str, str, str]:
    return (
        given["operation"],
        given.get("time", ""),
        given.get("manager", ""),
        given.get("subresource", ""),
    )


def _capped(kind: Kind, entries: list[Entry]) -> list[Entry]:
    updates = sorted((each for each in entries if each["operation"] == UPDATE), key=_place)
    many = len(updates) - MOST_UPDATERS
    if many <= 0:
        return entries
    oldest, fields = updates[: many + 1], LEAF
    for each in oldest:
        fields = field_paths.union(fields, each.get("fieldsV1") or {})
    kept = [each for each in entries if all(each is not gone for gone in oldest)]
    time = oldest[-1].get("time", "")
    return arranged([*kept, entry(kind, (ANCIENT, UPDATE, ""), field_paths.ordered(fields), time)])


def before_first_apply(kind: Kind, live: Object, time: str) -> list[Entry]:
    """Return the entries of an object that has none when something is applied to it."""
    fields = _all_of(kind, live)
    return [entry(kind, (BEFORE_FIRST_APPLY, UPDATE, ""), fields, time)] if fields else []


def given_entries(body: Any, stored: list[Entry]) -> list[Entry] | None:
    """Return the entries that a PUT or a patch sets, None where it leaves them as they are.

    A list of one empty entry resets them ([]), as in Kubernetes; an empty list or what isn't well formed
    changes nothing, so that clients who know nothing of managedFields can't destroy them.
    """
    metadata = body.get("metadata") if isinstance(body, dict) else None
    given = metadata.get("managedFields") if isinstance(metadata, dict) else None
    if not given or given is stored or given == stored or not isinstance(given, list):
        return None
    if given == [{}]:
        return []
    if len(given) > MOST_ENTRIES or not all(_is_entry(each) for each in given):
        return None
    return given


_ENTRY_TYPES = {
    "manager": str,
    "operation": str,
    "apiVersion": str,
    "time": str,
    "fieldsType": str,
    "subresource": str,
    "fieldsV1": dict,
}


def _is_entry(given: Any) -> bool:
    return (
        isinstance(given, dict)
        and all(isinstance(value, _ENTRY_TYPES.get(key, ())) for key, value in given.items())
        and given.get("operation") in (APPLY, UPDATE)
        and given.get("fieldsType") == "FieldsV1"
        and len(given.get("manager", "")) <= LONGEST_MANAGER
        and ("time" not in given or _is_time(given["time"]))
        and field_paths.is_fields(given.get("fieldsV1", {}))
        and _can_be_stored(given)
    )


def _is_time(text: str) -> bool:
    """Whether Go's decoder will take it, else clients couldn't read the object any more."""
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _can_be_stored(given: Entry) -> bool:
    try:
        msgspec.json.encode(given)
    except ValueError:  # a lone surrogate
        return False
    return True


def same_but_times(a: list[Entry], b: list[Entry]) -> bool:
    """Return whether two lists of entries say the same, whenever it was written."""
    if len(a) != len(b):
        return False
    by_owner = {owner_of(each): each for each in b}
    return all({**each, "time": ""} == {**by_owner.get(owner_of(each), {}), "time": ""} for each in a)
