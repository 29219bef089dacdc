"""Forwarded replies that have no room: what is left out, and what is said about it; for any message."""

import random
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from time import process_time
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from toolbox.cached_replies import CONFIG, FLAGS, NAME, NOW, SOA, ask, asking, ede_of, received, rrsets, texts

from svcdns.cache import entry
from svcdns.wire import codes, edns
from svcdns.wire.reply import Frame
from svcdns.wire.response import Response

TXT = [f'{NAME}. 300 IN TXT "{str(number) * 100}"' for number in range(1, 10)]
GLUE = [f"ns{number}.example.com. 300 IN A 192.0.2.1" for number in range(1, 30)]
NS = [f"example.com. 300 IN NS ns{number}.example.com." for number in range(1, 30)]


def test_additionals_are_left_out_without_tc() -> None:
    stored = entry.pack(received("TXT", answer=TXT[:3], additional=GLUE), NOW, CONFIG)
    reply = ask(stored, rrtype="TXT", size=512)
    assert (len(reply.answer), len(reply.additional)) == (3, 0)
    assert not reply.flags & dns.flags.TC
    assert len(ask(stored, rrtype="TXT", size=4096).additional) == 29


def test_an_authority_section_that_nobody_needs_is_left_out_without_tc() -> None:
    stored = entry.pack(received("TXT", answer=TXT[:3], authority=NS, additional=GLUE), NOW, CONFIG)
    reply = ask(stored, rrtype="TXT", size=512)
    assert (len(reply.answer), len(reply.authority), len(reply.additional)) == (3, 0, 0)
    assert not reply.flags & dns.flags.TC


def test_an_authority_section_that_is_needed_is_missed() -> None:
    nsec = [f"n{number}.example.com. 60 IN NSEC m.example.com. A" for number in range(40)]
    stored = entry.pack(received(authority=[SOA, *nsec], rcode=codes.NXDOMAIN), NOW, CONFIG)
    reply = ask(stored, size=512)
    assert reply.flags & dns.flags.TC
    assert reply.authority == []
    assert reply.rcode() == dns.rcode.NXDOMAIN


def test_missing_answers_are_said_over_udp_alone() -> None:
    stored = entry.pack(received("TXT", answer=TXT, authority=NS[:1], additional=GLUE[:1]), NOW, CONFIG)
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
        stored = entry.pack(received("TXT", answer=[f"{NAME}. 300 IN TXT {strings}"]), NOW, CONFIG)
        frame = replace(asking("TXT", size=size), udp_size=512)
        whole = frame.end + 12 + octets + 222 + len(frame.opt())
        reply = entry.decode(stored).reply(NOW, frame)
        plain = entry.plain_reply(stored, NOW, frame.packet, frame.end, FLAGS, 512, frame.opt())
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
    stored = entry.pack(received(answer=many, name=name), NOW, CONFIG)
    assert len(ask(stored, name=name, size=None, tcp=True).answer) == number
    octets = entry.decode(stored).reply(NOW + 1, asking(name=name, tcp=True))
    assert len(octets) <= 65535
    reply = dns.message.from_wire(octets, one_rr_per_rrset=True)
    assert len(reply.answer) == number - 1
    assert not reply.flags & dns.flags.TC


def test_upper_bits_of_an_rcode_go_to_the_opt() -> None:
    stored = entry.pack(replace(received(), rcode=23), NOW, CONFIG)
    assert ask(stored).rcode() == 23
    assert entry.rcode(stored) == 23
    without = ask(stored, size=None)
    assert without.rcode() == dns.rcode.SERVFAIL
    assert without.answer == []


HUGE = {
    "TXT": [f'{NAME}. 300 IN TXT "{n:04}"' for n in range(3000)],
    "A": [f"{NAME}. 300 IN A 10.0.{n >> 8}.{n & 255}" for n in range(3000)],
}


