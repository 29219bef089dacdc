"""What upstreams say that is well-formed and odd: chains, foreign records, negative answers, TTLs, DNAMEs.

A case is a name and a function from the query to the messages that are sent.  It is asked for as
`www.CASE.odd.` (`www.sub.CASE.odd.` where a DNAME is meant to be above it), and `CASE.odd.` is a zone with an
upstream of its own: who has said something odd is treated otherwise from then on.  What a case says about
other names of its zone is said again to who asks for them; else `usual` answers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from peers.replies import AA, RR, USUAL, raw_rr, reply, zone_of
from toolbox.scripted_upstream import Query, Sent

Says = Callable[[Query], Sequence[Sent]]
HERE = "@ 60 A 192.0.2.1"
HERE_2 = "@ 60 A 192.0.2.2"
SOA_DATA = "ns hostmaster 1 7200 1800 86400 60"
FOREIGN = "www.foreign.odd."


def usual(query: Query) -> list[bytes]:
    """`known...` has one address; all else does not exist."""
    zone = zone_of(query.name)
    soa = f"{zone} 300 SOA {SOA_DATA}"
    if query.name == ".":
        return [reply(query, [], [soa])]
    if query.name.lower() == FOREIGN:
        return [reply(query, ["@ 60 A 192.0.2.4"])]
    if query.name.lower().startswith("empty"):
        return [reply(query, [], [soa])]
    if query.name.lower().startswith("known"):
        is_a = query.message.question[0].rdtype == 1
        return [reply(query, ["@ 60 A 192.0.2.50"] if is_a else [], [] if is_a else [soa])]
    return [reply(query, [], [soa], rcode=3)]


def says(*answer: RR, authority: Sequence[RR] = (), additional: Sequence[RR] = (), rcode: int = 0) -> Says:
    """Return a function that says these RRs, `~` as owner is the zone of the case."""

    def made(query: Query) -> list[bytes]:
        zone = str(zone_of(query.name))

        def placed(rrs: Sequence[RR]) -> list[RR]:
            return [f"{zone}{text[1:]}" if isinstance(text, str) and text[0] == "~" else text for text in rrs]

        if query.name.lower() not in (f"www.{zone}", f"www.sub.{zone}"):
            on = _from(query.name.lower(), placed(answer), zone)
            return [reply(query, on)] if on else usual(query)
        return [reply(query, placed(answer), placed(authority), placed(additional), rcode=rcode)]

    return made


def _from(name: str, rrs: Sequence[RR], zone: str) -> list[RR]:
    """Return what a reply says about a name further on in its chain, and about where that leads."""
    texts = [rr for rr in rrs if isinstance(rr, str)]
    found: list[RR] = []
    while True:
        here = [rr for rr in texts if name in (rr.lower().split()[0], f"{rr.lower().split()[0]}.{zone}")]
        here = [rr for rr in here if rr.split()[2] in ("A", "CNAME") and rr not in found]
        above = [rr for rr in texts if rr.split()[2] == "DNAME" and f".{rr.split()[0]}.{zone}" in f".{name}"]
        found += [rr for rr in above if rr not in found and f"{rr.split()[0]}.{zone}" != name] + here
        aliases = [rr.lower().split()[3] for rr in here if rr.split()[2] == "CNAME"]
        if not aliases:
            return found
        name = aliases[0] if aliases[0].endswith(".") else f"{aliases[0]}.{zone}"


def contents() -> Iterator[tuple[str, Says]]:
    """Yield (case, what is said)."""
    yield from _chains()
    yield from _long_chains()
    yield from _foreign()
    yield from _negative()
    yield from _ttls()
    yield from _repeated()
    yield from _dnames()


def _chains() -> Iterator[tuple[str, Says]]:
    chain = ("@ 60 CNAME t1", "t1 60 CNAME t2", "t2 60 A 192.0.2.3")
    for number, order in enumerate(itertools.permutations(chain)):
        yield f"chain-order-{number}", says(*order)
    yield "chain-without-end", says("@ 60 CNAME known")
    yield "chain-half", says("@ 60 CNAME t1", "t1 60 CNAME known")
    yield "chain-without-middle", says("@ 60 CNAME known", "t2 60 A 192.0.2.3")
    yield "chain-to-nothing", says("@ 60 CNAME nothing", authority=[f"~ 300 SOA {SOA_DATA}"], rcode=3)
    yield "chain-to-nothing-noerror", says("@ 60 CNAME nothing")
    yield "chain-to-nodata", says("@ 60 CNAME empty", authority=[f"~ 300 SOA {SOA_DATA}"])
    yield "chain-nxdomain-without-soa", says("@ 60 CNAME nothing", rcode=3)
    yield "chain-servfail", says("@ 60 CNAME known", rcode=2)
    yield "chain-refused", says("@ 60 CNAME known", rcode=5)
    yield "chain-to-foreign", says(f"@ 60 CNAME {FOREIGN}", f"{FOREIGN} 60 A 192.0.2.4")
    yield "chain-to-foreign-alone", says("@ 60 CNAME known.foreign.odd.")
    yield "chain-to-root", says("@ 60 CNAME .")
    yield "chain-in-other-case", says("@ 60 CNAME KNOWN-Up", "known-uP 60 A 192.0.2.5")
    yield "chain-owner-in-other-case", says("WWW 60 CNAME t1", "T1 60 A 192.0.2.5")
    yield "alias-and-address", says("@ 60 CNAME t1", HERE, "t1 60 A 192.0.2.6")
    yield "address-and-alias", says(HERE, "@ 60 CNAME t1", "t1 60 A 192.0.2.6")
    yield "two-aliases", says("@ 60 CNAME t1", "@ 60 CNAME t2", "t1 60 A 192.0.2.7", "t2 60 A 192.0.2.8")
    yield (
        "two-aliases-on-the-way",
        says("@ 60 CNAME t1", "t1 60 CNAME t2", "t1 60 CNAME t3", "t2 60 A 192.0.2.7", "t3 60 A 192.0.2.8"),
    )
    yield "loop-1", says("@ 60 CNAME @".replace("CNAME @", "CNAME www"))
    yield "loop-2", says("@ 60 CNAME t1", "t1 60 CNAME www")
    yield "loop-3", says("@ 60 CNAME t1", "t1 60 CNAME t2", "t2 60 CNAME t1")
    yield "loop-with-address", says("@ 60 CNAME t1", "t1 60 CNAME www", "t1 60 A 192.0.2.9")
    yield "loop-in-other-case", says("@ 60 CNAME WWW")


def _long_chains() -> Iterator[tuple[str, Says]]:
    for links in (4, 8, 9, 10, 11, 12, 15, 16, 17, 20, 31, 33, 60):
        names = ["@", *(f"t{number}" for number in range(1, links + 1))]
        rrs = [f"{here} 60 CNAME {there}" for here, there in itertools.pairwise(names)]
        yield f"chain-of-{links}", says(*rrs, f"t{links} 60 A 192.0.2.10")
        yield f"chain-of-{links}-turned", says(f"t{links} 60 A 192.0.2.10", *reversed(rrs))


def _foreign() -> Iterator[tuple[str, Says]]:
    other = f"{FOREIGN} 60 A 192.0.2.66"
    yield "foreign-behind", says(HERE, other)
    yield "foreign-before", says(other, HERE)
    yield "foreign-alone", says(other)
    yield "foreign-alias", says(HERE, f"{FOREIGN} 60 CNAME known")
    yield "foreign-below", says(HERE, "sub.www 60 A 192.0.2.66")
    yield "foreign-above", says(HERE, "~ 60 A 192.0.2.66")
    yield "foreign-below-alone", says("sub.www 60 A 192.0.2.66")
    yield "foreign-type", says(HERE, '@ 60 TXT "other type"')
    yield "foreign-types", says('@ 60 TXT "x"', "@ 60 AAAA 2001:db8::1", HERE, "@ 60 MX 1 known")
    yield "foreign-type-alone", says('@ 60 TXT "other type"')
    yield "foreign-aaaa-alone", says("@ 60 AAAA 2001:db8::1")
    yield "foreign-in-a-chain", says("@ 60 CNAME t1", other, "t1 60 A 192.0.2.11")
    yield "foreign-type-in-a-chain", says("@ 60 CNAME t1", 't1 60 TXT "x"', "t1 60 A 192.0.2.11")
    yield "foreign-chain", says("t5 60 CNAME t6", "t6 60 A 192.0.2.66", HERE)
    yield "foreign-ns", says(HERE, authority=["foreign.odd. 60 NS ns.foreign.odd."])
    yield "foreign-soa", says(HERE, authority=["foreign.odd. 60 SOA . . 1 2 3 4 5"])
    yield "foreign-additional", says(HERE, additional=[other])
    yield (
        "foreign-additional-opt-last",
        says(HERE, authority=["~ 60 NS ns"], additional=["ns 60 A 192.0.2.66"]),
    )
    yield "root-ns", says(HERE, authority=[". 60 NS evil.odd."], additional=["evil.odd. 60 A 192.0.2.66"])
    yield "soa-in-answer", says(HERE, f"~ 300 SOA {SOA_DATA}")
    yield "rrsig-unasked", says(HERE, "@ 60 RRSIG A 13 3 60 20300101000000 20200101000000 1 even. AAAA")
    yield "nsec-unasked", says(HERE, authority=["@ 60 NSEC z.odd. A"])
    yield "class-ch", says(HERE, raw_rr(b"\xc0\x0c", 1, 60, b"\xc0\0\2\2", rrclass=3))
    yield "class-any", says(HERE, raw_rr(b"\xc0\x0c", 1, 60, b"\xc0\0\2\2", rrclass=255))
    yield "class-ch-alone", says(raw_rr(b"\xc0\x0c", 1, 60, b"\xc0\0\2\2", rrclass=3))
    yield "class-ch-authority", says(HERE, authority=[raw_rr(b"\xc0\x0c", 1, 60, b"\xc0\0\2\2", rrclass=3)])
    yield "class-ch-additional", says(HERE, additional=[raw_rr(b"\xc0\x0c", 1, 60, b"\xc0\0\2\2", rrclass=3)])
    for number, word in (
        (0, "0"),
        (251, "ixfr"),
        (252, "axfr"),
        (255, "any"),
        (249, "tkey"),
        (128, "nxname"),
    ):
        yield f"type-{word}-in-answer", says(HERE, raw_rr(b"\xc0\x0c", number, 60, b""))
        yield f"type-{word}-in-additional", says(HERE, additional=[raw_rr(b"\xc0\x0c", number, 60, b"")])
    yield "unknown-type-beside", says(HERE, r"@ 60 TYPE65280 \# 2 0102")


def _negative() -> Iterator[tuple[str, Says]]:
    soa = f"~ 300 SOA {SOA_DATA}"
    newer = f"~ 200 SOA {SOA_DATA.replace('1', '2', 1)}"
    servers = {"authority": ["~ 60 NS ns"], "additional": ["ns 60 A 192.0.2.60"]}
    for rcode, word in ((0, "nodata"), (3, "nxdomain")):
        yield word, says(authority=[soa], rcode=rcode)
        yield f"{word}-without-soa", says(rcode=rcode)
        yield f"{word}-soa-of-the-name", says(authority=[f"@ 300 SOA {SOA_DATA}"], rcode=rcode)
        yield f"{word}-soa-of-root", says(authority=[f". 300 SOA {SOA_DATA}"], rcode=rcode)
        yield f"{word}-soa-below", says(authority=[f"sub.www 300 SOA {SOA_DATA}"], rcode=rcode)
        yield f"{word}-soa-of-foreign", says(authority=[f"foreign.odd. 300 SOA {SOA_DATA}"], rcode=rcode)
        yield (
            f"{word}-two-soas",
            says(authority=[soa, newer], rcode=rcode),
        )
        yield f"{word}-soa-in-answer", says(soa, rcode=rcode)
        yield f"{word}-soa-in-additional", says(additional=[soa], rcode=rcode)
        yield f"{word}-soa-ttl-0", says(authority=[f"~ 0 SOA {SOA_DATA}"], rcode=rcode)
        yield f"{word}-minimum-0", says(authority=["~ 300 SOA ns h 1 2 3 4 0"], rcode=rcode)
        yield f"{word}-minimum-huge", says(authority=["~ 300 SOA ns h 1 2 3 4 4294967295"], rcode=rcode)
        yield f"{word}-soa-and-ns", says(authority=[soa, "~ 60 NS ns"], rcode=rcode)
        yield (
            f"{word}-ns-alone",
            says(**servers, rcode=rcode),
        )
        yield f"{word}-ns-of-root", says(authority=[". 60 NS ns"], rcode=rcode)
        yield f"{word}-ns-below", says(authority=["sub.www 60 NS ns"], rcode=rcode)
        yield f"{word}-ns-at-the-name", says(authority=["@ 60 NS ns"], rcode=rcode)
        yield f"{word}-address-in-authority", says(authority=[HERE], rcode=rcode)
        yield f"{word}-address-in-additional", says(additional=[HERE], rcode=rcode)
    yield "nxdomain-with-address", says(HERE, authority=[soa], rcode=3)
    yield "nxdomain-with-address-without-soa", says(HERE, rcode=3)
    yield "nodata-and-other-type", says('@ 60 TXT "x"', authority=[soa])
    for word, says_it in (("nodata", says(authority=[soa])), ("nxdomain", says(authority=[soa], rcode=3))):
        yield f"{word}-aa", lambda query, say=says_it: [_with_flags(one, USUAL | AA) for one in say(query)]


def _with_flags(wire: Sent, flags: int) -> bytes:
    assert isinstance(wire, bytes)
    return wire[:2] + (int.from_bytes(wire[2:4]) | flags).to_bytes(2) + wire[4:]


def _ttls() -> Iterator[tuple[str, Says]]:
    for ttl in (0, 1, 59, 86400, 604800, 2**31 - 1, 2**31, 2**32 - 1):
        yield f"ttl-{ttl}", says(raw_rr(b"\xc0\x0c", 1, ttl, b"\xc0\0\2\1"))
        yield f"ttl-{ttl}-of-an-alias", says("@ 60 CNAME t1", f"t1 {ttl} A 192.0.2.1")
    yield "ttls-differ", says("@ 60 A 192.0.2.1", "@ 10 A 192.0.2.2", "@ 3600 A 192.0.2.3")
    yield "ttls-differ-0", says("@ 60 A 192.0.2.1", "@ 0 A 192.0.2.2")
    yield "ttls-of-a-chain", says("@ 10 CNAME t1", "t1 3600 A 192.0.2.1")


def _repeated() -> Iterator[tuple[str, Says]]:
    yield "same-twice", says(HERE, HERE)
    yield "same-thrice-and-other", says(HERE, HERE_2, HERE, HERE)
    yield "same-in-additional", says(HERE, additional=[HERE])
    yield "same-in-authority", says(HERE, authority=[HERE])
    yield "set-over-two-sections", says(HERE, authority=[HERE_2])
    yield "set-over-answer-and-additional", says(HERE, additional=[HERE_2])
    yield "set-interrupted", says(HERE, f"{FOREIGN} 60 A 192.0.2.66", HERE_2)
    yield "set-interrupted-by-type", says(HERE, '@ 60 TXT "x"', HERE_2)
    yield "alias-twice", says("@ 60 CNAME t1", "@ 60 CNAME t1", "t1 60 A 192.0.2.1")
    yield "alias-twice-in-two-cases", says("@ 60 CNAME t1", "@ 60 CNAME T1", "t1 60 A 192.0.2.1")
    yield "owner-in-other-case", says("WWW 60 A 192.0.2.1")
    yield "owner-in-two-cases", says(HERE, "wWw 60 A 192.0.2.2")
    yield "forty", says(*(f"@ 60 A 192.0.2.{number}" for number in range(1, 41)))


def _dnames() -> Iterator[tuple[str, Says]]:
    dname = "sub 60 DNAME target"
    made = "@ 60 CNAME www.target"
    there = "www.target 60 A 192.0.2.70"
    yield "dname", says(dname, made, there)
    yield "dname-behind", says(made, dname, there)
    yield "dname-last", says(there, made, dname)
    yield "dname-without-cname", says(dname, there)
    yield "dname-alone", says(dname)
    yield "dname-and-cname-alone", says(dname, made)
    yield "dname-with-another-cname", says(dname, "@ 60 CNAME known")
    yield "dname-ttl-0", says("sub 0 DNAME target", "@ 0 CNAME www.target", there)
    yield "dname-cname-with-other-ttl", says(dname, "@ 7 CNAME www.target", there)
    yield "dname-of-the-name", says("@ 60 DNAME target", "@ 60 CNAME known")
    yield "dname-foreign", says("other 60 DNAME target", made, there)
    yield "dname-of-the-zone", says("~ 60 DNAME target.odd.", "@ 60 CNAME www.sub.target.odd.")
    yield "dname-out-of-the-zone", says("odd. 60 DNAME target.", made, there)
    yield "dname-twice", says(dname, dname, made, there)
    yield "dname-two", says(dname, "sub 60 DNAME other", made, there)
    yield (
        "dname-in-a-chain",
        says("@ 60 CNAME x.in", "in 60 DNAME to", "x.in 60 CNAME x.to", "x.to 60 A 192.0.2.72"),
    )
    yield "dname-in-a-chain-without-cname", says("@ 60 CNAME x.in", "in 60 DNAME to", "x.to 60 A 192.0.2.72")
