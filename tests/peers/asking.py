"""The same octets put to several servers, and what they say in a form that can be compared."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.message import Message
from toolbox.waiting import GUARD_SECONDS

SILENT = "silent"
SECONDS = GUARD_SECONDS
_AT_ONCE = 8
"""Questions whose replies have room in the buffer of a socket."""
_SENTINEL = b"\xff\xff\0\0\0\1\0\0\0\0\0\0\0\0\2\0\1"
"""A question that each server answers; its ID is used by no other."""


@dataclass(frozen=True)
class Said:
    """A reply without what is free: names in lower case, RRs of a section as a set.

    Of a truncated one no section counts, as servers leave out what they please.
    """

    rcode: str
    aa: bool = False
    tc: bool = False
    question: str = ""
    """In the letter case of the reply."""
    chain: tuple[str, ...] = ()
    """CNAMEs and DNAMEs of the answer, in their order."""
    answer: frozenset[str] = frozenset()
    authority: frozenset[str] = frozenset()
    additional: frozenset[str] = frozenset()
    edns: str = ""
    """Version and DO of its OPT, if it has one."""
    rd_cd: str = ""


PARTS = tuple(field.name for field in fields(Said))


def said(octets: bytes) -> Said:
    """Return what a reply says; octets that dnspython can't read make an rcode of their own."""
    if octets == b"":
        return Said(SILENT)
    try:
        message = dns.message.from_wire(octets, one_rr_per_rrset=True, question_only=_is_bare(octets))
    except dns.exception.DNSException as wrong:
        return Said(f"unreadable: {wrong!r}")
    truncated = bool(message.flags & dns.flags.TC)
    return Said(
        rcode=dns.rcode.to_text(message.rcode()),
        aa=bool(message.flags & dns.flags.AA),
        tc=truncated,
        question=" ".join(str(one) for one in message.question),
        chain=() if truncated else _chain(message),
        answer=frozenset() if truncated else _rrs(message.answer),
        authority=frozenset() if truncated else _rrs(message.authority),
        additional=frozenset() if truncated else _rrs(message.additional),
        edns=f"{message.edns} {message.ednsflags:#x}" if message.edns >= 0 else "",
        rd_cd=dns.flags.to_text(message.flags & (dns.flags.RD | dns.flags.CD)),
    )


def _is_bare(octets: bytes) -> bool:
    """Replies to other opcodes than QUERY are laid out as these; only their question is read."""
    return bool(octets[2] & 0x78)


def _rrs(section: list[dns.rrset.RRset]) -> frozenset[str]:
    return frozenset(
        f"{rrset.name} {rrset.ttl} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}".lower()
        for rrset in section
        for rdata in rrset
    )


def _chain(message: Message) -> tuple[str, ...]:
    aliases = (dns.rdatatype.CNAME, dns.rdatatype.DNAME)
    return tuple(f"{r.name} {r.rdtype.name}".lower() for r in message.answer if r.rdtype in aliases)


class Asking:
    """A UDP socket to one server, whose replies come in the order of the questions."""

    def __init__(self, name: str, address: tuple[str, int]) -> None:
        self.name = name
        self.address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(SECONDS)
        self._socket.connect(address)

    def close(self) -> None:
        self._socket.close()

    def udp(self, questions: Sequence[bytes]) -> list[bytes]:
        """Return the reply to each message, b"" for those that get none; their IDs are put in here."""
        replies: dict[bytes, bytes] = {}
        for first in range(0, len(questions), _AT_ONCE):
            for number, octets in enumerate(questions[first : first + _AT_ONCE], first):
                self._socket.send(number.to_bytes(2) + octets[2:])
            self._socket.send(_SENTINEL)
            while (reply := self._socket.recv(65535))[:2] != _SENTINEL[:2]:
                replies[reply[:2]] = reply
        return [replies.get(number.to_bytes(2), b"") for number in range(len(questions))]

    def tcp(self, octets: bytes) -> bytes:
        """Return the reply over TCP, b"" where the connection is closed instead."""
        with socket.create_connection(self.address, SECONDS) as connection:
            connection.sendall(len(octets).to_bytes(2) + octets)
            with connection.makefile("rb") as stream:
                return stream.read(int.from_bytes(stream.read(2)))

    def transfer(self, octets: bytes) -> tuple[str, list[str]]:
        """Return the rcode of a transfer and its RRs, in their order, up to the SOA that ends it.

        A transfer of one RR, or one that is refused, is one message.
        """
        rrs: list[str] = []
        with socket.create_connection(self.address, SECONDS) as connection:
            connection.sendall(len(octets).to_bytes(2) + octets)
            with connection.makefile("rb") as stream:
                while size := int.from_bytes(stream.read(2)):
                    try:
                        message = dns.message.from_wire(stream.read(size), one_rr_per_rrset=True, xfr=True)
                    except dns.exception.DNSException:
                        return "unreadable", rrs
                    rrs += [f"{rrset}".lower() for rrset in message.answer]
                    if message.rcode() or len(rrs) == 1 or " soa " in rrs[-1]:
                        return dns.rcode.to_text(message.rcode()), rrs
        return "closed", rrs
