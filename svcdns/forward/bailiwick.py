"""Where ours ends and the upstreams' begins, and the border between upstreams, as the newest snapshot says.

An upstream's answer may lead by a CNAME to a name that others speak for: our zones, or the upstreams of a
[[forward.zone]] that is not theirs.  Such an answer is cut at that CNAME, those others go on from there, and
it is never cached.  For all other names any upstream is believed: a resolver that answers for one zone
follows its aliases for us.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from svcdns.cache.entry import CacheEntry
from svcdns.dns import authority
from svcdns.dns.lookup_result import Case
from svcdns.dns.view import View, ZoneTable
from svcdns.store.snapshot import Begin, never_raising
from svcdns.wire import codes
from svcdns.wire.key import key_of_wire
from svcdns.wire.query import Query

from .cname_chains import chain_targets

_SAYS_SOMETHING = (codes.NOERROR, codes.NXDOMAIN)


class Border:
    """Says which names are ours."""

    def __init__(self, begin: Begin, elsewhere: Collection[bytes] = ()) -> None:
        """`begin` begins a snapshot, or returns None while there is no store to read.

        `elsewhere` are the keys of zones that have upstreams of their own.
        """
        self._elsewhere = elsewhere
        self._begin = never_raising(begin)
        self._table: ZoneTable | None = None

    @contextmanager
    def view(self) -> Iterator[View | None]:
        """Give a view of the newest snapshot, None if there is none; nothing may be awaited meanwhile."""
        with self._begin() as snapshot:
            if snapshot is None or snapshot.serving is None:
                yield None
                return
            if self._table is None or self._table.serving is not snapshot.serving:
                self._table = ZoneTable(snapshot.serving, self._elsewhere)
            yield View(snapshot, self._table)

    def zones(self) -> frozenset[tuple[str, bytes, int]]:
        """Return kind, key and version of each zone of ours, nothing while there is no store to read."""
        with self.view() as view:
            zones = () if view is None else view.serving.zones
            return frozenset((zone.kind, zone.key, zone.version) for zone in zones)

    def has_route(self, key: bytes) -> bool:
        """Say whether a zone (its key) has upstreams of its own."""
        return key in self._elsewhere

    def crossing(self, ask: Query, entry: CacheEntry) -> list[bytes]:
        """Return the targets of a packed reply's CNAMEs up to the first across the border, [] if none is."""
        if ask.rrtype in (codes.CNAME, codes.ANY) or entry.rcode not in _SAYS_SOMETHING:
            return []
        targets = [target for target, _ in chain_targets(entry, ask.name)]
        if not targets:
            return []
        with self.view() as view:
            if view is not None:
                for number, target in enumerate(targets, 1):
                    if _is_across(view, ask, key_of_wire(target)):
                        return targets[:number]
        return []


def _is_across(view: View, ask: Query, key: bytes) -> bool:
    """Say whether others than the upstreams that were asked speak for a name.

    A name of the cluster domain that falls through to upstreams may be registered at any moment.
    """
    found = authority.find(view, key, ask.rrtype, True)
    if found is not None and (found.case is not Case.OUTSIDE or found.zone.kind == "cluster"):
        return True
    there = view.table.route(key)
    return bool(there) and there != view.table.route(ask.key)
