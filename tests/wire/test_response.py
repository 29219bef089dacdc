"""Reading upstreams' replies: what is accepted, what is refused, how long it may be kept."""

import contextlib
import struct
import time

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from dns.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.upstream_messages import (
    IDENT,
    NAME,
    SOA,
    agree,
    ask_for,
    pointer,
    raw,
    received,
    replies,
    reply,
    rr,
    spoilt,
)

from svcdns.wire.garbage import Garbage
from svcdns.wire.query import Query, encode_query
from svcdns.wire.response import read

A_REPLY_TEXT = f"{NAME} 300 IN A 192.0.2.1"
A_REPLY = reply(A_REPLY_TEXT)
END = 12 + len(ask_for().name) + 4


# The query


@pytest.mark.parametrize("do", [False, True])
@pytest.mark.parametrize("cd", [False, True])
def test_the_query_is_what_a_resolver_sends(do: bool, cd: bool) -> None:
    parsed = dns.message.from_wire(encode_query(ask_for(do=do, cd=cd), 7))
    assert parsed.id == 7 and parsed.question[0].to_text() == f"{NAME} IN A"
    assert parsed.flags == dns.flags.RD | (dns.flags.CD if cd else 0)
    assert parsed.edns == 0 and parsed.payload == 1232 and parsed.options == ()
    assert bool(parsed.ednsflags & dns.flags.DO) is do


def test_a_query_without_edns_has_no_opt() -> None:
    parsed = dns.message.from_wire(encode_query(ask_for(do=True), 7, edns=False))
    assert parsed.edns == -1 and not parsed.additional


def test_a_query_of_an_ask_without_a_name_on_the_wire_spells_its_key() -> None:
    ask = Query(ask_for().key, 1)
    assert encode_query(ask, 7) == encode_query(ask_for(), 7)
    assert read(A_REPLY, ask, IDENT).counts == (1, 0, 0)


# What is accepted


def test_the_opt_is_taken_out() -> None:
    found = received(A_REPLY)
    parsed = dns.message.from_wire(found.wire)
    assert parsed.edns == -1 and parsed.answer[0].to_text() == f"{NAME} 300 IN A 192.0.2.1"
    assert found.wire[found.end :][:2] == b"\xc0\x0c"
    assert found.counts == (1, 0, 0) and found.lifetime == 300


def with_opt_in_front(wire: bytes) -> bytes:
    """Move the OPT in front of the other additional RRs of a reply that has one, and no name compressed."""
    parsed = dns.message.from_wire(wire)
    parsed.use_edns(False)
    whole = parsed.to_wire(origin=None)
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0x01000000, 6) + struct.pack(">HHH", 15, 2, 22)
    counts = struct.unpack_from(">4H", whole, 4)
    at = len(whole) - sum(_octets(rr) for rr in parsed.additional)
    return whole[:10] + struct.pack(">H", counts[3] + 1) + whole[12:at] + opt + whole[at:]


def _octets(rr: dns.rrset.RRset) -> int:
    return 2 + 10 + 4  # an A whose owner is a pointer


def test_an_opt_before_other_rrs_is_taken_out_too() -> None:
    glue = f"{NAME} 200 IN A 192.0.2.53"
    wire = reply("www.example.org. 300 IN MX 5 www.example.org.", additional=(glue,), rrtype="MX", edns=False)
    found = received(with_opt_in_front(wire), "MX")
    parsed = dns.message.from_wire(found.wire)
    assert parsed.additional[0].to_text() == glue and parsed.edns == -1
    assert found.counts == (1, 0, 1) and found.rcode == 16 and found.ede == 22
    assert [found.wire[at : at + 4] for at in found.ttl_at] == [
        (300).to_bytes(4, "big"),
        (200).to_bytes(4, "big"),
    ]


def test_letter_case_of_the_question_does_not_matter() -> None:
    assert received(A_REPLY.replace(b"example", b"eXAMPle")).counts == (1, 0, 0)


def test_the_upper_bits_of_the_rcode_count() -> None:
    found = received(reply(rcode="BADCOOKIE"))
    assert found.rcode == 23 and found.lifetime is None


def test_the_extended_error_is_told() -> None:
    nsid = dns.edns.GenericOption(dns.edns.NSID, b"abc")
    errors = (nsid, dns.edns.EDEOption(18, "no"), dns.edns.EDEOption(22))
    assert received(reply(rcode="REFUSED", options=errors)).ede == 18
    assert received(reply(rcode="REFUSED", options=(nsid,))).ede is None


def test_an_id_is_not_looked_at_where_there_is_none() -> None:
    assert read(A_REPLY, ask_for(), None).counts == (1, 0, 0)


def test_a_ttl_with_its_top_bit_set_is_0() -> None:
    wire = A_REPLY.replace((300).to_bytes(4, "big"), b"\x80\0\0\1")
    found = received(wire)
    assert found.lifetime == 0
    assert dns.message.from_wire(found.wire).answer[0].ttl == 0


