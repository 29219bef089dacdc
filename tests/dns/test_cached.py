"""Forwarded replies, stored and given again: the records that came, their time counted down."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcdns.config import CacheConfig
from svcdns.dns import cached, codes, edns
from svcdns.dns.edns import Edns
from svcdns.dns.forward.ask import Ask, Received
from svcdns.dns.forward.received import read
from svcdns.dns.reply import Frame
from svcdns.names.key import key_of

CONFIG = CacheConfig(max_ttl=1000, max_negative_ttl=100, stale=500)
NOW = 10_000
UDP_SIZE = 1232
NAME = "www.example.com"
SOA = "example.com. 300 IN SOA ns.example.com. host.example.com. 1 2 3 4 60"
FLAGS = 0x8180
"""QR, RD, RA: what the plain path says."""

Records = Iterable[str]


def rrsets(records: Records) -> list[dns.rrset.RRset]:
    """Read records, one a line of a zone file; each is an RRset of its own, as order matters."""
    found = []
    for record in records:
        owner, ttl, _, rrtype, rdata = record.split(" ", 4)
        found.append(dns.rrset.from_text(owner, int(ttl), "IN", rrtype, rdata))
    return found


def received(
    rrtype: str = "A",
    answer: Records = (),
    authority: Records = (),
    additional: Records = (),
    rcode: int = 0,
    name: str = NAME,
) -> Received:
    """Return what an upstream would say, read as from the wire."""
    query = dns.message.make_query(name, rrtype)
    message = dns.message.make_response(query)
    message.answer, message.authority = rrsets(answer), rrsets(authority)
    message.additional = rrsets(additional)
    message.set_rcode(dns.rcode.Rcode(rcode))
    ask = Ask(key_of(name), int(dns.rdatatype.from_text(rrtype)), name=dns.name.from_text(name).to_wire())
    return read(message.to_wire(max_size=65535), ask, query.id)


def asking(
    rrtype: str = "A",
    *,
    name: str = NAME,
    size: int | None = 1232,
    tcp: bool = False,
    do: bool = False,
    flags: int = 0x0100,
) -> Frame:
    """Return a client's question; no `size` is no OPT."""
    query = dns.message.make_query(name, rrtype, flags=dns.flags.Flag(flags))
    packet = query.to_wire()
    opt = None if size is None else Edns(size, 0, do)
    return Frame(packet, len(packet), opt, 65535 if size and size > UDP_SIZE else UDP_SIZE, tcp, True)


def ask(stored: bytes, now: int = NOW, **asked: object) -> dns.message.Message:
    """Return the reply to a client as dnspython reads it, each RR by itself."""
    octets = cached.reply(stored, now, asking(**asked))  # type: ignore[arg-type]
    return dns.message.from_wire(octets, one_rr_per_rrset=True)


def texts(section: Iterable[dns.rrset.RRset]) -> list[str]:
    return [str(rrset) for rrset in section]


def ede_of(message: dns.message.Message) -> list[int]:
    return [int(option.code) for option in message.options if isinstance(option, dns.edns.EDEOption)]


A = [f"{NAME}. 300 IN A 192.0.2.{number}" for number in range(1, 4)]
ALIAS = [f"{NAME}. 60 IN CNAME host.example.net.", "host.example.net. 300 IN A 192.0.2.9"]


# What is said again


def test_an_answer_is_said_again_with_its_time_counted_down() -> None:
    stored = cached.pack(received(answer=ALIAS), NOW, CONFIG)
    for age in (0, 1, 59):
        reply = ask(stored, NOW + age)
        left = 60 - age
        assert texts(reply.answer) == [
            f"{NAME}. {left} IN CNAME host.example.net.",
            f"host.example.net. {left} IN A 192.0.2.9",
        ]
        assert cached.is_fresh(stored, NOW + age)
    assert not cached.is_fresh(stored, NOW + 60)
    assert texts(ask(stored, NOW + 61).answer)[0] == f"{NAME}. 0 IN CNAME host.example.net."


