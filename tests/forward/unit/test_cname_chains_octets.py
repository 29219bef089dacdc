"""Aliases that lead outside, octet by octet: any reply that was accepted is continued; where chains lead."""

import contextlib
from collections import Counter
from itertools import pairwise
from time import process_time

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from toolbox.cached_replies import CONFIG, NOW
from toolbox.upstream_messages import NAME, READ, ask_for, raw, received, replies, reply, rr, spoilt

from svcdns.cache import entry
from svcdns.dns.draft import Draft, Name
from svcdns.forward.cname_chains import cname_targets, reply_after_chain
from svcdns.wire import codes
from svcdns.wire.edns import Edns
from svcdns.wire.garbage import Garbage
from svcdns.wire.key import key_of_wire
from svcdns.wire.query import Query
from svcdns.wire.reply import Frame
from svcdns.wire.response import Response, read

ALIAS = "away.default.svc.cluster.local."
UDP_SIZE = 1232


def said(
    got: Response | bytes, rrtype: int = 1, *, tcp: bool = True, size: int | None = UDP_SIZE, links: int = 1
) -> bytes:
    """Return the reply to a question for an alias of ours, at the end of which `got` is the answer."""
    query = dns.message.make_query(ALIAS, dns.rdatatype.RdataType(rrtype))
    packet = query.to_wire()
    frame = Frame(packet, len(packet), None if size is None else Edns(size, 0, False), UDP_SIZE, tcp, True)
    draft, at = Draft(), 12
    wire, end = b"", len(packet)
    for number in range(links):
        text = NAME if number == links - 1 else f"{number}.{'x' * 60}.{'y' * 60}.test."
        target = dns.name.from_text(text).to_wire()
        assert target is not None
        wire = target
        draft.chain.append((0xC000 | at).to_bytes(2) + b"\0\5\0\1\0\0\0\5" + len(wire).to_bytes(2) + wire)
        end += len(draft.chain[-1])
        at = end - len(wire)
    draft.outside = Name(wire, at, key_of_wire(wire))
    stored = got if isinstance(got, bytes) else entry.pack(got, NOW, CONFIG)
    query = Query(draft.outside.key, rrtype, name=wire)
    octets = reply_after_chain(frame, draft, query, entry.decode(stored), NOW)
    assert len(octets) <= frame.limit
    return octets


def parsed(octets: bytes) -> dns.message.Message:
    """Parse a reply; what dnspython can't read of RDATA that we don't look into is left out."""
    return dns.message.from_wire(octets, one_rr_per_rrset=True, continue_on_error=True)


def records(sections: list[list[dns.rrset.RRset]]) -> Counter[str]:
    """Return the RRs that are looked into, without their TTLs."""
    found = [one for section in sections for one in section if one.rdtype in READ]
    return Counter(f"{one.name} {one.rdtype} {one[0]}".lower() for one in found)


def agree(got: Response) -> None:
    """Assert that a client gets our CNAME and all that the upstream said, if that was an answer."""
    rrtype = int.from_bytes(got.wire[got.end - 4 : got.end - 2])
    reply, came = parsed(said(got, rrtype)), parsed(got.wire)
    assert str(reply.answer[0]) == f"{ALIAS} 5 IN CNAME {NAME}"
    if got.rcode not in (codes.NOERROR, codes.NXDOMAIN):
        assert reply.rcode() == codes.SERVFAIL
        assert (len(reply.answer), len(reply.authority)) == (1, 0)
        return
    assert reply.rcode() == got.rcode
    servers = {one.rdtype for one in came.authority} == {dns.rdatatype.NS}
    needed = came.authority if reply.authority or not (servers and got.answered) else []
    assert records([reply.answer[1:], reply.authority]) == records([came.answer, needed])
    sent = dns.message.from_wire(said(got, rrtype, tcp=False), continue_on_error=True, one_rr_per_rrset=True)
    assert str(sent.answer[0]) == str(reply.answer[0])
    assert not records([sent.answer, sent.authority]) - records([reply.answer, reply.authority])


@given(replies())
@settings(max_examples=200)
def test_any_reply_is_continued(made: tuple[dns.message.Message, Query]) -> None:
    with contextlib.suppress(Garbage):  # CNAMEs that lead in a circle, or two of one name
        agree(read(made[0].to_wire(max_size=65535), made[1], None))


@given(spoilt())
@settings(max_examples=600)
def test_whatever_is_accepted_is_continued(made: tuple[bytes, Query]) -> None:
    try:
        got = read(*made, None)
    except Garbage:
        return
    agree(got)


