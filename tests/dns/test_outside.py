"""Names that are not ours, as a worker answers them: from the cache, by handing over, or by refusing.

What is ours is never handed over and never looked for in the cache; only who may is served.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

import dns.flags
import dns.message
import dns.rcode
import pytest
from cached_world import NOW
from dns_world import World, Z, fill, rrset
from hypothesis import given, settings
from hypothesis import strategies as st
from outside_world import RIGHTS, TYPES, cache_of, kinds

from svcdns.dns import answer, codes, plain, tally
from svcdns.dns.access import FORWARD, NAMES, TRANSFER
from svcdns.dns.answer import Answerer
from svcdns.dns.handover import HAND_OVER
from svcdns.dns.plain import PlainPath
from svcdns.dns.tally import TCP, UDP
from svcdns.names.key import key_of, key_of_labels, wire_of
from svcdns.names.packed import CUT

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
OUTSIDE = "example.com"
FRESH = kinds(OUTSIDE)["fresh"]


def question(name: bytes, rrtype: int, flags: int = RD, opt: bytes = b"") -> bytes:
    head = b"\x11\x22" + flags.to_bytes(2) + b"\0\1\0\0\0\0\0" + (b"\1" if opt else b"\0")
    return head + name + rrtype.to_bytes(2) + b"\0\1" + opt


@pytest.fixture(autouse=True)
def _same_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "now", lambda: NOW)
    monkeypatch.setattr(plain, "now", lambda: NOW)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with zones of every kind, some of which fall through; no test may change it."""
    world = World(tmp_path_factory.mktemp("full") / "data")
    with world.writing():
        fill(world)
        zone = world.file_zone("corp.example", wildcards=True)
        world.put_file(zone, "www.corp.example", rrset("A", "192.0.2.1"))
        world.put_file(zone, "out.corp.example", rrset("CNAME", "www.example.com."))
        world.put_file(zone, "*.w.corp.example", rrset("A", "192.0.2.2"))
        cut = world.file_zone("cut.example", cuts=True)
        world.put_file(cut, "sub.cut.example", rrset("NS", "ns.example.com."), flags=CUT)
        world.registry_zone(FALLS, "reverse", fallthrough=True)
        world.put(f"1.1.1.{FALLS}", rrset("PTR", f"web.default.svc.{Z}."))
        world.file_zone(f"168.{FALLS}")
        world.serve(own_reverse=(key_of(f"8.{FALLS}"),))
    yield world
    world.store.close()


def exact_only(counters: tally.Tally, cache: dict[bytes, bytes]) -> Answerer:
    exact = Answerer(counters, cache=cache.get, forwards=True)
    exact._plain = lambda *_: None  # type: ignore[method-assign,assignment]
    return exact


OURS = [
    Z,
    f"web.default.svc.{Z}",
    f"nothing.default.svc.{Z}",
    f"many.default.svc.{Z}",
    f"away.default.svc.{Z}",
    f"inner.default.svc.{Z}",
    f"1-2-3-4.default.pod.{Z}",
    "10.0.96.10.in-addr.arpa",
    "1.1.1.10.in-addr.arpa",
    FALLS,
    f"1.1.1.{FALLS}",
    f"1.1.{FALLS}",
    f"9.9.9.{FALLS}",
    f"x.1.1.1.{FALLS}",
    f"1.1.8.{FALLS}",
    f"1.1.168.{FALLS}",
    "www.corp.example",
    "out.corp.example",
    "x.w.corp.example",
    "no.corp.example",
    "x.sub.cut.example",
]
ABOVE = ["local", "arpa", "in-addr.arpa", "example", "."]
UNKNOWN = ["never.example.net", "cluster.locals", "xcluster.local", "10.in-addr.arpa.example.net"]


def test_plain_path_says_what_the_exact_one_says_with_forwarding(full: World) -> None:
    """Octet for octet, and in every counter, for the same random numbers and whoever asks."""
    known = {f"{kind}.{OUTSIDE}": kind for kind in kinds(OUTSIDE)}
    known |= {"local": "nxdomain", "in-addr.arpa": "fresh", "example": "failure", ".": "nodata"}
    known |= {f"9.9.9.{FALLS}": "nxdomain", f"8.9.9.{FALLS}": "fresh", f"web.default.svc.{Z}": "fresh"}
    cache = cache_of(known)
    counters = tally.Tally(), tally.Tally()
    both = Answerer(counters[0], cache=cache.get, forwards=True)
    exact = exact_only(counters[1], cache)
    taken = 0
    for pods in ("verified", "insecure"):
        full.serve(pods=pods)
        snapshot = full.snapshots.begin()
        outside = [*known, *ABOVE, *UNKNOWN] if pods == "verified" else []
        names = [wire_of(name) for name in dict.fromkeys([*outside, *OURS])]
        flags = (RD, RD | CD | AD, 0, CD)
        types = [TYPES[rrtype] for rrtype in ("A", "PTR", "DS", "ANY")]
        for name, rrtype, opt, flag in product(names, types, OPTS, flags):
            packet = question(name, rrtype, flag, opt)
            for transport, rights in product((UDP, TCP), RIGHTS):
                random.seed(7)
                one = both.answer(packet, snapshot, transport, rights)
                random.seed(7)
                other = exact.answer(packet, snapshot, transport, rights)
                assert one == other, (name, rrtype, opt, flag, transport, rights)
        view = exact._view
        assert view is not None
        path = PlainPath(tally.Tally(), 1232, cache.get)
        taken += sum(path.answer(question(name, 1), view, UDP, BOTH) is not None for name in names)
        snapshot.txn.abort()
    assert taken > 40
    assert counters[0].slots == counters[1].slots
    assert not counters[0].slots[tally.PANICS]


