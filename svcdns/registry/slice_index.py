"""What all EndpointSlices have in common, whoever made them: their rows under their Service, and their names.

slices    namespace, service, slice -> SliceRow
"""

from __future__ import annotations

from itertools import count
from uuid import UUID

from svcdns.cluster import endpoints as rules
from svcdns.objects.kinds import ENDPOINTSLICE
from svcdns.store.rows import last_of
from svcdns.store.service_backing import SliceRow, decode_slice_row, encode_slice_row

from . import facts
from .transaction import Object, WriteTransaction, joined, scan
from .uids import derived_uid

MIRRORED = "mirrored"
"""What stands as the group of a slice that mirrors Endpoints."""

_SLICE_UIDS = UUID("6f0a4d5e-3f0c-4d84-9f5b-0f1d5bb7c1a2")


def names_of(write: WriteTransaction, namespace: str, service: str, *, mirrored: bool) -> list[str]:
    """Return the names of a Service's slices that mirror Endpoints, or of those of its Pods."""
    rows = scan(write.txn, write.tables.slices, joined(namespace, service))
    groups = ((last_of(key), decode_slice_row(value).group) for key, value in rows)
    return [name for name, group in groups if group and (group == MIRRORED) is mirrored]


def make_slice(
    write: WriteTransaction, owner: Object, labels: dict[str, str], family: str, ports: list[Object], key: str
) -> Object:
    """Return a slice that is new, empty and not saved; `owner` is a Service or Endpoints.

    Name and uid follow from the owner's uid and the `key` of the slice among the owner's, unless somebody
    else has an object of that name; its age is the owner's.
    """
    metadata = owner["metadata"]
    for ordinal in count():
        name = f"{metadata['name']}-{rules.digest(metadata['uid'], key, str(ordinal))}"
        if write.load(ENDPOINTSLICE, metadata["namespace"], name) is None:
            break
    made = rules.new_slice(owner, name, labels, family, ports)
    made["metadata"]["uid"] = derived_uid(_SLICE_UIDS, f"{metadata['uid']}/{name}")
    made["metadata"]["creationTimestamp"] = metadata["creationTimestamp"]
    return made


def slice_changed(
    write: WriteTransaction, old: Object | None, new: Object | None, place: SliceRow | None = None
) -> None:
    """Index a slice under its Service, and update the facts of its endpoints.

    `place` is that of a slice of Pods; None keeps the one that it had.
    """
    if old_key := index_key(old):
        kept = write.txn.pop(old_key, db=write.tables.slices)
        place = place or (decode_slice_row(bytes(kept)) if kept else None)
    if new is not None and (key := index_key(new)):
        row = SliceRow(_group_of(new, place), len(new.get("endpoints") or []), place.path if place else "")
        write.txn.put(key, encode_slice_row(row), db=write.tables.slices)
    facts.slice_changed(write, old, new)


def index_key(endpoint_slice: Object | None) -> bytes:
    """Return the key of a slice in `slices`, b"" where it is of no Service."""
    metadata = endpoint_slice["metadata"] if endpoint_slice is not None else {}
    service = (metadata.get("labels") or {}).get(rules.SERVICE_NAME_LABEL)
    return joined(metadata["namespace"], service, metadata["name"]) if service else b""


def _group_of(endpoint_slice: Object, place: SliceRow | None) -> str:
    if rules.is_mirrored(endpoint_slice):
        return MIRRORED
    if not rules.is_generated(endpoint_slice):
        return ""
    return place.group if place is not None and place.group else endpoint_slice["addressType"]