def test_header_and_question_are_the_clients() -> None:
    stored = cached.pack(received(answer=A), NOW, CONFIG)
    frame = asking(name="wWw.eXample.COM", flags=dns.flags.RD | dns.flags.CD | dns.flags.AD)
    octets = cached.reply(stored, NOW, frame)
    reply = dns.message.from_wire(octets)
    assert octets[:2] == frame.packet[:2]
    assert octets[12 : frame.end] == frame.packet[12:]
    assert str(reply.answer[0].name) == "wWw.eXample.COM."
    assert reply.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.CD
    assert reply.edns == 0
    assert reply.payload == UDP_SIZE
    refused = replace(frame, ra=False, edns=None)
    reply = dns.message.from_wire(cached.reply(stored, NOW, refused))
    assert reply.flags == dns.flags.QR | dns.flags.RD | dns.flags.CD
    assert reply.edns == -1


def test_the_do_bit_is_copied() -> None:
    stored = cached.pack(received(answer=A), NOW, CONFIG)
    assert ask(stored, do=True).ednsflags == dns.flags.DO
    assert ask(stored, do=False).ednsflags == 0


def test_long_times_are_cut() -> None:
    stored = cached.pack(received(answer=[f"{NAME}. 5000 IN A 192.0.2.1"]), NOW, CONFIG)
    assert texts(ask(stored).answer) == [f"{NAME}. 1000 IN A 192.0.2.1"]
    assert cached.is_fresh(stored, NOW + 999)
    assert not cached.is_fresh(stored, NOW + 1000)


@pytest.mark.parametrize(
    ("rcode", "answer", "minimum", "lifetime"),
    [
        (codes.NXDOMAIN, [], 60, 60),
        (codes.NOERROR, [], 60, 60),
        (codes.NOERROR, ALIAS[:1], 30, 30),
        (codes.NXDOMAIN, [], 250, 100),  # max_negative_ttl
        (codes.NOERROR, [], 250, 100),
    ],
)
def test_negative_answers_live_as_long_as_their_soa_says(
    rcode: int, answer: list[str], minimum: int, lifetime: int
) -> None:
    """The SOA's TTL too is what is left of the lifetime (RFC 2308 section 5)."""
    soa = SOA.removesuffix("60") + str(minimum)
    stored = cached.pack(received(answer=answer, authority=[soa], rcode=rcode), NOW, CONFIG)
    assert cached.is_fresh(stored, NOW + lifetime - 1)
    assert not cached.is_fresh(stored, NOW + lifetime)
    reply = ask(stored, NOW + 10)
    assert reply.authority[0].ttl == lifetime - 10
    assert reply.rcode() == rcode
    assert cached.rcode(stored) == rcode
    assert cached.is_nodata(stored) == (rcode == codes.NOERROR)


def test_nodata_is_told_from_an_answer() -> None:
    assert not cached.is_nodata(cached.pack(received(answer=ALIAS), NOW, CONFIG))
    assert not cached.is_nodata(cached.pack(received("CNAME", answer=ALIAS[:1]), NOW, CONFIG))
    assert not cached.is_nodata(cached.pack(received("ANY", answer=A), NOW, CONFIG))
    assert cached.is_nodata(cached.pack(received("AAAA", answer=ALIAS[:1], authority=[SOA]), NOW, CONFIG))
    assert cached.is_nodata(cached.pack(received("ANY"), NOW, CONFIG))


def test_what_must_not_be_kept_can_still_be_said() -> None:
    got = received(answer=A, rcode=codes.SERVFAIL)
    assert got.lifetime is None
    stored = cached.pack(got, NOW, CONFIG)
    assert not cached.is_fresh(stored, NOW)
    reply = ask(stored)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert {rrset.ttl for rrset in reply.answer} == {0}
    assert cached.plain_reply(stored, NOW, asking().packet, asking().end, FLAGS, 1232, b"") is None
    assert cached.stale(stored, NOW) is None


def test_an_answer_that_came_truncated_is_passed_on_as_such() -> None:
    stored = cached.pack(replace(received(answer=A), truncated=True), NOW, CONFIG)
    assert not cached.is_fresh(stored, NOW)
    assert ask(stored).flags & dns.flags.TC