@pytest.mark.parametrize("transport", [UDP, TCP])
@pytest.mark.parametrize("opt", OPTS[:4])
@pytest.mark.parametrize(
    ("kind", "rcode", "answers"),
    [
        ("fresh", "NOERROR", 2),
        ("stale", "NOERROR", 2),
        ("chain", "NOERROR", 2),
        ("nxdomain", "NXDOMAIN", 0),
        ("nodata", "NOERROR", 0),
        ("failure", "SERVFAIL", 0),
        ("failure-text", "SERVFAIL", 0),
        ("over", "", 0),
        ("just-over", "", 0),
        ("just-not-over", "NOERROR", 2),
        ("failure-over", "", 0),
        ("truncated", "", 0),
    ],
)
def test_what_is_fresh_is_answered_here(
    full: World, kind: str, rcode: str, answers: int, opt: bytes, transport: int
) -> None:
    name = f"{kind}.{OUTSIDE}"
    answerer = Answerer(tally.Tally(), cache=cache_of({name: kind}).get, forwards=True)
    snapshot = full.snapshots.begin()
    wire = answerer.answer(question(wire_of(name), 1, RD | CD, opt), snapshot, transport, BOTH)
    snapshot.txn.abort()
    assert wire is not None
    if not rcode:
        assert wire == HAND_OVER
        assert not any(answerer.counters.slots)
        return
    reply = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert dns.rcode.to_text(reply.rcode()) == rcode
    assert len(reply.answer) == answers
    assert reply.flags & ~0xF == dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.CD
    assert (reply.edns == 0) == bool(opt)
    slots = answerer.counters.slots
    assert slots[tally.CACHE_HITS] == 1
    (count,) = tally.replies(slots)
    nodata = kind == "nodata"
    counted = "NODATA" if nodata else rcode
    assert count == ("A", counted, tally.PROTOCOLS[transport], "forward", 1)


@pytest.mark.parametrize("kind", ["nxdomain", "stale-nxdomain"])
@pytest.mark.parametrize("name", ABOVE)
def test_names_above_ours_exist_whatever_the_cache_says(full: World, name: str, kind: str) -> None:
    answerer = Answerer(tally.Tally(), cache=cache_of({name: kind}).get, forwards=True)
    snapshot = full.snapshots.begin()
    for transport, opt in product((UDP, TCP), OPTS[:3]):
        wire = answerer.answer(question(wire_of(name), 1, RD, opt), snapshot, transport, BOTH)
        assert wire
        assert dns.message.from_wire(wire).rcode() == dns.rcode.NOERROR
    snapshot.txn.abort()


@pytest.mark.parametrize(
    ("rights", "flags", "forwards", "why"),
    [(NAMES, RD, True, 18), (0, RD, True, 18), (BOTH, 0, True, 20), (NAMES, RD, False, 20)],
)
def test_refusals_say_why(full: World, rights: int, flags: int, forwards: bool, why: int) -> None:
    def never(_: bytes) -> bytes | None:
        raise AssertionError("the cache is for those who may")

    answerer = Answerer(tally.Tally(), cache=never, forwards=forwards)
    snapshot = full.snapshots.begin()
    for name in [*UNKNOWN, *ABOVE]:
        wire = answerer.answer(question(wire_of(name), 1, flags, OPTS[1]), snapshot, UDP, rights)
        assert wire
        reply = dns.message.from_wire(wire)
        assert reply.rcode() == dns.rcode.REFUSED
        assert [int(error.code) for error in reply.extended_errors()] == [why]
        assert bool(reply.flags & dns.flags.RA) is bool(rights & FORWARD)
    snapshot.txn.abort()


@pytest.mark.parametrize("transport", [UDP, TCP])
@pytest.mark.parametrize("opt", OPTS[:4])
@pytest.mark.parametrize(
    ("name", "links"),
    [("never.example.net", 0), ("local", 0), (f"9.9.9.{FALLS}", 0), (f"away.default.{Z}", 1)],
)
def test_what_cannot_be_handed_over_is_servfail(
    full: World, name: str, links: int, opt: bytes, transport: int
) -> None:
    answerer = Answerer(tally.Tally(), forwards=True)
    packet = question(wire_of(name), 28, RD | CD, opt)
    reply = dns.message.from_wire(answerer.not_forwarded(packet, full.snapshots.begin, transport))
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert [int(error.code) for error in reply.extended_errors()] == ([23] if opt else [])
    aa = dns.flags.AA if links else 0
    assert reply.flags & ~0xF == aa | dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.CD
    assert len(reply.answer) == links
    assert [*tally.replies(answerer.counters.slots)] == [
        ("AAAA", "SERVFAIL", tally.PROTOCOLS[transport], "forward", 1)
    ]
    assert answerer.counters.slots[tally.FORWARD_REFUSED] == 1


