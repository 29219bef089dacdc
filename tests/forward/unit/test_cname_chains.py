"""Aliases of ours that lead outside: our CNAMEs, then all that upstreams say about the last target."""

from collections.abc import Iterator
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from toolbox.answerer_harness import TTL, AnswererHarness, Z, fill, rrset
from toolbox.cached_replies import CONFIG, NOW, SOA, received, texts

from svcdns.cache import entry
from svcdns.dns.lookup import answer_name
from svcdns.dns.view import View, ZoneTable
from svcdns.forward.cname_chains import reply_after_chain
from svcdns.names.packed import DNAME
from svcdns.wire import codes
from svcdns.wire.key import key_of, wire_of
from svcdns.wire.query import Query
from svcdns.wire.question import parse
from svcdns.wire.reply import Frame
from svcdns.wire.response import Response, read

TARGET = "www.elsewhere.info"
ALIAS = f"away.default.svc.{Z}"
CNAME = f"{ALIAS}. {TTL} IN CNAME {TARGET}."
ADDRESS = f"{TARGET}. 300 IN A 192.0.2.1"


@dataclass
class Asked:
    """A question whose name is an alias of ours, and what our zones say."""

    view: View

    def __call__(
        self,
        stored: bytes,
        rrtype: str = "A",
        *,
        name: str = ALIAS,
        edns: int | None = None,
        tcp: bool = False,
        do: bool = False,
        age: int = 0,
    ) -> dns.message.Message:
        query = dns.message.make_query(
            name,
            rrtype,
            use_edns=-1 if edns is None else 0,
            payload=edns or 0,
            want_dnssec=do and edns is not None,
        )
        packet = query.to_wire()
        question = parse(packet)
        draft = answer_name(self.view, question.name, question.key, question.rrtype, True)
        assert draft.outside is not None
        frame = Frame(packet, question.end, question.edns, 1232, tcp, True)
        ask = Query(draft.outside.key, question.rrtype, do, name=draft.outside.wire)
        octets = reply_after_chain(frame, draft, ask, entry.decode(stored), NOW + age)
        assert len(octets) <= frame.limit
        reply = dns.message.from_wire(octets, one_rr_per_rrset=True)
        assert reply.id == query.id
        assert [str(one.name) for one in reply.question] == [f"{name}."]
        assert {"QR", "AA", "RD", "RA"} <= set(dns.flags.to_text(reply.flags).split())
        assert not reply.flags & dns.flags.AD
        assert reply.edns == (-1 if edns is None else 0)
        return reply


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    world = AnswererHarness(tmp_path_factory.mktemp("alias") / "data")
    with world.writing():
        fill(world)
        world.put(f"two.default.svc.{Z}", rrset("CNAME", f"away.default.svc.{Z}."))
        world.put(f"root.default.svc.{Z}", rrset("CNAME", "."))
        zone = world.file_zone("corp.example", cuts=True)
        world.put_file(zone, "out.corp.example", rrset("CNAME", f"{TARGET}."))
        world.put_file(zone, "sub.corp.example", rrset("DNAME", "elsewhere.info."), flags=DNAME)
    snapshot = world.snapshots.begin()
    assert snapshot.serving is not None
    yield Asked(View(snapshot, ZoneTable(snapshot.serving)))
    snapshot.txn.abort()
    world.store.close()


def packed(got: Response) -> bytes:
    return entry.pack(got, NOW, CONFIG)


def of_target(
    rrtype: str = "A", *answer: str, authority: tuple[str, ...] = (), rcode: int = 0, do: bool = False
) -> Response:
    return received(rrtype, answer, authority, rcode=rcode, name=TARGET, do=do)


@pytest.mark.parametrize("edns", [None, 1232])
@pytest.mark.parametrize("tcp", [False, True])
def test_the_alias_comes_first_and_the_targets_records_follow(
    asked: Asked, edns: int | None, tcp: bool
) -> None:
    stored = packed(of_target("A", ADDRESS, f"{TARGET}. 300 IN A 192.0.2.2"))
    reply = asked(stored, edns=edns, tcp=tcp)
    assert reply.rcode() == dns.rcode.NOERROR
    first, *others = texts(reply.answer)
    assert first == CNAME
    assert sorted(others) == [ADDRESS, f"{TARGET}. 300 IN A 192.0.2.2"]
    assert not reply.authority + reply.additional
    assert not reply.flags & dns.flags.TC


def test_the_time_of_the_target_counts_down_and_ours_does_not(asked: Asked) -> None:
    reply = asked(packed(of_target("A", ADDRESS)), age=100)
    assert texts(reply.answer) == [CNAME, f"{TARGET}. 200 IN A 192.0.2.1"]


