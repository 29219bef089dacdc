"""Forwarded answers by the compiled path: it says what the exact path says, or leaves it to Python."""

import os
import random
import socket
from collections.abc import Callable, Iterator
from itertools import product

import dns.message
import pytest
from forward.unit.outside_names import BOTH, CD, OPTS, RD, RIGHTS, cache_of, every_zone, kinds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from toolbox.answerer_harness import AnswererHarness
from toolbox.cached_replies import CONFIG, NOW, SOA, received
from toolbox.question_packets import GOOD_OPTIONS, question
from toolbox.three_paths import answerers, leaves_nothing_allocated, same, set_clock
from toolbox.waiting import GUARD_SECONDS

from svcdns.cache import entry
from svcdns.config.sections import CacheConfig
from svcdns.dns import path_choice, stats
from svcdns.dns.no_reply import NOT_PLAIN
from svcdns.dns.stats import TCP, UDP

if os.environ.get("CI") == "true":
    from svcdns.dns import compiled_path  # where it is missing there, all fail
else:
    compiled_path = pytest.importorskip("svcdns.dns.compiled_path", reason="no compiler was there")

NAME = "www.example.com"
KINDS = kinds(NAME)
TYPES = {"A": 1, "AAAA": 28, "MX": 15, "TXT": 16, "HTTPS": 65}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    with every_zone(tmp_path_factory.mktemp("cached")) as made:
        yield made


def by_itself(world: AnswererHarness, packet: bytes, cache: object, rights: int = BOTH) -> bytes | None:
    """Return what the compiled path alone says, None for what it leaves."""
    path = path_choice.compiled(stats.Stats(), 1232, None, cache)  # type: ignore[arg-type]
    with world.snapshots.begin() as snapshot:
        view = world.answerer.look_at(snapshot)
        assert view is not None
        reply = path.answer(packet, view, UDP, rights)
    assert reply is NOT_PLAIN or isinstance(reply, bytes)
    return None if reply is NOT_PLAIN else reply  # type: ignore[return-value]


def entries(stored: bytes, rrtype: int) -> dict[bytes, bytes]:
    """Return a cache that has an entry for NAME and this type, with and without DO and CD."""
    flags = product((False, True), repeat=2)
    return {entry.key(b"com\0example\0www\0", rrtype, do, cd): stored for do, cd in flags}


# --- Entries of any shape ---