@pytest.mark.parametrize("rrtype", HUGE)
@pytest.mark.parametrize("age", [0, 100])
def test_what_has_no_room_costs_no_time(rrtype: str, age: int) -> None:
    """A client that asks for a huge RRset over UDP takes the time of what it gets."""
    stored = entry.pack(received(rrtype, HUGE[rrtype]), NOW, CONFIG)
    reply = ask(stored, NOW + age, rrtype=rrtype)
    assert reply.flags & dns.flags.TC
    came = [line.replace(" 300 ", f" {300 - age} ") for line in HUGE[rrtype]]
    first = came.index(str(reply.answer[0]))
    assert texts(reply.answer) == (came + came)[first : first + len(reply.answer)]
    assert 50 < len(reply.answer) < 80
    few = entry.pack(received(rrtype, HUGE[rrtype][:50]), NOW, CONFIG)
    frame = asking(rrtype)
    assert cost(stored, NOW + 1, frame) < 6 * cost(few, NOW + 1, frame)


def cost(stored: bytes, now: int, frame: Frame) -> float:
    """Return the least seconds of 5 rounds that making 50 replies takes."""
    rounds = []
    for _ in range(5):
        start = process_time()
        for _ in range(50):
            entry.decode(stored).reply(now, frame)
        rounds.append(process_time() - start)
    return min(rounds)


def test_a_cut_answer_is_a_random_part_of_it() -> None:
    stored = entry.pack(received(answer=HUGE["A"]), NOW, CONFIG)
    firsts = {str(ask(stored).answer[0]) for _ in range(50)}
    assert len(firsts) > 25


@pytest.mark.parametrize("size", [None, 512, 1232])
def test_addresses_behind_others_are_cut_to_whole_ones(size: int | None) -> None:
    """The first of them that is sent is any; none is sent twice, none half."""
    signature = "300 IN RRSIG A 8 3 300 20300101000000 20200101000000"
    others = [f"{NAME}. {signature} {n} example.com. {'A' * 4 * n}" for n in (1, 2, 3)]
    many = [f"{NAME}. 300 IN A 10.0.0.{n}" for n in range(200)]
    stored = entry.pack(received(answer=others + many, do=True), NOW, CONFIG)
    for age in (0, 1):
        reply = ask(stored, NOW + age, size=size)
        sent = texts(reply.answer)
        came = [line.replace(" 300 ", f" {300 - age} ", 1) for line in others + many]
        assert sent[:3] == came[:3]
        assert len(set(sent)) == len(sent)
        assert set(sent) < set(came)
        assert reply.flags & dns.flags.TC


# Any message

HOSTS = ["example.com.", "a.example.com.", NAME + ".", "A.b.Example.com.", "other.test.", "."]
host = st.sampled_from(HOSTS)
number = st.integers(0, 255)
rdata = st.one_of(
    st.builds("A 192.0.2.{}".format, number),
    st.builds("A 192.0.2.{}".format, number),
    st.builds("AAAA 2001:db8::{:x}".format, number),
    st.builds("NS {}".format, host),
    st.builds("MX {} {}".format, number, host),
    st.builds("SRV 1 2 {} {}".format, number, host),
    st.builds("SOA {0} {0} 1 2 3 4 {1}".format, host, number),
    st.builds('TXT "{}"'.format, st.text("xy", max_size=200)),
    st.builds("PTR {}".format, host),
    st.builds("TYPE65300 \\# 3 00ff{:02x}".format, number),
)
ttl = st.one_of(st.sampled_from([0, 30, 30, 300, 2000, 1 << 31]), st.integers(0, 3000))
record = st.builds("{} {} IN {}".format, host, ttl, st.one_of(rdata, st.builds("CNAME {}".format, host)))
owned = st.builds("{}. {} IN A 192.0.2.{}".format, st.just(NAME), st.sampled_from([30, 300]), number)
section = st.lists(record, max_size=12)
no_referral = section.filter(lambda rrs: not any(rr[0] == "." and " NS " in rr for rr in rrs))


