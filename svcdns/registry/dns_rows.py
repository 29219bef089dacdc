"""Rebuilding touched names: once for all writes of a commit, from all facts that feed them.

Answers belong to owner names, not to objects: nothing here knows which write touched a name.  A row
that comes out the same is not written.  A zone's SOA serial moves once a commit, and only when one of
the zone's rows changed: max(serial + 1, unix time) in RFC 1982 arithmetic.  Where zones may be transferred,
what the rows were before is logged with it (svcdns.store.row_log).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import lmdb

from svcdns.names.alias_rows import alias_row
from svcdns.names.apex_rows import EMPTY, apex_row, fixed_rows
from svcdns.names.cluster_names import reverse_key
from svcdns.names.packed import PARTS, RRset, pack_row
from svcdns.names.records import address_rr, rrsets_by_type
from svcdns.names.row_parts import ROOT, is_part, name_of
from svcdns.names.service_rows import EndpointRow, endpoint_name_row, service_rows
from svcdns.objects.kinds import SERVICE
from svcdns.objects.service_addresses import is_headless
from svcdns.store import row_log
from svcdns.store.rows import has_any
from svcdns.wire import codes
from svcdns.wire.name import MAX_NAME_OCTETS, BadName

from . import alias_claims, facts, ready_endpoints
from .endpoint_parts import EndpointParts
from .transaction import Object, Touched, WriteTransaction, joined, put_or_delete, scan, scan_keys

SERIAL = b"serial "
_SERIAL_SPACE = 1 << 32


@dataclass(slots=True)
class AnswerTable:
    """One table of answers (a or b), and which zones changed in it during this commit."""

    write: WriteTransaction
    table: lmdb._Database
    changed_zones: set[bytes] = field(default_factory=set)
    before: dict[bytes, bytes | None] | None = None
    """Changed rows as they were, None where nobody may transfer zones."""

    def put(self, key: bytes, row: bytes | None) -> None:
        """Bring the row of one owner name, or of a part of it, to a state; None: there is none.

        A name that can't be asked for has no row.
        """
        if not can_be_asked(key):
            return
        before: bytes | None = None
        if self.before is not None:
            before = self.write.txn.get(key, db=self.table)  # type: ignore[assignment]  # no buffers
        if put_or_delete(self.write.txn, self.table, key, row):
            self._note(key, before)

    def put_new(self, key: bytes, row: bytes) -> None:
        """Put the row of an owner name that is known to have none; see `put`."""
        if can_be_asked(key):
            self.write.txn.put(key, row, db=self.table)
            self._note(key, None)

    def _note(self, key: bytes, before: bytes | None) -> None:
        """Note that a row has changed; `before` is it as it was."""
        if (zone := self.zone_of(key)) is not None:
            self.changed_zones.add(zone)
            if self.before is not None:
                self.before.setdefault(key, before)

    def zone_of(self, key: bytes) -> bytes | None:
        """Return the zone of ours that a name is in; an alias is in none, so no serial goes with it."""
        settings = self.write.settings
        if key.startswith(settings.names.apex):
            return settings.names.apex
        within = [zone for _, zone in settings.reverse_zones if key.startswith(zone)]
        return max(within, key=len, default=None)


def can_be_asked(key: bytes) -> bool:
    """Return whether a name, or that of a part, is not too long for DNS (below a long cluster domain)."""
    return len(key) < MAX_NAME_OCTETS or (is_part(key) and len(name_of(key)) < MAX_NAME_OCTETS)


def rebuild(answers: AnswerTable, touched: Touched) -> None:
    """Rebuild every touched name."""
    for namespace in sorted(touched.namespaces):
        put_namespace(answers, namespace)
    labels: dict[tuple[str, str], set[str]] = {}
    for namespace, service, label in touched.endpoints:
        labels.setdefault((namespace, service), set()).add(label)
    for who in sorted(touched.services | labels.keys()):
        _service(answers, *who, None if who in touched.services else labels[who])
    for namespace, service, label in sorted(touched.endpoints):
        _endpoint(answers, namespace, service, label)
    for address in sorted(touched.addresses):
        _reverse(answers, address)
    for namespace, address in sorted(touched.pods):
        _pod(answers, namespace, address)
    for alias in sorted(touched.aliases):
        put_alias(answers, alias)


def put_namespace(answers: AnswerTable, namespace: str) -> None:
    """Rebuild the names of a namespace: one that exists is NODATA, also when it holds nothing (A8, A9)."""
    names = answers.write.settings.names
    row = EMPTY if facts.is_visible(answers.write, namespace) else None
    answers.put(names.namespace(namespace), row)
    pods = answers.write.settings.config.dns.pods
    answers.put(names.pod_namespace(namespace), None if pods == "disabled" else row)


def _service(answers: AnswerTable, namespace: str, name: str, labels: set[str] | None) -> None:
    """Rebuild a Service's own names; `labels` are those of endpoints that changed, None if it did itself."""
    write = answers.write
    base = write.settings.names.service(namespace, name)
    parts = EndpointParts(write, answers.table, (namespace, name), base)
    if (row := parts.own_row()) is None:  # it is new, and has none below its own name either
        for key, made in _service_rows(write, namespace, name, parts).items():
            answers.put_new(key, made)
        return
    were_there = bool(row[0] & PARTS)
    if were_there and labels is not None and parts.update(labels, answers.put):
        return
    standing = list(parts.standing_names())
    if were_there:
        standing += [key for name in standing for key in parts.standing_parts(name)]
    rows = _service_rows(write, namespace, name, parts)
    for key in dict.fromkeys((*standing, *rows)):
        answers.put(key, rows.get(key))


