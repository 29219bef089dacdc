"""What of an answer section belongs to the question, and in which order it leads on.

* What counts are CNAMEs from the question's name on, RRs of the type asked for where these end, DNAMEs above
  a name on the way, and with DO the RRSIGs of all these.
* A DNAME stands before the CNAME that follows from it (RFC 6672 section 3.1); where the CNAME is missing it
  is made, as other resolvers do.
* What contradicts itself is no answer: two CNAMEs or two DNAMEs of one name, a CNAME that is not the one that
  follows from the DNAME above, CNAMEs without an end.

The section has been found well-formed (`response`).
"""

from __future__ import annotations

from . import codes, header
from .garbage import Garbage
from .name import MAX_NAME_OCTETS
from .query import Query
from .rr_names import MAX_LINKS, Aliases, AnswerRRs, Dnames, answer_rrs, dname_ranks, follow


def arrange(wire: bytes, at: int, count: int, query: Query) -> tuple[bool, list[int] | None, list[bytes]]:
    """Say whether an answer section has RRs of the type asked for, where its CNAMEs lead from the question.

    Returns the numbers of the RRs that belong to it too, in the order in which they lead on (None where these
    are all, as they stand), and CNAMEs that have to be added first, on the wire.  Raises Garbage where
    nothing speaks of the question's name, nor of one on the way.
    """
    name = query.question[: -header.TYPE_CLASS.size]
    found = answer_rrs(wire, at, count, {header.OCTETS: name})
    stays = query.rrtype == codes.CNAME or query.rrtype in codes.SEVERAL_TYPES
    missing = [] if stays or not found.dnames else _missing_cnames(name, found.aliases, found.dnames)
    if missing:
        return False, None, missing
    links, ends = follow(name, {} if stays else found.aliases)
    if not ends:
        raise Garbage("CNAMEs without an end")
    chain = [name.lower(), *(target.lower() for target, _ in links)]
    ranked = _ranked(found, chain, query)
    if count and not ranked and not any(owner in chain for owner, _, _ in found.owned):
        raise Garbage("an answer about another name")
    last = _rank(len(links))
    is_any = query.rrtype in codes.SEVERAL_TYPES
    answered = any(rank == last and (is_any or found.owned[at][1] == query.rrtype) for rank, at in ranked)
    order = [number for _, number in ranked]
    return answered, None if order == list(range(count)) else order, []


def _rank(number: int) -> int:
    """Return where the RRs of a name on the way stand; a DNAME above it stands one place before."""
    return 2 * number + 1


def _ranked(found: AnswerRRs, chain: list[bytes], query: Query) -> list[tuple[int, int]]:
    """Return (place, number) of each RR that counts, sorted."""
    ranks = {owner: _rank(number) for number, owner in enumerate(chain)}
    above = dname_ranks(chain) if found.dnames else {}
    if not found.contradicted.isdisjoint((*chain, *above)):
        raise Garbage("two CNAMEs, or two DNAMEs, of one name")
    rrtype, last = query.rrtype, _rank(len(chain) - 1)

    def place(number: int, owner: bytes, rr: int, covers: int) -> int | None:
        rank = ranks.get(owner)
        if rrtype in codes.SEVERAL_TYPES:
            return rank
        kind = rr if rrtype == codes.RRSIG else covers
        is_second = rr == codes.CNAME and found.aliases[owner][1] != number + 1
        if is_second or (kind != rr and not query.do):
            return None
        if rank is not None and kind == (rrtype if rank == last else codes.CNAME):
            return rank
        return above.get(owner) if kind == codes.DNAME else None

    places = ((place(number, *rr), number) for number, rr in enumerate(found.owned))
    return sorted((rank, number) for rank, number in places if rank is not None)


def _missing_cnames(name: bytes, aliases: Aliases, dnames: Dnames) -> list[bytes]:
    """Return the CNAMEs that follow from DNAMEs on the way from a name and are not there."""
    missing: list[bytes] = []
    here = name
    for _ in range(MAX_LINKS + 1):
        alias = aliases.get(here.lower())
        made = _rewritten(here, dnames)
        if made is None:
            if alias is None:
                return missing
            here = alias[0]
            continue
        target, ttl = made
        if alias is None:
            missing.append(here + header.rr_head(codes.CNAME, ttl, len(target)) + target)
        elif alias[0].lower() != target.lower():
            raise Garbage("a CNAME that contradicts its DNAME")
        here = target
    raise Garbage("CNAMEs without an end")


def _rewritten(name: bytes, dnames: Dnames) -> tuple[bytes, int] | None:
    """Return what a DNAME above makes of a name, and its TTL; None where none is above."""
    at = 1 + name[0]
    while at < len(name):
        if (dname := dnames.get(name[at:].lower())) is not None:
            target, ttl = dname
            if at + len(target) > MAX_NAME_OCTETS:
                raise Garbage("a DNAME that makes too long a name")
            return name[:at] + target, ttl
        at += 1 + name[at]
    return None
