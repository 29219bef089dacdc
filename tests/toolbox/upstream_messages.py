"""What the tests of replies' octets share: replies of upstreams as dnspython writes them, and by hand."""

import struct
from itertools import pairwise
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
from dns.message import Message
from hypothesis import strategies as st

from svcdns.wire.key import key_of_wire
from svcdns.wire.query import Query
from svcdns.wire.response import Response, read

NAME = "www.example.org."
IDENT = 0x1234
SOA = "example.org. 900 IN SOA ns.example.org. root.example.org. 1 7200 1800 86400 60"


def ask_for(name: str = NAME, rrtype: str = "A", **flags: bool) -> Query:
    wire = dns.name.from_text(name).to_wire()
    assert wire is not None
    return Query(key_of_wire(wire), dns.rdatatype.from_text(rrtype), name=wire, **flags)


def rrset(text: str) -> dns.rrset.RRset:
    """From `owner ttl class type data`."""
    owner, ttl, rrclass, rrtype, data = text.split(" ", 4)
    return dns.rrset.from_text(owner, int(ttl), rrclass, rrtype, data)


def reply(
    *answers: str,
    authority: tuple[str, ...] = (),
    additional: tuple[str, ...] = (),
    rcode: str = "NOERROR",
    rrtype: str = "A",
    edns: bool = True,
    options: tuple[dns.edns.Option, ...] = (),
) -> bytes:
    """Return a reply to a question for NAME."""
    query = dns.message.make_query(NAME, rrtype, id=IDENT, use_edns=0 if edns else -1)
    made = dns.message.make_response(query)
    made.answer = [rrset(text) for text in answers]
    made.authority = [rrset(text) for text in authority]
    made.additional = [rrset(text) for text in additional]
    if edns:
        made.use_edns(0, options=list(options))
    made.set_rcode(dns.rcode.from_text(rcode))
    return made.to_wire(max_size=65535)


def received(wire: bytes, rrtype: str = "A", **flags: bool) -> Response:
    return read(wire, ask_for(rrtype=rrtype, **flags), IDENT)


def raw(*rrs: bytes, counts: tuple[int, int, int] | None = None, question: bytes = b"") -> bytes:
    """Return a reply with these RRs in the answer section, or where the counts say."""
    question = question or ask_for().name + b"\0\1\0\1"
    return struct.pack(">6H", IDENT, 0x8180, 1, *(counts or (len(rrs), 0, 0))) + question + b"".join(rrs)


def rr(rrtype: int, rdata: bytes, owner: bytes = b"\xc0\x0c", rrclass: int = 1) -> bytes:
    return owner + struct.pack(">HHIH", rrtype, rrclass, 300, len(rdata)) + rdata


def pointer(to: int) -> bytes:
    return (0xC000 | to).to_bytes(2)


# Strategies

label = st.text("abcXYZ-_019", min_size=1, max_size=12)
owners = st.lists(label, min_size=0, max_size=5).map(lambda labels: ".".join([*labels, ""]) or ".")
related = st.sampled_from([NAME, "example.org.", "org.", "a.www.example.org.", "EXAMPLE.org."])
names = owners | related
words = st.binary(max_size=40).map(lambda octets: '"' + "".join(f"\\{octet:03}" for octet in octets) + '"')
u16 = st.integers(0, 65535)
DATA: dict[str, st.SearchStrategy[str]] = {
    "A": st.ip_addresses(v=4).map(str),
    "AAAA": st.ip_addresses(v=6).map(str),
    **dict.fromkeys(("NS", "CNAME", "PTR", "DNAME"), names),
    **dict.fromkeys(("MX", "AFSDB", "RT", "KX"), st.builds("{} {}".format, u16, names)),
    "RP": st.builds("{} {}".format, names, names),
    "SOA": st.builds("{} {} 1 2 3 4 {}".format, names, names, st.integers(0, 2**31 - 1)),
    "SRV": st.builds("{} {} {} {}".format, u16, u16, u16, names),
    "PX": st.builds("{} {} {}".format, u16, names, names),
    "NAPTR": st.builds("{} {} {} {} {} {}".format, u16, u16, words, words, words, names),
    "TXT": st.lists(words, min_size=1, max_size=4).map(" ".join),
    "HINFO": st.builds("{} {}".format, words, words),
    "DS": st.just("1 8 2 " + "ab" * 32),
    "CAA": st.just('0 issue "ca.example"'),
    "SVCB": st.builds("1 {} port=53".format, names),
    "NSEC": st.builds("{} A TXT".format, names),
    "TYPE65280": st.binary(max_size=30).map(lambda octets: f"\\# {len(octets)} {octets.hex()}"),
}


