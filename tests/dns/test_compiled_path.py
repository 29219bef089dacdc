"""The compiled path says what the reference in Python says, octet for octet, or leaves the question to it."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from time import process_time

import dns.message
import pytest
from forward.unit.outside_names import BOTH, cache_of, every_zone
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from toolbox.answerer_harness import AnswererHarness, Z, fill, glue, headless, rrset, soa_sets
from toolbox.cached_replies import NOW
from toolbox.question_packets import BAD_OPTIONS, GOOD_OPTIONS, OPTS, TYPES, mutated, nearly_plain, question
from toolbox.question_packets import NAMES as ASKED
from toolbox.three_paths import answerers, same, set_clock

from svcdns.dns import path_choice, stats
from svcdns.dns.access import NAMES
from svcdns.dns.answer import Answerer
from svcdns.dns.fast_path import FastPath
from svcdns.dns.no_reply import NOT_PLAIN
from svcdns.dns.stats import TCP, UDP
from svcdns.dns.view import View
from svcdns.names.packed import APEX, pack_row
from svcdns.wire.key import key_of

if os.environ.get("CI") == "true":
    from svcdns.dns import compiled_path  # where it is missing there, all fail
else:
    compiled_path = pytest.importorskip("svcdns.dns.compiled_path", reason="no compiler was there")

PACKETS = 20_000
MANY_PACKETS = 1_000_000
PLAIN_TYPES = ["A", "AAAA", "SRV", "PTR", "TXT", "SOA", "NS", "MX", "CNAME"]


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    """Zones and Services of all kinds, additional RRs that are hard to fit; no test may change it."""
    with every_zone(tmp_path_factory.mktemp("zones")) as world:
        with world.writing():
            for size in (1, 2, 3, 4, 7, 11, 30):
                headless(world, f"of{size}", size)
            name = f"odd.default.svc.{Z}"
            targets = [f"t{number}.{name}" for number in range(4)]
            # Owners that are no target, that come twice, with two types, and with two RRs of one type.
            more = [glue(target, "A", f"10.0.0.{n}") for n, target in enumerate(targets)]
            more += [glue(targets[0], "A", "10.0.1.1"), glue(targets[0], "AAAA", "fd00::1")]
            for n in range(9):
                more += [
                    glue(f"else.{name}", "A", f"10.2.0.{n}"),
                    glue(f"x{n % 3}.{name}", "AAAA", "fd00::2"),
                ]
            srv = rrset("SRV", *(f"0 5 1 {target}." for target in targets), glue=tuple(more))
            mx = rrset("MX", *(f"5 {target}." for target in targets), glue=tuple(more))
            world.put(name, srv, mx, rrset("TXT", *(f'"{"x" * n}"' for n in range(1, 200, 9))))
        yield world


def compare(world: AnswererHarness, seed: int, count: int) -> int:
    """Compare the paths on mutated packets; return how many the compiled one answered by itself."""
    rnd = random.Random(seed)
    cache = cache_of({"www.example.com": "twenty", "id.server": "nxdomain"}).get
    compiled, python, _ = answerers(cache=cache)
    alone = path_choice.compiled(stats.Stats(), 1232, None, cache)
    taken = 0
    for _ in range(count // 500):
        with world.snapshots.begin() as snapshot:
            for _ in range(500):
                packet = rnd.choice((mutated, nearly_plain))(rnd)
                how = rnd.choice([UDP, UDP, TCP]), rnd.choice([NAMES, BOTH, 0])
                random.seed(packet)
                reply = compiled.answer(packet, snapshot, *how)
                random.seed(packet)
                assert reply == python.answer(packet, snapshot, *how), (seed, packet.hex(), how)
                view = compiled.look_at(snapshot)
                assert view is not None
                taken += alone.answer(packet, view, *how) is not NOT_PLAIN
    assert compiled.counters.slots == python.counters.slots
    assert not compiled.counters.slots[stats.PANICS]
    return taken


def test_mutated_packets(zones: AnswererHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, NOW)
    assert compare(zones, random.randrange(1 << 32), PACKETS) > PACKETS / 20


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_million_mutated_packets(zones: AnswererHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, NOW)
    assert compare(zones, random.randrange(1 << 32), MANY_PACKETS) > MANY_PACKETS / 20


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from(
        [f"of{n}.default.svc.{Z}" for n in (1, 2, 3, 4, 7, 11, 30)]
        + [f"odd.default.svc.{Z}", f"ODD.default.{Z}", f"db.default.{Z}", f"many.default.svc.{Z}"]
    ),
    st.sampled_from(PLAIN_TYPES),
    st.one_of(st.none(), st.integers(0, 4096)),
    st.integers(512, 4096),
    st.sampled_from([UDP, TCP]),
)
def test_what_is_left_out_is_the_same(
    zones: AnswererHarness, name: str, rrtype: str, size: int | None, udp_size: int, transport: int
) -> None:
    """Of additional RRs and of answers, for every size of a reply."""
    packet = dns.message.make_query(name, rrtype, use_edns=-1 if size is None else 0, payload=size or 0)
    compiled, python, exact = answerers(udp_size=udp_size)
    same(zones, packet.to_wire(), (compiled, python, exact), transport)
    assert compiled.counters.slots == exact.counters.slots == python.counters.slots


def test_names_of_all_kinds(zones: AnswererHarness) -> None:
    more = ["www.corp.example", "x.w.corp.example", "no.corp.example", "no.cut.example", "cut.example"]
    more += ["1.1.1.192.in-addr.arpa", "1.1.168.192.in-addr.arpa", "x." + "y" * 63 + "." + Z]
    more += [".".join(["a"] * 119) + "." + Z, "in-addr.arpa", f"x.of3.default.svc.{Z}", f"dns-version.{Z}"]
    compiled, python, exact = answerers()
    for name, rrtype, opt, how in product([*ASKED, *more], TYPES, OPTS, [(UDP, NAMES), (TCP, BOTH)]):
        packet = question(name, rrtype, 1, opt, 0x0110)
        same(zones, packet, (compiled, python, exact), *how)
    assert compiled.counters.slots == python.counters.slots == exact.counters.slots


@pytest.mark.parametrize("opt", [*GOOD_OPTIONS, *BAD_OPTIONS])
def test_options_are_not_heeded(zones: AnswererHarness, opt: bytes) -> None:
    """Whole ones leave a question plain, on both paths; others are FORMERR."""
    everyone = answerers()
    for name, rrtype, how in product(ASKED, (1, 33), [(UDP, NAMES), (TCP, BOTH)]):
        same(zones, question(name, rrtype, 1, opt), everyone, *how)
    packet = question(f"web.default.svc.{Z}", 1, 1, opt)
    with zones.snapshots.begin() as snapshot:
        view = everyone[0].look_at(snapshot)
        assert view is not None
        compiled = path_choice.compiled(stats.Stats(), 1232).answer(packet, view, UDP)
        in_python = FastPath(stats.Stats(), 1232).answer(packet, view, UDP)
    assert compiled == in_python
    assert (compiled is NOT_PLAIN) == (opt in BAD_OPTIONS)


ORIGINS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)
KINDS = ["reverse", "falls through", "file", "with cuts", "with wildcards", "signed"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(ORIGINS, st.sampled_from(KINDS)), max_size=8),
    st.lists(ORIGINS, max_size=2),
    st.lists(ORIGINS, max_size=2),
)
def test_zones_within_each_other(
    nested: AnswererHarness, zones: list[tuple[str, str]], aliases: list[str], elsewhere: list[str]
) -> None:
    """Zones of all kinds, zones for aliases, and zones that have upstreams of their own: for all names."""
    nested.zones = [zone for zone in nested.zones if zone.kind == "cluster"]
    # Of the registry and of files each, an origin comes once; zones around those that fall through do so too.
    falling = {origin[-1] for origin, kind in zones if kind == "falls through"}
    kinds = {(origin, kind in KINDS[:2]): kind for origin, kind in zones}
    with nested.writing():
        for (origin, of_registry), kind in kinds.items():
            if of_registry:
                nested.registry_zone(origin, "reverse", fallthrough=origin[-1] in falling)
            else:
                zone = nested.file_zone(origin, cuts=kind == "with cuts", wildcards=kind == "with wildcards")
                nested.put_file(zone, f"a.{origin}", rrset("A", "192.0.2.1"))
                nested.zones[-1] = structs.replace(zone, signed=kind == "signed")
        nested.serve(alias_zones=tuple(key_of(name) for name in aliases))
    everyone = answerers(elsewhere=[key_of(name) for name in elsewhere])
    names = [".".join(labels) for depth in (1, 2, 3, 4) for labels in product("ab", repeat=depth)]
    for name, opt in product([*names, "c", "a.c", f"web.default.svc.{Z}"], (b"", OPTS[2])):
        same(nested, question(name, 1, 1, opt), everyone, UDP, BOTH)
    assert everyone[0].counters.slots == everyone[1].counters.slots == everyone[2].counters.slots


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    world = fill(AnswererHarness(tmp_path_factory.mktemp("nested")))
    yield world
    world.store.close()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sets(ORIGINS, max_size=3), st.booleans(), st.integers(1, 9), st.booleans()),
        min_size=2,
        max_size=5,
    )
)
def test_zones_that_change_between_batches(
    nested: AnswererHarness, states: list[tuple[set[str], bool, int, bool]]
) -> None:
    """One answerer of each kind sees zones come, change and go: what one remembers is of this snapshot."""
    everyone = answerers()
    names = [".".join(labels) for depth in (1, 2, 3) for labels in product("ab", repeat=depth)]
    for origins, of_file, serial, short in states:
        nested.zones = [zone for zone in nested.zones if zone.kind == "cluster"]
        with nested.writing():
            for origin in origins:
                if of_file:
                    zone = nested.file_zone(origin, serial=serial)
                    nested.put_file(zone, f"a.{origin}", rrset("A", f"192.0.2.{serial}"))
                else:
                    nested.registry_zone(origin, "reverse", serial=serial)
            nested.serve(short_names=short, alias_zones=())
        for name in [*names, f"web.default.{Z}", f"no.default.svc.{Z}"]:
            same(nested, question(name, 1), everyone, UDP, BOTH)
        # A row alone changes, and no zone: the SOA of negative answers.
        nested.put(Z, *soa_sets(Z, serial + 10), flags=APEX)
        same(nested, question(f"no.default.svc.{Z}", 1), everyone, UDP, BOTH)
    assert everyone[0].counters.slots == everyone[1].counters.slots == everyone[2].counters.slots


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_row_is_left_to_python(scratch: AnswererHarness, data: st.DataObject) -> None:
    """Whatever octets a row has: nothing beyond its end is read, and the answerer goes on."""
    addresses = [f"10.0.0.{n}" for n in range(3)]
    target = f"t.damaged.default.svc.{Z}"
    more = (glue(target, "A", "10.0.0.1"), glue(target, "AAAA", "fd00::1"))
    sets = [rrset("A", *addresses), rrset("SRV", f"0 5 1 {target}.", f"0 5 1 longer.{target}.", glue=more)]
    row = bytearray(pack_row(sets))
    for _ in range(data.draw(st.integers(1, 4))):
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(st.integers(0, 255))
    del row[data.draw(st.integers(0, len(row))) :]
    with scratch.writing() as txn:
        key = key_of(f"damaged.default.svc.{Z}")
        txn.put(key, bytes(row), db=scratch.store.tables.answers_a)
    path = path_choice.compiled(stats.Stats(), 1232)
    with scratch.snapshots.begin() as snapshot:
        view = scratch.answerer.look_at(snapshot)
        assert view is not None
        for rrtype in (1, 28, 33):
            reply = path.answer(question(f"damaged.default.svc.{Z}", rrtype), view, UDP)
            assert reply is NOT_PLAIN or (isinstance(reply, bytes) and 12 < len(reply) <= 512)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    with every_zone(tmp_path_factory.mktemp("scratch")) as world:
        yield world


def test_what_it_looks_up(zones: AnswererHarness) -> None:
    """One row for each question."""
    looks: list[bytes] = []

    class Counting:
        """A view whose transaction counts what is got from it."""

        def __init__(self, view: object) -> None:
            self.view = view

        def __getattr__(self, name: str) -> object:
            return getattr(self.view, name)

    def open_view(view: Counting) -> tuple[object, ...]:
        table, get, *tables = path_choice.open_view(view)  # type: ignore[arg-type]

        def counted(key: bytes, *more: object) -> object:
            looks.append(key)
            return get(key, *more)

        return table, counted, *tables

    zoned = (path_choice.describe, open_view, random.random)
    path = compiled_path.Path([0] * stats.SLOTS, 1232, {1: 0}, *zoned, 1, 1, 2, NOT_PLAIN, None)
    with zones.snapshots.begin() as snapshot:
        view = Counting(zones.answerer.look_at(snapshot))
        for name, expected in (
            (f"web.default.svc.{Z}", 1),
            (f"web.default.{Z}", 1),
            (f"no.default.svc.{Z}", 1),
        ):
            looks.clear()
            assert path.answer(question(name, 1), view, UDP) is not NOT_PLAIN
            assert len(looks) == expected, name


@pytest.mark.alone
def test_it_is_much_faster_than_python(zones: AnswererHarness) -> None:
    """In one process, in turns: the least of some rounds of each."""
    compiled, python, _ = answerers()
    packets = [question(f"{name}.default.svc.{Z}", 1) for name in ("web", "four", "no", "of3", "db")] * 200
    least = {compiled: float("inf"), python: float("inf")}
    for _ in range(7):
        for one in least:
            with zones.snapshots.begin() as snapshot:
                began = process_time()
                for packet in packets:
                    one.answer(packet, snapshot)
                least[one] = min(least[one], process_time() - began)
    assert least[python] > 1.5 * least[compiled]


def test_python_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_choice.in_use() == "compiled"
    monkeypatch.setenv("SVCDNS_FAST_PATH", "python")
    assert path_choice.in_use() == "python"
    assert Answerer(stats.Stats()).compiled is None


def test_without_the_extension_python_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "svcdns.dns.compiled_path", None)
    monkeypatch.delattr("svcdns.dns.compiled_path", raising=False)
    assert path_choice.in_use() == "python"
    assert Answerer(stats.Stats()).compiled is None


def test_a_reply_larger_than_a_buffer_is_pythons() -> None:
    assert Answerer(stats.Stats(), udp_size=4097).compiled is None
    with pytest.raises(ValueError, match="buffer"):
        path_choice.compiled(stats.Stats(), 4097)


@pytest.mark.parametrize("arguments", [(), (b"",), ("text", None, 0), (b"", None, "0"), (b"", None, 0, "1")])
def test_wrong_arguments_are_refused(arguments: tuple[object, ...]) -> None:
    path = path_choice.compiled(stats.Stats(), 1232)
    with pytest.raises(TypeError):
        path.answer(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [compiled_path.Path, compiled_path.Batch])
def test_what_is_made_is_whole(kind: type) -> None:
    """One that lacks what it is made of would read where nothing is."""
    with pytest.raises(TypeError):
        kind.__new__(kind)


def test_a_row_that_is_no_bytes_is_not_a_missing_name(zones: AnswererHarness) -> None:
    def open_view(view: View) -> tuple[object, ...]:
        table, _, *tables = path_choice.open_view(view)
        return table, lambda *_: memoryview(b"\0\0"), *tables

    zoned = (path_choice.describe, open_view, random.random)
    path = compiled_path.Path([0] * stats.SLOTS, 1232, {1: 0}, *zoned, 1, 1, 2, NOT_PLAIN, None)
    with zones.snapshots.begin() as snapshot:
        view = zones.answerer.look_at(snapshot)
        assert view is not None
        assert path.answer(question(f"no.default.svc.{Z}", 1), view, UDP) is NOT_PLAIN


def test_a_row_of_one_type_at_many_sizes(zones: AnswererHarness) -> None:
    """TXT of different sizes: a truncated answer begins at a random RR, and is whole RRs."""
    everyone = answerers()
    for number in range(200):
        packet = number.to_bytes(2) + question(f"odd.default.svc.{Z}", 16)[2:]
        same(zones, packet, everyone, UDP)


@pytest.mark.parametrize("packets", [20_000, pytest.param(2_000_000, marks=pytest.mark.soak)])
@pytest.mark.timeout(3600)
def test_nothing_beyond_an_end_is_touched(need: Callable[..., str], packets: int) -> None:
    """Under AddressSanitizer, in a process of its own."""
    need("gcc")
    program = Path(__file__).parent / "fuzz_compiled_path.py"
    ran = subprocess.run(
        [sys.executable, str(program), str(packets)],
        capture_output=True,
        text=True,
        env={**os.environ, "CC": "gcc"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr[-4000:]
