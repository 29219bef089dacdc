"""What stands behind a Service: Pods and endpoints, by the indexes alone.

No object is decoded, and never more than a bounded number of rows is read, so who writes and who answers
questions may ask at any time.

    slices    namespace, service, slice -> SliceRow
    labels    namespace, label=value, pod: each Pod under all of its labels
    members   namespace, service, pod, family -> slice name
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import lmdb
import msgspec

from .environment import Tables
from .rows import has_any, joined, pair_key, scan, scan_keys

MOST_CANDIDATES = 100
"""Pods of one label that are compared with the rest of a selector."""
MOST_PAIRS, MOST_SLICES = 10, 100


class SliceRow(msgspec.Struct, array_like=True, frozen=True):
    """What has to be known of a slice without decoding it."""

    group: str
    """What a slice of Pods has in common (cluster.endpoints); "mirrored"; empty for a user's own."""
    count: int
    path: str = ""
    """Which of its group's endpoints a slice of Pods holds (cluster.slice_tree)."""


encode_slice_row = msgspec.msgpack.Encoder().encode
decode_slice_row = msgspec.msgpack.Decoder(SliceRow).decode


def has_slices(txn: lmdb.Transaction, tables: Tables, namespace: str, service: str) -> bool:
    """Return whether a Service has an EndpointSlice."""
    return has_any(txn, tables.slices, joined(namespace, service))


def endpoint_count(txn: lmdb.Transaction, tables: Tables, namespace: str, service: str) -> int:
    """Return how many endpoints a Service has, ready or not: those of its first MOST_SLICES slices."""
    rows = scan(txn, tables.slices, joined(namespace, service))
    return sum(decode_slice_row(row).count for _, row in islice(rows, MOST_SLICES))


def has_pods(
    txn: lmdb.Transaction, tables: Tables, namespace: str, service: str, selector: Mapping[str, str]
) -> bool:
    """Return whether a Service's selector takes in a Pod; True also where there are too many Pods to know."""
    pairs = [pair_key(namespace, f"{key}={value}") for key, value in selector.items()]
    if len(pairs) == 1 or not has_any(txn, tables.labels, pairs[0]):
        return has_any(txn, tables.labels, pairs[0])
    if has_any(txn, tables.members, joined(namespace, service)):
        return True
    looked_at = pairs[:MOST_PAIRS]
    pods = [list(islice(scan_keys(txn, tables.labels, pair), MOST_CANDIDATES)) for pair in looked_at]
    fewest = min(range(len(pods)), key=lambda at: len(pods[at]))
    if len(pods[fewest]) == MOST_CANDIDATES:
        return True
    names = (key[len(pairs[fewest]) :] for key in pods[fewest])
    return any(all(txn.get(pair + one, db=tables.labels) is not None for pair in pairs) for one in names)
