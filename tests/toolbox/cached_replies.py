"""What the tests of `cached` share: what upstreams say, and what clients ask."""

from collections.abc import Iterable

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from svcdns.cache import entry
from svcdns.config.sections import CacheConfig
from svcdns.wire.edns import Edns
from svcdns.wire.key import key_of
from svcdns.wire.query import Query
from svcdns.wire.reply import Frame
from svcdns.wire.response import Response, read

CONFIG = CacheConfig(max_ttl=1000, max_negative_ttl=100, stale=500)
NOW = 10_000
UDP_SIZE = 1232
NAME = "www.example.com"
SOA = "example.com. 300 IN SOA ns.example.com. host.example.com. 1 2 3 4 60"
FLAGS = 0x8180
"""QR, RD, RA: what the plain path says."""

Records = Iterable[str]


def rrsets(records: Records) -> list[dns.rrset.RRset]:
    """Read records, one a line of a zone file; each is an RRset of its own, as order matters."""
    found = []
    for record in records:
        owner, ttl, _, rrtype, rdata = record.split(" ", 4)
        found.append(dns.rrset.from_text(owner, int(ttl), "IN", rrtype, rdata))
    return found


def received(
    rrtype: str = "A",
    answer: Records = (),
    authority: Records = (),
    additional: Records = (),
    rcode: int = 0,
    name: str = NAME,
    do: bool = False,
) -> Response:
    """Return what an upstream would say, read as from the wire."""
    query = dns.message.make_query(name, rrtype)
    message = dns.message.make_response(query)
    message.answer, message.authority = rrsets(answer), rrsets(authority)
    message.additional = rrsets(additional)
    message.set_rcode(dns.rcode.Rcode(rcode))
    wire = dns.name.from_text(name).to_wire()
    ask = Query(key_of(name), int(dns.rdatatype.from_text(rrtype)), do, name=wire or b"")
    return read(message.to_wire(max_size=65535), ask, query.id)


def asking(
    rrtype: str = "A",
    *,
    name: str = NAME,
    size: int | None = 1232,
    tcp: bool = False,
    do: bool = False,
    flags: int = 0x0100,
) -> Frame:
    """Return a client's question; no `size` is no OPT."""
    query = dns.message.make_query(name, rrtype, flags=dns.flags.Flag(flags))
    packet = query.to_wire()
    opt = None if size is None else Edns(size, 0, do)
    return Frame(packet, len(packet), opt, 65535 if size and size > UDP_SIZE else UDP_SIZE, tcp, True)


def ask(stored: bytes, now: int = NOW, **asked: object) -> dns.message.Message:
    """Return the reply to a client as dnspython reads it, each RR by itself."""
    octets = entry.decode(stored).reply(now, asking(**asked))  # type: ignore[arg-type]
    return dns.message.from_wire(octets, one_rr_per_rrset=True)


def texts(section: Iterable[dns.rrset.RRset]) -> list[str]:
    return [str(rrset) for rrset in section]


def ede_of(message: dns.message.Message) -> list[int]:
    return [int(option.code) for option in message.options if isinstance(option, dns.edns.EDEOption)]


A = [f"{NAME}. 300 IN A 192.0.2.{number}" for number in range(1, 4)]
ALIAS = [f"{NAME}. 60 IN CNAME host.example.net.", "host.example.net. 300 IN A 192.0.2.9"]
