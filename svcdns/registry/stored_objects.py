"""Objects that an older svcdns stored: read once as today's rules would have taken them.

Older versions took values that Kubernetes refuses, and filled in fewer defaults; a strict client fails on one
such object in a list. So at the first start of a version with other rules, every object is gone through: what
no decoder reads is taken out, defaults are filled in, and whatever else is wrong is named in the log. Each
step is a write like any other, of at most CHUNK objects.
"""

from __future__ import annotations

import logging
from itertools import islice
from typing import Any

from svcdns.cluster.endpoints import MANAGED_BY_LABEL, SERVICE_NAME_LABEL, is_mirrored
from svcdns.cluster.pod_conditions import brought_up_to_date
from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, POD, SERVICE, STORED, Kind
from svcdns.objects.scalars import without_unreadable
from svcdns.objects.schema import structure
from svcdns.objects.validation import validate

from . import mirroring, owners, probed, slices
from .derive import derive
from .transaction import WriteTransaction, collection_prefix, scan_keys

logger = logging.getLogger(__name__)

OBJECT_RULES = 4
"""Raised when objects that were stored before would be refused, get other defaults, or have other slices."""
CHUNK = 500
_MOST_NAMED = 100
_MADE_BY = b"objects made by"

Object = dict[str, Any]


class Renewal:
    """One pass over all stored objects; `step` is to be run as a write until it returns True."""

    def __init__(self) -> None:
        """Begin before the first object."""
        self._kinds = list(STORED)
        self._after = b""
        self._named = 0

    def step(self, write: WriteTransaction) -> bool:
        """Renew the next objects; return whether there are no others."""
        stored = write.txn.get(_MADE_BY, db=write.tables.meta)
        if stored is not None and int.from_bytes(stored) >= OBJECT_RULES:
            return True
        if not self._kinds:
            write.txn.put(_MADE_BY, OBJECT_RULES.to_bytes(4), db=write.tables.meta)
            write.changed = True
            return True
        kind = self._kinds[0]
        keys = list(
            islice(scan_keys(write.txn, write.tables.objects, collection_prefix(kind), self._after), CHUNK)
        )
        for key in keys:
            _, namespace, name = key.decode().split("\0")
            old = write.load(kind, namespace, name)
            if old is not None:
                self._renew(write, kind, old)
        if len(keys) < CHUNK:
            self._kinds.pop(0)
            self._after = b""
        else:
            self._after = keys[-1]
        return False

    def _renew(self, write: WriteTransaction, kind: Kind, old: Object) -> None:
        owners.index(write, kind, None, old)
        new, wrong = renewed(kind, old)
        if wrong:
            self._name(kind, old, wrong)
        if kind is ENDPOINTSLICE:
            new = self._without_our_mark(write, new)
        if kind is POD:
            new = brought_up_to_date(new, write.now)
            probed.note(write, new)
        if new != old:
            write.save(kind, old, new)
            derive(write, kind, old, new)
        if kind is SERVICE:
            slices.service_changed(write, None, new)
            mirroring.service_changed(write, None, new)

    def _without_our_mark(self, write: WriteTransaction, endpoint_slice: Object) -> Object:
        """Return a slice that mirrors no Endpoints as its user's own, which it was for older versions."""
        metadata = endpoint_slice["metadata"]
        labels = metadata.get("labels") or {}
        service = labels.get(SERVICE_NAME_LABEL, "")
        if (
            not is_mirrored(endpoint_slice)
            or write.load(ENDPOINTS, metadata["namespace"], service) is not None
        ):
            return endpoint_slice
        kept = {key: value for key, value in labels.items() if key != MANAGED_BY_LABEL}
        return {**endpoint_slice, "metadata": {**metadata, "labels": kept}}

    def _name(self, kind: Kind, obj: Object, wrong: list[str]) -> None:
        self._named += 1
        if self._named > _MOST_NAMED:
            return
        metadata = obj["metadata"]
        where = "/".join(part for part in (metadata.get("namespace", ""), metadata["name"]) if part)
        logger.warning(
            "%s %s was stored by an older svcdns and Kubernetes would refuse it: %s",
            kind.name,
            where,
            "; ".join(wrong)[:1000],
        )
        if self._named == _MOST_NAMED:
            logger.warning("and others: what is wrong with them is not listed")


def renewed(kind: Kind, old: Object) -> tuple[Object, list[str]]:
    """Return a stored object as it would be stored today, and what is wrong with it."""
    readable, wrong = without_unreadable(kind, old)
    try:
        body, _ = structure(kind, readable, "Ignore", fill_kind=True)
    except StatusError as refused:
        return old, [*wrong, refused.message]
    if "managedFields" in old["metadata"]:
        body = {**body, "metadata": {**body["metadata"], "managedFields": old["metadata"]["managedFields"]}}
    new = default(kind, body)
    for cause in validate(kind, new):
        wrong.append(f"{cause.field}: {cause.message}")
    return new, wrong