def test_different_questions_have_different_keys() -> None:
    names = [key_of(NAME), key_of("example.com"), b""]
    found = {
        cached.key(name, rrtype, do, cd)
        for name in names
        for rrtype in (1, 28, 256)
        for do in (False, True)
        for cd in (False, True)
    }
    assert len(found) == 3 * 3 * 4
    assert cached.key(names[0], 1, True, False).startswith(names[0])


# Failures and stale answers


def test_a_failure_says_why_for_five_seconds() -> None:
    stored = cached.failure(codes.EDE_NO_REACHABLE_UPSTREAM, NOW)
    assert cached.is_fresh(stored, NOW + 4)
    assert not cached.is_fresh(stored, NOW + 5)
    reply = ask(stored, NOW + 3)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert ede_of(reply) == [22]
    assert cached.ede(stored) == 22
    assert ask(stored, size=None).edns == -1
    assert cached.stale(stored, NOW) is None
    frame = asking()
    assert cached.plain_reply(stored, NOW, frame.packet, frame.end, FLAGS, 512, edns.opt(1232, False)) is None
    plain = cached.plain_reply(stored, NOW, frame.packet, frame.end, FLAGS, 512, b"")
    assert plain == cached.reply(stored, NOW, replace(frame, edns=None))


@pytest.mark.parametrize(
    ("got", "ede"),
    [
        (received(answer=ALIAS), 3),
        (received("AAAA", answer=ALIAS[:1], authority=[SOA]), 3),
        (received(authority=[SOA], rcode=codes.NXDOMAIN), 19),
        (replace(received(answer=A[:1]), ede=18), 3),
    ],
)
def test_a_stale_answer_stands_in_for_five_seconds_at_a_time(got: Received, ede: int) -> None:
    stored = cached.pack(got, NOW, CONFIG)
    assert got.lifetime is not None
    end = NOW + got.lifetime + CONFIG.stale
    then = NOW + got.lifetime + 10
    fresh = ask(stored)
    stale: bytes | None = stored
    for _ in range(2):
        assert stale is not None
        stale = cached.stale(stale, then)
        assert stale is not None
        assert cached.is_fresh(stale, then + 4)
        assert not cached.is_fresh(stale, then + 5)
        for now in (then, then + 4):
            reply = ask(stale, now)
            assert ede_of(reply) == [ede]
            assert {rrset.ttl for rrset in reply.answer + reply.authority} == {30}
            assert [rrset.to_rdataset() for rrset in reply.answer] == [r.to_rdataset() for r in fresh.answer]
            assert reply.rcode() == fresh.rcode()
            plain = asking(size=None)
            octets = cached.plain_reply(stale, now, plain.packet, plain.end, FLAGS, 512, b"")
            assert octets is not None
            assert {rrset.ttl for rrset in dns.message.from_wire(octets).answer} <= {30}
        then += 100
    assert stale is not None
    last = cached.stale(stale, end - 1)
    assert last is not None
    assert not cached.is_fresh(last, end)
    assert cached.stale(stale, end) is None
    assert cached.stale(stored, end) is None


def test_without_time_for_it_nothing_goes_stale() -> None:
    stored = cached.pack(received(answer=A), NOW, replace(CONFIG, stale=0))
    assert cached.stale(stored, NOW + 300) is None


# Rotation


@pytest.mark.parametrize(
    "answer",
    [
        A,
        [*ALIAS, "host.example.net. 300 IN A 192.0.2.10"],
        [*A, f"{NAME}. 300 IN RRSIG A 8 3 300 20300101000000 20200101000000 1 example.com. AAAA"],
        [f"{NAME}. 300 IN AAAA 2001:db8::{number}" for number in range(1, 6)],
    ],
)
@pytest.mark.parametrize("age", [0, 7])
def test_each_address_comes_first_equally_often(answer: list[str], age: int) -> None:
    rrtype = "AAAA" if "AAAA 2001" in answer[0] else "A"
    stored = cached.pack(received(rrtype, answer=answer), NOW, CONFIG)
    frame = asking(rrtype)
    rounds = 600
    addresses = [text.split(" ", 4)[4] for text in answer if f" IN {rrtype} " in text]
    for path in ("plain", "exact"):
        firsts: Counter[str] = Counter()
        for _ in range(rounds):
            if path == "exact":
                octets: bytes | None = cached.reply(stored, NOW + age, frame)
            else:
                octets = cached.plain_reply(stored, NOW + age, frame.packet, frame.end, FLAGS, 1232, b"")
            assert octets is not None
            reply = dns.message.from_wire(octets, one_rr_per_rrset=True).answer
            turned = [str(rrset[0]) for rrset in reply if rrset.rdtype == dns.rdatatype.from_text(rrtype)]
            first = addresses.index(turned[0])
            assert turned == addresses[first:] + addresses[:first]
            assert [r.rdtype for r in reply] == [r.rdtype for r in rrsets(answer)]
            firsts[turned[0]] += 1
        expected = rounds / len(addresses)
        slack = 6 * (expected * (1 - 1 / len(addresses))) ** 0.5
        assert len(firsts) == len(addresses)
        assert all(abs(count - expected) < slack for count in firsts.values())


