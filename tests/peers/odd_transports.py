"""What upstreams send that is wrong as a message, or as a conversation: headers, truncation, EDNS, faults.

A case is asked for as `www.CASE.odd.`, and `CASE.odd.` is a zone with an upstream of its own: who has been
silent or has refused an OPT is treated otherwise from then on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from peers.odd_contents import HERE, HERE_2, SOA_DATA, Says, says
from peers.replies import AA, AD, CD, OPT, QR, RA, RD, TC, USUAL, Z, raw_rr, reply
from toolbox.scripted_upstream import FromAnotherPort, Query, Sent

_NAME = b"\xc0\x0c"


def always(**how: object) -> Says:
    """Return a function that says an address, in this way (see `reply`)."""
    return lambda query: [reply(query, [HERE], **how)]  # type: ignore[arg-type]


def changed(change: Callable[[bytes], bytes]) -> Says:
    """Return a function that says an address, the octets of the reply changed."""
    return lambda query: [change(reply(query, [HERE]))]


def transports() -> Iterator[tuple[str, Says]]:
    """Yield (case, what is sent)."""
    yield from _headers()
    yield from _rcodes()
    yield from _edns()
    yield from _truncated()
    yield from _not_to_the_question()
    yield from _malformed()


def _headers() -> Iterator[tuple[str, Says]]:
    yield "plain", always()
    for flags, word in (
        (QR | RD, "no-ra"),
        (QR | RA, "no-rd"),
        (QR, "no-flag"),
        (QR | RD | RA | AA, "aa"),
        (QR | RD | AA, "aa-no-ra"),
        (USUAL | AD, "ad"),
        (USUAL | CD, "cd"),
        (USUAL | Z, "z"),
        (USUAL | AA | AD | CD | Z, "all-flags"),
    ):
        yield f"flags-{word}", always(flags=flags)
        yield (
            f"flags-{word}-nodata",
            lambda query, flags=flags: [
                reply(query, [], [f"{query.name.partition('.')[2]} 300 SOA {SOA_DATA}"], flags=flags)
            ],
        )
    yield "flags-no-ra-referral", lambda query: [reply(query, [], ["known 60 NS ns"], flags=QR | RD)]
    yield "flags-no-qr", always(flags=RD | RA)
    for opcode in (1, 2, 4, 5):
        yield f"opcode-{opcode}", always(flags=USUAL | opcode << 11)


def _rcodes() -> Iterator[tuple[str, Says]]:
    for rcode in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15):
        yield f"rcode-{rcode}", says(rcode=rcode)
        yield f"rcode-{rcode}-with-address", says(HERE, rcode=rcode)
    for rcode in (16, 17, 22, 23, 3841):
        opt = raw_rr(b"\0", 41, rcode >> 4 << 24, b"", rrclass=1232)
        yield (
            f"rcode-{rcode}",
            lambda query, opt=opt, rcode=rcode: [reply(query, [], [], [opt], rcode=rcode & 15, edns=False)],
        )
        yield (
            f"rcode-{rcode}-with-address",
            lambda query, opt=opt, rcode=rcode: [
                reply(query, [HERE], [], [opt], rcode=rcode & 15, edns=False)
            ],
        )


def _on_edns(refusal: Callable[[Query], list[Sent]]) -> Says:
    """Return a function that refuses queries with an OPT, and answers others."""
    return lambda query: refusal(query) if query.message.edns >= 0 else [reply(query, [HERE])]


def _edns() -> Iterator[tuple[str, Says]]:
    for rcode, word in ((1, "formerr"), (4, "notimp"), (5, "refused"), (2, "servfail")):
        yield f"{word}-on-edns", _on_edns(lambda query, rcode=rcode: [reply(query, rcode=rcode, edns=False)])
        yield f"{word}-on-edns-with-opt", _on_edns(lambda query, rcode=rcode: [reply(query, rcode=rcode)])
        yield (
            f"{word}-on-edns-header-alone",
            _on_edns(
                lambda query, rcode=rcode: [
                    struct.pack(">HHHHHH", query.message.id, USUAL | rcode, 0, 0, 0, 0)
                ]
            ),
        )
    badvers = raw_rr(b"\0", 41, 1 << 24, b"", rrclass=1232)
    yield "badvers-on-edns", _on_edns(lambda query: [reply(query, [], [], [badvers], edns=False)])
    yield "silent-on-edns", _on_edns(lambda query: [])
    yield "opt-dropped", always(edns=False)
    yield "opt-twice", lambda query: [reply(query, [HERE], [], [OPT])]
    yield "opt-first", lambda query: [reply(query, [HERE], [], [OPT, "known 60 A 192.0.2.9"], edns=False)]
    yield "opt-in-answer", lambda query: [reply(query, [HERE, OPT], edns=False)]
    yield "opt-in-authority", lambda query: [reply(query, [HERE], [OPT], edns=False)]
    yield "opt-with-owner", lambda query: [reply(query, [HERE], [], [b"\1x" + OPT], edns=False)]
    for word, fields in {
        "version-1": (1232, 1 << 16, b""),
        "version-255": (1232, 255 << 16, b""),
        "size-0": (0, 0, b""),
        "size-65535": (65535, 0, b""),
        "do": (1232, 0x8000, b""),
        "flags": (1232, 0xFFFF, b""),
        "unknown-option": (1232, 0, struct.pack(">HH", 65001, 3) + b"abc"),
        "option-over-the-end": (1232, 0, struct.pack(">HH", 65001, 30) + b"abc"),
        "half-an-option": (1232, 0, b"\0\3\0"),
        "short-cookie": (1232, 0, struct.pack(">HH", 10, 3) + b"abc"),
        "ede": (1232, 0, struct.pack(">HHH", 15, 2, 3)),
        "empty-ede": (1232, 0, struct.pack(">HH", 15, 0)),
        "subnet": (1232, 0, struct.pack(">HH", 8, 7) + b"\0\1\x18\0\xc0\0\2"),
    }.items():
        size, ttl, options = fields
        opt = raw_rr(b"\0", 41, ttl, options, rrclass=size)
        yield f"opt-{word}", lambda query, opt=opt: [reply(query, [HERE], [], [opt], edns=False)]


def _truncated() -> Iterator[tuple[str, Says]]:
    def over(udp: Says, tcp: Says) -> Says:
        return lambda query: tcp(query) if query.tcp else udp(query)

    def nothing(query: Query) -> list[Sent]:
        return []

    cut = always(flags=USUAL | TC)
    empty: Says = lambda query: [reply(query, flags=USUAL | TC)]  # noqa: E731
    many = says(*(f"@ 60 A 192.0.2.{number}" for number in range(1, 201)))
    yield "tc-then-tcp", over(empty, always())
    yield "tc-many", over(empty, many)
    yield "tc-with-data-then-tcp", over(cut, lambda query: [reply(query, [HERE, HERE_2])])
    yield "tc-tcp-closed", over(empty, nothing)
    yield "tc-with-data-tcp-closed", over(cut, nothing)
    yield "tc-over-tcp-too", over(empty, empty)
    yield "tc-with-data-over-tcp-too", over(cut, cut)
    yield "tc-tcp-servfail", over(empty, says(rcode=2))
    yield "tc-tcp-nxdomain", over(empty, says(authority=[f"~ 300 SOA {SOA_DATA}"], rcode=3))
    yield "tc-tcp-wrong-id", over(empty, lambda query: [reply(query, [HERE], ident=query.message.id ^ 1)])
    yield "tc-tcp-garbage", over(empty, lambda query: [b"\xff" * 40])
    yield "tc-nxdomain", over(lambda query: [reply(query, flags=USUAL | TC, rcode=3)], always())
    yield "tc-cut-in-an-rr", over(lambda query: [reply(query, [HERE], flags=USUAL | TC)[:-18]], always())
    yield (
        "tc-garbage-behind",
        over(lambda query: [reply(query, flags=USUAL | TC, behind=b"\xff" * 9)], always()),
    )
    yield "long-without-tc", over(many, many)
    yield (
        "longer-than-asked",
        lambda query: [
            reply(query, [f"@ 60 A 192.0.2.{n % 250}" for n in range(1, 250)] if not query.tcp else [HERE])
        ],
    )


def _not_to_the_question() -> Iterator[tuple[str, Says]]:
    def wrong_id(query: Query) -> bytes:
        return reply(query, ["@ 60 A 192.0.2.66"], ident=query.message.id ^ 0x55AA)

    yield "wrong-id", lambda query: [wrong_id(query)]
    yield "wrong-id-then-right", lambda query: [wrong_id(query), reply(query, [HERE])]
    yield (
        "other-port-then-right",
        lambda query: [
            FromAnotherPort(reply(query, ["@ 60 A 192.0.2.66"])),
            reply(query, [HERE]),
        ],
    )
    yield "other-port", lambda query: [FromAnotherPort(reply(query, ["@ 60 A 192.0.2.66"]))]
    asked = b"\3www\3odd\0"
    for word, question in {
        "name": asked + b"\0\1\0\1",
        "empty-name": b"\0\0\1\0\1",
    }.items():
        yield f"wrong-{word}", always(question=question)
    yield "wrong-type", changed(lambda wire: _patched(wire, -4, b"\0\x1c"))
    yield "wrong-class", changed(lambda wire: _patched(wire, -2, b"\0\3"))
    yield (
        "wrong-type-then-right",
        lambda query: [
            _patched(reply(query, ["@ 60 A 192.0.2.66"]), -4, b"\0\x1c"),
            reply(query, [HERE]),
        ],
    )
    yield "question-in-other-case", changed(lambda wire: wire[:12] + wire[12:40].upper() + wire[40:])
    yield "no-question", always(question=b"", questions=0)
    yield "no-question-nxdomain", lambda query: [reply(query, rcode=3, question=b"", questions=0)]
    yield "no-question-servfail", lambda query: [reply(query, rcode=2, question=b"", questions=0)]
    yield "question-that-is-not-counted", always(questions=0)
    yield (
        "two-questions",
        lambda query: [
            reply(
                query,
                [HERE],
                question=query.wire[12 : -11 if query.message.edns >= 0 else None] * 2,
                questions=2,
            )
        ],
    )
    yield "two-answers", lambda query: [reply(query, [HERE]), reply(query, [HERE_2])]
    yield "silent", lambda query: []


def _question(query: Query) -> bytes:
    return query.wire[12 : query.wire.lower().index(b"\3odd\0") + 9]


def _patched(wire: bytes, at: int, octets: bytes) -> bytes:
    """Return a reply with octets replaced at so many behind (before, if negative) the end of its question."""
    end = wire.index(b"\3odd\0") + 9
    return wire[: end + at] + octets + wire[end + at + len(octets) :]


def _malformed() -> Iterator[tuple[str, Says]]:
    yield "octets-behind", always(behind=b"\0")
    yield "many-octets-behind", always(behind=b"\xff" * 100)
    yield "an-rr-behind", always(behind=raw_rr(_NAME, 1, 60, b"\xc0\0\2\2"))
    yield "counts-too-high", always(counts=(2, 0, 1))
    yield "counts-too-high-in-authority", always(counts=(1, 1, 1))
    yield "counts-too-high-in-additional", always(counts=(1, 0, 2))
    yield "counts-too-low", lambda query: [reply(query, [HERE, HERE_2], counts=(1, 0, 0), edns=False)]
    yield "counts-all", always(counts=(65535, 65535, 65535))
    yield "header-alone", changed(lambda wire: wire[:12])
    yield "half-a-header", changed(lambda wire: wire[:7])
    yield "empty", changed(lambda wire: b"")
    yield "random", lambda query: [bytes(range(200))]
    yield "cut-in-the-question", changed(lambda wire: wire[:20])
    yield "cut-behind-the-question", changed(lambda wire: wire[: wire.index(b"\3odd\0") + 9])
    yield "cut-in-an-owner", changed(lambda wire: wire[: wire.index(b"\3odd\0") + 12])
    yield "cut-in-rdata", lambda query: [reply(query, [HERE], edns=False)[:-2]]
    for word, rrs in {
        "a-of-3-octets": [raw_rr(_NAME, 1, 60, b"\xc0\0\2")],
        "a-of-5-octets": [raw_rr(_NAME, 1, 60, b"\xc0\0\2\1\1")],
        "a-of-none": [raw_rr(_NAME, 1, 60, b"")],
        "a-of-3-and-a-good-one": [raw_rr(_NAME, 1, 60, b"\xc0\0\2"), HERE],
        "rdlength-too-long": [raw_rr(_NAME, 1, 60, b"\xc0\0\2\1", size=400)],
        "rdlength-too-short": [raw_rr(_NAME, 1, 60, b"\xc0\0\2\1", size=3)],
        "owner-points-behind-the-end": [
            raw_rr(b"", 0, 0, b"")[:0] + b"\xff\xff" + raw_rr(b"", 1, 60, b"\xc0\0\2\1")
        ],
        "owner-points-to-the-header": [raw_rr(b"\xc0\0", 1, 60, b"\xc0\0\2\1")],
        "label-of-64": [raw_rr(b"\x40" + b"a" * 64 + b"\0", 1, 60, b"\xc0\0\2\1"), HERE],
        "label-type-01": [raw_rr(b"\x41\x01\0", 1, 60, b"\xc0\0\2\1"), HERE],
        "name-of-256": [raw_rr((b"\x3f" + b"a" * 63) * 4 + b"\0", 1, 60, b"\xc0\0\2\1"), HERE],
        "cname-over-the-end": [raw_rr(_NAME, 5, 60, b"\5known")],
        "cname-with-more": [raw_rr(_NAME, 5, 60, b"\5known\xc0\x10\0\0")],
        "cname-empty": [raw_rr(_NAME, 5, 60, b"")],
        "cname-and-octets": [raw_rr(_NAME, 5, 60, b"\1x\0\1")],
        "cname-points-to-its-own-rdata": [raw_rr(_NAME, 5, 60, b"\1x\xc0\xff")],
    }.items():
        yield word, lambda query, rrs=rrs: [reply(query, rrs)]
    for word, rrs in {
        "txt": [raw_rr(_NAME, 16, 60, b"\5ab")],
        "mx": [raw_rr(_NAME, 15, 60, b"\0")],
        "soa": [raw_rr(_NAME, 6, 60, b"\0\0\0\0")],
        "srv": [raw_rr(_NAME, 33, 60, b"\0\0\0\0")],
        "ns": [raw_rr(_NAME, 2, 60, b"\1x\0\0")],
        "aaaa": [raw_rr(_NAME, 28, 60, b"\0")],
    }.items():
        yield f"bad-{word}-in-answer", lambda query, rrs=rrs: [reply(query, [HERE, *rrs])]
        yield f"bad-{word}-in-authority", lambda query, rrs=rrs: [reply(query, [HERE], rrs)]
        yield f"bad-{word}-in-additional", lambda query, rrs=rrs: [reply(query, [HERE], [], rrs)]
    yield "own-pointer-loop", _loop
    yield "pointer-ahead", _ahead


def _loop(query: Query) -> list[Sent]:
    """An owner that points to itself."""
    at = len(reply(query, edns=False))
    owner = (0xC000 | at).to_bytes(2)
    return [reply(query, [raw_rr(owner, 1, 60, b"\xc0\0\2\1")])]


def _ahead(query: Query) -> list[Sent]:
    """An owner that points to a name behind it."""
    at = len(reply(query, edns=False)) + 2 + 10 + 4
    owner = (0xC000 | at).to_bytes(2)
    return [reply(query, [raw_rr(owner, 1, 60, b"\xc0\0\2\1"), "known 60 A 192.0.2.2"])]
