"""Questions that the tests of `dns` ask by the thousand: of all kinds, and with octets changed."""

import random

from svcdns.wire.key import wire_of

from .answerer_harness import Z

NAMES = [
    f"web.default.svc.{Z}",
    f"WEB.default.{Z}",
    f"db.default.svc.{Z}",
    f"many.default.svc.{Z}",
    f"_http._tcp.web.default.svc.{Z}",
    f"inner.default.svc.{Z}",
    f"loop1.default.svc.{Z}",
    f"away.default.svc.{Z}",
    f"nothing.default.svc.{Z}",
    Z,
    f"svc.{Z}",
    "id.server",
    "10.0.96.10.in-addr.arpa",
    "0.96.10.in-addr.arpa",
    "www.example.com",
    ".",
    "arpa",
    "local",
    f"1-2-3-4.default.pod.{Z}",
    "any.w.corp.example",
    "alias.corp.example",
]
TYPES = [0, 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 43, 65, 128, 250, 251, 252, 255, 256, 257, 65535]
OPTS = [
    b"",
    b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
    b"\0\0\x29\x02\x00\0\0\x80\0\0\0",
    b"\0\0\x29\x10\x00\0\0\0\0\0\x0c\0\x0a\0\x0812345678",
    b"\0\0\x29\x10\x00\0\1\0\0\0\0",
]
GOOD_OPTIONS = [
    b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x0812345678",
    b"\0\0\x29\x04\xd0\0\0\x80\0\0\x10\0\x0a\0\x0812345678\0\x03\0\0",
    b"\0\0\x29\x10\x00\0\0\0\0\0\x04\0\x03\0\0",
]
"""A cookie as dig sends it; a cookie and a question for the server's name; the last one alone."""
BAD_OPTIONS = [
    b"\0\0\x29\x10\x00\0\0\0\0\0\x0c\0\x0a\0\x0912345678",
    b"\0\0\x29\x10\x00\0\0\0\0\0\x0b\0\x0a\0\x0812345678",
    b"\0\0\x29\x10\x00\0\0\0\0\0\x0d\0\x0a\0\x0812345678",
    b"\0\0\x29\x10\x00\0\0\0\0\0\x03\0\x0a\0",
]
"""An option that runs over the end; one octet behind the OPT; an OPT over the end; half an option."""


def question(name: str, rrtype: int, rrclass: int = 1, opt: bytes = b"", flags: int = 0x0100) -> bytes:
    head = b"\x11\x22" + flags.to_bytes(2) + b"\0\1\0\0\0\0\0" + (b"\1" if opt else b"\0")
    return head + wire_of(name) + rrtype.to_bytes(2) + rrclass.to_bytes(2) + opt


def random_question(rnd: random.Random) -> bytes:
    rrclass = 1 if rnd.random() < 0.9 else rnd.choice([0, 3, 255])
    opt = rnd.choice([*OPTS, *GOOD_OPTIONS, *BAD_OPTIONS])
    return question(rnd.choice(NAMES), rnd.choice(TYPES), rrclass, opt)


def nearly_plain(rnd: random.Random) -> bytes:
    """Return a question as clients ask it, or one with some octets changed."""
    name, opt = rnd.choice(NAMES), rnd.choice([*OPTS[:3], *GOOD_OPTIONS])
    packet = question(name, rnd.choice([1, 28, 33, 12, 16, 6]), 1, opt, rnd.choice([0, 0x100, 0x110]))
    return packet if rnd.random() < 0.3 else mutated(rnd, packet)


def mutated(rnd: random.Random, question: bytes = b"") -> bytes:
    """Return a question, a random one by itself, with some octets changed, cut, doubled or put in."""
    packet = bytearray(question or random_question(rnd))
    for _ in range(rnd.choice([0, 1, 1, 2, 3, 8])):
        at = rnd.randrange(len(packet)) if packet else 0
        match rnd.randrange(7):
            case 0 if packet:
                packet[at] = rnd.randrange(256)
            case 1 if packet:
                packet[at] ^= 1 << rnd.randrange(8)
            case 2:
                del packet[at:]
            case 3:
                packet[at:at] = rnd.randbytes(rnd.randrange(20))
            case 4:
                del packet[at : at + rnd.randrange(8)]
            case 5:
                packet[at:at] = rnd.choice(
                    [b"\xc0\x0c", b"\xc0\x00", b"\xff\xff", b"\0" * 8, b"\x3f", b"\x40"]
                )
            case 6:
                packet += random_question(rnd)[rnd.randrange(12) :]
    return bytes(packet)
