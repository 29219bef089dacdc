"""Forwarded replies, stored and given again: the records that came, their time counted down."""

import dataclasses
from collections import Counter

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from msgspec.structs import replace
from toolbox.cached_replies import (
    ALIAS,
    CONFIG,
    FLAGS,
    NAME,
    NOW,
    SOA,
    A,
    ask,
    asking,
    ede_of,
    received,
    rrsets,
    texts,
)

from svcdns.cache import entry
from svcdns.wire import codes, edns
from svcdns.wire.key import key_of
from svcdns.wire.response import Response

# What is said again


def test_an_answer_is_said_again_with_its_time_counted_down() -> None:
    stored = entry.pack(received(answer=ALIAS), NOW, CONFIG)
    for age in (0, 1, 59):
        reply = ask(stored, NOW + age)
        left = 60 - age
        assert texts(reply.answer) == [
            f"{NAME}. {left} IN CNAME host.example.net.",
            f"host.example.net. {left} IN A 192.0.2.9",
        ]
        assert entry.is_fresh(stored, NOW + age)
    assert not entry.is_fresh(stored, NOW + 60)
    assert texts(ask(stored, NOW + 61).answer)[0] == f"{NAME}. 0 IN CNAME host.example.net."


def test_header_and_question_are_the_clients() -> None:
    stored = entry.pack(received(answer=A), NOW, CONFIG)
    frame = asking(name="wWw.eXample.COM", flags=dns.flags.RD | dns.flags.CD | dns.flags.AD)
    octets = entry.decode(stored).reply(NOW, frame)
    reply = dns.message.from_wire(octets)
    assert octets[:2] == frame.packet[:2]
    assert octets[12 : frame.end] == frame.packet[12:]
    assert str(reply.answer[0].name) == "wWw.eXample.COM."
    assert reply.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.CD
    assert reply.edns == 0
    assert reply.payload == 1232
    refused = replace(frame, ra=False, edns=None)
    reply = dns.message.from_wire(entry.decode(stored).reply(NOW, refused))
    assert reply.flags == dns.flags.QR | dns.flags.RD | dns.flags.CD
    assert reply.edns == -1


def test_the_do_bit_is_copied() -> None:
    stored = entry.pack(received(answer=A), NOW, CONFIG)
    assert ask(stored, do=True).ednsflags == dns.flags.DO
    assert ask(stored, do=False).ednsflags == 0


def test_long_times_are_cut() -> None:
    stored = entry.pack(received(answer=[f"{NAME}. 5000 IN A 192.0.2.1"]), NOW, CONFIG)
    assert texts(ask(stored).answer) == [f"{NAME}. 1000 IN A 192.0.2.1"]
    assert entry.is_fresh(stored, NOW + 999)
    assert not entry.is_fresh(stored, NOW + 1000)


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
    stored = entry.pack(received(answer=answer, authority=[soa], rcode=rcode), NOW, CONFIG)
    assert entry.is_fresh(stored, NOW + lifetime - 1)
    assert not entry.is_fresh(stored, NOW + lifetime)
    reply = ask(stored, NOW + 10)
    assert reply.authority[0].ttl == lifetime - 10
    assert reply.rcode() == rcode
    assert entry.rcode(stored) == rcode
    assert entry.is_nodata(stored) == (rcode == codes.NOERROR)


def test_nodata_is_told_from_an_answer() -> None:
    assert not entry.is_nodata(entry.pack(received(answer=ALIAS), NOW, CONFIG))
    assert not entry.is_nodata(entry.pack(received("CNAME", answer=ALIAS[:1]), NOW, CONFIG))
    assert not entry.is_nodata(entry.pack(received("ANY", answer=A), NOW, CONFIG))
    assert entry.is_nodata(entry.pack(received("AAAA", answer=ALIAS[:1], authority=[SOA]), NOW, CONFIG))
    assert entry.is_nodata(entry.pack(received("ANY"), NOW, CONFIG))


def test_what_must_not_be_kept_can_still_be_said() -> None:
    got = received(answer=A, rcode=codes.SERVFAIL)
    assert got.lifetime is None
    stored = entry.pack(got, NOW, CONFIG)
    assert not entry.is_fresh(stored, NOW)
    reply = ask(stored)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert {rrset.ttl for rrset in reply.answer} == {0}
    assert entry.plain_reply(stored, NOW, asking().packet, asking().end, FLAGS, 1232, b"") is None
    assert entry.decode(stored).stale(NOW) is None