@pytest.mark.parametrize(
    ("rrtype", "rdata"),
    [
        (29, b"\0\1\2"),  # LOC
        (43, b"\0"),  # DS
        (44, b"\1"),  # SSHFP
        (46, b"\0\1\2"),  # RRSIG
        (47, b"\xc0"),  # NSEC
        (50, b"\1\0\0\0\xff"),  # NSEC3
        (65, b"\0\1\0\0\4\0\3\xc0\0\2"),  # HTTPS
        (257, b""),  # CAA
        (65280, bytes(range(256))),
    ],
)
@pytest.mark.parametrize("tcp", [False, True])
def test_rdata_that_nobody_can_read_is_passed_on(rrtype: int, rdata: bytes, tcp: bool) -> None:
    question = ask_for().name + rrtype.to_bytes(2) + b"\0\1"
    got = read(raw(rr(rrtype, rdata), question=question), Query(ask_for().key, rrtype), None)
    octets = said(got, rrtype, tcp=tcp, size=None)
    assert int.from_bytes(octets[6:8]) == 2
    assert octets.endswith(rrtype.to_bytes(2) + b"\0\1\0\0\1\x2c" + len(rdata).to_bytes(2) + rdata)
    behind = read(
        raw(rr(29, b"\0\1\2"), rr(1, b"1234"), question=ask_for().name + b"\0\xff\0\1"),
        ask_for(rrtype="ANY"),
        None,
    )
    assert said(behind, 255).count(b"1234") == 1


def test_names_that_point_everywhere_are_spelt_in_full() -> None:
    """Owners and RDATA that point to the question, to RDATA, to owners and to parts of them."""
    wire = raw(
        rr(5, b"\1t\xc0\x10"),  # t.example.org.
        rr(15, b"\0\1\2mx\xc0\x2d", b"\xc0\x2d"),
        rr(6, b"\xc0\x0c\xc0\x10" + bytes(20), b"\xc0\x10"),
        question=ask_for().name + b"\0\x0f\0\1",
        counts=(2, 1, 0),
    )
    reply = parsed(said(received(wire, "MX"), 15))
    assert [str(one) for one in reply.answer[1:]] == [
        f"{NAME} 300 IN CNAME t.example.org.",
        "t.example.org. 300 IN MX 1 mx.t.example.org.",
    ]
    assert str(reply.authority[0]).startswith("example.org. ")
    assert f"SOA {NAME} example.org. 0 0 0 0 0" in str(reply.authority[0])


@pytest.mark.parametrize("size", [None, 512, 1232])
@pytest.mark.parametrize("links", [1, 3, 5, 10])
def test_a_long_chain_of_ours_is_cut_first(size: int | None, links: int) -> None:
    got = received(reply(f"{NAME} 300 IN A 192.0.2.1"))
    whole = dns.message.from_wire(said(got, links=links, size=size))
    assert len(whole.answer) == links + 1
    assert not whole.flags & dns.flags.TC
    octets = said(got, links=links, size=size, tcp=False)
    sent = dns.message.from_wire(octets)
    assert sent.answer == whole.answer[: len(sent.answer)]
    assert bool(sent.flags & dns.flags.TC) is (len(sent.answer) <= links)


def test_additionals_and_servers_that_nobody_needs_give_way() -> None:
    ns, glue = "example.org. 9 IN NS ns.example.org.", "ns.example.org. 9 IN A 192.0.2.9"
    got = received(reply(f"{NAME} 300 IN A 192.0.2.1", authority=(ns,), additional=(glue,)))
    sent = dns.message.from_wire(said(got, tcp=False, size=None))
    assert (len(sent.answer), sent.authority, sent.additional) == (2, [], [])
    assert not sent.flags & dns.flags.TC


def test_addresses_are_turned() -> None:
    got = received(reply(*(f"{NAME} 300 IN A 192.0.2.{n}" for n in range(4))))
    orders = {
        tuple(str(one[0]) for one in dns.message.from_wire(said(got), one_rr_per_rrset=True).answer[1:])
        for _ in range(200)
    }
    plain = [f"192.0.2.{n}" for n in range(4)]
    assert orders == {tuple(plain[n:] + plain[:n]) for n in range(4)}


@pytest.mark.parametrize("rrtype", ["A", "TXT"])
def test_what_has_no_room_is_not_unpacked(rrtype: str) -> None:
    """A huge RRset over UDP takes the time of what is sent of it."""

    def stored(count: int) -> bytes:
        data = (f"10.0.{n >> 8}.{n & 255}" if rrtype == "A" else f'"{n:04}"' for n in range(count))
        return entry.pack(
            received(reply(*(f"{NAME} 300 IN {rrtype} {one}" for one in data), rrtype=rrtype), rrtype),
            NOW,
            CONFIG,
        )

    huge, few = stored(3000), stored(50)
    number = int(dns.rdatatype.from_text(rrtype))
    assert dns.message.from_wire(said(huge, number, tcp=False)).flags & dns.flags.TC
    assert cost(huge, number) < 6 * cost(few, number)


