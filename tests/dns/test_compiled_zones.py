"""Wildcards and CNAMEs of zone files, and chains of CNAMEs through zones of all kinds, by the compiled path.

Each test compares it with the exact path, octet for octet, and looks at what the compiled one says by itself:
a question that is left to Python is always the same.
"""

import os
import random
from collections.abc import Iterator
from itertools import product

import dns.message
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toolbox.answerer_harness import AnswererHarness, Z, fill, lines, rrset
from toolbox.question_packets import OPTS, question
from toolbox.three_paths import answerers, leaves_nothing_allocated, same

from svcdns.dns import path_choice, stats
from svcdns.dns.access import FORWARD, NAMES
from svcdns.dns.fast_path import FastPath
from svcdns.dns.no_reply import NOT_PLAIN
from svcdns.dns.stats import TCP, UDP
from svcdns.names.packed import pack_row
from svcdns.wire.key import key_of

if os.environ.get("CI") == "true":
    from svcdns.dns import compiled_path  # where it is missing there, all fail
else:
    compiled_path = pytest.importorskip("svcdns.dns.compiled_path", reason="no compiler was there")

A, CNAME, MX, TXT, AAAA, SRV = 1, 5, 15, 16, 28, 33
ORIGIN, OTHER, WITHIN = "z.example", "y.example", "x.a.z.example"
LABELS = ["a", "ab", "*", "c"]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    made = fill(AnswererHarness(tmp_path_factory.mktemp("zones")))
    yield made
    made.store.close()


def serve(world: AnswererHarness, zones: dict[str, dict[str, list[str]]]) -> None:
    """Serve zone files of these names, each with `TYPE RDATA` lines, and no others."""
    world.zones = [zone for zone in world.zones if zone.kind != "file"]
    with world.writing() as txn:
        txn.drop(world.store.tables.zone_rows, delete=False)
        for origin, names in zones.items():
            zone = world.file_zone(origin, wildcards=any("*" in name for name in names))
            for name, records in names.items():
                sets: dict[str, list[str]] = {}
                for record in records:
                    rrtype, rdata = record.split(" ", 1)
                    sets.setdefault(rrtype, []).append(rdata)
                world.put_file(
                    zone, f"{name}.{origin}".rstrip("."), *(rrset(kind, *of) for kind, of in sets.items())
                )


def by_itself(
    world: AnswererHarness, packet: bytes, transport: int = UDP, rights: int = NAMES
) -> bytes | None:
    """Return what the compiled path alone says, None for what it leaves."""
    path = path_choice.compiled(stats.Stats(), 1232)
    with world.snapshots.begin() as snapshot:
        view = world.answerer.look_at(snapshot)
        assert view is not None
        view.may_hand_on = True
        reply = path.answer(packet, view, transport, rights)
    assert reply is NOT_PLAIN or isinstance(reply, bytes)
    return None if reply is NOT_PLAIN else reply  # type: ignore[return-value]


def said(world: AnswererHarness, name: str, rrtype: str = "A", opt: bytes = b"") -> list[str]:
    """Return rcode and answers of the compiled path alone, which must be those of the others."""
    packet = question(name, dns.rdatatype.from_text(rrtype), 1, opt)
    same(world, packet, answerers(), UDP)
    reply = by_itself(world, packet)
    assert reply is not None, name
    message = dns.message.from_wire(reply)
    return [dns.rcode.to_text(message.rcode()), *lines(message.answer)]


# --- Zones of any shape ---

NAME = st.lists(st.sampled_from(LABELS), min_size=1, max_size=3).map(".".join)
TARGET = st.one_of(
    st.tuples(NAME, st.sampled_from([ORIGIN, OTHER, WITHIN])).map(".".join),
    st.sampled_from([f"web.default.svc.{Z}", f"no.{Z}", f"inner.default.{Z}", "www.elsewhere.info", ORIGIN]),
)
RECORDS = st.one_of(
    st.lists(st.sampled_from(["A 192.0.2.1", "A 192.0.2.2", "TXT x", "TXT longer"]), max_size=3, unique=True),
    TARGET.map(lambda target: [f"CNAME {target}."]),
)
ZONE = st.dictionaries(NAME.map(str.lower), RECORDS, max_size=6)
EACH = [".".join(labels) for depth in (1, 2, 3) for labels in product(["a", "aB", "*", "x"], repeat=depth)]


