"""Which plain path answers: the compiled one where it was built, else Python's.

`SVCDNS_FAST_PATH=python` forces the second.  The compiled path (compiled_path.c) walks names and copies rows;
which zones there are and what their names need it is told here, once for each change of the zones.  A zone
in which more than a row decides is described as one that is never plain, and Python answers there.
"""

from __future__ import annotations

import os
from random import random
from typing import TYPE_CHECKING, cast

from svcdns.cache.store import now
from svcdns.wire import codes

from . import stats
from .fast_path import Cached, PlainAnswer, no_cache
from .no_reply import NOT_PLAIN
from .stats import Stats
from .view import STATS_ZONE, View, ZoneTable

if TYPE_CHECKING:
    from .compiled_path import DescribedTable, DescribedZone, OpenedView, Path

VARIABLE = "SVCDNS_FAST_PATH"
COMPILED, PYTHON = "compiled", "python"

OF_FILE, NEVER, NO_NXDOMAIN, SIGNED, INSECURE_PODS, WILDCARDS = 1, 2, 4, 8, 16, 32
"""What a zone's flags say; compiled_lookup.h has the same."""

MOST_UDP = 4096
"""Octets of the buffers for UDP replies, and the most that dns.udp_size may be."""
_TYPES = {number: slot for number, slot in stats.TYPE_SLOT.items() if number != codes.ANY}


def in_use() -> str:
    """Return which path answers: COMPILED or PYTHON."""
    if os.environ.get(VARIABLE, "") == PYTHON:
        return PYTHON
    try:
        from . import compiled_path  # noqa: F401
    except ImportError:
        return PYTHON
    return COMPILED


def plain_path(
    counters: Stats, udp_size: int, in_python: PlainAnswer, cache: Cached = no_cache
) -> tuple[PlainAnswer, Path | None]:
    """Return what answers plain questions, and the compiled path where that comes first.

    `in_python` (svcdns.dns.fast_path) is all there is without it, and decides what it leaves; `cache` reads
    the cache of forwarded answers.
    """
    if in_use() == PYTHON or udp_size > MOST_UDP:
        return in_python, None
    path = compiled(counters, udp_size, in_python, cache)
    return cast(PlainAnswer, path.answer), path


def compiled(
    counters: Stats, udp_size: int, or_else: PlainAnswer | None = None, cache: Cached = no_cache
) -> Path:
    """Return the compiled path; `or_else` decides what it leaves.

    Raises ImportError where it was not built.
    """
    from .compiled_path import Path

    return Path(
        counters.slots,
        udp_size,
        _TYPES,
        describe,
        open_view,
        random,
        stats.PROTOCOL_STRIDE,
        stats.NODATA,
        stats.NXDOMAIN,
        NOT_PLAIN,
        or_else,
        cache,
        now,
        stats.FORWARD * stats.ZONE_STRIDE,
        stats.CACHE_HITS,
    )


def open_view(view: View) -> OpenedView:
    """Return what the compiled path reads a snapshot by."""
    snapshot = view.snapshot
    return view.table, snapshot.txn.get, snapshot.answers, snapshot.store.tables.zone_rows


def describe(table: ZoneTable) -> DescribedTable:
    """Return the zones as the compiled path knows them: in the order of their keys."""
    keys = sorted({zone.key for zone in table.serving.zones} | table.boundaries)
    zones: list[DescribedZone] = []
    around: list[int] = []
    for number, key in enumerate(keys):
        while around and not key.startswith(keys[around[-1]]):
            around.pop()
        zones.append(_described(table, key, around[-1] if around else -1))
        around.append(number)
    cluster = keys.index(table.cluster_key) if table.cluster is not None else -1
    return tuple(zones), cluster, table.cluster_key, table.svc_key, table.pod_key, table.serving.short_names


def _described(table: ZoneTable, key: bytes, above: int) -> DescribedZone:
    if not table.is_origin(key):
        # Names at and below it are not plain, unless a zone of ours begins further down.
        return None, key, NEVER, above, 0, b"", 0
    place = table.place(key)
    zone = table.registry_zone_at(key) or table.file_zone_at(key)
    assert zone is not None
    of_file = zone.kind == "file"
    flags = OF_FILE if of_file else 0
    if zone.cuts or (place.registry and place.file) or key.startswith(table.alias_zones):
        flags |= NEVER
    if zone.signed:
        flags |= SIGNED
    if zone.kind == "cluster":
        if table.pods_insecure:
            flags |= INSECURE_PODS
        if zone.fallthrough:
            flags |= NO_NXDOMAIN
    elif zone.fallthrough or table.has_origin_beneath(zone):
        flags |= NO_NXDOMAIN
    if zone.wildcards:
        flags |= WILDCARDS
    slot = STATS_ZONE[zone.kind] * stats.ZONE_STRIDE
    prefix = zone.version.to_bytes(4) if of_file else b""
    return zone, key, flags, above, slot, prefix, table.origin_octets[key]
