"""Names that are not ours, as a worker answers them: from the cache, by handing over, or by refusing.

Only who may and wants to is served.  What is ours: see test_never_leaves.py.
"""

import random
from collections.abc import Iterator
from itertools import product

import dns.flags
import dns.message
import dns.rcode
import pytest
from forward.unit.outside_names import (
    ABOVE,
    AD,
    BOTH,
    CD,
    FALLS,
    OPTS,
    RD,
    RIGHTS,
    TYPES,
    cache_of,
    every_zone,
    kinds,
    question,
)
from toolbox.answerer_harness import AnswererHarness, Z
from toolbox.cached_replies import NOW

from svcdns.dns import answer, fast_path, path_choice, stats
from svcdns.dns.access import FORWARD, NAMES
from svcdns.dns.answer import Answerer
from svcdns.dns.fast_path import FastPath
from svcdns.dns.no_reply import HAND_OVER, NOT_PLAIN, SILENCE
from svcdns.dns.stats import TCP, UDP
from svcdns.wire.key import key_of, wire_of

OUTSIDE = "example.com"


@pytest.fixture(autouse=True)
def _same_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "now", lambda: NOW)
    monkeypatch.setattr(fast_path, "now", lambda: NOW)
    monkeypatch.setattr(path_choice, "now", lambda: NOW)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    with every_zone(tmp_path_factory.mktemp("full")) as world:
        yield world


def exact_only(
    counters: stats.Stats, cache: dict[bytes, bytes], elsewhere: tuple[bytes, ...] = ()
) -> Answerer:
    exact = Answerer(counters, cache=cache.get, forwards=True, elsewhere=elsewhere)
    exact._fast = lambda *_: NOT_PLAIN  # type: ignore[method-assign,assignment]
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
ELSEWHERE = ["ad.corp.example", f"2.168.{FALLS}", f"7.{FALLS}", "net.example.net", "example"]
"""Zones with upstreams of their own, within ours and not."""
UNKNOWN = ["never.example.net", "cluster.locals", "xcluster.local", "10.in-addr.arpa.example.net"]


@pytest.mark.parametrize("zones", [[], ELSEWHERE], ids=["", "elsewhere"])
def test_plain_path_says_what_the_exact_one_says_with_forwarding(
    full: AnswererHarness, zones: list[str]
) -> None:
    """Octet for octet, and in every counter, for the same random numbers and whoever asks."""
    elsewhere = tuple(map(key_of, zones))
    below = [f"{label}.{zone}" for label, zone in product(("www", "x.y"), zones)]
    known = {f"{kind}.{OUTSIDE}": kind for kind in kinds(OUTSIDE)}
    known |= {"local": "nxdomain", "in-addr.arpa": "fresh", "example": "failure", ".": "nodata"}
    known |= dict.fromkeys(zones, "nxdomain") | dict.fromkeys(below[::2], "fresh")
    known |= {f"9.9.9.{FALLS}": "nxdomain", f"8.9.9.{FALLS}": "fresh", f"web.default.svc.{Z}": "fresh"}
    cache = cache_of(known)
    counters = stats.Stats(), stats.Stats()
    both = Answerer(counters[0], cache=cache.get, forwards=True, elsewhere=elsewhere)
    exact = exact_only(counters[1], cache, elsewhere)
    taken = 0
    for pods in ("verified", "insecure"):
        full.serve(pods=pods)
        snapshot = full.snapshots.begin()
        outside = [*known, *ABOVE, *UNKNOWN, *below] if pods == "verified" else []
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
        path = FastPath(stats.Stats(), 1232, cache.get)
        taken += sum(path.answer(question(name, 1), view, UDP, BOTH) is not NOT_PLAIN for name in names)
        snapshot.txn.abort()
    assert taken > 40
    assert counters[0].slots == counters[1].slots
    assert not counters[0].slots[stats.PANICS]


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
    full: AnswererHarness, kind: str, rcode: str, answers: int, opt: bytes, transport: int
) -> None:
    name = f"{kind}.{OUTSIDE}"
    answerer = Answerer(stats.Stats(), cache=cache_of({name: kind}).get, forwards=True)
    snapshot = full.snapshots.begin()
    wire = answerer.answer(question(wire_of(name), 1, RD | CD, opt), snapshot, transport, BOTH)
    snapshot.txn.abort()
    assert wire is not SILENCE
    if not rcode:
        assert wire is HAND_OVER
        assert not any(answerer.counters.slots)
        return
    reply = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert dns.rcode.to_text(reply.rcode()) == rcode
    assert len(reply.answer) == answers
    assert reply.flags & ~0xF == dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.CD
    assert (reply.edns == 0) == bool(opt)
    slots = answerer.counters.slots
    assert slots[stats.CACHE_HITS] == 1
    (count,) = stats.replies(slots)
    nodata = kind == "nodata"
    counted = "NODATA" if nodata else rcode
    assert count == ("A", counted, stats.PROTOCOLS[transport], "forward", 1)


@pytest.mark.parametrize("kind", ["nxdomain", "stale-nxdomain"])
@pytest.mark.parametrize("name", ABOVE)
def test_names_above_ours_exist_whatever_the_cache_says(full: AnswererHarness, name: str, kind: str) -> None:
    answerer = Answerer(stats.Stats(), cache=cache_of({name: kind}).get, forwards=True)
    snapshot = full.snapshots.begin()
    for transport, opt in product((UDP, TCP), OPTS[:3]):
        wire = answerer.answer(question(wire_of(name), 1, RD, opt), snapshot, transport, BOTH)
        assert isinstance(wire, bytes)
        assert dns.message.from_wire(wire).rcode() == dns.rcode.NOERROR
    snapshot.txn.abort()


@pytest.mark.parametrize(
    ("rights", "flags", "forwards", "why"),
    [(NAMES, RD, True, 18), (0, RD, True, 18), (BOTH, 0, True, 20), (NAMES, RD, False, 20)],
)
def test_refusals_say_why(full: AnswererHarness, rights: int, flags: int, forwards: bool, why: int) -> None:
    def never(_: bytes) -> bytes | None:
        raise AssertionError("the cache is for those who may")

    answerer = Answerer(stats.Stats(), cache=never, forwards=forwards)
    snapshot = full.snapshots.begin()
    for name in [*UNKNOWN, *ABOVE]:
        wire = answerer.answer(question(wire_of(name), 1, flags, OPTS[1]), snapshot, UDP, rights)
        assert isinstance(wire, bytes)
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
    full: AnswererHarness, name: str, links: int, opt: bytes, transport: int
) -> None:
    answerer = Answerer(stats.Stats(), forwards=True)
    packet = question(wire_of(name), 28, RD | CD, opt)
    reply = dns.message.from_wire(answerer.not_forwarded(packet, full.snapshots.begin, transport))
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert [int(error.code) for error in reply.extended_errors()] == ([23] if opt else [])
    aa = dns.flags.AA if links else 0
    assert reply.flags & ~0xF == aa | dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.CD
    assert len(reply.answer) == links
    assert [*stats.replies(answerer.counters.slots)] == [
        ("AAAA", "SERVFAIL", stats.PROTOCOLS[transport], "forward", 1)
    ]
    assert answerer.counters.slots[stats.FORWARD_REFUSED] == 1