@settings(max_examples=60, deadline=None)
@given(ZONE, ZONE, st.booleans())
@example({"*": ["A 192.0.2.1"], "c.x": ["A 192.0.2.2"]}, {}, False)
@example({"*": ["A 192.0.2.1"], "abc": ["A 192.0.2.2"]}, {}, False)
@example({"*.c": ["A 192.0.2.1"]}, {}, True)
@example({"*.a": ["CNAME x.*.a.z.example."], "c.*.a": []}, {"*": ["CNAME a.z.example."]}, True)
def test_zones_of_any_shape(
    scratch: AnswererHarness, one: dict[str, list[str]], other: dict[str, list[str]], within: bool
) -> None:
    """Wildcards at all depths, empty non-terminals, CNAMEs that lead anywhere, a zone within."""
    zones = {ORIGIN: one, OTHER: other}
    if within:
        zones[WITHIN] = {"a": ["A 192.0.2.3"]}
    serve(scratch, zones)
    everyone = answerers()
    for origin, name in product((ORIGIN, OTHER), EACH):
        rrtype, opt = random.choice([A, TXT, MX, CNAME]), random.choice(OPTS[:4])
        how = random.choice([(UDP, NAMES), (TCP, NAMES), (UDP, NAMES | FORWARD)])
        for asked in {A, rrtype}:
            same(scratch, question(f"{name}.{origin}", asked, 1, opt), everyone, *how)
    assert everyone[0].counters.slots == everyone[1].counters.slots == everyone[2].counters.slots


# --- What RFC 4592 and RFC 1034 say, and that it takes no Python ---

LONG = "n" * 50
WILD = {
    "www": ["A 192.0.2.1"],
    "*.w": ["A 192.0.2.2", "TXT x"],
    "host.b.w": ["A 192.0.2.3"],
    "*.deep.under": ["A 192.0.2.4"],
    "x.*.only": ["A 192.0.2.5"],
    "alias": ["CNAME www.z.example."],
    "long": ["CNAME alias.z.example."],
    "*.c": ["CNAME www.z.example."],
    "into": ["CNAME Any.W.z.example."],
    "lost": ["CNAME nothing.z.example."],
    "gone": [f"CNAME no.default.svc.{Z}."],
    "empty": ["CNAME under.z.example."],
    "service": [f"CNAME web.default.svc.{Z}."],
    "short": [f"CNAME inner.default.{Z}."],
    "beside": ["CNAME www.y.example."],
    "out": ["CNAME www.elsewhere.info."],
    "loop": ["CNAME pool.z.example."],
    "pool": ["CNAME loop.z.example."],
    "self": ["CNAME self.z.example."],
    "octet": ["CNAME o\\001d.z.example."],
    **{f"{LONG}{n}": [f"CNAME {LONG}{n + 1}.z.example."] for n in range(12)},
    f"{LONG}12": ["A 192.0.2.12"],
    "many": ["CNAME set.z.example."],
    "set": [f"A 192.0.2.{n}" for n in range(40)],
    "texts": ["CNAME words.z.example."],
    "words": [f'TXT "{"x" * (9 * n)}"' for n in range(1, 20)],
}


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    """No test may change it."""
    made = fill(AnswererHarness(tmp_path_factory.mktemp("wild")))
    serve(made, {ORIGIN: WILD, OTHER: {"www": ["A 192.0.2.9"]}})
    yield made
    made.store.close()


