"""Server-side apply: a configuration is merged into the live object, field by field, by who owns what.

- Objects and maps are merged by field, lists by the official schema's list type: "map" by keys, "set" by
  value, "atomic" as a whole.
- What the manager applied before and no longer applies goes, unless someone else owns it too.
- To change a value that another manager owns is a conflict (409), unless forced; to assert the value that is
  there shares it.
- kubectl's own upgrade from client-side apply: what its last-applied annotation holds unchanged is no
  conflict to "kubectl", and the annotation follows what it applies.

Pure.  Defaults are filled in afterwards, by the caller, so that the manager does not own them.
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import json
from typing import Any

from . import field_paths
from .errors import Cause, StatusError, bad_request
from .field_paths import LEAF, Fields, is_member
from .field_sets import child_of, compare, configured, element_key, missing_keys
from .kinds import POD, Kind
from .managed_fields import (
    ALWAYS_THERE,
    APPLY,
    UPDATE,
    Entry,
    Owner,
    arranged,
    before_first_apply,
    entry,
    owned_part,
    owner_of,
    without,
    written_out,
)
from .metadata_rules import ANNOTATION_OCTETS
from .schema import structure
from .schema_tree import SchemaNode, schema_of

Object = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"
_MOST_NAMED = 100
"""Conflicts of one apply that are named."""

_STAYS = frozenset("f:" + name for name in ALWAYS_THERE)
Conflicts = list[tuple[Entry, Fields]]


def check_configuration(configuration: Any) -> None:
    """Raise StatusError 400 for a configuration, as it came, that names owners."""
    metadata = configuration.get("metadata") if isinstance(configuration, dict) else None
    if isinstance(metadata, dict) and metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")


def first_applied(kind: Kind, configuration: Object, manager: str, time: str) -> list[Entry]:
    """Return the entries of an object that an apply creates.  Raises StatusError 400, see apply()."""
    part = owned_part(kind, configuration)
    fields = _fields_of(kind, part)
    return [entry(kind, (manager, APPLY, ""), fields, time)] if fields else []


def apply(
    kind: Kind,
    live: Object,
    configuration: Object,
    owner: Owner,
    *,
    force: bool,
    time: str,
) -> tuple[Object, list[Entry]]:
    """Return the live object with the configuration applied, without defaults, and its new managedFields.

    `configuration` has passed structure(); `owner` is (manager, "Apply", subresource); `time` is RFC 3339.
    Raises StatusError 409 with a cause for each conflict, 400 for a list whose elements lack their keys.
    """
    manager, _, subresource = owner
    entries = live["metadata"].get("managedFields") or before_first_apply(kind, live, time)
    entries = written_out(kind, live, entries)
    part = owned_part(kind, configuration, subresource)
    fields = _fields_of(kind, part)
    previous = _fields_held(entries, owner)
    if kind is POD and not subresource and not part.get("status") and "f:status" in previous:
        # A write without a status leaves the status of a Pod as it is, and so whose it is.
        fields = field_paths.union(fields, {"f:status": previous["f:status"]})
    merged = merge(schema_of(kind), live, part)
    if previous:
        owned = fields
        for each in entries:
            if owner_of(each) != owner:
                owned = field_paths.union(owned, each.get("fieldsV1") or {})
        merged = _pruned(schema_of(kind), merged, previous, owned)
    change = compare(
        schema_of(kind), owned_part(kind, live, subresource), owned_part(kind, merged, subresource)
    )
    written = field_paths.union(change.added, change.modified)
    conflicts = [] if force else _conflicts(entries, owner, written)
    if conflicts and manager == KUBECTL:
        conflicts = _not_its_own(kind, live, conflicts)
    if conflicts:
        raise _refusal(conflicts)
    rest, _ = without(entries, owner, field_paths.union(written, change.removed))
    if fields:
        rest.append(entry(kind, owner, fields, time))
    if manager == KUBECTL and not subresource:
        merged = _with_last_applied(merged, configuration)
    return _with_preconditions(merged, configuration), arranged(rest)


def _fields_of(kind: Kind, part: Object) -> Fields:
    _check_lists(schema_of(kind), part, "")
    return configured(schema_of(kind), part) or LEAF


def _fields_held(entries: list[Entry], owner: Owner) -> Fields:
    held = LEAF
    for each in entries:
        if owner_of(each) == owner:
            held = field_paths.union(held, each.get("fieldsV1") or {})
    return held


def _check_lists(schema: SchemaNode | None, value: Any, path: str) -> None:
    """Raise StatusError 400 for elements of a merged list that have the same key, or none."""
    if schema is None or not schema.is_divisible:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_lists(child_of(schema, name), inner, f"{path}.{name}")
    elif isinstance(value, list):
        seen = set()
        for element in value:
            if lacking := missing_keys(schema, element):
                text = f'{path}: element has no "{lacking[0]}", the field by which elements are merged'
                raise bad_request(f"the configuration can't be applied: {text}")
            key = element_key(schema, element)
            at = next(field_paths.paths({key: LEAF}))
            if key in seen:
                text = f"{path}: duplicate entries for key {at}"
                raise bad_request(f"the configuration can't be applied: {text}")
            seen.add(key)
            _check_lists(schema.items, element, path + at)


def merge(schema: SchemaNode | None, live: Any, given: Any) -> Any:
    """Return the live value with a configuration's merged in; neither is changed."""
    if schema is None or not schema.is_divisible:
        return given
    if isinstance(live, dict) and isinstance(given, dict):
        out = dict(live)
        for name, value in given.items():
            inner = child_of(schema, name)
            if name in live:
                out[name] = merge(inner, live[name], value)
            elif configured(inner, value) is not None:
                out[name] = value
        return out
    if isinstance(live, list) and isinstance(given, list):
        return _merged_list(schema, live, given)
    return given


