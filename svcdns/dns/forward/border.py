"""Where ours ends and the upstreams' begins, as the newest snapshot says.

An upstream's answer may lead back to us by a CNAME.  Nobody but our zones speaks for our names, so such an
answer is cut at that CNAME, our zones go on from there, and it is never cached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from svcdns.dns import authority, cached, codes
from svcdns.dns.found import Case
from svcdns.dns.reading import Begin, never_raising
from svcdns.dns.view import View, ZoneTable
from svcdns.names.key import key_of_wire

from .alias import chain_targets
from .ask import Ask

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
        snapshot = self._begin()
        try:
            if snapshot is None or snapshot.serving is None:
                yield None
                return
            if self._table is None or self._table.serving is not snapshot.serving:
                self._table = ZoneTable(snapshot.serving, self._elsewhere)
            yield View(snapshot, self._table)
        finally:
            if snapshot is not None:
                snapshot.txn.abort()

    def origins(self) -> frozenset[bytes]:
        """Return the keys of our zones' origins, none while there is no store to read."""
        with self.view() as view:
            return frozenset() if view is None else frozenset(view.table.origin_octets)

    def leads_back(self, ask: Ask, stored: bytes) -> list[bytes]:
        """Return the targets of a packed reply's CNAMEs up to the first that is ours, [] if none is."""
        if ask.rrtype in (codes.CNAME, codes.ANY) or cached.rcode(stored) not in _SAYS_SOMETHING:
            return []
        targets = [target for target, _ in chain_targets(stored, ask.name)]
        if not targets:
            return []
        with self.view() as view:
            if view is not None:
                for number, target in enumerate(targets, 1):
                    if _is_ours(view, key_of_wire(target), ask.rrtype):
                        return targets[:number]
        return []


def _is_ours(view: View, key: bytes, rrtype: int) -> bool:
    """Say whether our zones answer for a name (those that fall through to upstreams may not)."""
    found = authority.find(view, key, rrtype, True)
    return found is not None and found.case is not Case.OUTSIDE
