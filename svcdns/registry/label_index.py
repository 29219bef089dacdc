"""Which Pods a selector may take in, and which Services may select a Pod: two indexes of labels.

selectors namespace, label=value, service: each Service under the first pair of its selector
labels    namespace, label=value, pod: each Pod under all of its labels
"""

from __future__ import annotations

from collections.abc import Mapping

import lmdb

from svcdns.cluster.endpoints import selector_of
from svcdns.store.rows import pair_key

from .transaction import Object, WriteTransaction


def service_changed(
    write: WriteTransaction, namespace: str, name: str, old: Object | None, new: Object | None
) -> tuple[set[str], set[str]]:
    """Bring the index of a Service up to date; return under which pair ("a=b") it stood and stands."""
    before, after = first_pair(old), first_pair(new)
    _bring(write, write.tables.selectors, namespace, name, before, after)
    return before, after


def pod_changed(
    write: WriteTransaction, namespace: str, name: str, old: Object | None, new: Object | None
) -> tuple[set[str], set[str]]:
    """Bring the index of a Pod up to date; return under which pairs ("a=b") it stood and stands."""
    before, after = _labels(old), _labels(new)
    _bring(write, write.tables.labels, namespace, name, before, after)
    return before, after


def pod_keys(pod: Object) -> list[bytes]:
    """Return the keys of a Pod in `labels`."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    return [pair_key(namespace, pair, name) for pair in _labels(pod)]


def _pairs(labels: Mapping[str, str] | None) -> set[str]:
    return {f"{key}={value}" for key, value in (labels or {}).items()}


def first_pair(service: Object | None) -> set[str]:
    """Return the pair ("a=b") under which a Service stands, none where it selects no Pods."""
    return set(sorted(_pairs(selector_of(service) if service is not None else None))[:1])


def _labels(pod: Object | None) -> set[str]:
    return _pairs(pod["metadata"].get("labels")) if pod is not None else set()


def _bring(
    write: WriteTransaction,
    table: lmdb._Database,
    namespace: str,
    name: str,
    before: set[str],
    after: set[str],
) -> None:
    """Bring an index to name an object under these pairs of labels, and no longer under those before."""
    for pair in before - after:
        write.txn.delete(pair_key(namespace, pair, name), db=table)
    for pair in after - before:
        write.txn.put(pair_key(namespace, pair, name), b"", db=table)