@pytest.mark.parametrize(
    ("name", "rrtype", "answer"),
    [
        ("any.w", "A", ["NOERROR", "any.w.z.example. 5 A 192.0.2.2"]),
        ("AnY.w", "A", ["NOERROR", "AnY.w.z.example. 5 A 192.0.2.2"]),
        ("a.b.c.d.w", "A", ["NOERROR", "a.b.c.d.w.z.example. 5 A 192.0.2.2"]),
        ("any.w", "MX", ["NOERROR"]),
        ("*.w", "A", ["NOERROR", "*.w.z.example. 5 A 192.0.2.2"]),
        # An empty non-terminal has no wildcard above it, nor have names below it.
        ("b.w", "A", ["NOERROR"]),
        ("x.b.w", "A", ["NXDOMAIN"]),
        # A wildcard's name is a name: below it nothing is synthesised.
        ("x.*.w", "A", ["NXDOMAIN"]),
        # A wildcard that only is above others has no data, for each name it stands for.
        ("any.only", "A", ["NOERROR"]),
        ("under", "A", ["NOERROR"]),
        ("x.under", "A", ["NXDOMAIN"]),
        ("nothing", "A", ["NXDOMAIN"]),
        (
            "alias",
            "A",
            ["NOERROR", "alias.z.example. 5 CNAME www.z.example.", "www.z.example. 5 A 192.0.2.1"],
        ),
        ("alias", "CNAME", ["NOERROR", "alias.z.example. 5 CNAME www.z.example."]),
        ("alias", "MX", ["NOERROR", "alias.z.example. 5 CNAME www.z.example."]),
        ("Me.c", "A", ["NOERROR", "Me.c.z.example. 5 CNAME www.z.example.", "www.z.example. 5 A 192.0.2.1"]),
        (
            "into",
            "A",
            ["NOERROR", "Any.W.z.example. 5 A 192.0.2.2", "into.z.example. 5 CNAME Any.W.z.example."],
        ),
        # The rcode is that of the last name (RFC 6604 section 2).
        ("lost", "A", ["NXDOMAIN", "lost.z.example. 5 CNAME nothing.z.example."]),
        ("gone", "A", ["NXDOMAIN", f"gone.z.example. 5 CNAME no.default.svc.{Z}."]),
        ("empty", "A", ["NOERROR", "empty.z.example. 5 CNAME under.z.example."]),
        (
            "beside",
            "A",
            ["NOERROR", "beside.z.example. 5 CNAME www.y.example.", "www.y.example. 5 A 192.0.2.9"],
        ),
        (
            "service",
            "A",
            [
                "NOERROR",
                f"service.z.example. 5 CNAME web.default.svc.{Z}.",
                f"web.default.svc.{Z}. 5 A 10.96.0.10",
            ],
        ),
    ],
)
def test_it_is_as_the_rfcs_say(wild: AnswererHarness, name: str, rrtype: str, answer: list[str]) -> None:
    assert said(wild, f"{name}.{ORIGIN}", rrtype) == answer
    assert said(wild, f"{name}.{ORIGIN}", rrtype, OPTS[2]) == answer


@pytest.mark.parametrize("name", ["any.w", "a.b.c.d.w", "AnY.W"])
def test_wildcards_are_plain_in_python_too(wild: AnswererHarness, name: str) -> None:
    packet = question(f"{name}.{ORIGIN}", A)
    with wild.snapshots.begin() as snapshot:
        view = wild.answerer.look_at(snapshot)
        assert view is not None
        assert FastPath(stats.Stats(), 1232).answer(packet, view, UDP) == by_itself(wild, packet)


@pytest.mark.parametrize("name", ["out", "loop", "self", "octet", f"{LONG}3"])
@pytest.mark.parametrize("opt", OPTS[:3])
def test_what_leads_out_or_nowhere_is_pythons(wild: AnswererHarness, name: str, opt: bytes) -> None:
    """So is a chain with more links than the compiled path follows."""
    packet = question(f"{name}.{ORIGIN}", A, 1, opt)
    assert by_itself(wild, packet) is None
    for rights in (NAMES, NAMES | FORWARD):
        same(wild, packet, answerers(), UDP, rights)


def test_a_service_of_type_external_name_is_followed(wild: AnswererHarness) -> None:
    """But for SRV, which Kubernetes does not define for it."""
    assert said(wild, f"inner.default.svc.{Z}")[1:] == [
        f"inner.default.svc.{Z}. 5 CNAME web.default.svc.{Z}.",
        f"web.default.svc.{Z}. 5 A 10.96.0.10",
    ]
    assert said(wild, f"inner.default.svc.{Z}", "SRV") == ["NOERROR"]
    assert len(said(wild, f"short.{ORIGIN}")) == 4


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["many", "texts", "any.w", "long", "service", "lost", f"{LONG}4", f"{LONG}6"]),
    st.sampled_from([A, TXT, SRV, AAAA]),
    st.one_of(st.none(), st.integers(0, 1500)),
    st.integers(512, 1500),
    st.sampled_from([UDP, TCP]),
)
def test_chains_at_every_size(
    wild: AnswererHarness, name: str, rrtype: int, size: int | None, udp_size: int, transport: int
) -> None:
    """What has no room is left out as the exact path leaves it out, and said so."""
    query = dns.message.make_query(
        f"{name}.{ORIGIN}", rrtype, use_edns=-1 if size is None else 0, payload=size or 0
    )
    everyone = answerers(udp_size=udp_size)
    same(wild, query.to_wire(), everyone, transport)
    assert everyone[0].counters.slots == everyone[2].counters.slots