# What is ours never leaves

ORIGINS = [Z, "10.in-addr.arpa", FALLS, f"168.{FALLS}", "corp.example", "cut.example"]
LABEL = st.one_of(
    st.sampled_from(
        [
            b"web",
            b"ext",
            b"away",
            b"default",
            b"svc",
            b"SVC",
            b"pod",
            b"_tcp",
            b"1",
            b"8",
            b"9",
            b"168",
            b"out",
        ]
    ),
    st.binary(min_size=1, max_size=63),
)
FLAGS = st.integers(0, 0xFFFF).map(lambda flags: flags & ~0xF800)  # a question of opcode QUERY
ALIASES = {
    key_of(name)
    for service in ("ext", "away")
    for name in (f"{service}.default.svc.{Z}", f"{service}.default.{Z}")
} | {key_of("out.corp.example")}
"""Those whose targets are outside."""


def labels_of(name: str) -> list[bytes]:
    return [label.encode() for label in name.split(".")]


def may_leave(key: bytes) -> bool:
    """Say whether upstreams may hear of a name of ours, or of its target."""
    if key in ALIASES:
        return True
    others = (f"8.{FALLS}", f"168.{FALLS}", f"1.1.1.{FALLS}")
    return key.startswith(key_of(FALLS)) and not key.startswith(tuple(map(key_of, others)))


@settings(max_examples=800)
@given(
    st.lists(LABEL, max_size=6),
    st.sampled_from(ORIGINS),
    st.integers(0, 65535) | st.sampled_from([*TYPES.values()]),
    FLAGS,
    st.sampled_from(OPTS),
    st.sampled_from(RIGHTS),
    st.sampled_from([UDP, TCP]),
    st.booleans(),
)
def test_names_of_ours_never_leave(
    full: World,
    labels: list[bytes],
    origin: str,
    rrtype: int,
    flags: int,
    opt: bytes,
    rights: int,
    transport: int,
    everything_cached: bool,
) -> None:
    labels = labels + labels_of(origin)
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    looked_up: list[bytes] = []

    def cache(key: bytes) -> bytes | None:
        looked_up.append(key)
        return FRESH if everything_cached else None

    counters = tally.Tally()
    answerer = Answerer(counters, cache=cache, forwards=True)
    snapshot = full.snapshots.begin()
    reply = answerer.answer(question(name, rrtype, flags, opt), snapshot, transport, rights)
    snapshot.txn.abort()
    assert not counters.slots[tally.PANICS]
    assert reply is not None
    leaves = reply == HAND_OVER or bool(looked_up)
    if leaves:
        assert flags & RD
        assert rights & BOTH == BOTH
        assert may_leave(key_of_labels(labels))
    elif reply[3] & 0xF == codes.NXDOMAIN and flags & RD and rights & BOTH == BOTH:
        assert not may_leave(key_of_labels(labels)) or origin == f"168.{FALLS}"
    if reply != HAND_OVER:
        assert bool(reply[3] & 0x80) is bool(rights & FORWARD)


@settings(max_examples=800)
@given(
    st.lists(LABEL, max_size=5),
    st.sampled_from([*ORIGINS, *ABOVE[:-1], "example.com", "com"]),
    st.integers(0, 65535) | st.sampled_from([*TYPES.values()]),
    FLAGS,
    st.sampled_from(OPTS),
    st.sampled_from([0, NAMES, TRANSFER, NAMES | TRANSFER]) | st.none(),
    st.sampled_from([UDP, TCP]),
)
def test_who_may_not_or_does_not_want_to_is_never_handed_over(
    full: World,
    labels: list[bytes],
    tail: str,
    rrtype: int,
    flags: int,
    opt: bytes,
    rights: int | None,
    transport: int,
) -> None:
    """No rights is a client that may, and does not set RD."""
    if rights is None:
        rights, flags = BOTH, flags & ~RD
    name = b"".join(bytes((len(label),)) + label for label in labels + labels_of(tail)) + b"\0"
    counters = tally.Tally()

    def never(_: bytes) -> bytes | None:
        raise AssertionError("the cache is for those who may")

    answerer = Answerer(counters, cache=never, forwards=True)
    snapshot = full.snapshots.begin()
    reply = answerer.answer(question(name, rrtype, flags, opt), snapshot, transport, rights)
    snapshot.txn.abort()
    assert reply
    assert not counters.slots[tally.PANICS]
    assert bool(reply[3] & 0x80) is bool(rights & FORWARD)