@st.composite
def records(draw: Any, owner: st.SearchStrategy[str] = names, but: str = "") -> dns.rrset.RRset:
    rrtype = draw(st.sampled_from(sorted(DATA.keys() - {but})))
    return dns.rrset.from_text(draw(owner), draw(st.integers(0, 2**31 - 1)), "IN", rrtype, draw(DATA[rrtype]))


@st.composite
def answers(draw: Any) -> list[dns.rrset.RRset]:
    """An answer section: CNAMEs from NAME on, RRs of names on the way, a DNAME above none; in any order."""
    links = [NAME, *draw(st.lists(names, max_size=3))]
    found = draw(st.lists(records(st.sampled_from(links), but="CNAME"), max_size=8))
    for owner, target in pairwise(dict.fromkeys(name.lower() for name in links)):
        found.append(rrset(f"{owner} {draw(st.integers(0, 2**31 - 1))} IN CNAME {target}"))
    if draw(st.booleans()):
        found.append(rrset("other.test. 60 IN DNAME a.test."))
    return list(draw(st.permutations(found)))


@st.composite
def replies(draw: Any) -> tuple[Message, Query]:
    rrtype = draw(st.sampled_from(["A", "AAAA", "TXT", "ANY", "SOA", "MX"]))
    made = dns.message.make_response(dns.message.make_query(NAME, rrtype, id=IDENT))
    made.answer = draw(answers())
    for section in (made.authority, made.additional):
        section += draw(st.lists(records(), max_size=6))
    options = [dns.edns.EDEOption(22, "x")] if draw(st.booleans()) else []
    made.use_edns(draw(st.sampled_from([0, False])), options=options)
    made.set_rcode(draw(st.sampled_from([0, 2, 3])))
    return made, ask_for(rrtype=rrtype)


@st.composite
def spoilt(draw: Any) -> tuple[bytes, Query]:
    """The octets of a reply, some of them changed, some cut off."""
    made, ask = draw(replies())
    wire = bytearray(made.to_wire(max_size=65535))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(wire) - 1))
        wire[at] = draw(st.integers(0, 255) | st.sampled_from([0, 1, 12, 41, 63, 64, 192, 255]))
    return bytes(wire[: len(wire) - draw(st.sampled_from([0, 0, 0, 1, 5, 11]))]), ask


OPAQUE = {"DS", "CAA", "SVCB", "NSEC", "TYPE65280"}
READ = {int(dns.rdatatype.from_text(rrtype)) for rrtype in DATA.keys() - OPAQUE}
"""Types whose RDATA is looked into."""


def parsed_by_dnspython(found: Response) -> Message:
    """Parse what was accepted; dnspython may only refuse RDATA that we don't look into."""
    parsed = dns.message.from_wire(found.wire, one_rr_per_rrset=True, continue_on_error=True)
    types = {int.from_bytes(found.wire[at - 4 : at - 2], "big") for at in found.ttl_at}
    assert not parsed.errors or types - READ, parsed.errors
    return parsed


def agree(found: Response) -> None:
    """Assert that dnspython sees in the message what we say of it."""
    parsed = parsed_by_dnspython(found)
    if parsed.errors:
        return
    sections = (parsed.answer, parsed.authority, parsed.additional)
    assert tuple(map(len, sections)) == found.counts
    assert parsed.rcode() == found.rcode & 15 and parsed.edns == -1
    assert bool(parsed.flags & dns.flags.TC) is found.truncated
    ttls = [one.ttl for section in sections for one in section]
    assert [int.from_bytes(found.wire[at : at + 4], "big") for at in found.ttl_at] == ttls
    assert found.lifetime is None or found.lifetime <= min(ttls)
