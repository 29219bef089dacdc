"""Questions as a single flight gets them, what upstreams say to them, and what clients read in that."""

import dns.message
import dns.rdatatype
from msgspec.structs import replace
from toolbox.cached_replies import SOA, Records, asking, received

from svcdns.cache import entry
from svcdns.forward.pool import Unresolved
from svcdns.wire import codes
from svcdns.wire.key import key_of, wire_of
from svcdns.wire.query import Query
from svcdns.wire.response import Response


def ask_for(name: str, rrtype: str = "A", *, do: bool = False, cd: bool = False) -> Query:
    return Query(key_of(name), int(dns.rdatatype.from_text(rrtype)), do, cd, wire_of(name))


WWW = ask_for("www.example.com")


def reply_of(stored: bytes, now: int, name: str = "www.example.com") -> dns.message.Message:
    """Return what a client reads in what has landed."""
    return dns.message.from_wire(entry.decode(stored).reply(now, asking(name=name)), one_rr_per_rrset=True)


def data(reply: dns.message.Message) -> list[str]:
    return [str(rrset[0]) for rrset in reply.answer]


def name_of(ask: Query) -> str:
    labels, at = [], 0
    while size := ask.name[at]:
        labels.append(ask.name[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels) or "."


def address(ask: Query, last: int = 1, ttl: int = 300) -> Response:
    """Return what an upstream says about a name: 192.0.2.LAST."""
    return says(ask, [f"{name_of(ask)}. {ttl} IN A 192.0.2.{last}"])


def nxdomain(ask: Query) -> Response:
    return says(ask, (), [SOA], codes.NXDOMAIN)


def says(ask: Query, answer: Records = (), authority: Records = (), rcode: int = 0) -> Response:
    rrtype = dns.rdatatype.to_text(dns.rdatatype.RdataType(ask.rrtype))
    return received(rrtype, answer, authority, rcode=rcode, name=name_of(ask))


def truncated(ask: Query) -> Response:
    return replace(address(ask), truncated=True)


NO_REPLY = Unresolved(codes.EDE_NO_REACHABLE_UPSTREAM, "no upstream answered")
