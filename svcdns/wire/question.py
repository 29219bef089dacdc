"""Reading a message exactly: header, one question, OPT (RFC 1035, 6891, 9619).

What is accepted: opcode QUERY, one question without compression, no answers, an authority section
only in an IXFR (RFC 1995 section 3), and any additional RRs of which at most one is an OPT.  Everything
else is Malformed and answered FORMERR.  Octets behind the last RR mean nothing, as to other servers.

This is the form for every question that is not plain; the fast path of `dns` reads those in fewer steps and
must accept nothing that this module refuses.
"""

from __future__ import annotations

import msgspec

from . import codes, header
from .edns import EMPTY_OPT_OCTETS, Edns, options_well_formed, read_opt
from .edns import opt as edns_opt
from .key import key_of_labels
from .name import MAX_NAME_OCTETS, BadName, split_name

_LARGEST_BARE = header.OCTETS + MAX_NAME_OCTETS + header.TYPE_CLASS.size + EMPTY_OPT_OCTETS
"""Header, question and an OPT without options."""


class Malformed(Exception):
    """The message can't be read.  `end` is the end of its question, 0 where that can't be read either.

    `edns` is what its OPT says, where that can be read: the reply has one too (RFC 6891 section 6.1.1).
    """

    def __init__(self, text: str, end: int = 0, edns: Edns | None = None) -> None:
        super().__init__(text)
        self.end = end
        self.edns = edns


class Question(msgspec.Struct, frozen=True, gc=False):
    """A well-formed question and where it stands in its message."""

    key: bytes
    """Of the name asked for (svcdns.wire.key)."""
    name: bytes
    """The name on the wire, in the letter case of the question."""
    rrtype: int
    rrclass: int
    end: int
    """Offset of the first octet behind the question."""
    edns: Edns | None = None
    serial: int | None = None
    """Of the SOA in an IXFR's authority section, which every IXFR is to have."""

    @property
    def do(self) -> bool:
        """Whether the client takes RRSIGs and proofs (RFC 3225)."""
        return self.edns is not None and self.edns.do


def parse(packet: bytes) -> Question:
    """Return the question of a message of at least 12 octets with opcode QUERY; raise Malformed."""
    questions, answers, authorities, additionals = header.COUNTS.unpack_from(packet, header.COUNTS_AT)
    if questions != 1:
        alone = not (questions or answers or authorities)
        raise Malformed(f"{questions} questions", edns=_edns_alone(packet, additionals) if alone else None)
    key, name, rrtype, rrclass, end = _question(packet)
    if not (answers or authorities or additionals):
        return Question(key, name, rrtype, rrclass, end)
    try:
        at, serial = end, None
        if answers or (authorities and (rrtype != codes.IXFR or authorities > 1)):
            raise Malformed("answers in a question")
        if authorities:
            at, serial = _ixfr_soa(packet, at)
        edns = _additionals(packet, at, additionals)
    except (Malformed, BadName, IndexError) as wrong:  # IndexError: a name runs over the end
        raise Malformed(str(wrong), end) from None
    return Question(key, name, rrtype, rrclass, end, edns, serial)


def bare(packet: bytes) -> bytes:
    """Return a well-formed question without what upstreams need not know: options, other RRs, padding."""
    if len(packet) <= _LARGEST_BARE:
        return packet
    question = parse(packet)
    opt = b"" if question.edns is None else edns_opt(question.edns.size, question.edns.do)
    head = packet[: header.COUNTS_AT] + header.COUNTS.pack(1, 0, 0, 1 if opt else 0)
    return head + packet[header.OCTETS : question.end] + opt


def question_end(packet: bytes) -> int:
    """Return the end of the first question of any message, 0 if there is none that can be read."""
    try:
        return _question(packet)[-1] if packet[4:6] == b"\0\1" else 0
    except Malformed:
        return 0


def _question(packet: bytes) -> tuple[bytes, bytes, int, int, int]:
    """Return the key, the name, the type, the class and the end of the question.  Raises Malformed."""
    try:
        labels, at = split_name(packet, header.OCTETS, pointer=False)
    except (BadName, IndexError) as wrong:
        raise Malformed(str(wrong)) from None
    name = packet[header.OCTETS : at]
    if len(name) > MAX_NAME_OCTETS:
        raise Malformed("a name over 255 octets")
    end = at + header.TYPE_CLASS.size
    if end > len(packet):
        raise Malformed("no type and class")
    rrtype, rrclass = header.TYPE_CLASS.unpack_from(packet, at)
    return key_of_labels(labels), name, rrtype, rrclass, end


def _additionals(packet: bytes, at: int, count: int) -> Edns | None:
    """Walk the additional section; return its OPT."""
    edns = None
    for _ in range(count):
        _, type_at = split_name(packet, at)
        rrtype, end = _skip_rr(packet, type_at)
        if rrtype == codes.OPT:
            if edns is not None:
                raise Malformed("two OPTs")
            if type_at != at + 1:
                raise Malformed("an OPT whose owner isn't the root")
            edns = read_opt(packet, type_at)
            if edns.version == 0 and not options_well_formed(packet, type_at + header.RR.size, end):
                raise Malformed("an option runs over the end of the OPT")
        at = end
    return edns


def _edns_alone(packet: bytes, additionals: int) -> Edns | None:
    """Return the OPT of a message that has additional RRs alone, None where there is none to be read."""
    try:
        return _additionals(packet, header.OCTETS, additionals)
    except (Malformed, BadName, IndexError):
        return None


def _ixfr_soa(packet: bytes, at: int) -> tuple[int, int]:
    """Return the end and the serial of the SOA that says what the client of an IXFR has."""
    _, type_at = split_name(packet, at)
    rrtype, end = _skip_rr(packet, type_at)
    if rrtype != codes.SOA:
        raise Malformed("no SOA in an IXFR")
    _, contact_at = split_name(packet, type_at + header.RR.size)
    _, numbers = split_name(packet, contact_at)
    if numbers + header.SOA_NUMBERS != end:
        raise Malformed("an SOA of a wrong size")
    return end, int.from_bytes(packet[numbers : numbers + 4])


def _skip_rr(packet: bytes, type_at: int) -> tuple[int, int]:
    """Return the type and the end of the RR whose type field stands at this offset."""
    if type_at + header.RR.size > len(packet):
        raise Malformed("an RR runs over the end")
    rrtype, _, _, octets = header.RR.unpack_from(packet, type_at)
    end = type_at + header.RR.size + octets
    if end > len(packet):
        raise Malformed("RDATA runs over the end")
    return rrtype, end
