"""Record types that BIND writes as text and dnspython does not read, or only as `\\# LENGTH HEX` (RFC 3597).

Most are experiments that nobody asks for any more; a zone file that another server writes may still have
them. Each is a list of fields in the order of its RDATA, as in BIND's lib/dns/rdata.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from decimal import Decimal
from ipaddress import IPv6Address

import dns.dnssectypes
import dns.name
import dns.rdatatype
import dns.tokenizer

from svcdns.wire import codes

Field = Callable[[dns.tokenizer.Tokenizer, dns.name.Name], bytes]
"""Reads words, returns octets of RDATA; an origin completes names.  Raises ValueError and dnspython's own."""


def _name(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    wire = words.get_name(origin).to_wire()
    assert wire is not None
    return wire


def _number(octets: int) -> Field:
    def read(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
        return words.get_int().to_bytes(octets)

    return read


def _algorithm(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    text = words.get_string().upper()
    return bytes((dns.dnssectypes.Algorithm.make(_ALGORITHMS.get(text, text)),))


def _digest_type(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    """Read a digest algorithm by number or name, as in `SHA-256`."""
    return bytes((dns.dnssectypes.DSDigest.make(words.get_string().replace("-", "")),))


def _key_flags(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    """Read the flags of a key as a number, hexadecimal too, or by name (RFC 2535 section 7.1)."""
    text = words.get_string().upper()
    if text[0].isdigit():
        return int(text, 0).to_bytes(2)
    return sum(_KEY_FLAGS[name] for name in text.split("|")).to_bytes(2)


def _key_protocol(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    text = words.get_string().upper()
    return bytes((_KEY_PROTOCOLS[text] if text in _KEY_PROTOCOLS else int(text),))


def _certificate_type(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    text = words.get_string().upper()
    return (_CERTIFICATES[text] if text in _CERTIFICATES else int(text)).to_bytes(2)


def _hex(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    return bytes.fromhex(words.concatenate_remaining_identifiers())


def _base64(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    return b64decode(words.concatenate_remaining_identifiers(allow_empty=True), validate=True)


def _base64_or_dash(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    text = words.concatenate_remaining_identifiers()
    return b"" if text == "-" else b64decode(text, validate=True)


def _text(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    octets = words.get_bytes()
    return bytes((len(octets),)) + octets


def _atm_address(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    """Read an ATM address: `+` and digits (E.164), or hexadecimal digits, dots where one likes."""
    text = words.get_string()
    if text.startswith("+"):
        digits = text[1:].replace(".", "")
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"{text!r} is no address of digits")
        return b"\1" + digits.encode()
    return b"\0" + bytes.fromhex(text.replace(".", ""))


def _a6(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    """Read the length of a prefix, the rest of the address, and the name that has the prefix (RFC 2874)."""
    bits = words.get_int()
    if not 0 <= bits <= 128:
        raise ValueError(f"a prefix has 0 to 128 bits, not {bits}")
    octets = bytes((bits,))
    if bits < 128:
        suffix = int(IPv6Address(words.get_string())) & (1 << (128 - bits)) - 1
        octets += suffix.to_bytes((128 - bits + 7) // 8)
    return octets + (_name(words, origin) if bits else b"")


def _locator(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    """Read four groups of hexadecimal digits, which may lack zeros in front (RFC 6742 section 2.1.2)."""
    groups = [int(group, 16) for group in words.get_string().split(":")]
    if len(groups) != 4:
        raise ValueError("a locator or node identifier has four groups")
    return b"".join(group.to_bytes(2) for group in groups)


def _location(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    """Read a LOC (RFC 1876 section 3) to the centimetre and the thousandth of a second, without rounding."""
    latitude = _angle(words, "S", "N", 90)
    longitude = _angle(words, "W", "E", 180)
    altitude = _centimetres(words.get_string()) + _BELOW_ZERO
    given = [_power_of_ten(word.value) for word in words.get_remaining(3)]
    sizes = bytes(given) + _LOC_SIZES[len(given) :]
    return b"\0" + sizes + latitude + longitude + altitude.to_bytes(4)


def _angle(words: dns.tokenizer.Tokenizer, negative: str, positive: str, limit: int) -> bytes:
    """Read degrees, minutes, seconds, as far as they are given, and a direction."""
    parts: list[str] = []
    while (word := words.get_string().upper()) not in (negative, positive):
        if len(parts) == 3 or len(word) > _MOST_DIGITS or not _DECIMAL.fullmatch(word):
            raise ValueError(
                f"{word[:_MOST_DIGITS]!r} is no part of an angle that ends in {negative} or {positive}"
            )
        parts.append(word)
    degrees, minutes, seconds = (Decimal(part) for part in [*parts, "0", "0", "0"][:3])
    if min(degrees, minutes, seconds) < 0 or minutes >= 60 or seconds >= 60:
        raise ValueError("minutes and seconds of an angle are 0 to 59")
    thousandths = int((degrees * 3600 + minutes * 60 + seconds) * 1000)
    if thousandths > limit * 3_600_000:
        raise ValueError(f"an angle of more than {limit} degrees")
    return (_EQUATOR + (thousandths if word == positive else -thousandths)).to_bytes(4)


def _centimetres(text: str) -> int:
    number = text.lower().removesuffix("m")
    if len(number) > _MOST_DIGITS or not _DECIMAL.fullmatch(number):
        raise ValueError(f"{text[:_MOST_DIGITS]!r} is no number of metres")
    return int(Decimal(number) * 100)


def _power_of_ten(text: str) -> int:
    """Return a size as its first digit and its power of ten, in centimetres."""
    digit, power = _centimetres(text), 0
    while digit >= 10:
        digit, power = digit // 10, power + 1
    if digit < 0 or power > 9:
        raise ValueError(f"{text!r} is no size from 0 to 90000000m")
    return digit << 4 | power


def _next_types(words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    """Read the types of an NXT as its bitmap (RFC 2535 section 5.2): one bit each, 127 at most."""
    numbers = [int(dns.rdatatype.from_text(word.value)) for word in words.get_remaining()]
    if max(numbers, default=0) > 127:
        raise ValueError("an NXT has types up to 127")
    bits = sum(1 << (127 - number) for number in set(numbers))
    return bits.to_bytes(16).rstrip(b"\0")


_DECIMAL = re.compile(r"-?\d+(\.\d*)?|-?\.\d+", re.ASCII)
_MOST_DIGITS = 20
_BELOW_ZERO = 10_000_000
"""Centimetres: altitudes count from 100 km below the reference."""
_EQUATOR = 1 << 31
_LOC_SIZES = b"\x12\x16\x13"
"""Size, horizontal and vertical precision where they are not given: 1 m, 10 km, 10 m."""

_KEY_FLAGS = {f"SIG{number}": number for number in range(16)} | {
    "NOCONF": 0x4000,
    "NOAUTH": 0x8000,
    "NOKEY": 0xC000,
    "FLAG2": 0x2000,
    "EXTEND": 0x1000,
    "FLAG4": 0x0800,
    "FLAG5": 0x0400,
    "USER": 0x0000,
    "ZONE": 0x0100,
    "HOST": 0x0200,
    "NTYP3": 0x0300,
    "FLAG8": 0x0080,
    "FLAG9": 0x0040,
    "FLAG10": 0x0020,
    "FLAG11": 0x0010,
}
_ALGORITHMS = {"NSEC3DSA": "6", "NSEC3RSASHA1": "7"}
"""Names that BIND gives some algorithms."""
_CERTIFICATES = {
    "PKIX": 1,
    "SPKI": 2,
    "PGP": 3,
    "IPKIX": 4,
    "ISPKI": 5,
    "IPGP": 6,
    "ACPKIX": 7,
    "IACPKIX": 8,
    "URI": 253,
    "OID": 254,
}
"""Types of certificates (RFC 4398 section 2.1)."""
_KEY_PROTOCOLS = {"NONE": 0, "TLS": 1, "EMAIL": 2, "DNSSEC": 3, "IPSEC": 4, "ALL": 255}

_U8, _U16, _U32 = _number(1), _number(2), _number(4)
_KEY = (_key_flags, _key_protocol, _algorithm, _base64)
_DS = (_U16, _algorithm, _digest_type, _hex)
FIELDS: dict[int, tuple[Field, ...]] = {
    codes.MD: (_name,),
    codes.MF: (_name,),
    codes.MB: (_name,),
    codes.MG: (_name,),
    codes.MR: (_name,),
    codes.MINFO: (_name, _name),
    30: (_name, _next_types),
    31: (_hex,),
    32: (_hex,),
    34: (_atm_address,),
    37: (_certificate_type, _U16, _algorithm, _base64),
    38: (_a6,),
    40: (_U8, _U8, _U8, _base64),
    104: (_U16, _locator),
    106: (_U16, _locator),
    codes.KEY: _KEY,
    29: (_location,),
    codes.DNSKEY: _KEY,
    60: _KEY,
    57: _KEY,
    codes.DS: _DS,
    59: _DS,
    32769: _DS,
    58: (_name, _name),
    259: (_U32, _U32, _U8, _text, _base64_or_dash),
    32768: _DS,
}
"""Fields by type; of those that dnspython reads, it does not read all forms."""
NUMBERS = {
    "NXT": 30,
    "EID": 31,
    "NIMLOC": 32,
    "ATMA": 34,
    "A6": 38,
    "SINK": 40,
    "RKEY": 57,
    "TALINK": 58,
    "UINFO": 100,
    "UID": 101,
    "GID": 102,
    "UNSPEC": 103,
    "DOA": 259,
    "RESINFO": 261,
    "WALLET": 262,
    "CLA": 263,
    "IPN": 264,
    "TA": 32768,
}
"""Types whose names dnspython does not know, or not in every version; they also stand in bitmaps of types."""


def _teach_names() -> None:
    for text, number in NUMBERS.items():
        try:
            dns.rdatatype.from_text(text)
        except dns.rdatatype.UnknownRdatatype:
            dns.rdatatype.register_type(dns.rdatatype.RdataType.make(number), text)


_teach_names()


def type_number(text: str) -> int:
    """Return the number of a type, by its name or as `TYPE123` (RFC 3597).  Raises ValueError."""
    try:
        return int(dns.rdatatype.from_text(text))
    except dns.rdatatype.UnknownRdatatype:
        raise ValueError(f"{text!r} is no record type") from None


def read_rdata(rrtype: int, words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    """Return the RDATA of one of these types; the words behind it are left."""
    return b"".join(field(words, origin) for field in FIELDS[rrtype])