@pytest.mark.parametrize(
    ("name", "links"),
    [
        (ALIAS, [TARGET]),
        (f"AWAY.Default.{Z}", [TARGET]),
        (f"two.default.svc.{Z}", [ALIAS, TARGET]),
    ],
)
def test_chains_of_ours_and_of_upstreams(asked: Asked, name: str, links: list[str]) -> None:
    theirs = [f"{TARGET}. 60 IN CNAME a.example.net.", "a.example.net. 50 IN CNAME b.a.example.net."]
    last = "b.a.example.net. 60 IN A 192.0.2.3"
    reply = asked(packed(of_target("A", *theirs, last)), name=name)
    assert [str(rr.name) for rr in reply.answer] == [
        f"{owner}." for owner in (name, *links, "a.example.net", "b.a.example.net")
    ]
    assert [rr.ttl for rr in reply.answer][-3:] == [50, 50, 50]
    assert str(reply.answer[-1][0]) == "192.0.2.3"


def test_a_dname_of_ours_leads_outside(asked: Asked) -> None:
    reply = asked(packed(of_target("A", ADDRESS)), name="www.sub.corp.example")
    assert [dns.rdatatype.to_text(rr.rdtype) for rr in reply.answer] == ["DNAME", "CNAME", "A"]
    assert str(reply.answer[-1].name) == f"{TARGET}."


def test_the_target_may_be_the_root(asked: Asked) -> None:
    stored = packed(received("NS", [". 300 IN NS ns.example.com."], name="."))
    reply = asked(stored, "NS", name=f"root.default.svc.{Z}")
    assert texts(reply.answer)[1:] == [". 300 IN NS ns.example.com."]


@pytest.mark.parametrize("answer", [(), (f"{TARGET}. 60 IN CNAME gone.example.net.",)])
@pytest.mark.parametrize("rcode", [codes.NXDOMAIN, codes.NOERROR])
@pytest.mark.parametrize("tcp", [False, True])
def test_negative_answers_are_the_targets(
    asked: Asked, answer: tuple[str, ...], rcode: int, tcp: bool
) -> None:
    stored = packed(of_target("A", *answer, authority=(SOA,), rcode=rcode))
    reply = asked(stored, tcp=tcp, edns=1232)
    assert reply.rcode() == rcode
    assert texts(reply.answer) == [CNAME, *answer]
    assert [str(rr.name) for rr in reply.authority] == ["example.com."]
    assert reply.authority[0].ttl == 60
    assert not reply.extended_errors()


@pytest.mark.parametrize("edns", [None, 1232])
def test_what_cannot_be_resolved_is_servfail_with_the_alias(asked: Asked, edns: int | None) -> None:
    stored = entry.failure(codes.EDE_NO_REACHABLE_UPSTREAM, NOW, "no upstream answered")
    reply = asked(stored, edns=edns)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert texts(reply.answer) == [CNAME]
    assert not reply.authority
    assert [int(error.code) for error in reply.extended_errors()] == ([22] if edns else [])


@pytest.mark.parametrize("rcode", [codes.YXDOMAIN, codes.NOTAUTH, 23])
@pytest.mark.parametrize("edns", [None, 1232])
def test_rcodes_that_say_nothing_about_an_alias_are_servfail(
    asked: Asked, rcode: int, edns: int | None
) -> None:
    reply = asked(packed(replace(of_target(), rcode=rcode)), edns=edns)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert texts(reply.answer) == [CNAME]


@pytest.mark.parametrize(("rcode", "why"), [(codes.NOERROR, 3), (codes.NXDOMAIN, 19)])
def test_what_stands_in_says_so(asked: Asked, rcode: int, why: int) -> None:
    answer = () if rcode else (ADDRESS,)
    soa = (SOA,) if rcode else ()
    stale = entry.decode(packed(of_target("A", *answer, authority=soa, rcode=rcode))).stale(NOW + 400)
    assert stale is not None
    reply = asked(stale, edns=1232, age=402)
    assert [int(error.code) for error in reply.extended_errors()] == [why]
    assert reply.rcode() == rcode
    assert {rr.ttl for rr in reply.answer[1:] + reply.authority} == {30}


def test_do_brings_signatures(asked: Asked) -> None:
    signature = "A 8 3 300 20300101000000 20200101000000 1 elsewhere.info. AAAA"
    stored = packed(of_target("A", ADDRESS, f"{TARGET}. 300 IN RRSIG {signature}", do=True))
    reply = asked(stored, edns=1232, do=True)
    assert reply.ednsflags & dns.flags.DO
    assert texts(reply.answer) == [CNAME, ADDRESS, f"{TARGET}. 300 IN RRSIG {signature}"]


# Room


def txts(count: int, size: int = 240) -> list[str]:
    return [f'{TARGET}. 300 IN TXT "{number:04} {"x" * size}"' for number in range(count)]


@pytest.mark.parametrize("edns", [None, 512, 1232, 65535])
def test_sixty_kilobytes(asked: Asked, edns: int | None) -> None:
    records = txts(230)
    stored = packed(of_target("TXT", *records))
    assert len(stored) > 59_000
    small = asked(stored, "TXT", edns=edns)
    assert small.flags & dns.flags.TC
    assert texts(small.answer)[0] == CNAME
    assert set(texts(small.answer)[1:]) < set(records)
    whole = asked(stored, "TXT", edns=edns, tcp=True)
    assert not whole.flags & dns.flags.TC
    assert sorted(texts(whole.answer)[1:]) == records


