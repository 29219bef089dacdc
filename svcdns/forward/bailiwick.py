"""Whose a name is: our zones', or that of some upstreams; as the newest snapshot says.

An upstream's answer may lead by a CNAME out of its bailiwick (RFC 9499): to a name in our zones, or to one in
a [[forward.zone]] that has other upstreams.  Such an answer is cut at that CNAME, those who speak for the
target go on from there, and it is never cached.  For all other names any upstream is believed: a resolver
that answers for one zone follows its CNAMEs for us.  One that doesn't, as it only has that zone, leaves its
CNAME without an end: that is followed by whoever speaks for the target, too.

What stands beside an answer (authority and additional section) about names that others speak for is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from svcdns.cache.entry import CacheEntry, is_fresh, is_nodata
from svcdns.dns import authority
from svcdns.dns.aliases import ALIASES
from svcdns.dns.lookup_result import State
from svcdns.dns.view import View, ZoneTable
from svcdns.store.snapshot import Begin, never_raising
from svcdns.wire import codes
from svcdns.wire.key import key_of_wire
from svcdns.wire.query import Query
from svcdns.wire.response import Response, without

from .cname_chains import cname_targets

_OF_ALIASES = (codes.A, codes.AAAA, codes.CNAME, codes.SRV)
"""Types that an alias may come to have at any moment."""
_HAS_RECORDS = (codes.NOERROR, codes.NXDOMAIN, codes.YXDOMAIN)

ZoneVersion = tuple[str, bytes, int]
"""Kind, key and version of a zone of ours."""


class Bailiwick:
    """Says who speaks for which names."""

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

    def zones(self) -> frozenset[ZoneVersion] | None:
        """Return all zones of ours and those for aliases, None while there is no store to read."""
        with self.view() as view:
            if view is None:
                return None
            ours = ((zone.kind, zone.key, zone.version) for zone in view.serving.zones)
            return frozenset((*ours, *((ALIASES.kind, key, 0) for key in view.serving.alias_zones)))

    def has_upstreams(self, key: bytes) -> bool:
        """Say whether a zone (its key) has upstreams of its own."""
        return key in self._elsewhere

    def scrubbed(self, query: Query, response: Response) -> Response:
        """Return a response without what it says, beside the answer, about names that others speak for.

        Raises Garbage for one that has no room for the rest once its names are spelt in full.
        """
        if not any(response.counts[1:]):
            return response
        with self.view() as view:
            if view is None:
                return response

            def is_others(owner: bytes, rrtype: int) -> bool:
                key = key_of_wire(owner)
                if key == query.key or _is_negative_soa(query, key, rrtype):
                    return False
                if rrtype in _OF_ALIASES and view.table.alias_zone(key) is not None:
                    return True
                return _is_out_of_bailiwick(view, replace(query, rrtype=rrtype), key)

            return without(response, query, is_others)

    def departure(self, query: Query, entry: CacheEntry) -> list[bytes]:
        """Return where an entry's CNAMEs lead out of bailiwick, [] where they stay in it.

        That is their targets on the wire, from the first up to the first that others speak for; all of them
        where nothing is said about the last, not even that it has no data (RFC 2308 section 2.2).
        """
        if not entry.has_cname or query.rrtype in (codes.CNAME, codes.ANY) or entry.rcode not in _HAS_RECORDS:
            return []
        targets = [target for target, _ in cname_targets(entry, query.name)]
        if not targets:
            return []
        with self.view() as view:
            if view is not None:
                for number, target in enumerate(targets, 1):
                    if _is_out_of_bailiwick(view, query, key_of_wire(target)):
                        return targets[:number]
        says_nothing = is_nodata(entry.stored) and not is_fresh(entry.stored, entry.stored_at)
        return targets if says_nothing else []


def _is_negative_soa(query: Query, key: bytes, rrtype: int) -> bool:
    """Say whether an RR may be the SOA of the zone in which upstreams have not found the question's name.

    That zone may be one of ours which leaves the name to them.
    """
    return rrtype == codes.SOA and query.key.startswith(key)


def _is_out_of_bailiwick(view: View, query: Query, key: bytes) -> bool:
    """Say whether others than the upstreams that were asked speak for a name.

    A name of the cluster domain that falls through to upstreams may be registered at any moment, and so may
    an alias.  CNAMEs from one name that may be an alias to another stay: each who takes them from the cache
    looks where they lead.
    """
    if view.table.alias_zone(key) is not None and view.table.alias_zone(query.key) is None:
        return True
    found = authority.find(view, key, query.rrtype, True)
    if found is not None and (found.state is not State.OUTSIDE or found.zone.kind == "cluster"):
        return True
    there = view.table.route(key)
    return bool(there) and there != view.table.route(query.key)
