"""Reading what is committed: one object, and pages of a list; of Endpoints as `endpoints` shows them.

Objects stay JSON bytes; they are decoded only where a selector has to look inside.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import lmdb
import msgspec

from svcdns.objects.errors import StatusError, bad_request, not_found
from svcdns.objects.kinds import ENDPOINTS, Kind
from svcdns.store import log
from svcdns.store.environment import Store

from . import endpoints, slices
from .requests import Page, Selection
from .transaction import (
    collection_prefix,
    decode,
    log_of,
    object_key,
    read_revision,
    scan,
    scan_keys,
)

MAX_PAGE = 10_000
_LONGEST_KEY = 511
"""Octets; LMDB's own limit."""
_TOO_OLD = "The provided continue parameter is too old to display a consistent list; start the list again"


class _Token(msgspec.Struct, array_like=True, frozen=True):
    """A `continue` token: which list it belongs to, its revision, the last key given."""

    kind: str
    namespace: str
    revision: int
    after: bytes


def get(store: Store, kind: Kind, namespace: str, name: str) -> bytes:
    """Return an object as JSON; StatusError 404 where there is none."""
    with store.read() as txn:
        octets = _lookup(txn, store, kind, namespace, name)
    if octets is None:
        raise not_found(kind.plural, name, kind.group)
    return octets


def _lookup(txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, name: str) -> bytes | None:
    if kind is ENDPOINTS:
        return endpoints.get(txn, store.tables, namespace, name)
    octets = txn.get(object_key(kind, namespace, name), db=store.tables.objects)
    return None if octets is None else bytes(octets)


def page(
    store: Store, kind: Kind, namespace: str, selection: Selection, limit: int = 0, continue_: str = ""
) -> Page:
    """Return a part of a list, all of it where `limit` is 0.

    Pages after the first show the present state under the first page's revision: a watch from there
    brings whatever changed meanwhile.  StatusError 400 for a token of another list, 410 for an old one.
    """
    token = _read_token(continue_, kind, namespace) if continue_ else None
    limit = min(limit, MAX_PAGE) if limit > 0 else 0
    with store.read() as txn:
        revision = read_revision(txn, store.tables)
        if token is not None:
            revision = token.revision
            if revision < log.floor(txn, log_of(store.tables, kind)):
                raise StatusError(410, "Expired", _TOO_OLD)
        items: list[bytes] = []
        last, more = b"", False
        for key, value in _candidates(txn, store, kind, namespace, selection, token.after if token else b""):
            if selection and not selection.matches(decode(value)):
                continue
            if limit and len(items) == limit:
                more = True
                break
            items.append(value)
            last = key
        if not more:
            return Page(items, revision)
        uncounted = selection or kind is ENDPOINTS
        remaining = None if uncounted else _count_after(txn, store, kind, namespace, last)
    return Page(items, revision, _write_token(_Token(kind.name, namespace, revision, last)), remaining)


def count(store: Store, kind: Kind) -> int:
    """Return how many objects of a kind are stored; walks their keys."""
    with store.read() as txn:
        return _count_after(txn, store, kind, "", b"")


def endpoint_counts(store: Store) -> dict[str, int]:
    """Return how many endpoints there are: `all` in slices, `ready` in answers (one an address)."""
    with store.read() as txn:
        rows = scan(txn, store.tables.slices, b"")
        in_slices = sum(slices.count_of(row) for _, row in rows)
        return {"all": in_slices, "ready": txn.stat(store.tables.endpoints)["entries"]}


def _candidates(
    txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, selection: Selection, after: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows among which the selected ones are: a name, as clients wait for one, is looked up."""
    fields = selection.fields
    name = fields.exact("metadata.name") if fields is not None else None
    if fields is not None:
        namespace = namespace or fields.exact("metadata.namespace") or ""
    if name is None or (kind.namespaced and not namespace):
        ending = b"" if name is None else b"\0" + name.encode()
        if kind is ENDPOINTS:
            rows = endpoints.rows(txn, store.tables, namespace, after)
        else:
            rows = scan(txn, store.tables.objects, collection_prefix(kind, namespace), after)
        yield from (row for row in rows if row[0].endswith(ending))
        return
    key = object_key(kind, namespace, name)
    value = _lookup(txn, store, kind, namespace, name) if len(key) <= _LONGEST_KEY else None
    if value is not None and key > after:
        yield key, value


def _count_after(txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, after: bytes) -> int:
    keys = scan_keys(txn, store.tables.objects, collection_prefix(kind, namespace), after)
    return sum(1 for _ in keys)


def _write_token(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(token)).decode()


def _read_token(text: str, kind: Kind, namespace: str) -> _Token:
    try:
        token = msgspec.msgpack.decode(base64.urlsafe_b64decode(text.encode()), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as wrong:
        raise bad_request("continue: not a token that this server has given out") from wrong
    if (token.kind, token.namespace) != (kind.name, namespace):
        raise bad_request("continue: the token belongs to another list")
    return token
