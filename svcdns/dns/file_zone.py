"""Looking a name up in a zone file's zone: the algorithm of RFC 1034 section 4.3.2.

In this order: a delegation or DNAME above the name, the name itself, the name as an empty
non-terminal, the wildcard at the closest encloser (RFC 4592), NXDOMAIN.  `Zone.cuts` and
`Zone.wildcards` say which steps a zone can do without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from svcdns.names import packed
from svcdns.names.packed import CUT, DNAME
from svcdns.store.snapshot import Zone
from svcdns.wire import codes
from svcdns.wire.key import parent_keys, wire_of_key

from .lookup_result import LookupResult, State
from .registry_zone import in_row
from .view import View


def look_up(view: View, zone: Zone, key: bytes, rrtype: int) -> LookupResult:
    """Return what a zone file says about a name at or below its origin."""
    if zone.cuts and (above := _cut_or_dname(view, zone, key, rrtype)) is not None:
        return above
    row = view.row(zone, key)
    if row is not None:
        return in_row(row, zone, rrtype)
    if view.has_below(zone, key):
        return LookupResult(State.NODATA, zone)
    return _wildcard(view, zone, key, rrtype) if zone.wildcards else LookupResult(State.NXDOMAIN, zone)


def _cut_or_dname(view: View, zone: Zone, key: bytes, rrtype: int) -> LookupResult | None:
    """Return the topmost delegation or DNAME that the name is under."""
    for ancestor, row in ancestors(view, zone, key):
        if not row[0] & (CUT | DNAME):
            continue
        itself = ancestor == key
        if row[0] & CUT and ancestor != zone.key:
            # The DS of a delegation is the parent's to give (RFC 4035 section 3.1.4.1).
            if itself and rrtype == codes.DS:
                return in_row(row, zone, rrtype)
            section = packed.find(row, codes.NS)
            return LookupResult(State.DELEGATION, zone, section, len(wire_of_key(ancestor)), row=row)
        if row[0] & DNAME and not itself:
            section = packed.find(row, codes.DNAME)
            return LookupResult(State.DNAME, zone, section, len(wire_of_key(ancestor)), row=row)
    return None


def _wildcard(view: View, zone: Zone, key: bytes, rrtype: int) -> LookupResult:
    """Return the answer of the wildcard below the closest encloser of a name that doesn't exist."""
    wildcard = closest_encloser(view, zone, key) + b"*\0"
    row = view.row(zone, wildcard)
    if row is not None:
        return replace(in_row(row, zone, rrtype), wildcard=wildcard)
    if view.has_below(zone, wildcard):
        return LookupResult(State.NODATA, zone, wildcard=wildcard)
    return LookupResult(State.NXDOMAIN, zone)


def wildcard_row(view: View, zone: Zone, key: bytes) -> bytes | None:
    """Return the row of the wildcard that stands for a name without a row; None where none does."""
    if view.has_below(zone, key):
        return None
    return view.row(zone, closest_encloser(view, zone, key) + b"*\0")


def ancestors(view: View, zone: Zone, key: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and rows of the apex and of what is between it and a name, the name included."""
    below_apex = [ancestor for ancestor in parent_keys(key) if len(ancestor) > len(zone.key)]
    for ancestor in (zone.key, *reversed(below_apex)):
        if (row := view.row(zone, ancestor)) is not None:
            yield ancestor, row


def closest_encloser(view: View, zone: Zone, key: bytes) -> bytes:
    """Return the longest ancestor that exists of a name in the zone (RFC 4592 section 3.3.1)."""
    inside = [ancestor for ancestor in parent_keys(key)[1:] if len(ancestor) > len(zone.key)]
    return next((ancestor for ancestor in inside if view.has_below(zone, ancestor)), zone.key)
