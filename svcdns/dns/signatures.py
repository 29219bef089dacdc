"""Signed questions and replies: TSIG (RFC 8945), for secondaries that show who they are.

    signed = signatures.check(packet)      # None: not signed; bytes: the reply to a bad signature
    signed.sign(reply)                     # again for each further message of a transfer

Cryptography and the record are dnspython's.  Only who has keys loads this module.  Of a signature that does
not hold, the reply says why and is not signed itself, but for one that is out of time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
from dns.rdtypes.ANY.TSIG import TSIG as Record

from svcdns.config.tsig_keys import TsigKey
from svcdns.wire import codes, header
from svcdns.wire.question import parse
from svcdns.wire.reply import Frame, refusal

FUDGE_SECONDS = 300
"""By so much clocks may differ (RFC 8945 section 10)."""

_MARK = header.TYPE_CLASS.pack(codes.TSIG, codes.ANY)
_BAD_KEY = (dns.message.UnknownTSIGKey, dns.tsig.BadKey, dns.tsig.BadAlgorithm)


class Signed:
    """A question whose signature holds; signs the messages of its reply, one after the other."""

    def __init__(self, key: dns.tsig.Key, packet: bytes, mac: bytes, *, several: bool) -> None:
        """`mac` is that of the question; `several`: the reply may be more than one message."""
        self._key = key
        self._id = int.from_bytes(packet[:2])
        self._mac = mac
        self._several = several
        self._context: Any = None
        bare = _with_record(bytes(header.OCTETS), key.name, _record(key.algorithm, 0, 0, 0, b""))
        self.octets = len(bare) - header.OCTETS + dns.tsig.mac_sizes[key.algorithm]
        """What a signature adds to a message."""

    def sign(self, reply: bytes, error: int = 0, other: bytes = b"") -> bytes:
        """Return a message with its signature."""
        now = int(time.time())
        empty = _record(self._key.algorithm, now, self._id, error, other)
        rdata, self._context = dns.tsig.sign(  # type: ignore[no-untyped-call]
            reply, self._key, empty, now, self._mac, self._context, self._several
        )
        return _with_record(reply, self._key.name, rdata)


class Signatures:
    """Checks the signatures of questions."""

    def __init__(self, keys: Sequence[TsigKey], udp_size: int) -> None:
        """`udp_size` is what our OPT says, in octets."""
        self._udp_size = udp_size
        self._keys: dict[dns.name.Name, dns.tsig.Key] = {}
        for key in keys:
            name = dns.name.from_text(key.name)
            self._keys[name] = dns.tsig.Key(name, key.secret, key.algorithm)

    def check(self, packet: bytes, *, several: bool = False) -> Signed | bytes | None:
        """Return who signs the reply to a well-formed question, None for one that is not signed.

        The reply itself where the signature does not hold: NOTAUTH, and why (RFC 8945 section 5.2).
        """
        if _MARK not in packet:
            return None
        try:
            found = dns.message.from_wire(packet, keyring=self._keys, ignore_trailing=True)
            if found.tsig is None:
                return None
            return self._signed(packet, found.tsig.name, found.tsig[0].mac, several=several)
        except _BAD_KEY:
            return self._unsigned(packet, dns.rcode.BADKEY)
        except dns.tsig.BadSignature:
            return self._unsigned(packet, dns.rcode.BADSIG)
        except dns.tsig.BadTime:
            return self._out_of_time(packet)
        except dns.exception.DNSException:  # two of them, one that is not the last, or not of its form
            return self._refusal(packet, codes.FORMERR)

    def _signed(self, packet: bytes, name: dns.name.Name, mac: bytes, *, several: bool) -> Signed:
        return Signed(self._keys[name], packet, mac, several=several)

    def _out_of_time(self, packet: bytes) -> bytes:
        """Return the reply that has our time: it is signed, so the client may trust it."""
        theirs = _signature_of(packet)
        signed = self._signed(packet, theirs.name, theirs[0].mac, several=False)
        now = int(time.time()).to_bytes(6)
        return signed.sign(self._refusal(packet, codes.NOTAUTH), dns.rcode.BADTIME, now)

    def _unsigned(self, packet: bytes, error: int) -> bytes:
        """Return the reply that says what is wrong; who can't sign can't be sure of it."""
        theirs = _signature_of(packet)
        record = _record(theirs[0].algorithm, theirs[0].time_signed, int.from_bytes(packet[:2]), error, b"")
        return _with_record(self._refusal(packet, codes.NOTAUTH), theirs.name, record)

    def _refusal(self, packet: bytes, rcode: int) -> bytes:
        question = parse(packet)
        return refusal(Frame(packet, question.end, question.edns, self._udp_size, tcp=True), rcode)


def _signature_of(packet: bytes) -> dns.rrset.RRset:
    """Return the TSIG of a message as it is, unchecked."""
    found = dns.message.from_wire(packet, keyring=False, ignore_trailing=True).tsig
    assert found is not None
    return found


def _record(algorithm: dns.name.Name, now: int, original_id: int, error: int, other: bytes) -> Record:
    rrclass, rrtype = dns.rdataclass.ANY, dns.rdatatype.TSIG
    return Record(  # type: ignore[no-untyped-call]
        rrclass, rrtype, algorithm, now, FUDGE_SECONDS, b"", original_id, error, other
    )


def _with_record(message: bytes, owner: dns.name.Name, record: Record) -> bytes:
    """Return a message with one more RR at its end."""
    rdata = record.to_wire() or b""
    rr = owner.to_wire() + header.RR.pack(codes.TSIG, codes.ANY, 0, len(rdata)) + rdata  # type: ignore[operator]
    at = header.OCTETS - 2
    additionals = int.from_bytes(message[at : header.OCTETS]) + 1
    return message[:at] + additionals.to_bytes(2) + message[header.OCTETS :] + rr
