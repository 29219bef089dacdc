"""What has changed in a zone since an earlier serial, for IXFR (RFC 1995): RRs that went, and RRs that came.

Several changes are shown as one (section 5 of the RFC).  Only the registry's zones have a history
(svcdns.store.row_log); a zone file is loaded as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from svcdns.names.row_parts import is_part, name_of
from svcdns.store import row_log
from svcdns.store.rows import scan
from svcdns.store.snapshot import Zone
from svcdns.wire import header

from .transfer_rows import OwnedRR, rrs_of_rows, serial, soa
from .view import View

MOST_OCTETS = 4 << 20
"""Changed rows of more octets are not compared: the whole zone is sent."""

Rows = Mapping[bytes, bytes | None]


def incremental(view: View, zone: Zone, since: int) -> Iterator[OwnedRR] | None:
    """Return the RRs of an IXFR from a serial to that of now, SOAs included; None: that is not known."""
    if zone.kind == "file":
        return None
    now = soa(view, zone)[header.POINTER_OCTETS :]
    txn, table = view.snapshot.txn, view.snapshot.store.tables.row_log
    before = row_log.rows_at(txn, table, zone.key, since, serial(now))
    if before is None or sum(len(row or b"") for row in before.values()) > MOST_OCTETS:
        return None
    at = len(now) - header.SOA_NUMBERS
    then = now[:at] + since.to_bytes(4) + now[at + 4 :]
    return _sequence((zone.key, then), (zone.key, now), *_difference(view, before))


def _sequence(then: OwnedRR, now: OwnedRR, gone: list[OwnedRR], came: list[OwnedRR]) -> Iterator[OwnedRR]:
    """Yield the RRs as RFC 1995 section 4 orders them."""
    yield now
    yield then
    yield from gone
    yield now
    yield from came
    yield now


def _difference(view: View, before: Rows) -> tuple[list[OwnedRR], list[OwnedRR]]:
    """Return the RRs that went, and those that came.

    A name whose row is kept in parts is compared as a whole: an RR may have moved from one part to another,
    or stand in two.
    """
    gone: list[OwnedRR] = []
    came: list[OwnedRR] = []
    for name in sorted({name_of(key) if is_part(key) else key for key in before}):
        now: dict[bytes, bytes | None] = dict(_rows_now(view, name))
        # What did not change was the same then.
        then = now | {key: row for key, row in before.items() if key == name or key.startswith(name + b"\0")}
        old, new = dict.fromkeys(_rrs(then)), dict.fromkeys(_rrs(now))
        gone += [rr for rr in old if rr not in new]
        came += [rr for rr in new if rr not in old]
    return gone, came


def _rows_now(view: View, name: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the row of a name, and its parts."""
    row = view.snapshot.row(name)
    if row is not None:
        yield name, row
    yield from scan(view.snapshot.txn, view.snapshot.answers, name + b"\0")


def _rrs(rows: Rows) -> Iterator[OwnedRR]:
    return rrs_of_rows((key, row, False) for key, row in sorted(rows.items()) if row is not None)