def cost(stored: bytes, rrtype: int) -> float:
    """Return the least seconds of 5 rounds that making 20 replies takes."""
    rounds = []
    for _ in range(5):
        start = process_time()
        for _ in range(20):
            said(stored, rrtype, tcp=False)
        rounds.append(process_time() - start)
    return min(rounds)


# Where chains lead

T, U = "T.example.net.", "u.example.com."
TO_T, T_TO_U = f"{NAME} 100 IN CNAME {T}", f"{T} 100 IN CNAME {U}"
A_OF_U = f"{U} 300 IN A 192.0.2.1"
SIGNATURE = "8 3 300 20300101000000 20200101000000 1 example.net. AAAA"


def targets(*answers: str, rrtype: str = "A", rcode: str = "NOERROR") -> list[tuple[str, int]]:
    got = received(reply(*answers, rrtype=rrtype, rcode=rcode), rrtype)
    stored = entry.pack(got, NOW, CONFIG)
    stale = entry.decode(entry.pack(replace(got, lifetime=1), NOW, CONFIG)).stale(NOW + 1)
    found = cname_targets(entry.decode(stored), ask_for().name)
    if stale is not None:
        assert cname_targets(entry.decode(stale), ask_for().name) == found
    return [(dns.name.from_wire(name, 0)[0].to_text(), count) for name, count in found]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((), []),
        ((f"{NAME} 300 IN A 192.0.2.1",), []),
        (("org. 9 IN DNAME net.",), [("www.example.net.", 2)]),
        ((TO_T,), [(T, 1)]),
        ((TO_T, T_TO_U, A_OF_U), [(T, 1), (U, 2)]),
        (
            (TO_T, f"{NAME} 9 IN RRSIG CNAME {SIGNATURE}", T_TO_U, A_OF_U),
            [(T, 1), (U, 2)],
        ),  # no RRSIGs without DO
        ((f"{NAME} 9 IN RRSIG CNAME {SIGNATURE}", TO_T, f"{T} 9 IN A 192.0.2.1"), [(T, 1)]),
        (("org. 9 IN DNAME net.", f"{NAME} 9 IN CNAME www.example.net."), [("www.example.net.", 2)]),
        ((A_OF_U, T_TO_U, TO_T), [(T, 1), (U, 2)]),  # put in order
        ((TO_T.replace(" CNAME T.", " CNAME a.www.T."),), [("a.www.T.example.net.", 1)]),
        ((f"{NAME} 9 IN CNAME .",), [(".", 1)]),
    ],
)
@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN", "SERVFAIL"])
def test_where_a_chain_leads(answers: tuple[str, ...], expected: list[tuple[str, int]], rcode: str) -> None:
    assert targets(*answers, rcode=rcode) == expected


def test_a_failure_leads_nowhere() -> None:
    assert cname_targets(entry.decode(entry.failure(22, NOW, "no upstream answered")), ask_for().name) == []


@given(spoilt())
@settings(max_examples=300)
def test_whatever_is_accepted_leads_to_names(made: tuple[bytes, Query]) -> None:
    """Each step is a CNAME of the answer section, as dnspython reads it."""
    try:
        got = read(*made, None)
    except Garbage:
        return
    found = cname_targets(entry.decode(entry.pack(got, NOW, CONFIG)), ask_for().name)
    names = [ask_for().name, *(name for name, _ in found)]
    cnames = {
        (str(one.name).lower(), str(one[0]).lower())
        for one in parsed(got.wire).answer
        if one.rdtype == codes.CNAME
    }
    for owner, target in pairwise(str(dns.name.from_wire(name, 0)[0]).lower() for name in names):
        assert (owner, target) in cnames
    assert len({name.lower() for name in names}) == len(names)
    assert all(0 < count <= got.counts[0] for _, count in found)


@given(st.integers(1, 11))
def test_long_chains_end(links: int) -> None:
    names = [ask_for().name, *(bytes((2, 97 + n // 26, 97 + n % 26, 0)) for n in range(links))]
    wire = raw(*(rr(5, target, owner) for owner, target in pairwise(names)))
    stored = entry.pack(received(wire), NOW, CONFIG)
    assert cname_targets(entry.decode(stored), names[0]) == [(name, n) for n, name in enumerate(names[1:], 1)]