OWNERS = st.sampled_from([f"{NAME}.", "there.example.net.", "a-much-longer-name-than-others.example.com."])
RDATA = {
    "A": st.integers(1, 250).map("192.0.2.{}".format),
    "AAAA": st.integers(1, 9).map("2001:db8::{}".format),
    "TXT": st.integers(1, 250).map(lambda size: f'"{"x" * size}"'),
    "MX": OWNERS.map("5 {}".format),
}
MORE = st.tuples(OWNERS, RDATA["AAAA"]).map(lambda of: f"{of[0]} 60 IN AAAA {of[1]}")
AUTHORITY = st.sampled_from([[], [SOA], [f"example.com. 300 IN NS ns{n}.example.com." for n in range(4)]])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_entries_of_any_shape(
    world: AnswererHarness, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """Whatever an upstream says, at each age, for each client; also what is stale, failed or came in part."""
    draw = data.draw
    rrtype = draw(st.sampled_from([*RDATA]))
    chain = draw(st.sampled_from([[], [f"{NAME}. 60 IN CNAME there.example.net."]]))
    owner = "there.example.net." if chain else f"{NAME}."
    rdata = draw(st.lists(RDATA[rrtype], max_size=40, unique=True))
    ttl = draw(st.sampled_from([300, 100_000]))
    response = received(
        rrtype,
        [*chain, *(f"{owner} {ttl} IN {rrtype} {one}" for one in rdata)],
        draw(AUTHORITY),
        draw(st.lists(MORE, max_size=3)),
        draw(st.sampled_from([0, 0, 0, 3, 5, 6])),
        name=NAME,
    )
    in_part = draw(st.sampled_from([False, False, False, True]))
    response = replace(response, ede=draw(st.sampled_from([None, None, 0, 18])), truncated=in_part)
    stored = entry.pack(response, NOW, draw(st.sampled_from([CONFIG, CacheConfig()])))
    if draw(st.sampled_from([False, False, True])):
        stored = entry.decode(stored).stale(NOW) or stored
    set_clock(monkeypatch, NOW + draw(st.sampled_from([0, 1, 4, 29, 30, 59, 60, 299, 300, 40_000])))
    cache = entries(stored, TYPES[rrtype])
    everyone = answerers(cache=cache.get, udp_size=draw(st.integers(512, 4096)))
    opt, flags = draw(st.sampled_from([*OPTS, *GOOD_OPTIONS])), draw(st.sampled_from([RD, RD | CD, 0, CD]))
    how = draw(st.sampled_from([UDP, UDP, TCP])), draw(st.sampled_from([BOTH, BOTH, *RIGHTS]))
    asked = draw(st.sampled_from([NAME, "wWw.Example.COM"]))
    same(world, question(asked, TYPES[rrtype], 1, opt, flags), everyone, *how)
    assert everyone[0].counters.slots == everyone[1].counters.slots == everyone[2].counters.slots


# --- Which it answers ---

COPIED = {"now", "fresh", "one", "chain", "chain-nodata", "just-not-over", "twenty", "nxdomain", "nodata"}
WITH_EDE = {"stale", "stale-nxdomain", "ede"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opt", OPTS[:3])
def test_what_is_fresh_takes_no_python(
    world: AnswererHarness, monkeypatch: pytest.MonkeyPatch, kind: str, opt: bytes
) -> None:
    """But for an Extended DNS Error, rcodes that are seldom, and what has no room."""
    set_clock(monkeypatch, NOW)
    cache = cache_of({NAME: kind})
    packet = question(NAME, 1, 1, opt)
    everyone = answerers(cache=cache.get)
    same(world, packet, everyone, UDP, BOTH)
    assert everyone[0].counters.slots == everyone[2].counters.slots
    has_room = kind == "spare" and opt == OPTS[1]
    copied = kind in COPIED or has_room or (kind in WITH_EDE and not opt)
    assert (by_itself(world, packet, cache.get) is not None) == copied
    assert not copied or everyone[0].counters.slots[stats.CACHE_HITS] == 1


@pytest.mark.parametrize(
    ("rights", "flags", "name"),
    [
        (1, RD, NAME),
        (2, RD, NAME),
        (BOTH, 0, NAME),
        (BOTH, RD, "com"),
        (BOTH, RD, "example"),
        (BOTH, RD, "www.corp.example"),
        (BOTH, RD, "x.cut.example"),
        (BOTH, RD, "out.corp.example"),
    ],
)
def test_the_cache_is_for_names_outside_and_who_may(
    world: AnswererHarness, rights: int, flags: int, name: str
) -> None:
    """It is not looked at for others; names above our zones, and where our CNAMEs lead, are not plain."""
    looks: list[bytes] = []
    by_itself(world, question(name, 1, 1, b"", flags), looks.append, rights)
    assert bool(looks) == (name == "com")


def test_an_entry_is_of_one_question(world: AnswererHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name in any letter case, its type, DO and CD."""
    set_clock(monkeypatch, NOW)
    stored = KINDS["one"]
    for rrtype, do, cd in product((1, 28, 65), (False, True), (False, True)):
        cache = {entry.key(b"com\0example\0www\0", rrtype, do, cd): stored}
        for asked, opt, flags in product((1, 28, 65), OPTS[:3], (RD, RD | CD)):
            there = by_itself(world, question("WWW.example.com", asked, 1, opt, flags), cache.get) is not None
            assert there == (asked == rrtype and (opt == OPTS[2]) == do and bool(flags & CD) == cd)


# --- What can be wrong ---


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_entry_is_left_to_python(
    world: AnswererHarness, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """Whatever octets it has, nothing beyond its end is read."""
    set_clock(monkeypatch, NOW)
    stored = bytearray(KINDS[data.draw(st.sampled_from(["fresh", "chain", "twenty", "spare", "nxdomain"]))])
    for _ in range(data.draw(st.integers(1, 4))):
        stored[data.draw(st.integers(0, min(len(stored), 60) - 1))] = data.draw(st.integers(0, 255))
    del stored[data.draw(st.one_of(st.just(len(stored)), st.integers(0, len(stored)))) :]
    reply = by_itself(world, question(NAME, 1), lambda _: bytes(stored))
    assert reply is None or 12 < len(reply) <= 512


@pytest.mark.parametrize("at", [entry._OCTETS, 26, 28, 16, 20])
def test_a_number_that_leads_beyond_the_end_is_noticed(
    world: AnswererHarness, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Where a TTL or the addresses stand, how long they are, how many records there are."""
    set_clock(monkeypatch, NOW)
    stored = bytearray(KINDS["fresh"])
    assert by_itself(world, question(NAME, 1), lambda _: bytes(stored)) is not None
    stored[at : at + 2] = b"\1\0"
    assert by_itself(world, question(NAME, 1), lambda _: bytes(stored)) is None


@pytest.mark.parametrize("mark", [entry._TRUNCATED, entry._FAILURE])
def test_what_is_no_whole_answer_is_left_to_python(
    world: AnswererHarness, monkeypatch: pytest.MonkeyPatch, mark: int
) -> None:
    """Today such entries are not fresh, or SERVFAIL; the marks alone are enough."""
    set_clock(monkeypatch, NOW)
    stored = bytearray(KINDS["fresh"])
    stored[entry._FLAGS_AT] |= mark
    assert by_itself(world, question(NAME, 1), lambda _: bytes(stored)) is None


def _raise(*_: object) -> bytes:
    raise RuntimeError("no cache")


@pytest.mark.parametrize(
    "cache", [_raise, lambda _: None, lambda _: "text", lambda _: b"", lambda _: memoryview(b"x" * 99)]
)
def test_a_cache_that_has_none_is_left_to_python(
    world: AnswererHarness, cache: Callable[[bytes], bytes]
) -> None:
    assert by_itself(world, question(NAME, 1), cache) is None


@pytest.mark.parametrize("clock", [_raise, lambda: "noon", lambda: 1 << 70])
def test_a_clock_that_says_no_time_is_left_to_python(
    world: AnswererHarness, monkeypatch: pytest.MonkeyPatch, clock: Callable[[], int]
) -> None:
    monkeypatch.setattr(path_choice, "now", clock)
    cache = cache_of({NAME: "fresh"})
    assert by_itself(world, question(NAME, 1), cache.get) is None


def test_answers_leave_nothing_allocated(world: AnswererHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, NOW)
    cache = cache_of({f"{kind}.example.com": kind for kind in KINDS})
    packets = [question(f"{kind}.example.com", 1) for kind in [*KINDS, "missing"]]
    assert leaves_nothing_allocated(world, answerers(cache=cache.get)[0], packets, UDP, BOTH)


def test_a_batch_sends_and_records_them(world: AnswererHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AA, by which readers of the tap know them for answers of the cache."""
    set_clock(monkeypatch, NOW)
    path = path_choice.compiled(stats.Stats(), 1232, None, cache_of({NAME: "fresh"}).get)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        sock.bind(("127.0.0.1", 0))
        client.connect(sock.getsockname())
        client.settimeout(GUARD_SECONDS)
        client.send(question(NAME, 1))
        batch = compiled_path.Batch(path, sock.fileno(), dict.fromkeys(["127.0.0.1"], BOTH), False)
        assert batch.receive() == 1
        with world.snapshots.begin() as snapshot:
            assert batch.answer(world.answerer.look_at(snapshot)) == []
        count, octets = batch.recorded(0, 1)
        assert batch.send() == 0
        reply = client.recv(9000)
    assert count == 1
    assert octets.endswith(reply + b"\xc0")
    message = dns.message.from_wire(reply)
    assert message.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA
    assert len(message.answer[0]) == 2


@pytest.mark.parametrize("age", [0, 1, 14_465, 40_000, 79_999])
def test_ttls_are_counted_down(world: AnswererHarness, monkeypatch: pytest.MonkeyPatch, age: int) -> None:
    """Those of addresses that are rotated, too, and across the border of 16 bits."""
    set_clock(monkeypatch, NOW + age)
    records = [f"{NAME}. 80000 IN A 192.0.2.{n}" for n in range(3)]
    stored = entry.pack(received("A", records, name=NAME), NOW, CacheConfig())
    reply = by_itself(world, question(NAME, 1), lambda _: stored)
    assert reply is not None
    assert dns.message.from_wire(reply).answer[0].ttl == 80_000 - age


def test_each_address_comes_first_in_some(world: AnswererHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, NOW)
    cache, first = cache_of({NAME: "twenty"}), set()
    random.seed(1)
    for _ in range(200):
        reply = by_itself(world, question(NAME, 1, 1, OPTS[1]), cache.get)
        assert reply is not None
        answer = dns.message.from_wire(reply, one_rr_per_rrset=True).answer
        assert len(answer) == len(set(map(str, answer))) == 20
        first.add(str(answer[0]))
    assert len(first) == 20
