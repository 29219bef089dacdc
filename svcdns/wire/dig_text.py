"""A reply as dig prints it, read by dnspython: names and texts are escaped as in zone files (RFC 1035)."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.opcode
import dns.rcode

_TITLES = ("ANSWER", "AUTHORITY", "ADDITIONAL")


def read_reply(reply: bytes) -> dns.message.Message:
    """Return a reply that was read.  Raises dns.exception.DNSException for what is none."""
    return dns.message.from_wire(reply)


def dig_text(message: dns.message.Message) -> str:
    """Return a whole reply as text."""
    status, opcode = dns.rcode.to_text(message.rcode()), dns.opcode.to_text(message.opcode())
    answers, authority, additional = (sum(map(len, rrsets)) for rrsets in message.sections[1:])
    counts = ", ".join(
        f"{title}: {count}"
        for title, count in (
            ("QUERY", len(message.question)),
            *zip(_TITLES, (answers, authority, additional + (message.edns >= 0)), strict=True),
        )
    )
    lines = [f";; ->>HEADER<<- opcode: {opcode}, status: {status}"]
    lines.append(f";; flags: {dns.flags.to_text(message.flags).lower()}; {counts}")
    if message.edns >= 0:
        lines += ["", ";; OPT PSEUDOSECTION:"]
        lines.append(f"; EDNS: version: {message.edns}, flags:{_edns_flags(message)}; udp: {message.payload}")
        lines += [f"; {option.to_text()}" for option in message.options]
    return "\n".join([*lines, "", sections_text(message)])


def sections_text(message: dns.message.Message) -> str:
    """Return the question and what the other sections have in them, each under its title."""
    parts = [";; QUESTION SECTION:", *(f";{rrset.to_text()}" for rrset in message.question)]
    for title, rrsets in zip(_TITLES, message.sections[1:], strict=True):
        if rrsets:
            parts += ["", f";; {title} SECTION:", *(rrset.to_text() for rrset in rrsets)]
    return "\n".join(parts)


def _edns_flags(message: dns.message.Message) -> str:
    return " do" if message.ednsflags & dns.flags.DO else ""
