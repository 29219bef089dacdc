"""A registry with objects in it, and a client's view of what their names answer.

Objects take the real write path (`Registry.create`), questions are octets that take the real answer path
(`Answerer.answer`), replies are read by dnspython, an implementation that shares nothing with ours.
No process is started; sockets only where a test is about them.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from behaviour.objects import Object
from toolbox import registry_harness

from svcdns.config.sections import Config, DnsConfig, ServicesConfig
from svcdns.dns.answer import Answerer
from svcdns.dns.no_reply import HAND_OVER, SILENCE, Answer
from svcdns.dns.stats import TCP, UDP, Stats
from svcdns.objects.kinds import POD, Kind
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions, Written
from svcdns.store.snapshot import Snapshots
from svcdns.zonefiles.master_file import compile_zone
from svcdns.zonefiles.zone_rows import ZoneRecord, new_version, put_rows, switch

Z = "cluster.local"
SVC = f"default.svc.{Z}"
TTL = 5
SERVER = "192.0.2.53"
V4, V6 = "10.96.0.0/16", "fd00:96::/112"
ALL_TYPES = (
    "A",
    "AAAA",
    "SRV",
    "PTR",
    "CNAME",
    "TXT",
    "SOA",
    "NS",
    "MX",
    "CAA",
    "HTTPS",
    "SVCB",
    "NAPTR",
    "HINFO",
)


def config(ranges: Iterable[str] = (V4, V6), balancers: Iterable[str] = (), **dns_options: Any) -> Config:
    """A configuration: dual stack and a server at SERVER unless said otherwise."""
    services = ServicesConfig(
        cluster_ip_ranges=tuple(map(ip_network, ranges)),
        load_balancer_ranges=tuple(map(ip_network, balancers)),
    )
    return Config(services=services, dns=DnsConfig(**{"advertise_addresses": (SERVER,), **dns_options}))


@dataclass(frozen=True)
class Reply:
    """A reply, its RRs as text `OWNER TTL TYPE RDATA` with every letter as it was sent."""

    wire: bytes
    message: dns.message.Message

    @property
    def rcode(self) -> str:
        return dns.rcode.to_text(self.message.rcode())

    @property
    def flags(self) -> set[str]:
        return set(dns.flags.to_text(self.message.flags).split())

    @property
    def answer(self) -> list[str]:
        """In the order of the reply."""
        return texts(self.message.answer)

    @property
    def sorted(self) -> list[str]:
        """The answer section without the order that was shuffled."""
        return sorted(self.answer)

    @property
    def authority(self) -> list[str]:
        return texts(self.message.authority)

    @property
    def additional(self) -> list[str]:
        return sorted(texts(self.message.additional))

    @property
    def rdata(self) -> list[str]:
        """RDATA of the answer section, sorted."""
        return sorted(str(rr[0]) for rr in self.message.answer)

    @property
    def extended_errors(self) -> list[tuple[int, str]]:
        return [(int(error.code), error.text or "") for error in self.message.extended_errors()]


def texts(section: list[dns.rrset.RRset]) -> list[str]:
    return [f"{rr.name} {rr.ttl} {dns.rdatatype.to_text(rr.rdtype)} {rr[0]}" for rr in section]


def reply_to(query: dns.message.Message, wire: bytes | None) -> Reply:
    """Read a reply and check what holds for every one."""
    assert wire is not None
    message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert message.id == query.id
    assert message.flags & dns.flags.QR
    assert [q.name.labels for q in message.question] == [q.name.labels for q in query.question]
    assert (message.edns == 0) == (query.edns == 0)
    return Reply(wire, message)


def question(
    name: str, rrtype: str = "A", *, edns: int | None = None, flags: int = dns.flags.RD, do: bool = False
) -> dns.message.QueryMessage:
    """`edns` is the UDP size that the client says, in octets; None: no OPT.  `do` asks for RRSIGs too."""
    query = dns.message.make_query(name, rrtype, use_edns=-1 if edns is None else 0, payload=edns or 0)
    if do:
        query.want_dnssec()
    query.flags = dns.flags.Flag(flags)
    return query


def without_reason(reply: Answer) -> object:
    """Return a reply without the reason of an NXDOMAIN, which has a pace of its own for each Answerer."""
    if not isinstance(reply, bytes) or reply[3] & 0xF != dns.rcode.NXDOMAIN:
        return reply
    message = dns.message.from_wire(reply)
    message.use_edns(message.edns, payload=message.payload)
    return message.to_text()


def soa_owner(reply: Reply) -> str:
    """The owner of the one SOA that a negative answer has; nothing else may stand in it."""
    assert not reply.answer
    assert not reply.additional
    (soa,) = reply.message.authority
    assert soa.rdtype == dns.rdatatype.SOA
    return str(soa.name)


def is_nxdomain(reply: Reply, zone: str = Z + ".") -> bool:
    """Whether the name does not exist; checks the rest of the reply."""
    if reply.rcode != "NXDOMAIN":
        return False
    assert "AA" in reply.flags
    return soa_owner(reply) == zone


def is_nodata(reply: Reply, zone: str = Z + ".") -> bool:
    """Whether the name exists without the type (RFC 2308 section 2.2); checks the rest of the reply."""
    if reply.rcode != "NOERROR" or reply.answer:
        return False
    assert "AA" in reply.flags
    return soa_owner(reply) == zone


class ClusterHarness:
    """A started registry, used from synchronous tests; all of it runs in one loop that only runs in `run`."""

    def __init__(self, folder: Path, configuration: Config) -> None:
        self.folder = folder / "data"
        self.config = configuration
        self.counters = Stats()
        size = configuration.dns.udp_size
        explains = configuration.dns.explain_empty
        self.answerer = Answerer(self.counters, udp_size=size, identity="worker-0", explains=explains)
        self.in_python = Answerer(Stats(), udp_size=size, identity="worker-0", explains=explains)
        """Answers plain questions without the compiled path; `raw` asks both."""
        self._stack = AsyncExitStack()
        self._runner = asyncio.Runner()
        started = registry_harness.started(self.folder, configuration)
        self.registry: Registry = self.run(self._stack.enter_async_context(started)).registry
        self.snapshots = Snapshots(self.registry.store)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    # WriteTransaction

    def add(self, *objects: Object) -> list[Written]:
        """Create objects, in this order, in as few commits as can be."""

        async def create() -> list[Written]:
            return await asyncio.gather(*(self.registry.create(*one, WriteOptions()) for one in objects))

        return self.run(create())

    def change(
        self, kind: Kind, name: str, patch: dict[str, Any], *, ns: str = "default", status: bool = False
    ) -> None:
        """Merge-patch an object, or its status."""
        merge = Patch("merge", patch)
        subresource = "status" if status else ""
        self.run(self.registry.patch(kind, ns, name, merge, WriteOptions(), subresource))

    def set_ready(self, name: str, ready: bool) -> None:
        conditions = [{"type": "Ready", "status": str(ready)}]
        self.change(POD, name, {"status": {"conditions": conditions}}, status=True)

    def remove(self, kind: Kind, name: str, *, ns: str = "default", grace: int | None = None) -> None:
        self.run(self.registry.delete(kind, ns, name, DeleteOptions(grace_period_seconds=grace)))

    def zone_file(self, text: str) -> None:
        """Serve a zone file."""
        zone = compile_zone(text, None, "test.zone")
        tables = self.registry.store.tables

        def write(txn: Any) -> None:
            version = new_version(txn, tables)
            put_rows(txn, tables, version, zone.rows())
            record = ZoneRecord(
                file=f"{zone.origin}zone",
                digest=b"",
                origin=zone.origin,
                serial=zone.serial,
                version=version,
                rows=len(zone),
                cuts=zone.cuts,
                wildcards=zone.wildcards,
                signed=zone.signing.signed,
                nsec3=zone.signing.nsec3,
            )
            switch(txn, tables, {zone.key: record}, ())

        self.run(self.registry.transact(write))

    # Asking

    def raw(self, packet: bytes, *, tcp: bool = False) -> bytes | None:
        """Put any octets; None is silence.  The compiled path and the one in Python must say the same."""
        transport = TCP if tcp else UDP
        with self.snapshots.begin() as snapshot:
            chance = random.getstate()
            reply = self.answerer.answer(packet, snapshot, transport)
            random.setstate(chance)
            again = self.in_python.answer(packet, snapshot, transport, left=True)
        assert reply is not HAND_OVER, "nothing is forwarded"
        assert without_reason(again) == without_reason(reply)
        return None if reply is SILENCE else reply

    def ask(self, name: str, rrtype: str = "A", *, tcp: bool = False, **more: Any) -> Reply:
        """Put a question; see `question` for what else may be said."""
        query = question(name, rrtype, **more)
        reply = reply_to(query, self.raw(query.to_wire(), tcp=tcp))
        assert "RA" not in reply.flags, "nothing is forwarded"
        return reply

    def serial(self, zone: str = Z) -> int:
        return int(self.ask(zone, "SOA").message.answer[0][0].serial)

    @asynccontextmanager
    async def listening(self, *transfer_to: str) -> AsyncIterator[tuple[str, int]]:
        """Answer on a UDP and a TCP socket of one port of the loopback; yield (host, port)."""
        from behaviour.listening import listening

        networks = tuple(map(ip_network, transfer_to))
        async with listening(
            self.answerer, self.counters, self.snapshots.begin, self.folder, networks
        ) as place:
            yield place