# What has no room

TXT = [f'{NAME}. 300 IN TXT "{str(number) * 100}"' for number in range(1, 10)]
GLUE = [f"ns{number}.example.com. 300 IN A 192.0.2.1" for number in range(1, 30)]
NS = [f"example.com. 300 IN NS ns{number}.example.com." for number in range(1, 30)]


def test_additionals_are_left_out_without_tc() -> None:
    stored = cached.pack(received("TXT", answer=TXT[:3], additional=GLUE), NOW, CONFIG)
    reply = ask(stored, rrtype="TXT", size=512)
    assert (len(reply.answer), len(reply.additional)) == (3, 0)
    assert not reply.flags & dns.flags.TC
    assert len(ask(stored, rrtype="TXT", size=4096).additional) == 29


def test_an_authority_section_that_nobody_needs_is_left_out_without_tc() -> None:
    stored = cached.pack(received("TXT", answer=TXT[:3], authority=NS, additional=GLUE), NOW, CONFIG)
    reply = ask(stored, rrtype="TXT", size=512)
    assert (len(reply.answer), len(reply.authority), len(reply.additional)) == (3, 0, 0)
    assert not reply.flags & dns.flags.TC


def test_an_authority_section_that_is_needed_is_missed() -> None:
    nsec = [f"n{number}.example.com. 60 IN NSEC m.example.com. A" for number in range(40)]
    stored = cached.pack(received(authority=[SOA, *nsec], rcode=codes.NXDOMAIN), NOW, CONFIG)
    reply = ask(stored, size=512)
    assert reply.flags & dns.flags.TC
    assert reply.authority == []
    assert reply.rcode() == dns.rcode.NXDOMAIN


def test_missing_answers_are_said_over_udp_alone() -> None:
    stored = cached.pack(received("TXT", answer=TXT, authority=NS[:1], additional=GLUE[:1]), NOW, CONFIG)
    reply = ask(stored, rrtype="TXT", size=512)
    assert reply.flags & dns.flags.TC
    assert texts(reply.answer) == texts(rrsets(TXT[:4]))
    assert (reply.authority, reply.additional) == ([], [])
    whole = ask(stored, rrtype="TXT", size=512, tcp=True)
    assert not whole.flags & dns.flags.TC
    assert texts(whole.answer) == texts(rrsets(TXT))


@pytest.mark.parametrize("size", [None, 1232])
def test_what_just_fits_is_sent_whole(size: int | None) -> None:
    """To the octet, on both paths."""
    for octets in range(200, 256):
        strings = f'"{"x" * octets}" "{"y" * 220}"'
        stored = cached.pack(received("TXT", answer=[f"{NAME}. 300 IN TXT {strings}"]), NOW, CONFIG)
        frame = replace(asking("TXT", size=size), udp_size=512)
        whole = frame.end + 12 + octets + 222 + len(frame.opt())
        reply = cached.reply(stored, NOW, frame)
        plain = cached.plain_reply(stored, NOW, frame.packet, frame.end, FLAGS, 512, frame.opt())
        if whole <= 512:
            assert len(reply) == whole
            assert plain == reply
        else:
            assert dns.message.from_wire(reply).flags & dns.flags.TC
            assert plain is None


