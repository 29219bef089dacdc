"""A small world for the tests of `dns`: rows written by hand into a real store, and ways to ask.

Nothing of the rooms above is used: an RR is presentation format that dnspython packs.
"""

import ipaddress
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import lmdb

from svcdns.dns.answer import Answerer
from svcdns.dns.no_reply import Answer
from svcdns.dns.stats import UDP, Stats
from svcdns.names.packed import APEX, NEGATIVE_SOA, RRset, pack_row
from svcdns.store.environment import open_store
from svcdns.store.snapshot import SERVING, Serving, Snapshots, Zone, encode_serving
from svcdns.wire.header import QUESTION_NAME
from svcdns.wire.key import key_of, wire_of

Z = "cluster.local"
TTL = 5


@cache
def rr(rrtype: str, text: str, ttl: int = TTL, owner: bytes = QUESTION_NAME) -> bytes:
    """Return a stored RR from its RDATA in presentation format."""
    rdtype = dns.rdatatype.from_text(rrtype)
    rdata = dns.rdata.from_text(
        dns.rdataclass.IN, rdtype, text, origin=dns.name.root, relativize=False
    ).to_wire()
    assert rdata is not None
    return owner + int(rdtype).to_bytes(2) + b"\0\1" + ttl.to_bytes(4) + len(rdata).to_bytes(2) + rdata


def glue(owner: str, rrtype: str, text: str, ttl: int = TTL) -> bytes:
    """Return an additional RR, its owner spelt in full."""
    return rr(rrtype, text, ttl, wire_of(owner))


def rrset(rrtype: str, *texts: str, glue: tuple[bytes, ...] = (), ttl: int = TTL) -> RRset:
    """Return an RRset from RDATA in presentation format."""
    return RRset(int(dns.rdatatype.from_text(rrtype)), [rr(rrtype, text, ttl) for text in texts], glue)


def soa_sets(zone: str, serial: int = 7, negative_ttl: int = 3) -> list[RRset]:
    """Return the RRsets of an apex: SOA and its negative form."""
    text = f"ns.dns.{Z}. {_in('hostmaster', zone)} {serial} 7200 1800 86400 5"
    negative = RRset(NEGATIVE_SOA, [rr("SOA", text, negative_ttl)])
    return [negative, RRset(6, [rr("SOA", text)])]


def _in(label: str, zone: str) -> str:
    """Return a name in a zone, "" being the root, as zone files spell it."""
    return f"{label}.{zone}." if zone else f"{label}."


class AnswererHarness:
    """A store being filled, and an Answerer that reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_store(folder, role="writer")
        self.snapshots = Snapshots(self.store)
        self.counters = Stats()
        self.answerer = Answerer(self.counters, identity="worker-0")
        self._in_python = Answerer(Stats(), identity="worker-0")
        self.zones: list[Zone] = []
        self.settings: dict[str, object] = {
            "short_names": True,
            "pods": "verified",
            "own_reverse": (),
            "alias_zones": (),
        }
        self.epoch = 0
        self._txn: lmdb.Transaction | None = None

    @contextmanager
    def writing(self) -> Iterator[lmdb.Transaction]:
        """Open a write transaction, or go on in the one that is open (a flush to disk each takes long)."""
        if self._txn is not None:
            yield self._txn
            return
        with self.store.env.begin(write=True) as self._txn:
            try:
                yield self._txn
            finally:
                self._txn = None

    def put(self, name: str, *rrsets: RRset, flags: int = 0) -> None:
        """Store the row of a name in the registry's zones."""
        with self.writing() as txn:
            txn.put(key_of(name), pack_row(rrsets, flags), db=self.store.tables.answers_a)

    def drop(self, name: str) -> None:
        with self.writing() as txn:
            txn.delete(key_of(name), db=self.store.tables.answers_a)

    def put_file(self, zone: Zone, name: str, *rrsets: RRset, flags: int = 0) -> None:
        """Store the row of a name in a zone file's zone."""
        with self.writing() as txn:
            stored = zone.version.to_bytes(4) + key_of(name)
            txn.put(stored, pack_row(rrsets, flags), db=self.store.tables.zone_rows)

    def put_row(self, zone: Zone, key: bytes, row: bytes) -> None:
        """Store a row of a zone file's zone as it is."""
        with self.writing() as txn:
            txn.put(zone.version.to_bytes(4) + key, row, db=self.store.tables.zone_rows)

    def registry_zone(self, origin: str, kind: str, *, fallthrough: bool = False, serial: int = 7) -> None:
        """Serve a zone of the registry."""
        ns = rrset("NS", f"ns.dns.{Z}.", glue=(glue(f"ns.dns.{Z}", "A", "192.0.2.53"),))
        self.put(origin, *soa_sets(origin, serial), ns, flags=APEX)
        self.zones.append(Zone(origin + ".", key_of(origin), kind, fallthrough))
        self.serve()

    def file_zone(self, origin: str, *, cuts: bool = False, wildcards: bool = False, serial: int = 7) -> Zone:
        """Serve a zone file's zone, so far with an apex only."""
        zone = Zone(
            origin + ".",
            key_of(origin),
            "file",
            False,
            version=len(self.zones) + 1,
            cuts=cuts,
            wildcards=wildcards,
        )
        self.put_file(zone, origin, *soa_sets(origin, serial), rrset("NS", _in("ns1", origin)), flags=APEX)
        self.zones.append(zone)
        self.serve()
        return zone

    def serve(self, **settings: object) -> None:
        """Publish the zones and settings."""
        self.settings.update(settings)
        self.epoch += 1
        serving = Serving(
            table="a",
            cluster_key=key_of(Z),
            short_names=bool(self.settings["short_names"]),
            pods=str(self.settings["pods"]),
            ttl=TTL,
            zones=tuple(sorted(self.zones, key=lambda zone: -len(zone.key))),
            own_reverse=self.settings["own_reverse"],  # type: ignore[arg-type]
            fallthrough=tuple(zone.key for zone in self.zones if zone.fallthrough),
            alias_zones=self.settings["alias_zones"],  # type: ignore[arg-type]
            epoch=self.epoch,
        )
        with self.writing() as txn:
            txn.put(SERVING, encode_serving(serving), db=self.store.tables.meta)

    def raw(self, packet: bytes, transport: int = UDP) -> Answer:
        """Ask with any octets: the compiled path and the one in Python, which must say the same."""
        with self.snapshots.begin() as snapshot:
            chance = random.getstate()
            reply = self.answerer.answer(packet, snapshot, transport)
            random.setstate(chance)
            assert reply == self._in_python.answer(packet, snapshot, transport, left=True)
        return reply

    def ask(
        self, name: str, rrtype: str = "A", *, edns: int | None = None, transport: int = UDP, **more: object
    ) -> dns.message.Message:
        """Ask as a client does; `edns` is its UDP size.  The reply is checked for its basics."""
        query = dns.message.make_query(name, rrtype, use_edns=-1 if edns is None else 0, payload=edns or 0)
        for word, value in more.items():
            setattr(query, word, value)
        reply = self.raw(query.to_wire(), transport)
        assert isinstance(reply, bytes)
        message = dns.message.from_wire(reply)
        assert message.id == query.id
        assert message.flags & dns.flags.QR
        assert not message.flags & dns.flags.RA
        assert message.question[0].name.labels == query.question[0].name.labels
        assert (message.edns == 0) == (edns is not None)
        return message


