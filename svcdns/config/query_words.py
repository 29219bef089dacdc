"""The words that say which questions are meant: in `include` and `exclude`, and in the API's parameters.

    servfail   nodata   own   cache   slow:50ms   name:example.com   client:10.0.0.0/8   type:AAAA

Standard library only.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .readers import Network, Wrong, network, zone

RCODES = ("noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", "badvers", "nodata")
"""What a reply says; `nodata` is NOERROR without an answer (RFC 2308 section 2.2)."""
SOURCES = ("own", "zone", "cache", "forward", "none")
"""Where the answer came from: our own names, a zone file, the cache, upstreams, nowhere (the question was
refused)."""

_SLOW = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(us|ms|s)", re.ASCII)
_UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,15}", re.ASCII)
_ALLOWED = f"allowed: {', '.join((*RCODES, *SOURCES))}, slow:50ms, name:ZONE, client:NETWORK, type:TYPE"


class QueryWord(NamedTuple):
    """One condition: `kind` is rcode, source, slow (nanoseconds), name (a zone), client (a network) or
    type."""

    kind: str
    value: str | int | Network


def query_word(text: str) -> QueryWord:
    """Return what a word means.  Raises Wrong."""
    kind, colon, value = text.partition(":")
    if not colon and text.lower() in RCODES:
        return QueryWord("rcode", text.lower())
    if not colon and text.lower() in SOURCES:
        return QueryWord("source", text.lower())
    if kind == "name":
        return QueryWord(kind, zone(value.removeprefix("*.")))
    if kind == "client":
        return QueryWord(kind, network(value))
    if kind == "slow" and (found := _SLOW.fullmatch(value)):
        return QueryWord(kind, int(float(found[1]) * _UNITS[found[2]]))
    if kind == "type" and _TYPE.fullmatch(value):
        return QueryWord(kind, value.upper())
    raise Wrong(f"{text[:80]!r} says not which questions are meant; {_ALLOWED}")


def checked_word(text: str) -> str:
    """Return a word as it was written.  Raises Wrong."""
    query_word(text)
    return text