def test_an_answer_that_came_truncated_is_passed_on_as_such() -> None:
    stored = entry.pack(replace(received(answer=A), truncated=True), NOW, CONFIG)
    assert not entry.is_fresh(stored, NOW)
    assert ask(stored).flags & dns.flags.TC


def test_different_questions_have_different_keys() -> None:
    names = [key_of(NAME), key_of("example.com"), b""]
    found = {
        entry.key(name, rrtype, do, cd)
        for name in names
        for rrtype in (1, 28, 256)
        for do in (False, True)
        for cd in (False, True)
    }
    assert len(found) == 3 * 3 * 4
    assert entry.key(names[0], 1, True, False).startswith(names[0])


# Failures and stale answers


def test_a_failure_says_why_for_five_seconds() -> None:
    stored = entry.failure(codes.EDE_NO_REACHABLE_UPSTREAM, NOW)
    assert entry.is_fresh(stored, NOW + 4)
    assert not entry.is_fresh(stored, NOW + 5)
    reply = ask(stored, NOW + 3)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert ede_of(reply) == [22]
    assert entry.decode(stored).ede == 22
    assert ask(stored, size=None).edns == -1
    assert entry.decode(stored).stale(NOW) is None
    frame = asking()
    assert entry.plain_reply(stored, NOW, frame.packet, frame.end, FLAGS, 512, edns.opt(1232, False)) is None
    plain = entry.plain_reply(stored, NOW, frame.packet, frame.end, FLAGS, 512, b"")
    assert plain == entry.decode(stored).reply(NOW, replace(frame, edns=None))


@pytest.mark.parametrize(
    ("got", "ede"),
    [
        (received(answer=ALIAS), 3),
        (received("AAAA", answer=ALIAS[:1], authority=[SOA]), 3),
        (received(authority=[SOA], rcode=codes.NXDOMAIN), 19),
        (replace(received(answer=A[:1]), ede=18), 3),
    ],
)
def test_a_stale_answer_stands_in_for_five_seconds_at_a_time(got: Response, ede: int) -> None:
    stored = entry.pack(got, NOW, CONFIG)
    assert got.lifetime is not None
    end = NOW + got.lifetime + CONFIG.stale
    then = NOW + got.lifetime + 10
    fresh = ask(stored)
    stale: bytes | None = stored
    for _ in range(2):
        assert stale is not None
        stale = entry.decode(stale).stale(then)
        assert stale is not None
        assert entry.is_fresh(stale, then + 4)
        assert not entry.is_fresh(stale, then + 5)
        for now in (then, then + 4):
            reply = ask(stale, now)
            assert ede_of(reply) == [ede]
            assert {rrset.ttl for rrset in reply.answer + reply.authority} == {30}
            assert [rrset.to_rdataset() for rrset in reply.answer] == [r.to_rdataset() for r in fresh.answer]
            assert reply.rcode() == fresh.rcode()
            plain = asking(size=None)
            octets = entry.plain_reply(stale, now, plain.packet, plain.end, FLAGS, 512, b"")
            assert octets is not None
            assert {rrset.ttl for rrset in dns.message.from_wire(octets).answer} <= {30}
        then += 100
    assert stale is not None
    last = entry.decode(stale).stale(end - 1)
    assert last is not None
    assert not entry.is_fresh(last, end)
    assert entry.decode(stale).stale(end) is None
    assert entry.decode(stored).stale(end) is None


def test_without_time_for_it_nothing_goes_stale() -> None:
    stored = entry.pack(received(answer=A), NOW, dataclasses.replace(CONFIG, stale=0))
    assert entry.decode(stored).stale(NOW + 300) is None


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
    stored = entry.pack(received(rrtype, answer=answer, do=True), NOW, CONFIG)
    frame = asking(rrtype)
    rounds = 600
    addresses = [text.split(" ", 4)[4] for text in answer if f" IN {rrtype} " in text]
    for path in ("plain", "exact"):
        firsts: Counter[str] = Counter()
        for _ in range(rounds):
            if path == "exact":
                octets: bytes | None = entry.decode(stored).reply(NOW + age, frame)
            else:
                octets = entry.plain_reply(stored, NOW + age, frame.packet, frame.end, FLAGS, 1232, b"")
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
