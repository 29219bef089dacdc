"""Where a test's registry is: in a store of its own, or with SVCDNS_TEST_ETCD=URL in that etcd.

Each data folder is one replica of a registry of its own, below a prefix made of the folder's path: so who
opens a folder again has the registry that was there. What a test leaves in etcd stays.
"""

import hashlib
import os
from pathlib import Path

from svcdns.registry.replicated import Engine

PATIENCE_SECONDS = 30
"""So long etcd may take for an answer: on a busy machine one that is late has not failed."""


def etcd_url() -> str:
    """Return the etcd that registries are to be in; "" where each is in its store."""
    return os.environ.get("SVCDNS_TEST_ETCD", "")


def engine_of(folder: Path) -> Engine | None:
    """Return where the registry of a data folder is; None: in the folder alone."""
    if not etcd_url():
        return None
    from svcdns.etcd.client import Etcd

    return Engine(Etcd([etcd_url()], timeout=PATIENCE_SECONDS), _prefix(folder))


def environ_of(folder: Path) -> dict[str, str]:
    """Return the variables that have `svcdns serve` keep its registry where it is to be."""
    if not etcd_url():
        return {}
    return {
        "SVCDNS_STORE_ETCD": etcd_url(),
        "SVCDNS_STORE_ETCD_PREFIX": _prefix(folder),
        "SVCDNS_STORE_ETCD_TIMEOUT_MS": str(PATIENCE_SECONDS * 1000),
    }


def _prefix(folder: Path) -> str:
    return f"/{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}/"