def lines(section: list[dns.rrset.RRset]) -> list[str]:
    """Return a section's RRs as text, sorted."""
    return sorted(
        f"{rrset.name} {rrset.ttl} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}"
        for rrset in section
        for rdata in rrset
    )


def fill(world: AnswererHarness) -> AnswererHarness:
    """Register what most tests ask for."""
    with world.writing():
        _fill(world)
    return world


def _fill(world: AnswererHarness) -> None:
    world.registry_zone(Z, "cluster")
    for name in (f"svc.{Z}", f"pod.{Z}", f"default.svc.{Z}", f"default.pod.{Z}", f"empty.svc.{Z}"):
        world.put(name)
    world.put(f"dns-version.{Z}", rrset("TXT", '"1.1.0"', ttl=28800))
    world.put(f"ns.dns.{Z}", rrset("A", "192.0.2.53"))
    web = f"web.default.svc.{Z}"
    vip = (glue(web, "A", "10.96.0.10"), glue(web, "AAAA", "fd00::10"))
    addresses = (rrset("A", "10.96.0.10"), rrset("AAAA", "fd00::10"))
    world.put(web, *addresses, rrset("SRV", f"0 100 80 {web}.", glue=vip))
    world.put(f"_http._tcp.{web}", *addresses, rrset("SRV", f"0 50 80 {web}.", glue=vip))
    world.put(f"four.default.svc.{Z}", rrset("A", "10.96.0.4"))
    headless(world, "db", 5)
    headless(world, "many", 20)
    headless(world, "huge", 5000, a_only=True)
    world.put(f"ext.default.svc.{Z}", rrset("CNAME", "www.example.org."))
    world.put(f"away.default.svc.{Z}", rrset("CNAME", "www.elsewhere.info."))
    world.put(f"inner.default.svc.{Z}", rrset("CNAME", f"web.default.svc.{Z}."))
    world.put(f"short.default.svc.{Z}", rrset("CNAME", f"web.default.{Z}."))
    world.put(f"lost.default.svc.{Z}", rrset("CNAME", f"nothing.default.svc.{Z}."))
    world.put(f"loop1.default.svc.{Z}", rrset("CNAME", f"loop2.default.svc.{Z}."))
    world.put(f"loop2.default.svc.{Z}", rrset("CNAME", f"loop1.default.svc.{Z}."))
    for n in range(15):
        world.put(f"chain{n}.default.svc.{Z}", rrset("CNAME", f"chain{n + 1}.default.svc.{Z}."))
    world.put(f"chain15.default.svc.{Z}", rrset("A", "10.96.0.15"))
    world.registry_zone("10.in-addr.arpa", "reverse")
    world.put("10.0.96.10.in-addr.arpa", rrset("PTR", f"{web}."))


def headless(world: AnswererHarness, service: str, endpoints: int, *, a_only: bool = False) -> None:
    """Register a headless Service: labels of two sizes, so that its SRVs need an offset table."""
    addresses = [str(ipaddress.ip_address("10.1.0.0") + n) for n in range(endpoints)]
    base = f"{service}.default.svc.{Z}"
    targets = [f"{service}-{n}.{base}" for n in range(endpoints)]
    sets = [rrset("A", *addresses)]
    if not a_only:
        extra = tuple(glue(t, "A", a) for t, a in zip(targets, addresses, strict=True))
        sets.append(rrset("SRV", *(f"0 5 5432 {target}." for target in targets), glue=extra))
        for target, address in zip(targets, addresses, strict=True):
            world.put(target, rrset("A", address))
    world.put(base, *sets)