# How long it may be kept

CNAME = f"{NAME} 100 IN CNAME cdn.example.net."


@pytest.mark.parametrize(
    ("wire", "rrtype", "lifetime"),
    [
        (reply(f"{NAME} 300 IN A 192.0.2.1"), "A", 300),
        (reply(CNAME, "cdn.example.net. 20 IN A 192.0.2.1"), "A", 20),
        (reply(f"{NAME} 300 IN A 192.0.2.1", authority=("example.org. 50 IN NS ns.example.org.",)), "A", 50),
        (reply(f"{NAME} 0 IN A 192.0.2.1"), "A", 0),
        (reply(f"{NAME} 300 IN TXT x", rrtype="ANY"), "ANY", 300),
        (reply(CNAME, rrtype="CNAME"), "CNAME", 100),
        (reply(f"{NAME} 900 {SOA.split(' ', 2)[2]}", rrtype="SOA"), "SOA", 900),
        # negative: the MINIMUM of the SOA, its TTL, or another RR's
        (reply(authority=(SOA,)), "A", 60),
        (reply(authority=(SOA,), rcode="NXDOMAIN"), "A", 60),
        (reply(authority=(SOA.replace("900", "30"),), rcode="NXDOMAIN"), "A", 30),
        (reply(CNAME, authority=(SOA,), rcode="NXDOMAIN"), "A", 60),
        (reply(CNAME.replace("100", "10"), authority=(SOA,), rcode="NXDOMAIN"), "A", 10),
        (reply(CNAME, authority=(SOA,)), "A", 60),
        (reply(authority=(SOA.replace(" 60", " 2147483648"),)), "A", 0),
        # nothing says for how long
        (reply(), "A", None),
        (reply(rcode="NXDOMAIN"), "A", None),
        (reply(CNAME), "A", None),
        (reply(authority=("example.org. 300 IN NS ns.example.org.",)), "A", None),
        (reply(additional=(SOA,)), "A", None),
        (reply(rcode="SERVFAIL"), "A", None),
        (reply(f"{NAME} 300 IN A 192.0.2.1", rcode="REFUSED"), "A", None),
    ],
)
def test_lifetime(wire: bytes, rrtype: str, lifetime: int | None) -> None:
    assert received(wire, rrtype).lifetime == lifetime


def test_a_truncated_reply_is_not_kept() -> None:
    found = received(truncated(A_REPLY))
    assert found.truncated and found.lifetime is None


def truncated(wire: bytes) -> bytes:
    return wire[:2] + bytes((wire[2] | 2,)) + wire[3:]


def test_a_truncated_reply_may_end_anywhere() -> None:
    """What it has behind the question is not looked at: it is asked for again."""
    wire = truncated(reply(*(f"{NAME} 300 IN A 192.0.2.{n}" for n in range(9)), rcode="NXDOMAIN"))
    for end in range(END, len(wire) + 1):
        found = received(wire[:end])
        assert found.truncated and found.rcode == 3 and found.lifetime is None and not found.answered
        agree(found)
    for end in range(END):
        with pytest.raises(Garbage):
            received(wire[:end])


# What is refused


OPT = rr(41, b"", b"\0", 1232)
LONG = b"".join(b"\x3f" + b"a" * 63 for _ in range(4))

