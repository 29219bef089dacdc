"""An upstream's message written anew from some of its RRs, in another order perhaps.

Pointers may lead to what is left out, or to what then stands behind them, so each name is read in full and
written as a pointer only to where it stands now.  RDATA has no pointers afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import codes, header
from .name import read_name
from .rr_names import uncompressed

Places = list[list[int]]
"""Of each section the offsets at which its RRs begin."""


def rr_places(wire: bytes, at: int, counts: Sequence[int]) -> Places:
    """Return where the RRs of a well-formed message begin, the OPT left out; the first stands at `at`."""
    names: dict[int, bytes] = {}
    places: Places = []
    for count in counts:
        section = []
        for _ in range(count):
            start = at
            _, at = read_name(wire, at, names)
            rrtype, _, _, octets = header.RR.unpack_from(wire, at)
            at += header.RR.size + octets
            if rrtype != codes.OPT:
                section.append(start)
        places.append(section)
    return places


def rebuild(wire: bytes, end: int, places: Places) -> bytes:
    """Return a well-formed message, whose question ends at `end`, with the RRs that begin at these places.

    The upper bits of the rcode are the OPT's, so they are gone.  It may have more than 65,535 octets.
    """
    names: dict[int, bytes] = {}
    written = {read_name(wire, header.OCTETS, names)[0].lower(): header.OCTETS}
    out = bytearray(wire[: header.COUNTS_AT] + header.COUNTS.pack(1, *map(len, places)))
    out += wire[header.OCTETS : end]
    for section in places:
        for place in section:
            name, at = read_name(wire, place, names)
            rrtype, _, _, octets = header.RR.unpack_from(wire, at)
            start = at + header.RR.size
            rdata = uncompressed(wire, start, start + octets, rrtype, names)

            # The owner: most often the question's name, or where the CNAME before it leads.
            earlier = written.get(name.lower())
            if earlier is None and len(out) <= header.FARTHEST:
                written[name.lower()] = len(out)
            out += name if earlier is None else header.pointer(earlier)
            out += wire[at : start - 2] + len(rdata).to_bytes(2)
            if rrtype == codes.CNAME and len(out) <= header.FARTHEST:
                written.setdefault(rdata.lower(), len(out))
            out += rdata
    return bytes(out)
