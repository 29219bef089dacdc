"""Reading the facts of ready endpoints: the rows of `endpoints` (see `facts`), by label or by hash."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import cast

import msgspec

from svcdns.names.row_parts import hash_of
from svcdns.names.service_rows import EndpointRow

from .transaction import WriteTransaction, joined, scan

HASH_DIGITS = 4
"""Digits of a hash in keys."""

decode_endpoint = msgspec.msgpack.Decoder(EndpointRow).decode


def hash_text(hash_: int) -> str:
    """Return a hash as keys of `endpoints` spell it, so that they sort by it."""
    return f"{hash_:0{HASH_DIGITS}x}"


def hashed(label: str) -> str:
    """Return a label as keys of `endpoints` spell it: behind its hash."""
    return hash_text(hash_of(label)) + label


def endpoints_of(
    write: WriteTransaction,
    namespace: str,
    service: str,
    label: str | None = None,
    at_most: int | None = None,
) -> list[EndpointRow]:
    """Return the rows of the ready endpoints of a Service, or of those with one label."""
    prefix = joined(namespace, service) if label is None else joined(namespace, service, hashed(label))
    rows = islice(scan(write.txn, write.tables.endpoints, prefix), at_most)
    return [decode_endpoint(value) for _, value in rows]


def endpoints_between(
    write: WriteTransaction, namespace: str, service: str, first: int, last: int, at_most: int
) -> list[bytes]:
    """Return the rows of a Service's ready endpoints whose hash is in a range, the first so many, encoded."""
    prefix = joined(namespace, service)
    with write.txn.cursor(db=write.tables.endpoints) as cursor:
        if not cursor.set_range(prefix + hash_text(first).encode()):
            return []
        rows = list(islice(cast(Iterator[tuple[bytes, bytes]], cursor.iternext()), at_most))
    # Rows are sorted: where the range ends is found without looking at each.
    end = bisect_left(rows, prefix + hash_text(last).encode() + b"\xff", key=itemgetter(0))
    return [row for _, row in rows[:end]]


def count_between(
    write: WriteTransaction, namespace: str, service: str, first: int, last: int, at_most: int
) -> int:
    """Return how many rows `endpoints_between` has, without reading them."""
    prefix = joined(namespace, service)
    with write.txn.cursor(db=write.tables.endpoints) as cursor:
        if not cursor.set_range(prefix + hash_text(first).encode()):
            return 0
        keys = list(islice(cast(Iterator[bytes], cursor.iternext(values=False)), at_most))
    return bisect_left(keys, prefix + hash_text(last).encode() + b"\xff")
