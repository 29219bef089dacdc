"""A recorded question as others are shown it: read from the octets of the question and of the reply.

Names are in presentation format (RFC 1035 section 5.1), in lower case: what is not printable ASCII is
escaped, so no name does anything to a terminal, to a log file or to whoever reads JSON.  Questions that can't
be read have no name and no type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from struct import error as StructError
from typing import Any, NamedTuple

import msgspec

from svcdns.wire import codes, header
from svcdns.wire.key import key_of_labels, text_of_key
from svcdns.wire.name import MAX_NAME_OCTETS, BadName, split_name

from .recorder import BY_FORWARDER, BY_UPSTREAM, Recorded
from .ring import Block

PROTOCOLS = ("udp", "tcp", "tls", "https")
"""By the numbers of svcdns.dns.stats; the latter two of upstreams alone."""
_RCODES = {
    codes.NOERROR: "NOERROR",
    codes.FORMERR: "FORMERR",
    codes.SERVFAIL: "SERVFAIL",
    codes.NXDOMAIN: "NXDOMAIN",
    codes.NOTIMP: "NOTIMP",
    codes.REFUSED: "REFUSED",
    codes.NOTAUTH: "NOTAUTH",
    codes.BADVERS: "BADVERS",
}
_QUESTION_OCTETS = MAX_NAME_OCTETS + header.TYPE_CLASS.size
_OPT_EXTENDED_RCODE_AT = 5
"""Of an OPT, from its owner (the root) on: RFC 6891 section 6.1.3."""

Whose = Callable[[bytes], str]
"""Returns whose names these are that have a key: "own", "zone" for a zone file's, "" for nobody's here."""
_decode = msgspec.msgpack.Decoder(Recorded).decode


class Asked(NamedTuple):
    """The question section."""

    name: str
    """"" where it can't be read."""
    key: bytes
    rrtype: str
    end: int
    """Where it ends in the message; the end of the header where it can't be read."""


class Record(NamedTuple):
    """One question and what became of it."""

    time: int
    """When it was answered: Unix time, nanoseconds."""
    duration: int
    """Nanoseconds from its receipt to the reply; where many came at once, to the last reply to them."""
    sample: int
    """It stands for so many."""
    client: str
    """Address."""
    port: int
    protocol: str
    """One of PROTOCOLS."""
    name: str
    key: bytes
    rrtype: str
    rcode: str
    answers: int
    """RRs in the answer section."""
    source: str
    """One of config.query_words.SOURCES."""
    query: bytes
    """The question as it came; of a question to upstreams without what is not read of it."""
    reply: bytes
    """Empty where an upstream gave none that could be used."""
    to_upstream: bool = False
    """Whether an upstream was asked: `client` and `port` are its own."""
    namespace: str = ""
    pod: str = ""
    """The Pod that the client is, where that is known (`client_pods`)."""


def records_of(block: Block, whose: Whose, *, upstreams: bool = False) -> Iterator[Record]:
    """Yield the records of a block; what can't be read is none of ours and left out.

    What upstreams were asked is left out too, unless these are wanted.
    """
    try:
        recorded = _decode(block.payload)
    except msgspec.MsgspecError:
        return
    if recorded.by == BY_UPSTREAM:
        if upstreams:
            yield from _of_upstream(recorded)
        return
    forwarded, protocol = recorded.by == BY_FORWARDER, PROTOCOLS[recorded.protocol]
    when, took, sample = recorded.time, recorded.duration, recorded.sample
    for (query, client), (reply, _) in zip(recorded.questions, recorded.replies, strict=False):
        name, key, rrtype, end = _asked(query[header.OCTETS : header.OCTETS + _QUESTION_OCTETS])
        rcode, answers = _outcome(reply, header.OCTETS + end)
        source = "forward" if forwarded else _source(reply, rcode, key, whose)
        address, port = _client(client)
        yield Record(
            when,
            took,
            sample,
            address,
            port,
            protocol,
            name,
            key,
            rrtype,
            rcode,
            answers,
            source,
            query,
            reply,
        )


def _of_upstream(recorded: Recorded) -> Iterator[Record]:
    """Yield what an upstream was asked."""
    for (query, (address, port)), (reply, _) in zip(recorded.questions, recorded.replies, strict=False):
        asked = _asked(query[header.OCTETS : header.OCTETS + _QUESTION_OCTETS])
        rcode, answers = _outcome(reply, header.OCTETS + asked.end) if reply else ("", 0)
        yield Record(
            recorded.time,
            recorded.duration,
            recorded.sample,
            address,
            port,
            PROTOCOLS[recorded.protocol],
            asked.name,
            asked.key,
            asked.rrtype,
            rcode,
            answers,
            "forward",
            query,
            reply,
            to_upstream=True,
        )


@lru_cache(8192)  # the same names come again and again
def _asked(section: bytes) -> Asked:
    try:
        labels, end = split_name(section, 0, pointer=False)
        rrtype, _ = header.TYPE_CLASS.unpack_from(section, end)
    except (BadName, IndexError, StructError):
        return Asked("", b"", "", 0)
    key = key_of_labels(labels)
    return Asked(text_of_key(key), key, type_name(rrtype), end + header.TYPE_CLASS.size)


@lru_cache(1024)
def type_name(number: int) -> str:
    """Return the name of an RR type: TYPE65280 for one that has none (RFC 3597)."""
    from dns import rdatatype  # here: the writer loads this module, and shows records to few

    return rdatatype.to_text(rdatatype.RdataType.make(number))


def _outcome(reply: bytes, end: int) -> tuple[str, int]:
    """Return the rcode, with the bits of an OPT that stands alone, and the number of answers."""
    rcode = reply[header.FLAGS_AT + 1] & header.RCODE
    _, answers, authority, additional = header.COUNTS.unpack_from(reply, header.COUNTS_AT)
    at = end + _OPT_EXTENDED_RCODE_AT
    if additional == 1 and not answers and not authority and at < len(reply) and not reply[end]:
        rcode |= reply[at] << 4
    return _RCODES.get(rcode) or f"RCODE{rcode}", answers


def _source(reply: bytes, rcode: str, key: bytes, whose: Whose) -> str:
    """Return where the answer of a worker came from."""
    if rcode not in ("NOERROR", "NXDOMAIN"):
        return "none"
    if reply[header.FLAGS_AT] & header.AA >> 8:
        return whose(key) or "own"
    return "zone" if whose(key) == "zone" else "cache"


def _client(client: Any) -> tuple[str, int]:
    """Return address and port: a client is (address, port, ...), or a tuple of the address and that."""
    port = client[1]
    return str(client[0]), port if isinstance(port, int) else port[1]
