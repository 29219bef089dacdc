"""Messages that no resolver sends, by name: what is wrong with each stands in its name."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import dns.message

_NAME = b"\3www\7example\3org\0"
_APEX = b"\7example\3org\0"
_A, _SOA, _OPT = 1, 6, 41
_IN, _CH, _HS, _NONE, _ANY = 1, 3, 4, 254, 255


def message(
    *parts: bytes, flags: int = 0x0100, counts: tuple[int, int, int, int] = (1, 0, 0, 0), ident: int = 7
) -> bytes:
    """Return a header with these counts, and what is behind it."""
    return struct.pack(">HHHHHH", ident, flags, *counts) + b"".join(parts)


def question(name: bytes = _NAME, rrtype: int = _A, rrclass: int = _IN) -> bytes:
    return name + struct.pack(">HH", rrtype, rrclass)


def rr(owner: bytes, rrtype: int, rrclass: int, ttl: int, rdata: bytes) -> bytes:
    return owner + struct.pack(">HHIH", rrtype, rrclass, ttl, len(rdata)) + rdata


def opt(
    size: int = 1232, version: int = 0, options: bytes = b"", owner: bytes = b"\0", flags: int = 0
) -> bytes:
    return rr(owner, _OPT, size, version << 16 | flags, options)


def option(code: int, octets: bytes) -> bytes:
    return struct.pack(">HH", code, len(octets)) + octets


def odd_messages() -> Iterator[tuple[str, bytes]]:
    """Yield (what it is, octets)."""
    yield from _headers()
    yield from _questions()
    yield from _edns()
    yield from _sections()
    yield from _types_and_classes()
    yield from _names()


def _headers() -> Iterator[tuple[str, bytes]]:
    for opcode, word in ((1, "IQUERY"), (2, "STATUS"), (3, "3"), (6, "DSO"), (15, "15")):
        yield f"opcode {word}", message(question(), flags=opcode << 11)
    yield "NOTIFY", message(question(_APEX, _SOA), flags=4 << 11)
    yield "UPDATE", message(question(_APEX, _SOA), flags=5 << 11)
    yield "UPDATE of no zone", message(question(b"\3com\0", _SOA), flags=5 << 11)
    for flag, word in ((0x400, "AA"), (0x200, "TC"), (0x80, "RA"), (0x40, "Z"), (0x20, "AD"), (0x10, "CD")):
        yield f"{word} set", message(question(), flags=flag)
    yield "an rcode set", message(question(), flags=3)
    yield "a reply", message(question(), flags=0x8000)
    yield "a header alone", message()
    yield "a header alone without a question", message(counts=(0, 0, 0, 0))
    yield "less than a header", message(question())[:11]
    yield "one octet", b"\0"
    yield "ID zero", message(question(), ident=0)


def _questions() -> Iterator[tuple[str, bytes]]:
    yield "no question, an OPT", message(opt(), counts=(0, 0, 0, 1))
    yield (
        "no question, no OPT, an additional",
        message(rr(_NAME, _A, _IN, 60, b"\xc0\0\2\1"), counts=(0, 0, 0, 1)),
    )
    yield "no question, an OPT with DO", message(opt(flags=0x8000), counts=(0, 0, 0, 1))
    yield "no question, an OPT of version 1", message(opt(version=1), counts=(0, 0, 0, 1))
    yield "two questions, an OPT", message(question(), question(_APEX), opt(), counts=(2, 0, 0, 1))
    yield (
        "a name too long, an OPT",
        message(question((b"\x3f" + b"l" * 63) * 4 + _APEX), opt(), counts=(1, 0, 0, 1)),
    )
    yield "two questions", message(question(), question(_APEX), counts=(2, 0, 0, 0))
    yield "the same question twice", message(question(), question(), counts=(2, 0, 0, 0))
    yield "65,535 questions", message(question(), counts=(65535, 0, 0, 0))
    yield "a question more than there is", message(question(), counts=(2, 0, 0, 0))
    yield "octets behind it", message(question(), b"\0\1\2\3")
    yield "no class", message(question()[:-2])
    yield "no type", message(question()[:-4])
    yield "a name cut off", message(b"\3www\7exam")


def _names() -> Iterator[tuple[str, bytes]]:
    yield "a pointer to itself", message(question(b"\xc0\x0c"))
    yield "a pointer to the header", message(question(b"\xc0\x04"))
    yield "a pointer ahead", message(question(b"\3www\xc0\xff"))
    yield "a label of type 01", message(question(b"\x41" + b"a" * 65 + _APEX))
    yield "a label of type 10", message(question(b"\x81" + b"a" * 65 + _APEX))
    yield (
        "a name of 256 octets",
        message(question((b"\x3f" + b"l" * 63) * 3 + b"\x31" + b"m" * 49 + b"\1n" + _APEX)),
    )
    for name in (".", "org.", "com.", "example.", "local.", "arpa.", "0.192.in-addr.arpa."):
        for rrtype in ("A", "NS", "SOA", "DS"):
            made = dns.message.make_query(name, rrtype)
            yield f"{name} {rrtype}", made.to_wire()


def _edns() -> Iterator[tuple[str, bytes]]:
    one = (1, 0, 0, 1)
    yield "EDNS version 1", message(question(), opt(version=1), counts=one)
    yield "EDNS version 255", message(question(), opt(version=255), counts=one)
    yield "EDNS version 1 for no zone of ours", message(question(b"\3com\0"), opt(version=1), counts=one)
    yield "DO", message(question(), opt(flags=0x8000), counts=one)
    yield "all EDNS flags", message(question(), opt(flags=0xFFFF), counts=one)
    yield "EDNS size 0", message(question(), opt(size=0), counts=one)
    yield "EDNS size 65535", message(question(), opt(size=65535), counts=one)
    yield "an rcode in the OPT", message(question(), rr(b"\0", _OPT, 1232, 0xFF << 24, b""), counts=one)
    yield "an unknown option", message(question(), opt(options=option(65001, b"abc")), counts=one)
    yield "an empty unknown option", message(question(), opt(options=option(65001, b"")), counts=one)
    yield "a hundred options", message(question(), opt(options=option(65001, b"x") * 100), counts=one)
    yield "padding", message(question(), opt(options=option(12, bytes(100))), counts=one)
    yield "NSID", message(question(), opt(options=option(3, b"")), counts=one)
    yield "a client subnet", message(question(), opt(options=option(8, b"\0\1\x18\0\xc0\0\2")), counts=one)
    yield "keepalive over UDP", message(question(), opt(options=option(11, b"")), counts=one)
    yield "an option over the end", message(question(), opt(options=struct.pack(">HH", 65001, 9)), counts=one)
    yield "half an option", message(question(), opt(options=b"\0\3\0"), counts=one)
    yield "an OPT over the end", message(question(), opt()[:-1] + b"\x09", counts=one)
    yield "half an OPT", message(question(), opt()[:-3], counts=one)
    yield "two OPTs", message(question(), opt(), opt(), counts=(1, 0, 0, 2))
    yield "two OPTs of version 1", message(question(), opt(version=1), opt(version=1), counts=(1, 0, 0, 2))
    yield "an OPT owned by a name", message(question(), opt(owner=b"\1x\0"), counts=one)
    yield "an OPT in the answer section", message(question(), opt(), counts=(1, 1, 0, 0))
    yield "an OPT in the authority section", message(question(), opt(), counts=(1, 0, 1, 0))
    yield "an OPT that is counted and not there", message(question(), counts=one)
    yield "an OPT that is there and not counted", message(question(), opt())


def _sections() -> Iterator[tuple[str, bytes]]:
    a = rr(_NAME, _A, _IN, 60, b"\xc0\0\2\1")
    yield "an answer in a question", message(question(), a, counts=(1, 1, 0, 0))
    yield "an authority in a question", message(question(), a, counts=(1, 0, 1, 0))
    yield "an answer in a question, an OPT", message(question(), a, opt(), counts=(1, 1, 0, 1))
    yield "an authority in a question, an OPT", message(question(), a, opt(), counts=(1, 0, 1, 1))
    yield "an additional in a question", message(question(), a, counts=(1, 0, 0, 1))
    yield "an additional and an OPT", message(question(), a, opt(), counts=(1, 0, 0, 2))
    yield "an OPT and an additional", message(question(), opt(), a, counts=(1, 0, 0, 2))
    yield "65,535 answers that are not there", message(question(), counts=(1, 65535, 0, 0))
    yield "65,535 additionals that are not there", message(question(), counts=(1, 0, 0, 65535))


def _types_and_classes() -> Iterator[tuple[str, bytes]]:
    for rrclass, word in (
        (0, "0"),
        (2, "CS"),
        (_CH, "CH"),
        (_HS, "HS"),
        (_NONE, "NONE"),
        (_ANY, "ANY"),
        (65535, "65535"),
    ):
        yield f"class {word}", message(question(rrclass=rrclass))
        yield f"class {word} at an apex", message(question(_APEX, _SOA, rrclass))
    yield "version.bind", message(question(b"\7version\4bind\0", 16, _CH))
    for number, word in (
        (41, "OPT"),
        (249, "TKEY"),
        (250, "TSIG"),
        (251, "IXFR"),
        (252, "AXFR"),
        (253, "MAILB"),
        (254, "MAILA"),
        (128, "NXNAME"),
    ):
        yield f"{word} asked", message(question(_APEX, number))
        yield f"{word} asked at no apex", message(question(_NAME, number))
        yield f"{word} asked at no zone", message(question(b"\3com\0", number))
