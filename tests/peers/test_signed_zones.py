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
from toolbox.authoritative import KnotZones, NamedZones
from toolbox.served_zones import serve_zone
from toolbox.signed_zones import ORIGIN, Nsec3, SignedZone, sign
from toolbox.upstreams import HANG_SECONDS, HOST

from svcdns.dns.stats import TCP

QUESTIONS = 600

SIGNED = [
    pytest.param("dnssec-signzone", None, id="bind-nsec"),
    pytest.param("dnssec-signzone", Nsec3("abcdef", 3), id="bind-nsec3", marks=pytest.mark.soak),
    pytest.param("dnssec-signzone", Nsec3(opt_out=True), id="bind-opt-out"),
    pytest.param("ldns-signzone", None, id="ldns-nsec", marks=pytest.mark.soak),
    pytest.param("ldns-signzone", Nsec3("0123", 1), id="ldns-nsec3"),
    pytest.param("ldns-signzone", Nsec3(opt_out=True), id="ldns-opt-out", marks=pytest.mark.soak),
]

LABELS = r"""www alias alias2 far lost to-sub to-moved to-wild to-alias wild here.wild x.ent.wild ent.wild
    *.wild cnames dead outside starred *.starred x.*.starred deep.er.still er.still still deep.er er *.deep.er
    _imap._tcp _tcp svc sub
    ns.sub a.ns.sub insecure ns.insecure insecure2 insecure3 two.insecure3 one.two.insecure3
    moved big many Ns1 mail suz insecure1
    \000nul \001one dot\.ted UPPER.Case Case upper.case"""
NAMES = ["", *(f"{label}." for label in LABELS.split()), "l" * 63 + "."]
TYPES = """A AAAA MX TXT NS SOA CNAME DNAME SRV HTTPS CAA DS DNSKEY NSEC RRSIG NSEC3 NSEC3PARAM TYPE65280"""
PREFIXES = ["", "", "", "x.", "a.b.", "*.", "zzz.", "\\000.", "\\255.", "0.", "A-very-different.Name."]


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[AnswererHarness]:
    world = AnswererHarness(tmp_path / "data")
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
        query = dns.message.make_query(name + ORIGIN, rng.choice(TYPES.split()), flags=0)
        if rng.random() < 0.8:
            query.use_edns(0, payload=4096, ednsflags=dns.flags.DO if rng.random() < 0.9 else 0)
        yield query


def rrs(section: list[dns.rrset.RRset]) -> list[str]:
    return sorted(
        f"{one.name} {one.ttl} {dns.rdatatype.to_text(one.rdtype)} {rd}".lower()
        for one in section
        for rd in one
    )


Said = tuple[str, str, list[str], list[str], list[str]]


def said(reply: dns.message.Message) -> Said:
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
            a, b = ([ours], [others]) if isinstance(ours, str) else (ours, list(others))
            lines += [f"  {section} ours   {each[:90]}" for each in a if each not in b]
            lines += [f"  {section} theirs {each[:90]}" for each in b if each not in a]
    return "\n".join(lines)


def compare(
    ours: AnswererHarness,
    asked: list[dns.message.QueryMessage],
    port: int,
    alike: Callable[[dns.message.Message, dns.message.Message], bool],
) -> None:
    different = []
    with socket.create_connection((HOST, port), HANG_SECONDS) as stream:
        for query in asked:
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
    """Knot gives one RRSIG to who asks for these, and fewer proofs in three corners.

    They are: a wildcard that is an empty non-terminal, a wildcard's own NSEC, and a name that begins with
    `*` itself for which another wildcard stands.  With the addresses of an HTTPS record's target it proves
    that this has none.
    """
    (question,) = mine.question
    if question.rdtype == dns.rdatatype.RRSIG:
        return mine.rcode() == theirs.rcode() and bool(mine.answer) == bool(theirs.answer)
    corner = (
        "starred" in str(question.name) or question.rdtype == dns.rdatatype.NSEC or question.name.is_wild()
    )
    ours, others = said(mine), said(theirs)
    if question.rdtype == dns.rdatatype.HTTPS:
        others = (*others[:4], [rr for rr in others[4] if " nsec" not in rr])
    return ours == others or (corner and proves_more(ours, others))


def as_bind(mine: dns.message.Message, theirs: dns.message.Message) -> bool:
    """BIND gives fewer addresses of servers outside the delegation, and the NSEC of one to who asks.

    It proves less where a wildcard is an empty non-terminal.
    """
    (question,) = mine.question
    ours, others = said(mine), said(theirs)
    if question.rdtype == dns.rdatatype.NSEC and not ours[1] and others[1] == "AA":
        return bool(others[2])
    if "starred" in str(question.name):
        return proves_more(ours, others)
    return ours[:4] == others[:4] and set(others[4]) <= set(ours[4])


def proves_more(ours: Said, others: Said) -> bool:
    return ours[:3] == others[:3] and set(others[3]) <= set(ours[3]) and ours[4] == others[4]


@pytest.mark.parametrize(("tool", "nsec3"), SIGNED)
def test_knot_and_bind_say_the_same(
    tool: str, nsec3: Nsec3 | None, need: Callable[..., str], ours: AnswererHarness, tmp_path: Path
) -> None:
    for program in (tool, "knotd", "named"):
        need(program)
    zone = sign(tool, tmp_path / "signed", nsec3)
    serve_zone(ours, zone.text)
    asked = list(questions(zone, random.randrange(10**6)))
    with KnotZones({ORIGIN.rstrip("."): zone.text}) as knot:
        compare(ours, asked, knot.port, as_knot)
    with NamedZones({ORIGIN.rstrip("."): zone.text}) as named:
        compare(ours, asked, named.port, as_bind)
