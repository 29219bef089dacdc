"""svcdns, Knot, NSD and BIND with the same zone files, and where svcdns differs from what the others say.

A part of a reply (`asking.PARTS`) differs where none of the others says the same. So where they agree among
themselves, svcdns has to agree with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import dns.flags
import dns.message
from peers.asking import PARTS, Asking, Said, said
from peers.deviations import DEVIATIONS
from peers.zones import ZONES
from toolbox.authoritative import KnotZones, NamedZones, NsdZones
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

_CONFIG = '[dns]\nzones = "zones"\nreverse_zones = ["10.in-addr.arpa"]\ntransfer_to = ["127.0.0.0/8"]\n'
_PARTS_OF_A_TRUNCATED_ONE = ("rcode", "aa", "tc", "question", "edns")


@dataclass(frozen=True)
class FourServers:
    """A way to ask each server."""

    ours: Asking
    others: tuple[Asking, ...]

    def replies(self, questions: Sequence[bytes], *, tcp: bool = False) -> Iterator[tuple[Said, list[Said]]]:
        """Yield our reply to each question, and the others' replies."""
        every = [
            map(said, map(server.tcp, questions) if tcp else server.udp(questions))
            for server in (self.ours, *self.others)
        ]
        for ours, *others in zip(*every, strict=True):
            yield ours, others

    def differences(self, questions: Sequence[bytes], *, tcp: bool = False) -> list[str]:
        """Ask each question everywhere; return where svcdns differs and no deviation says why."""
        found = []
        for octets, (ours, others) in zip(questions, self.replies(questions, tcp=tcp), strict=True):
            for part in different_parts(ours, others):
                question = dns.message.from_wire(octets, ignore_trailing=True)
                if not any(part in row.parts and row.applies(question, ours) for row in DEVIATIONS):
                    found.append(_told(question, part, ours, others))
        return found


def different_parts(ours: Said, others: Sequence[Said]) -> Iterator[str]:
    """Yield the parts of our reply that no other server has."""
    is_cut = ours.tc or any(one.tc for one in others)
    for part in _PARTS_OF_A_TRUNCATED_ONE if is_cut else PARTS:
        said_by = (
            _additionals(ours, others) if part == "additional" else {getattr(one, part) for one in others}
        )
        if getattr(ours, part) not in said_by:
            yield part


def _additionals(ours: Said, others: Sequence[Said]) -> set[frozenset[str]]:
    """Return the additional sections of those who otherwise say the same; who has none leaves it open."""
    same = [one for one in others if (one.answer, one.authority) == (ours.answer, ours.authority)] or [ours]
    return {one.additional for one in same if one.additional} or {frozenset()}


def _told(question: dns.message.Message, part: str, ours: Said, others: Sequence[Said]) -> str:
    flags = dns.flags.to_text(question.flags)
    head = f"{question.question[0]} {flags} EDNS {question.edns} {question.payload}: {part}"
    return "\n  ".join((head, *(_shown(getattr(one, part)) for one in (ours, *others))))


def _shown(part: object) -> str:
    return str(sorted(part) if isinstance(part, frozenset) else part)


@contextmanager
def running_servers() -> Iterator[FourServers]:
    """Start all four, each with all zones."""
    with ExitStack() as running:
        server = RunningServer(workers=1, config=_CONFIG)
        (server.folder / "zones").mkdir()
        for origin, text in ZONES.items():
            (server.folder / "zones" / f"{origin}.zone").write_text(text)
        others = [running.enter_context(kind(ZONES)) for kind in (KnotZones, NsdZones, NamedZones)]
        running.enter_context(server)
        every = [Asking("svcdns", server.dns)]
        every += [Asking(other.program, ("127.0.0.1", other.port)) for other in others]
        for one in every:
            running.callback(one.close)
            wait_for(lambda: _has_all_zones(one), f"{one.name} to have all zones")  # noqa: B023
        yield FourServers(every[0], tuple(every[1:]))


def _has_all_zones(server: Asking) -> bool:
    questions = [query(origin, "SOA") for origin in ZONES]
    try:
        return all(said(reply).aa for reply in server.udp(questions))
    except ConnectionRefusedError:
        return False


def query(name: str, rrtype: str, flags: int = 0, size: int = 0) -> bytes:
    """Return a question as octets; with a `size` it has an OPT."""
    made = dns.message.make_query(name, rrtype, flags=flags, use_edns=0 if size else -1, payload=size)
    return made.to_wire()