def test_the_largest_message_leaves_no_room_for_our_opt() -> None:
    """Over TCP there is nothing better to try: as many answers as fit, without TC."""
    name = "wwwwwwwww.example.com"
    number, room = divmod(65535 - 12 - len(name) - 6, 16)
    assert room < len(asking().opt())
    many = [f"{name}. 300 IN A 10.0.{n >> 8}.{n & 255}" for n in range(number)]
    stored = cached.pack(received(answer=many, name=name), NOW, CONFIG)
    assert len(ask(stored, name=name, size=None, tcp=True).answer) == number
    octets = cached.reply(stored, NOW + 1, asking(name=name, tcp=True))
    assert len(octets) <= 65535
    reply = dns.message.from_wire(octets, one_rr_per_rrset=True)
    assert len(reply.answer) == number - 1
    assert not reply.flags & dns.flags.TC


def test_upper_bits_of_an_rcode_go_to_the_opt() -> None:
    stored = cached.pack(replace(received(), rcode=23), NOW, CONFIG)
    assert ask(stored).rcode() == 23
    assert cached.rcode(stored) == 23
    without = ask(stored, size=None)
    assert without.rcode() == dns.rcode.SERVFAIL
    assert without.answer == []


# Any message

HOSTS = ["example.com.", "a.example.com.", NAME + ".", "A.b.Example.com.", "other.test.", "."]
host = st.sampled_from(HOSTS)
number = st.integers(0, 255)
rdata = st.one_of(
    st.builds("A 192.0.2.{}".format, number),
    st.builds("A 192.0.2.{}".format, number),
    st.builds("AAAA 2001:db8::{:x}".format, number),
    st.builds("CNAME {}".format, host),
    st.builds("NS {}".format, host),
    st.builds("MX {} {}".format, number, host),
    st.builds("SRV 1 2 {} {}".format, number, host),
    st.builds("SOA {0} {0} 1 2 3 4 {1}".format, host, number),
    st.builds('TXT "{}"'.format, st.text("xy", max_size=200)),
    st.builds("PTR {}".format, host),
    st.builds("TYPE65300 \\# 3 00ff{:02x}".format, number),
)
ttl = st.one_of(st.sampled_from([0, 30, 30, 300, 2000, 1 << 31]), st.integers(0, 3000))
record = st.builds("{} {} IN {}".format, host, ttl, rdata)
owned = st.builds("{}. {} IN A 192.0.2.{}".format, st.just(NAME), st.sampled_from([30, 300]), number)
section = st.lists(record, max_size=12)
answer_section = st.one_of(section, st.lists(owned, max_size=80))
message = st.builds(
    received,
    st.sampled_from(["A", "AAAA", "TXT", "ANY"]),
    answer_section,
    section,
    section,
    st.sampled_from([0, 0, 0, 3, 2]),
)
lifetime = st.one_of(st.just(-1), st.none(), st.integers(0, 3000))


def record_texts(records: Iterable[dns.rrset.RRset]) -> list[str]:
    return [str(rrset).lower() for rrset in records]