def test_answers_leave_nothing_allocated(wild: AnswererHarness) -> None:
    names = [
        "any.w",
        "x.b.w",
        "only",
        "any.only",
        "alias",
        "Me.c",
        "lost",
        "beside",
        "service",
        "loop",
        "out",
    ]
    packets = [question(f"{name}.{ORIGIN}", A) for name in names]
    assert leaves_nothing_allocated(wild, answerers()[0], packets, UDP)


def test_a_wildcard_below_the_root(scratch: AnswererHarness) -> None:
    """A zone whose key is empty, under versions whose octets are like labels."""
    serve(scratch, {ORIGIN: {}, "": {"*": ["A 192.0.2.1"], "com": ["A 192.0.2.2"], "a.org": ["A 192.0.2.3"]}})
    assert said(scratch, "any.net") == ["NOERROR", "any.net. 5 A 192.0.2.1"]
    assert said(scratch, "zz") == ["NOERROR", "zz. 5 A 192.0.2.1"]


def test_a_wildcard_takes_few_looks_however_many_labels(wild: AnswererHarness) -> None:
    """One row that is not there, the two beside the name, and the row of the wildcard."""
    looks: list[str] = []

    class Counted:
        """A transaction or a cursor that counts what is asked of it."""

        def __init__(self, real: object) -> None:
            self.real = real

        def __getattr__(self, name: str) -> object:
            looks.append(name)
            return getattr(self.real, name)

    class Counting(Counted):
        """A view whose cursors count."""

        def cursor(self, of_file: bool) -> Counted:
            return Counted(self.real.cursor(of_file))  # type: ignore[attr-defined]

    def open_view(view: Counting) -> tuple[object, ...]:
        table, get, *tables = path_choice.open_view(view.real)  # type: ignore[arg-type]

        def counted(*asked: object) -> object:
            looks.append("get")
            return get(*asked)

        return table, counted, *tables

    zoned = (path_choice.describe, open_view, random.random)
    path = compiled_path.Path([0] * stats.SLOTS, 1232, {1: 0}, *zoned, 1, 1, 2, NOT_PLAIN, None)
    for labels in (1, 100):
        with wild.snapshots.begin() as snapshot:
            view = Counting(wild.answerer.look_at(snapshot))
            looks.clear()
            name = ".".join(["x"] * labels + ["w", ORIGIN])
            assert path.answer(question(name, A), view, UDP) is not NOT_PLAIN
            assert looks == ["get", "set_range", "key", "key", "prev", "key", "get"], labels


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_rows_on_the_way_are_left_to_python(scratch: AnswererHarness, data: st.DataObject) -> None:
    """Of the name, of the wildcard, of a target: nothing beyond an end is read."""
    serve(scratch, {ORIGIN: {"a": [], "b": [], "*.w": []}})
    zone = next(zone for zone in scratch.zones if zone.kind == "file")
    cname = pack_row([rrset("CNAME", f"b.{ORIGIN}.")])
    answer = pack_row([rrset("A", "192.0.2.1", "192.0.2.2"), rrset("TXT", "x", "longer")])
    for name, good in (("a", cname), ("b", answer), ("*.w", data.draw(st.sampled_from([cname, answer])))):
        row = bytearray(good)
        for _ in range(data.draw(st.integers(0, 2))):
            row[data.draw(st.integers(0, len(row) - 1))] = data.draw(st.integers(0, 255))
        del row[data.draw(st.one_of(st.just(len(row)), st.integers(0, len(row)))) :]
        scratch.put_row(zone, key_of(f"{name}.{ORIGIN}"), bytes(row))
    for name, rrtype in product(("a", "b", "x.w"), (A, TXT)):
        reply = by_itself(scratch, question(f"{name}.{ORIGIN}", rrtype))
        assert reply is None or 12 < len(reply) <= 512
