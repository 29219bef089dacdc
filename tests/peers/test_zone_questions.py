"""The same questions to svcdns, Knot, NSD and BIND, which have the same zone files.

What each says is what one of the others says too; where they agree, svcdns agrees with them, or `deviations`
says why not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.name
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from peers.asking import said
from peers.deviations import DEVIATIONS, Deviation
from peers.four_servers import FourServers, different_parts, query
from peers.zones import OWNERS

_USUAL = ("A", "AAAA", "MX", "TXT", "NS", "SOA", "CNAME", "DNAME", "SRV", "DS", "PTR", "HTTPS", "SVCB", "ANY")
_RARE = ("CAA", "NAPTR", "TLSA", "AFSDB", "HINFO", "KEY", "SIG", "TYPE65280", "TYPE0", "TYPE65535")
TYPES = (*_USUAL, *_RARE, "RRSIG", "NSEC", "NSEC3PARAM", "DNSKEY")
LABELS = ("a", "*", "nope", "_tcp", "host", "www", "alias", "ns", "any", "in", "w", "1", "ent", "sub", "x")
ODD_LABELS = ("l" * 63, "*.*", "x.y.z", r"A\000b", r"\001", r"\255", r"\.", "a" + "b" * 61, r"\*", "b.c")
FLAGS = (0, dns.flags.RD, dns.flags.AD, dns.flags.CD, dns.flags.RD | dns.flags.AD)
SIZES = (0, 512, 600, 1232, 4096, 65535)


@st.composite
def names(draw: st.DrawFn) -> str:
    """An owner of the zones, a name above or below one, or one that is none; in letters of either case."""
    name = dns.name.from_text(draw(st.sampled_from(OWNERS)))
    for step in draw(st.lists(st.sampled_from(("up", *LABELS, *ODD_LABELS)), max_size=2)):
        try:
            name = name.parent() if step == "up" else dns.name.from_text(step, name)
        except (dns.name.NoParent, dns.name.NameTooLong):
            break
    text = name.to_text()
    return draw(st.sampled_from((text, text, text.upper(), text.title())))


questions = st.builds(query, names(), st.sampled_from(TYPES), st.sampled_from(FLAGS), st.sampled_from(SIZES))
# There is nothing to shrink: each question of a batch is told by itself.
no_shrinking = [Phase.explicit, Phase.generate]


def every_owner() -> Iterator[bytes]:
    itself = ("A", "TXT", "MX", "NS", "DS", "CNAME", "SRV", "PTR", "HTTPS", "AFSDB", "TYPE65280")
    for owner in OWNERS:
        yield from (query(owner, rrtype, size=1232) for rrtype in itself)
        if len(owner) < 240:  # else there is no room for a label
            yield from (query(f"nope.{owner}", rrtype) for rrtype in ("A", "MX", "DS"))
            yield query(f"*.{owner}", "TXT", size=1232)


def test_each_owner_and_what_is_beside_it(servers: FourServers) -> None:
    """Each owner name, a child of it and its wildcard, with the types that mean something to a server."""
    every, found = every_owner(), list[str]()
    while batch := list(itertools.islice(every, 40)):
        found += servers.differences(batch)
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:20])


@settings(max_examples=60, phases=no_shrinking)
@given(st.lists(questions, min_size=20, max_size=20))
def test_any_question(servers: FourServers, asked: list[bytes]) -> None:
    found = servers.differences(asked)
    assert not found, "\n".join(found)


@settings(max_examples=20, phases=no_shrinking)
@given(st.lists(questions, min_size=10, max_size=10))
def test_any_question_over_tcp(servers: FourServers, asked: list[bytes]) -> None:
    found = servers.differences(asked, tcp=True)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("owner", ["ten", "forty", "many", "text-big", "mx-many", "srv-many", "alias-many"])
def test_large_sets_are_whole_over_tcp(servers: FourServers, owner: str) -> None:
    asked = [query(f"{owner}.example.org.", rrtype) for rrtype in ("A", "TXT", "MX", "SRV")]
    assert not servers.differences(asked, tcp=True)
    assert not any(ours.tc for ours, _ in servers.replies(asked, tcp=True))


@pytest.mark.parametrize("size", [512, 1232, 4096])
@pytest.mark.parametrize(
    "owner", ["ten", "forty", "many", "text-big", "srv-many", "alias-many", "x.lab-many"]
)
def test_tc_says_that_an_answer_is_not_whole(servers: FourServers, owner: str, size: int) -> None:
    asked = [query(f"{owner}.example.org.", rrtype, size=size) for rrtype in ("A", "TXT", "SRV")]
    assert not servers.differences(asked)


@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: " ".join(map(str, row.example)))
def test_what_differs_for_a_reason_still_differs(servers: FourServers, row: Deviation) -> None:
    name, rrtype, flags = row.example
    asked = query(name, rrtype, flags, 1232)
    ((ours, others),) = servers.replies([asked])
    assert row.applies(dns.message.from_wire(asked), ours)
    assert row.parts & set(different_parts(ours, others))


def test_the_question_comes_back_as_it_was_spelt(servers: FourServers) -> None:
    asked = query("wWw.ExAmPlE.oRg.", "A")
    replies = [said(server.udp([asked])[0]) for server in (servers.ours, *servers.others)]
    assert {reply.question for reply in replies} == {"wWw.ExAmPlE.oRg. IN A"}