def _service_rows(
    write: WriteTransaction, namespace: str, name: str, parts: EndpointParts
) -> dict[bytes, bytes]:
    service = write.load(SERVICE, namespace, name)
    if service is None or not facts.is_visible(write, namespace):
        return {}
    most = ROOT.capacity + 1
    return rows_of(parts, service, lambda: ready_endpoints.endpoints_of(write, namespace, name, at_most=most))


def rows_of(
    parts: EndpointParts, service: Object, endpoints: Callable[[], list[EndpointRow]]
) -> dict[bytes, bytes]:
    """Return the rows of a visible Service's own names.

    `endpoints` returns its ready ones, or more of them than one row has room for.
    """
    write = parts.write
    basis = facts.service_facts(write, service)
    headless = is_headless(service["spec"])
    may_hide = write.settings.config.dns.ignore_empty_service and not headless and not basis.external_name
    if may_hide and not has_any(write.txn, write.tables.endpoints, joined(*parts.service)):
        return {}  # B3
    found = endpoints() if headless else []
    if len(found) > ROOT.capacity:
        return parts.all_rows()
    try:
        rows = service_rows(write.settings.names, basis, found)
    except BadName:
        return {}  # its own name is too long
    return {parts.base + suffix: row for suffix, row in rows.items()}


def _endpoint(answers: AnswerTable, namespace: str, service: str, label: str) -> None:
    rows = ready_endpoints.endpoints_of(answers.write, namespace, service, label)
    key = answers.write.settings.names.endpoint(namespace, service, label)
    answers.put(key, endpoint_name_row(rows))


def _reverse(answers: AnswerTable, address: bytes) -> None:
    put_reverse(answers, address, scan(answers.write.txn, answers.write.tables.addresses, address))


def put_reverse(answers: AnswerTable, address: bytes, rows: Iterable[tuple[bytes, bytes]]) -> None:
    """Put the row of a reverse name, as the rows of `addresses` of this address have it.

    The PTR of a cluster IP hides those of endpoints (F1, F2).
    """
    settings = answers.write.settings
    key = reverse_key(facts.unpacked(address))
    if not any(key.startswith(zone) for _, zone in settings.reverse_zones):
        return
    by_rank: dict[int, list[bytes]] = {}
    for fact, rr in rows:
        if not rr:
            continue  # a Pod's: registered, and without a name of its own
        by_rank.setdefault(fact[len(address)], []).append(rr)
    pointers = by_rank.get(facts.VIP[0]) or [rr for rank in sorted(by_rank) for rr in by_rank[rank]]
    row = pack_row([RRset(codes.PTR, list(dict.fromkeys(pointers)))]) if pointers else None
    answers.put(key, row)


def _pod(answers: AnswerTable, namespace: str, address: bytes) -> None:
    write = answers.write
    put_pod(
        answers,
        namespace,
        address,
        lives=has_any(write.txn, write.tables.pod_ips, joined(namespace) + address),
    )


def put_pod(answers: AnswerTable, namespace: str, address: bytes, *, lives: bool) -> None:
    """Put the row of A-B-C-D.NS.pod; `lives`: a Pod there has that address."""
    settings = answers.write.settings
    if settings.config.dns.pods != "verified":
        return
    ip = facts.unpacked(address)
    row = pack_row(rrsets_by_type([address_rr(ip, settings.ttl)])) if lives else None
    answers.put(settings.names.pod(namespace, ip), row)


def put_alias(answers: AnswerTable, alias: bytes) -> None:
    """Rebuild an alias: it leads to the Service that has it by now."""
    holder = alias_claims.holder(answers.write, alias)
    names = answers.write.settings.names
    answers.put(alias, None if holder is None else alias_row(names.service(*holder)))


def put_fixed_rows(answers: AnswerTable) -> None:
    """Put the rows that do not follow from objects; the apexes come with `move_serials`."""
    settings = answers.write.settings
    for key, row in fixed_rows(settings.names, settings.ttl, settings.servers).items():
        answers.put(key, row)


def move_serials(answers: AnswerTable, clock: int | None, zones: Iterable[bytes] | None = None) -> None:
    """Give each zone that changed its next serial and write its apex; `clock` as for `next_serial`."""
    write, settings = answers.write, answers.write.settings
    for zone in sorted(answers.changed_zones if zones is None else zones):
        stored = write.txn.get(SERIAL + zone, db=write.tables.meta)
        old = int.from_bytes(stored) if stored is not None else None
        serial = next_serial(old, clock)
        write.txn.put(SERIAL + zone, serial.to_bytes(4), db=write.tables.meta)
        dns = settings.config.dns
        row = apex_row(settings.names, serial, dns.ttl, dns.negative_ttl, settings.servers)
        write.txn.put(zone, row, db=answers.table)
        if answers.before is not None and old is not None:
            rows = [(key, was) for key, was in answers.before.items() if answers.zone_of(key) == zone]
            row_log.append(write.txn, write.tables.row_log, row_log.Change(zone, old, serial, rows))


def forget_serials(txn: lmdb.Transaction, meta: lmdb._Database) -> None:
    """Forget which serials zones had: they are given others by another clock."""
    for key in list(scan_keys(txn, meta, SERIAL)):
        txn.delete(key, db=meta)


def next_serial(serial: int | None, clock: int | None) -> int:
    """Return the serial after this one: the clock where that is ahead of it, else one more (RFC 1982).

    `clock` is unix time in seconds, or what counts changes of all zones; None: there is none.
    """
    if clock is None:
        clock = serial or 0
    clock %= _SERIAL_SPACE
    if serial is None:
        return clock
    following = (serial + 1) % _SERIAL_SPACE
    # at a distance of exactly half the space neither is newer (RFC 1982, section 3.2)
    ahead = (clock - following) % _SERIAL_SPACE < _SERIAL_SPACE // 2 - 1
    return clock if ahead else following