@settings(max_examples=400)
@given(
    message,
    lifetime,
    st.integers(0, 4000),
    st.one_of(st.none(), st.integers(0, 5000), st.just(65535)),
    st.booleans(),
    st.sampled_from([None, 0, 22]),
)
def test_any_message_is_said_again(
    got: Received, lifetime: int | None, age: int, size: int | None, tcp: bool, ede: int | None
) -> None:
    """What is sent are the records that came, in order but for addresses, and TC says what is missing."""
    lifetime = got.lifetime if lifetime == -1 else lifetime
    got = replace(got, lifetime=lifetime, ede=ede)
    whole = dns.message.from_wire(got.wire, one_rr_per_rrset=True)
    rrtype = dns.rdatatype.to_text(whole.question[0].rdtype)
    stored = cached.pack(got, NOW, CONFIG)
    longest = CONFIG.max_negative_ttl if got.rcode == 3 or cached.is_nodata(stored) else CONFIG.max_ttl
    lives = min(lifetime or 0, longest)
    assert cached.is_fresh(stored, NOW + age) == (age < lives)
    for rrset in (*whole.answer, *whole.authority, *whole.additional):
        rrset.ttl = max(min(rrset.ttl, lives) - age, 0)

    frame = asking(rrtype, name=NAME.upper(), size=size, tcp=tcp)
    octets = cached.reply(stored, NOW + age, frame)
    assert len(octets) <= frame.limit
    reply = dns.message.from_wire(octets, one_rr_per_rrset=True)
    assert reply.rcode() == got.rcode
    assert ede_of(reply) == ([] if ede is None or size is None else [ede])

    sent, came = record_texts(reply.answer), record_texts(whole.answer)
    missing = Counter(came) - Counter(sent)
    assert not Counter(sent) - Counter(came)
    if not missing:
        others = [text for text in came if " in a " not in text and " in aaaa " not in text]
        assert others == [text for text in sent if " in a " not in text and " in aaaa " not in text]
    assert record_texts(reply.authority) in ([], record_texts(whole.authority))
    assert record_texts(reply.additional) in ([], record_texts(whole.additional))
    servers_only = {rrset.rdtype for rrset in whole.authority} == {dns.rdatatype.NS}
    answered = got.rcode == 0 and not cached.is_nodata(stored)
    needed = len(reply.authority) < len(whole.authority) and not (servers_only and answered)
    truncated = bool(reply.flags & dns.flags.TC)
    if tcp:
        assert not truncated
    elif got.rcode == 0:
        assert truncated == bool(missing or needed)
    else:
        assert truncated or not missing
    if truncated:
        assert reply.authority == reply.additional == []
        if len(sent) < len(came):  # one more has no room
            at = got.ttl_at[len(sent)] + 4
            next_end = at + 2 + int.from_bytes(got.wire[at : at + 2])
            assert next_end + len(frame.opt(0, b"" if ede is None else edns.error(ede))) > frame.limit


@settings(max_examples=400)
@given(
    message, lifetime, st.integers(0, 1200), st.integers(512, 1500), st.booleans(), st.integers(0, 1 << 32)
)
def test_the_plain_path_says_what_the_exact_one_says(
    got: Received, lifetime: int | None, age: int, size: int, opt: bool, seed: int
) -> None:
    """Octet for octet, for the same random numbers; and it says something wherever it can."""
    if lifetime != -1:
        got = replace(got, lifetime=lifetime)
    stored = cached.pack(got, NOW, CONFIG)
    frame = asking(dns.rdatatype.to_text(got.wire[got.end - 3]), size=size if opt else None)
    random.seed(seed)
    plain = cached.plain_reply(stored, NOW + age, frame.packet, frame.end, FLAGS, frame.limit, frame.opt())
    random.seed(seed)
    exact = cached.reply(stored, NOW + age, frame)
    if plain is not None:
        assert cached.is_fresh(stored, NOW + age)
        assert plain == exact
    else:
        assert not cached.is_fresh(stored, NOW + age) or len(got.wire) + len(frame.opt()) > frame.limit


@settings(max_examples=200)
@given(message, st.integers(1, 3000), st.integers(0, 600))
def test_any_message_gone_stale(got: Received, lifetime: int, age: int) -> None:
    """The same records, each with 30 seconds, unless that is over."""
    stored = cached.pack(replace(got, lifetime=lifetime), NOW, CONFIG)
    stale = cached.stale(stored, NOW + age)
    if stale is None:
        assert got.rcode not in (0, 3) or age >= CONFIG.stale
        return
    asked = {"rrtype": dns.rdatatype.to_text(got.wire[got.end - 3]), "size": 65535}
    before, after = ask(stored, **asked), ask(stale, NOW + age, **asked)
    for section in ("answer", "authority", "additional"):
        were, are = getattr(before, section), getattr(after, section)
        assert {rrset.ttl for rrset in are} <= {30}
        for rrset in were:
            rrset.ttl = 30
        assert Counter(record_texts(were)) == Counter(record_texts(are))


@pytest.mark.parametrize("count", [62, 63, 64, 65, 500])
def test_many_records(count: int) -> None:
    """Around and beyond the counts that are kept ready for unpacking."""
    answer = [f"{NAME}. 300 IN A 10.0.{n >> 8}.{n & 255}" for n in range(count)]
    stored = cached.pack(received(answer=answer), NOW, CONFIG)
    reply = ask(stored, NOW + 100, tcp=True)
    assert Counter(texts(reply.answer)) == Counter(line.replace(" 300 ", " 200 ") for line in answer)
