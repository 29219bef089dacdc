"""Which Services ask for an alias, and which of them has it.

    "alias" NUL hash of the alias, creationTimestamp, namespace, name -> ""     in `meta`, parts ended by NUL

The oldest Service has it, of those of one second the first by namespace and name: the first row.  Rows exist
for Services that are visible, and for aliases that the configuration allows; they are made anew with the
answers (`answer_tables`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import lmdb

from svcdns.objects import service_aliases
from svcdns.objects.service_aliases import Aliases
from svcdns.store.environment import Tables
from svcdns.wire.key import key_of

from .transaction import Object, WriteTransaction, joined, put_or_delete, scan_keys

_PREFIX = b"alias\0"
_HASH_OCTETS = 20

Who = tuple[str, str]
"""Namespace and name of a Service."""


def asked(write: WriteTransaction, service: Object | None) -> Aliases:
    """Return what a Service asks for, as the configuration allows it."""
    return service_aliases.read(written(write, service), write.settings.config.dns.alias_zones)


def written(write: WriteTransaction, service: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the annotations of a Service that speak of aliases and count here."""
    if service is None or not service["metadata"].get("annotations"):
        return {}
    dns = write.settings.config.dns
    return service_aliases.written(service, external_dns=dns.external_dns_annotation)


def claim(write: WriteTransaction, alias: bytes, service: Object, *, wants: bool) -> bool:
    """Note that a Service wants an alias (its key) or not; return whether that is news."""
    metadata = service["metadata"]
    who = joined(metadata["creationTimestamp"], metadata["namespace"], metadata["name"])
    return put_or_delete(write.txn, write.tables.meta, _prefix(alias) + who, b"" if wants else None)


def holder(write: WriteTransaction, alias: bytes) -> Who | None:
    """Return the Service that has an alias (its key), None where nobody asks for it."""
    return next(claimants(write.txn, write.tables, alias), None)


def claimants(txn: lmdb.Transaction, tables: Tables, alias: bytes) -> Iterator[Who]:
    """Yield the Services that ask for an alias, in the order in which they have it."""
    prefix = _prefix(alias)
    for key in scan_keys(txn, tables.meta, prefix):
        _, namespace, name, _ = key[len(prefix) :].decode().split("\0")
        yield namespace, name


def pointer(write: WriteTransaction, service: Mapping[str, Any]) -> str:
    """Return the alias to which a Service's addresses lead back, "" for its name in the cluster domain.

    That is the first that it has; a wildcard is nobody's name.
    """
    annotations = written(write, service)
    if service_aliases.PTR_ANNOTATION not in annotations:
        return ""
    found = service_aliases.read(annotations, write.settings.config.dns.alias_zones)
    who = service["metadata"]["namespace"], service["metadata"]["name"]
    names = (name for name in found.names if not service_aliases.is_wildcard(name))
    return next((n for n in names if found.is_pointer and holder(write, key_of(n)) == who), "")


def clear(txn: lmdb.Transaction, tables: Tables) -> None:
    """Forget all that Services ask for, before it is derived anew."""
    for key in list(scan_keys(txn, tables.meta, _PREFIX)):
        txn.delete(key, db=tables.meta)


def _prefix(alias: bytes) -> bytes:
    return _PREFIX + blake2b(alias, digest_size=_HASH_OCTETS).digest()