REFUSED = {
    "empty": b"",
    "header only": raw()[:12],
    "a query": bytes((A_REPLY[0], A_REPLY[1], A_REPLY[2] & 0x7F)) + A_REPLY[3:],
    "another opcode": A_REPLY[:2] + bytes((A_REPLY[2] | 0x28,)) + A_REPLY[3:],
    "another ID": b"\0\0" + A_REPLY[2:],
    "no question": A_REPLY[:4] + b"\0\0" + A_REPLY[6:],
    "two questions": raw(b"\xc0\x0c\0\1\0\1", counts=(0, 0, 0)).replace(b"\0\1\0\0", b"\0\2\0\0", 1),
    "another name": A_REPLY.replace(b"\3www", b"\3wwx"),
    "a shorter name": raw(question=b"\7example\3org\0\0\1\0\1"),
    "another type": A_REPLY.replace(b"\0\0\1\0\1", b"\0\0\x1c\0\1"),
    "another class": A_REPLY.replace(b"\0\0\1\0\1", b"\0\0\1\0\3"),
    "cut off": A_REPLY[:-1],
    "fewer RRs than counted": raw(counts=(1, 0, 0)),
    "A of 3 octets": raw(rr(1, b"123")),
    "AAAA of 4 octets": raw(rr(28, b"1234")),
    "an RR of class CH": raw(rr(16, b"\1a", rrclass=3)),
    "an RR of type ANY": raw(rr(255, b"")),
    "TXT without a text": raw(rr(16, b"")),
    "TXT that runs over": raw(rr(16, b"\5abc")),
    "HINFO of one text": raw(rr(13, b"\1a")),
    "CNAME that runs over": raw(rr(5, b"\3abc")),
    "CNAME with octets behind": raw(rr(5, b"\1a\0x")),
    "MX without a name": raw(rr(15, b"\0\1")),
    "SOA of one name": raw(rr(6, b"\0" + bytes(20))),
    "NAPTR that runs over": raw(rr(35, b"\0\1\0\1\1a\1b\5c\0")),
    "a pointer to itself": raw(rr(1, b"1234", b"\xc0" + bytes((END,)))),
    "a pointer forward": raw(rr(1, b"1234", b"\xc0" + bytes((END + 4,)))),
    "a pointer into the header": raw(rr(1, b"1234", b"\xc0\4")),
    "a pointer that loops": raw(rr(1, b"1234", b"\1a\xc0" + bytes((END,)))),
    "half a pointer": raw(b"\xc0", counts=(1, 0, 0)),
    "a label of 64 octets": raw(rr(1, b"1234", b"\x40" + b"a" * 64 + b"\0")),
    "a label type of old": raw(rr(1, b"1234", b"\x80\0")),
    "a name of 257 octets": raw(rr(1, b"1234", LONG + b"\0")),
    "a name of 256 octets by pointer": raw(rr(1, b"1234", LONG[:192] + b"\x2e" + b"a" * 46 + b"\xc0\x0c")),
    "an OPT in the answer": raw(OPT),
    "an OPT with an owner": raw(rr(41, b"", rrclass=1232), counts=(0, 0, 1)),
    "an option that runs over": raw(rr(41, b"\0\x0f\0\3\0\1", b"\0", 1232), counts=(0, 0, 1)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_garbage_is_refused(what: str) -> None:
    with pytest.raises(Garbage, match=r"\w+"):
        received(REFUSED[what])


def test_what_stands_just_inside_the_limits_is_accepted() -> None:
    longest = LONG[:192] + b"\x2d" + b"a" * 45 + b"\xc0\x0c"  # 192 + 46 + 17 octets
    for owner in (longest, b"\xc0" + bytes((END - 9,))):  # the label "org"
        assert received(raw(rr(1, b"1234", owner), counts=(0, 1, 0))).counts == (0, 1, 0)
    assert received(raw(rr(16, b"\0"), counts=(0, 1, 0))).counts == (0, 1, 0)
    assert received(raw(rr(65280, b""), counts=(0, 1, 0))).counts == (0, 1, 0)


@pytest.mark.parametrize("behind", [b"\0", bytes(100), b"\xff" * 9, rr(1, b"1234")])
def test_octets_behind_a_reply_mean_nothing(behind: bytes) -> None:
    """As to BIND and unbound."""
    for whole in (A_REPLY, raw(rr(1, b"1234")), raw(rr(1, b"1234"), OPT, counts=(1, 0, 1))):
        assert received(whole + behind) == received(whole)
    assert not received(raw(counts=(0, 0, 0)) + behind).answered


def test_of_several_opts_the_first_counts() -> None:
    """As to BIND and unbound; all of them are between us and the upstream."""
    other = rr(41, b"", b"\0", rrclass=4096)
    a = rr(1, b"1234")
    for opts in ((OPT, other), (other, OPT), (OPT, other, OPT)):
        found = received(raw(a, *opts, counts=(1, 0, len(opts))))
        assert (found.counts, found.rcode) == ((1, 0, 0), 0)
        assert found.wire == received(raw(a)).wire


def test_a_message_full_of_pointers_is_read_in_linear_time() -> None:
    """Each pointer leads to the one before it: walked anew for each name it takes 1,000 times as long."""
    first = END + 12
    chain = [12, *range(first, first + 2 * 7999, 2)]
    names = [rr(2, pointer(first + 2 * n)) for n in range(7999, 4999, -1)]
    start = time.process_time()
    found = received(raw(rr(65280, b"".join(map(pointer, chain))), *names, counts=(0, 3001, 0)))
    assert found.counts[1] == 3001
    assert time.process_time() - start < 1.0  # a hundred times what it takes


# Properties


@given(replies())
def test_whatever_dnspython_writes_is_accepted(made: tuple[Message, Query]) -> None:
    with contextlib.suppress(Garbage):  # CNAMEs that lead in a circle, or two of one name
        agree(read(made[0].to_wire(max_size=65535), made[1], IDENT))


@given(spoilt())
@settings(max_examples=400)
def test_spoilt_octets_are_garbage_or_agreed_on(made: tuple[bytes, Query]) -> None:
    try:
        found = read(*made, IDENT)
    except Garbage:
        return
    agree(found)


@given(st.binary(max_size=200), st.tuples(*[st.integers(0, 6)] * 3))
def test_random_octets_are_garbage_or_agreed_on(octets: bytes, counts: tuple[int, int, int]) -> None:
    for wire in (octets, raw(octets, counts=counts)):
        try:
            found = received(wire)
        except Garbage:
            continue
        agree(found)
