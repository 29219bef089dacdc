"""Zones of all kinds and a cache of forwarded answers of all kinds, as far as a worker sees it: a dict."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from msgspec.structs import replace
from toolbox.answerer_harness import AnswererHarness, Z, fill, rrset
from toolbox.cached_replies import CONFIG, NOW, SOA, received

from svcdns.cache import entry
from svcdns.dns.access import FORWARD, NAMES, TRANSFER
from svcdns.names.packed import CUT
from svcdns.wire import codes
from svcdns.wire.key import key_of

RD, CD, AD = 0x0100, 0x0010, 0x0020
BOTH = NAMES | FORWARD
OPTS = [
    b"",
    b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
    b"\0\0\x29\x02\x00\0\0\x80\0\0\0",
    b"\0\0\x29\x10\x00\0\0\0\0\0\x0c\0\x0a\0\x0812345678",
    b"\0\0\x29\x10\x00\0\1\0\0\0\0",
]
FALLS = "192.in-addr.arpa"
ABOVE = ["local", "arpa", "in-addr.arpa", "example", "."]
RIGHTS = [0, NAMES, FORWARD, NAMES | FORWARD, NAMES | FORWARD | TRANSFER]
TYPES = {"A": 1, "AAAA": 28, "MX": 15, "TXT": 16, "HTTPS": 65, "DS": 43, "ANY": 255, "PTR": 12}


def question(name: bytes, rrtype: int, flags: int = RD, opt: bytes = b"") -> bytes:
    head = b"\x11\x22" + flags.to_bytes(2) + b"\0\1\0\0\0\0\0" + (b"\1" if opt else b"\0")
    return head + name + rrtype.to_bytes(2) + b"\0\1" + opt


@contextmanager
def every_zone(folder: Path) -> Iterator[AnswererHarness]:
    """A world with zones of every kind, some of which fall through; no test may change it."""
    world = AnswererHarness(folder / "data")
    with world.writing():
        fill(world)
        zone = world.file_zone("corp.example", wildcards=True)
        world.put_file(zone, "www.corp.example", rrset("A", "192.0.2.1"))
        world.put_file(zone, "out.corp.example", rrset("CNAME", "www.example.com."))
        world.put_file(zone, "alias.corp.example", rrset("CNAME", "any.w.corp.example."))
        world.put_file(zone, "*.w.corp.example", rrset("A", "192.0.2.2"))
        cut = world.file_zone("cut.example", cuts=True)
        world.put_file(cut, "sub.cut.example", rrset("NS", "ns.example.com."), flags=CUT)
        world.registry_zone(FALLS, "reverse", fallthrough=True)
        world.put(f"1.1.1.{FALLS}", rrset("PTR", f"web.default.svc.{Z}."))
        world.file_zone(f"168.{FALLS}")
        world.serve(own_reverse=(key_of(f"8.{FALLS}"),))
    yield world
    world.store.close()


def addresses(name: str, count: int) -> list[str]:
    return [f"{name}. 300 IN A 198.51.100.{number}" for number in range(count)]


def kinds(name: str, now: int = NOW) -> dict[str, bytes]:
    """Return stored forms of all kinds for a name, packed or failed some seconds ago."""
    then = now - 2
    name = name.rstrip(".")
    soa = received("A", authority=[SOA], rcode=codes.NXDOMAIN, name=name)
    two = received("A", addresses(name, 2), name=name)
    spare = [f"example.com. 300 IN NS ns{n}.example.com." for n in range(9)]
    glue = [f"ns{n}.example.com. 300 IN A 192.0.2.{n}" for n in range(9)]
    chain = [f"{name}. 60 IN CNAME there.example.net.", "there.example.net. 300 IN A 192.0.2.9"]
    gone = entry.decode(entry.pack(soa, now - 400, CONFIG)).stale(then)
    old = entry.decode(entry.pack(two, now - 400, CONFIG)).stale(then)
    assert gone is not None
    assert old is not None
    return {
        "now": entry.pack(two, now, CONFIG),
        "fresh": entry.pack(two, then, CONFIG),
        "one": entry.pack(received("A", addresses(name, 1), name=name), then, CONFIG),
        "chain": entry.pack(received("A", chain, name=name), then, CONFIG),
        "chain-nodata": entry.pack(received("A", chain[:1], [SOA], name=name), then, CONFIG),
        "stale": old,
        "stale-nxdomain": gone,
        "over": entry.pack(two, now - 301, CONFIG),
        "just-over": entry.pack(two, now - 300, CONFIG),
        "just-not-over": entry.pack(two, now - 299, CONFIG),
        "failure": entry.failure(codes.EDE_NOT_AUTHORITATIVE, then),
        "failure-text": entry.failure(codes.EDE_NO_REACHABLE_UPSTREAM, then, "no upstream answered"),
        "failure-over": entry.failure(codes.EDE_NO_REACHABLE_UPSTREAM, now - 5, "no upstream answered"),
        "truncated": entry.pack(replace(two, truncated=True), then, CONFIG),
        "twenty": entry.pack(received("A", addresses(name, 20), name=name), then, CONFIG),
        "two-hundred": entry.pack(received("A", addresses(name, 200), name=name), then, CONFIG),
        "spare": entry.pack(received("A", addresses(name, 20), spare, glue, name=name), then, CONFIG),
        "nxdomain": entry.pack(soa, then, CONFIG),
        "nodata": entry.pack(received("A", authority=[SOA], name=name), then, CONFIG),
        "ede": entry.pack(replace(two, ede=18), then, CONFIG),
        "yxdomain": entry.pack(replace(two, rcode=codes.YXDOMAIN), then, CONFIG),
        "extended": entry.pack(replace(two, rcode=23), then, CONFIG),
    }


def cache_of(names: dict[str, str], now: int = NOW) -> dict[bytes, bytes]:
    """Return a cache that has, for each name, one kind for all types and flags."""
    found = {}
    for name, kind in names.items():
        stored = kinds(name, now)[kind]
        for rrtype, do, cd in product(TYPES.values(), (False, True), (False, True)):
            found[entry.key(key_of(name), rrtype, do, cd)] = stored
    return found
