"""Whether there was ever a Pod with probes: only then is there something to do for a prober."""

from __future__ import annotations

from svcdns.cluster.readiness import running_containers
from svcdns.store.environment import Store

from .transaction import Object, WriteTransaction

_KEY = b"probed"


def note(write: WriteTransaction, pod: Object) -> None:
    """Remember that there is one, if this Pod has probes."""
    if _has_probes(pod) and write.txn.get(_KEY, db=write.tables.meta) is None:
        write.txn.put(_KEY, b"1", db=write.tables.meta)


def is_noted(store: Store) -> bool:
    """Return whether there was one."""
    with store.read() as txn:
        return txn.get(_KEY, db=store.tables.meta) is not None


def _has_probes(pod: Object) -> bool:
    return any(one.get("readinessProbe") or one.get("startupProbe") for one in running_containers(pod))