@st.composite
def chained(draw: Any) -> list[str]:
    """CNAMEs that begin at the question's name, and records of the names that they lead to; in any order."""
    names = [NAME + ".", *draw(st.permutations(HOSTS))[: draw(st.integers(0, 4))]]
    names = list({name.lower(): name for name in names}.values())
    found = [f"{name} {draw(ttl)} IN CNAME {target}" for name, target in pairwise(names)]
    others = st.builds("{} {} IN {}".format, st.sampled_from(names), ttl, rdata)
    return list(draw(st.permutations(found + draw(st.lists(others, max_size=12)))))


answer_section = st.one_of(chained(), st.lists(owned, max_size=80))
message = st.builds(
    received,
    st.sampled_from(["A", "AAAA", "TXT", "ANY"]),
    answer_section,
    no_referral,
    section,
    st.sampled_from([0, 0, 0, 3, 2]),
)
lifetime = st.one_of(st.just(-1), st.none(), st.integers(0, 3000))


def living(got: Response, lifetime: int | None) -> Response:
    """Return a reply that may be kept for so long, at most as long as its shortest TTL says."""
    ttls = [int.from_bytes(got.wire[at : at + 4]) for at in got.ttl_at]
    return replace(got, lifetime=None if lifetime is None else min([lifetime, *ttls]))


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
    got: Response, lifetime: int | None, age: int, size: int | None, tcp: bool, ede: int | None
) -> None:
    """What is sent are the records that came, in order but for addresses, and TC says what is missing."""
    got = replace(got if lifetime == -1 else living(got, lifetime), ede=ede)
    whole = dns.message.from_wire(got.wire, one_rr_per_rrset=True)
    rrtype = dns.rdatatype.to_text(whole.question[0].rdtype)
    stored = entry.pack(got, NOW, CONFIG)
    longest = CONFIG.max_negative_ttl if got.rcode == 3 or entry.is_nodata(stored) else CONFIG.max_ttl
    lives = min(got.lifetime or 0, longest)
    assert entry.is_fresh(stored, NOW + age) == (age < lives)
    for rrset in (*whole.answer, *whole.authority, *whole.additional):
        rrset.ttl = max(min(rrset.ttl, lives) - age, 0)

    frame = asking(rrtype, name=NAME.upper(), size=size, tcp=tcp)
    octets = entry.decode(stored).reply(NOW + age, frame)
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
    answered = got.rcode == 0 and not entry.is_nodata(stored)
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
    got: Response, lifetime: int | None, age: int, size: int, opt: bool, seed: int
) -> None:
    """Octet for octet, for the same random numbers; and it says something wherever it can."""
    if lifetime != -1:
        got = living(got, lifetime)
    stored = entry.pack(got, NOW, CONFIG)
    frame = asking(dns.rdatatype.to_text(got.wire[got.end - 3]), size=size if opt else None)
    random.seed(seed)
    plain = entry.plain_reply(stored, NOW + age, frame.packet, frame.end, FLAGS, frame.limit, frame.opt())
    random.seed(seed)
    exact = entry.decode(stored).reply(NOW + age, frame)
    if plain is not None:
        assert entry.is_fresh(stored, NOW + age)
        assert plain == exact
    else:
        assert not entry.is_fresh(stored, NOW + age) or len(got.wire) + len(frame.opt()) > frame.limit


@settings(max_examples=200)
@given(message, st.integers(1, 3000), st.integers(0, 600))
def test_any_message_gone_stale(got: Response, lifetime: int, age: int) -> None:
    """The same records, each with 30 seconds, unless that is over."""
    got = living(got, lifetime)
    stored = entry.pack(got, NOW, CONFIG)
    stale = entry.decode(stored).stale(NOW + age)
    if stale is None:
        assert got.rcode not in (0, 3) or not got.lifetime or age >= CONFIG.stale
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
    stored = entry.pack(received(answer=answer), NOW, CONFIG)
    reply = ask(stored, NOW + 100, tcp=True)
    assert Counter(texts(reply.answer)) == Counter(line.replace(" 300 ", " 200 ") for line in answer)