def test_a_negative_answer_whose_soa_has_no_room_is_cut(asked: Asked) -> None:
    owner, server, mailbox = (".".join(3 * [letter * 60]) + ".test." for letter in "abc")
    soa = f"{owner} 300 IN SOA {server} {mailbox} 1 2 3 4 60"
    reply = asked(packed(of_target(authority=(soa,), rcode=codes.NXDOMAIN)))
    assert reply.flags & dns.flags.TC
    assert texts(reply.answer) == [CNAME]
    assert not reply.authority


LONG = ".".join("x" * 60 for _ in range(3)) + ".test"


def test_more_than_65535_octets_over_tcp_is_a_part_without_tc(asked: Asked) -> None:
    """Upstreams compress names in RDATA, we spell them in full here."""
    stored = packed(of_target("MX", *(f"{TARGET}. 300 IN MX {number} {LONG}." for number in range(400))))
    assert len(stored) < 15_000
    reply = asked(stored, "MX", tcp=True)
    assert 250 < len(reply.answer) < 400
    assert not reply.flags & dns.flags.TC


@pytest.mark.parametrize("answer", [(), (ADDRESS,)])
@pytest.mark.parametrize("tcp", [False, True])
def test_tc_of_the_upstream_is_passed_on(asked: Asked, answer: tuple[str, ...], tcp: bool) -> None:
    reply = asked(packed(replace(of_target("A", *answer), truncated=True)), tcp=tcp)
    assert reply.flags & dns.flags.TC


# What upstreams may say


def raw_answer(rrtype: int, rdata: bytes) -> bytes:
    """Return the stored form of an answer whose RDATA is of a type that we don't look into."""
    name = wire_of(TARGET)
    tail = rrtype.to_bytes(2) + b"\0\1"
    wire = b"\0\0\x81\x80\0\1\0\1\0\0\0\0" + name + tail
    wire += b"\xc0\x0c" + tail + bytes((0, 0, 1, 44)) + len(rdata).to_bytes(2) + rdata
    return packed(read(wire, Query(key_of(TARGET), rrtype, name=name), 0))


@pytest.mark.parametrize(
    ("rrtype", "rdata"),
    [
        (65, b"\0\1\0\0\4\0\4\xc0\0\2\1"),  # HTTPS
        (257, b"\0\5issueca.example"),  # CAA
        (65280, b"\0whatever\xff"),
        (65280, b""),
    ],
)
def test_types_of_every_kind(asked: Asked, rrtype: int, rdata: bytes) -> None:
    reply = asked(raw_answer(rrtype, rdata), f"TYPE{rrtype}")
    assert [rr[0].to_wire() for rr in reply.answer[1:]] == [rdata]


RDATA = {
    "A": st.ip_addresses(v=4).map(str),
    "AAAA": st.ip_addresses(v=6).map(str),
    "MX": st.sampled_from([TARGET, "mail.example.com", f"x.{TARGET}", Z]).map(lambda name: f"10 {name}."),
    "TXT": st.text("abcXYZ ", max_size=200).map(lambda text: f'"{text}"'),
    "SRV": st.sampled_from([TARGET, "a.b", f"web.default.svc.{Z}"]).map(lambda name: f"0 5 80 {name}."),
    "NAPTR": st.sampled_from(["a.b.", "."]).map(lambda name: f'1 2 "u" "E2U+sip" "" {name}'),
}


@settings(max_examples=150)
@given(
    st.sampled_from(sorted(RDATA)).flatmap(
        lambda rrtype: st.tuples(
            st.just(rrtype), st.lists(RDATA[rrtype], min_size=1, max_size=40, unique=True)
        )
    ),
    st.integers(0, 3),
    st.integers(0, 50),
    st.booleans(),
)
def test_what_upstreams_say_comes_through(
    asked: Asked, drawn: tuple[str, list[str]], links: int, age: int, tcp: bool
) -> None:
    rrtype, data = drawn
    names = [TARGET, *(f"{n}.{TARGET}" if n % 2 else f"{n}.example.net" for n in range(links))]
    chain = [f"{names[n]}. 70 IN CNAME {names[n + 1]}." for n in range(links)]
    got = of_target(rrtype, *chain, *(f"{names[-1]}. 90 IN {rrtype} {one}" for one in data))
    reply = asked(packed(got), rrtype, name="out.corp.example", age=age, tcp=tcp, edns=1232)
    alias = f"out.corp.example. {TTL} IN CNAME {TARGET}."
    ttl = (70 if links else 90) - age
    cnames = [f"{names[n]}. {ttl} IN CNAME {names[n + 1]}." for n in range(links)]
    expected = {str(dns.rrset.from_text(f"{names[-1]}.", ttl, "IN", rrtype, one)) for one in data}
    said = texts(reply.answer)
    if reply.flags & dns.flags.TC:
        assert not tcp
        assert set(said) < {alias, *cnames, *expected}
    else:
        assert said[: 1 + links] == [alias, *cnames]
        assert set(said[1 + links :]) == expected
        assert len(said) == 1 + links + len(expected)
