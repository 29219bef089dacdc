"""Where svcdns answers otherwise than servers that agree among themselves, and why.

Each row has an example, which must differ as the row says: what does no longer differ has to go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import dns.flags
import dns.rdatatype
from dns.message import Message
from peers.asking import Said


@dataclass(frozen=True)
class Deviation:
    """One way in which svcdns differs."""

    why: str
    parts: frozenset[str]
    """The fields of Said that may differ."""
    applies: Callable[[Message, Said], bool]
    """Whether it may be so for a question and our reply."""
    example: tuple[str, str, int]
    """Name, type and flags of a question that shows it."""


def _is_any(question: Message, ours: Said) -> bool:
    return question.question[0].rdtype == dns.rdatatype.ANY


def _is_loop(question: Message, ours: Said) -> bool:
    return ours.rcode == "SERVFAIL" and bool(question.flags & dns.flags.RD) and bool(ours.chain)


def _asks_for_exchangers(question: Message, ours: Said) -> bool:
    return any(" mx " in rr for rr in ours.answer)


def _is_cut_short(question: Message, ours: Said) -> bool:
    return ours.tc and question.question[0].rdtype in (dns.rdatatype.MX, dns.rdatatype.NS, dns.rdatatype.PTR)


def _is_reserved(question: Message, ours: Said) -> bool:
    return question.question[0].rdtype in (0, 65535)


DEVIATIONS = (
    Deviation(
        "0 and 65535 are no types (RFC 6895 section 3.1): FORMERR, and an Extended DNS Error that says so",
        frozenset({"rcode", "aa", "chain", "answer", "authority", "additional"}),
        _is_reserved,
        ("www.example.org.", "TYPE65535", 0),
    ),
    Deviation(
        "ANY gets one RR, as RFC 8482 section 4.2 has it (docs/dns.md, A13)",
        frozenset({"answer", "additional", "tc", "chain"}),
        _is_any,
        ("many-types.example.org.", "ANY", 0),
    ),
    Deviation(
        "a loop of aliases is a failure to who wants recursion (D3), as a stub resolver can't see it",
        frozenset({"rcode"}),
        _is_loop,
        ("loop.example.net.", "A", dns.flags.RD),
    ),
    Deviation(
        "addresses below a delegation are the child's to give: only an NS set brings them (RFC 2181, 5.4.1)",
        frozenset({"additional"}),
        _asks_for_exchangers,
        ("mx-lab.example.org.", "MX", 0),
    ),
    Deviation(
        "names in RDATA are spelt in full (J7), so a large set of MX, NS or PTR is cut sooner",
        frozenset({"tc"}),
        _is_cut_short,
        ("mx-many.example.org.", "MX", 0),
    ),
)
"""The table."""
