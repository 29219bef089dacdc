"""Zones that others signed: Knot and BIND, with the same file, say the same to the same questions.

Every section is compared, with and without DO, for zones of NSEC, of NSEC3 and of NSEC3 with opt-out.
"""

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.rrset
import pytest
from toolbox.answerer_harness import AnswererHarness
from toolbox.served_zones import serve_zone
from toolbox.signed_zones import ORIGIN, Nsec3, SignedZone, sign
from toolbox.upstreams import HANG_SECONDS, HOST, Knot, Named

from svcdns.dns.stats import TCP

QUESTIONS = 3000

SIGNED = {
    "bind-nsec": ("dnssec-signzone", None),
    "bind-nsec3": ("dnssec-signzone", Nsec3("abcdef", 3)),
    "bind-opt-out": ("dnssec-signzone", Nsec3(opt_out=True)),
    "ldns-nsec": ("ldns-signzone", None),
    "ldns-nsec3": ("ldns-signzone", Nsec3()),
    "ldns-opt-out": ("ldns-signzone", Nsec3("0123", 1, opt_out=True)),
}

LABELS = (
    "www alias alias2 far lost to-sub to-moved to-wild to-alias wild here.wild x.ent.wild ent.wild *.wild cnames dead "
    "outside starred *.starred x.*.starred deep.er.still er.still still deep.er er *.deep.er _imap._tcp _tcp svc sub "
    "ns.sub a.ns.sub insecure ns.insecure insecure2 insecure3 two.insecure3 one.two.insecure3 moved big many Ns1 mail "
    r"\000nul \001one dot\.ted UPPER.Case Case upper.case"
).split()
NAMES = ["", *(f"{label}." for label in LABELS), "l" * 63 + "."]
TYPES = "A AAAA MX TXT NS SOA CNAME DNAME SRV HTTPS CAA DS DNSKEY NSEC RRSIG NSEC3 NSEC3PARAM TYPE65280".split()
PREFIXES = ["", "", "", "x.", "a.b.", "*.", "zzz.", "\\000.", "\\255.", "0.", "A-very-different.Name."]


@pytest.fixture(scope="module", params=SIGNED)
def zone(
    request: pytest.FixtureRequest, need: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> SignedZone:
    tool, nsec3 = SIGNED[request.param]
    need(tool)
    return sign(tool, tmp_path_factory.mktemp("signed"), nsec3)


@pytest.fixture
def ours(zone: SignedZone, tmp_path: Path) -> Iterator[AnswererHarness]:
    world = AnswererHarness(tmp_path / "data")
    serve_zone(world, zone.text)
    yield world
    world.store.close()


def questions(zone: SignedZone, seed: int) -> Iterator[dns.message.QueryMessage]:
    """Names that exist, names between, below and beside them; also owners of NSEC3 records."""
    rng = random.Random(seed)
    hashes = [line.split(".")[0] + "." for line in zone.text.split("\n") if "\tNSEC3\t" in line.upper()]
    for _ in range(QUESTIONS):
        name = rng.choice(PREFIXES) + rng.choice([*NAMES, *hashes[:3]])
        if rng.random() < 0.2:
            name = "".join(rng.choice("abemstwxz01*-") for _ in range(rng.randint(1, 4))) + "." + name
        query = dns.message.make_query(name + ORIGIN, rng.choice(TYPES), flags=0)
        if rng.random() < 0.8:
            query.use_edns(0, payload=4096, ednsflags=dns.flags.DO if rng.random() < 0.9 else 0)
        yield query


def rrs(section: list[dns.rrset.RRset]) -> list[str]:
    return sorted(f"{one.name} {one.ttl} {dns.rdatatype.to_text(one.rdtype)} {rd}".lower() for one in section for rd in one)


def said(reply: dns.message.Message) -> tuple[object, ...]:
    return (
        dns.rcode.to_text(reply.rcode()),
        dns.flags.to_text(reply.flags & (dns.flags.AA | dns.flags.AD)),
        rrs(reply.answer),
        rrs(reply.authority),
        rrs(reply.additional),
    )


SECTIONS = ("rcode", "flags", "answer", "authority", "additional")


def difference(query: dns.message.Message, mine: dns.message.Message, theirs: dns.message.Message) -> str:
    lines = [f"{query.question[0]} {'DO' if query.ednsflags else ''}"]
    for section, ours, others in zip(SECTIONS, said(mine), said(theirs), strict=True):
        if ours != others:
            a, b = ([ours], [others]) if isinstance(ours, str) else (ours, others)
            lines += [f"  {section} ours   {each[:90]}" for each in a if each not in b]
            lines += [f"  {section} theirs {each[:90]}" for each in b if each not in a]
    return "\n".join(lines)


def compare(ours: AnswererHarness, zone: SignedZone, port: int, alike: Callable[[dns.message.Message, dns.message.Message], bool]) -> None:
    different = []
    with socket.create_connection((HOST, port), HANG_SECONDS) as stream:
        for query in questions(zone, 7):
            reply = ours.raw(query.to_wire(), TCP)
            assert isinstance(reply, bytes)
            mine = dns.message.from_wire(reply)
            dns.query.send_tcp(stream, query)
            theirs, _ = dns.query.receive_tcp(stream)
            if not alike(mine, theirs):
                different.append((query, mine, theirs))
    shown = "\n".join(difference(*each) for each in different[:10])
    assert not different, f"{len(different)} of {QUESTIONS} differ:\n{shown}"


def as_knot(mine: dns.message.Message, theirs: dns.message.Message) -> bool:
    """Knot gives one RRSIG to who asks for these, and proves less of a wildcard that is an empty non-terminal."""
    question = mine.question[0]
    if question.rdtype == dns.rdatatype.RRSIG:
        return mine.rcode() == theirs.rcode() and bool(mine.answer) == bool(theirs.answer)
    mine_said, theirs_said = said(mine), said(theirs)
    if "starred" in str(question.name):
        return mine_said[:3] == theirs_said[:3] and set(theirs_said[3]) <= set(mine_said[3])
    return mine_said == theirs_said


def test_knot_says_the_same(need: Callable[..., str], zone: SignedZone, ours: AnswererHarness) -> None:
    need("knotd")
    with Knot(zone.text, origin=ORIGIN) as knot:
        compare(ours, zone, knot.port, as_knot)


def as_bind(mine: dns.message.Message, theirs: dns.message.Message) -> bool:
    """BIND gives fewer addresses of servers that are not below the delegation."""
    mine_said, theirs_said = said(mine), said(theirs)
    return mine_said[:4] == theirs_said[:4] and set(theirs_said[4]) <= set(mine_said[4])


def test_bind_says_the_same(need: Callable[..., str], zone: SignedZone, ours: AnswererHarness) -> None:
    need("named")
    with Named(zone.text, ORIGIN) as named:
        compare(ours, zone, named.port, as_bind)