def _merged_list(schema: SchemaNode, live: list[Any], given: list[Any]) -> list[Any]:
    """Elements that only the live list has stay where they were, the others come in the given order."""
    before: dict[str, Any] = {}
    for element in live:
        before.setdefault(element_key(schema, element), element)
    wanted = {element_key(schema, element): element for element in given}
    waiting = iter(wanted.items())
    taken: set[str] = set()
    out: list[Any] = []

    def take_up_to(key: str) -> None:
        for each, element in waiting:
            taken.add(each)
            out.append(merge(schema.items, before[each], element) if each in before else element)
            if each == key:
                return

    for element in live:
        key = element_key(schema, element)
        if key not in wanted:
            out.append(element)
        elif key not in taken:
            take_up_to(key)
    take_up_to("")
    return out


def _pruned(schema: SchemaNode, value: Any, previous: Fields, owned: Fields) -> Any:
    """Return a value without what the manager has owned and now nobody owns.

    A named field counts as owned while anything in it is; a key of a map or an element of a list goes with
    all that is in it, when nobody owns the key or the element itself.
    """
    if isinstance(value, list):
        pairs = [(element_key(schema, element), schema.items, element) for element in value]
        return [left for *_, left in _kept(pairs, False, previous, owned)]
    pairs = [("f:" + name, child_of(schema, name), inner) for name, inner in value.items()]
    return {key[2:]: left for key, _, left in _kept(pairs, schema.has_fields, previous, owned)}


_Pair = tuple[str, SchemaNode | None, Any]


def _kept(pairs: list[_Pair], named: bool, previous: Fields, owned: Fields) -> list[_Pair]:
    out = []
    for key, schema, value in pairs:
        had, has = previous.get(key), owned.get(key)
        if had is not None:
            goes = has is None or not (named or is_member(has))
            if goes and (named or is_member(had)) and key not in _STAYS:
                continue
            if schema is not None and schema.is_divisible and isinstance(value, dict | list):
                value = _pruned(schema, value, had, has or LEAF)
        out.append((key, schema, value))
    return out


def _conflicts(entries: list[Entry], owner: Owner, written: Fields) -> Conflicts:
    found = []
    for each in entries:
        if owner_of(each) != owner:
            shared = field_paths.intersection(each.get("fieldsV1") or {}, written)
            if shared:
                found.append((each, shared))
    return found


def _not_its_own(kind: Kind, live: Object, conflicts: Conflicts) -> Conflicts:
    """Return the conflicts without those on fields that kubectl itself applied on the client's side.

    Such a field is in the last-applied annotation and still has the value that stands there.
    """
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return conflicts
    try:
        applied, _ = structure(kind, json.loads(text), "Ignore", fill_kind=True)
    except (ValueError, StatusError, RecursionError):
        return conflicts
    part = owned_part(kind, applied)
    change = compare(schema_of(kind), owned_part(kind, live), part)
    own = configured(schema_of(kind), part) or LEAF
    own = field_paths.difference(own, field_paths.union(change.added, change.modified))
    left = [(each, field_paths.difference(fields, own)) for each, fields in conflicts]
    return [(each, fields) for each, fields in left if fields]


def _refusal(conflicts: Conflicts) -> StatusError:
    """409, worded as Kubernetes does: kubectl prints the message."""
    causes: list[Cause] = []
    by_owner: dict[str, list[str]] = {}
    count = 0
    for each, fields in conflicts:
        who, paths = _described(each), list(field_paths.paths(fields))
        count += len(paths)
        paths = paths[: max(_MOST_NAMED - len(causes), 0)]
        causes += [Cause("FieldManagerConflict", f"conflict with {who}", path) for path in paths]
        by_owner[who] = paths
    if count == 1:
        text = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        listed = ["\n- ".join((f"conflicts with {who}:", *by_owner[who])) for who in sorted(by_owner)]
        listed += ["and more"] if count > len(causes) else []
        text = f"Apply failed with {count} conflicts: " + "\n".join(listed)
    return StatusError(409, "Conflict", text, causes=causes)


def _described(given: Entry) -> str:
    out = json.dumps(given.get("manager", ""), ensure_ascii=False)
    if given.get("subresource"):
        out += f" with subresource {json.dumps(given['subresource'])}"
    if given["operation"] == UPDATE:
        out += f" using {given.get('apiVersion', '')}"
        if given.get("time"):
            out += f" at {given['time']}"
    return out


def _with_last_applied(merged: Object, configuration: Object) -> Object:
    """Bring the annotation of client-side apply, where there is one, to what is applied now."""
    metadata = merged["metadata"]
    annotations = metadata.get("annotations") or {}
    if LAST_APPLIED not in annotations:
        return merged
    given = configuration.get("metadata") or {}
    kept = {k: v for k, v in (given.get("annotations") or {}).items() if k != LAST_APPLIED}
    shown = {**configuration, "metadata": {**given, "annotations": kept} if "annotations" in given else given}
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    annotations = {**annotations, LAST_APPLIED: text}
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATION_OCTETS:
        del annotations[LAST_APPLIED]
    return {**merged, "metadata": {**metadata, "annotations": annotations}}


def _with_preconditions(merged: Object, configuration: Object) -> Object:
    """Return the object with the uid and the revision that the configuration expects to find, if it does."""
    given = configuration.get("metadata") or {}
    expected = {word: given[word] for word in ("uid", "resourceVersion") if given.get(word)}
    return {**merged, "metadata": {**merged["metadata"], **expected}} if expected else merged
