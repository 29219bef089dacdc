"""What a client is answered to a name, as dig prints it, and where that comes from.

    {"type": "A", "client": "10.0.0.5", "rcode": "NOERROR", "response": ";; ->>HEADER<<- ...",
     "origin": {"source": "zone", "zone": "example.com.", "file": "example.com.zone", "line": 12},
     "search": [{"name": "web.default.svc.cluster.local.", "rcode": "NOERROR", "source": "own"}]}

The reply is made by the code that answers clients (svcdns.forward.dry_run).  Nobody else is asked for it,
unless `forward` is given: then this server is, over UDP, as any program of this machine would ask it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec

from svcdns.cache.store import now
from svcdns.config.listening import dns_endpoints, reachable
from svcdns.config.sections import Config, Endpoint
from svcdns.dns.access import FORWARD, NAMES
from svcdns.dns.fast_path import no_cache
from svcdns.objects.kinds import NAMESPACE, SERVICE, Kind
from svcdns.registry.transaction import object_key
from svcdns.store.environment import Store
from svcdns.store.snapshot import Snapshots
from svcdns.wire import codes, edns, header
from svcdns.wire.key import wire_of
from svcdns.wire.name import BadName

from . import client_resolv_conf

if TYPE_CHECKING:
    from svcdns.forward.dry_run import DryRun, Outcome, ReadCache
    from svcdns.zonefiles.places import Places

ANSWER_SECONDS = 5.0
"""For so long a server that asks upstreams is waited for."""
_UDP_SIZE = 1232
"""What is said to have room, as by dig 9.18 and newer."""
_LOST = "the server's own DNS did not answer"
_GOES_ON = ("NXDOMAIN", "NOERROR", "SERVFAIL")
"""What a resolver goes on from to the next name of its search list; NOERROR: without an answer."""


class Origin(msgspec.Struct, omit_defaults=True):
    """Where a reply comes from."""

    source: str = msgspec.field(default="")
    """One of svcdns.config.query_words.SOURCES; "none" for a refusal."""
    zone: str = ""
    """Of ours, that has a say."""
    file: str = ""
    """Of the zone, within the folder of zone files."""
    line: int = 0
    """Where the records stand in it, from 1 on; 0: not known."""
    age: int | None = None
    """Of what the cache holds, in seconds; of several pieces, of the oldest."""
    ttl: int | None = None
    """For so many seconds it may still be given; of several pieces, of the one that goes first."""
    upstreams: list[str] = []
    """Who is asked for it, in the order of the configuration; those that are down are named so."""
    ended: str = ""
    """What ended it: why it is refused or empty, what it was left to others by."""


@dataclass(slots=True)
class Step:
    """One name that was asked for."""

    name: str
    rcode: str | None
    """None: nobody knows without asking upstreams."""
    source: str
    answers: int = 0
    response: str | None = None
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked, by whom."""

    rrtype: int
    type: str
    client: str
    search: bool = False
    forward: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a server knows beside its store."""

    cache: Callable[[], AbstractContextManager[ReadCache]] = lambda: nullcontext(no_cache)
    """Opens the cache of forwarded answers."""
    upstreams: Callable[[], Sequence[Mapping[str, Any]]] = list
    """Returns the upstreams as the forwarder has published them."""


class ExplainedAnswers:
    """Says what clients are answered."""

    def __init__(self, store: Store, config: Config, around: Surroundings) -> None:
        self._store = store
        self._config = config
        self._around = around
        self._made: tuple[DryRun, Places] | None = None
        self._lock = Lock()
        """One question at a time: what is made is for one thread, and the cache is opened once."""

    async def explained(self, name: str, namespace: str, asking: Asking) -> dict[str, Any]:
        """Return the fields of the answer for a name; for one that is no domain name without a reply.

        Raises BadName.
        """
        steps = [await self._step(one, asking) for one in self._first(name, namespace, asking)]
        if asking.search:
            for one in client_resolv_conf.asked_names(name, namespace, self._config.cluster_domain):
                steps.append(await self._step(one, asking))
                if steps[-1].answers or steps[-1].rcode not in _GOES_ON:
                    break
        last = steps[-1] if steps else Step(name, None, "")
        found: dict[str, Any] = {"type": asking.type, "client": asking.client, "rcode": last.rcode}
        found |= {"response": last.response, "origin": last.origin}
        if asking.search:
            found["search"] = [{"name": s.name, "rcode": s.rcode, "source": s.source} for s in steps]
        return found

    def _first(self, name: str, namespace: str, asking: Asking) -> Sequence[str]:
        """Return the one name that is asked for where no search list is walked; a Pod's is none."""
        return () if asking.search or not name.endswith(".") else (name,)

    async def _step(self, name: str, asking: Asking) -> Step:
        try:
            packet = question(name, asking.rrtype)
        except BadName:
            if not asking.search:
                raise
            return Step(
                name, None, "none", origin=Origin("none", ended="the name is too long to be asked for")
            )
        outcome, origin = await asyncio.to_thread(self._dry_run, name, packet, asking)
        reply = outcome.reply
        if outcome.asked is not None and asking.forward:
            reply = await _asked(reachable(dns_endpoints(self._config)[0]), packet)
            if reply is None:
                origin.ended = _LOST
        if reply is None:
            return Step(name, None, origin.source, origin=origin)
        return await asyncio.to_thread(_said, name, reply, origin)

    def _dry_run(self, name: str, packet: bytes, asking: Asking) -> tuple[Outcome, Origin]:
        with self._lock:
            dry_run, places = self._made or self._make()
            with self._around.cache() as cache:
                outcome = dry_run.ask(packet, asking.client, cache)
            return outcome, self._origin(outcome, name, asking, places)

    def _make(self) -> tuple[DryRun, Places]:
        """Load what only this needs, with the first who asks."""
        from svcdns.forward.dry_run import DryRun
        from svcdns.zonefiles.places import Places

        self._made = DryRun(Snapshots(self._store).begin, self._config), Places(self._config.dns.zones)
        return self._made

    def _origin(self, outcome: Outcome, name: str, asking: Asking, places: Places) -> Origin:
        rcode = outcome.reply[header.FLAGS_AT + 1] & header.RCODE if outcome.reply else codes.NOERROR
        zone = outcome.zone
        found = Origin(zone=zone.origin if zone is not None and zone.kind != "aliases" else "")
        if outcome.asked is not None:
            found.source = "forward"
            found.upstreams = self._upstreams(outcome.asked_zone)
        elif outcome.cached:
            time = now()
            found.source = "cache"
            found.age = max(time - one.stored_at for one in outcome.cached)
            found.ttl = min(one.fresh_until - time for one in outcome.cached)
        elif rcode not in (codes.NOERROR, codes.NXDOMAIN, codes.YXDOMAIN):
            found.source = "none"
        elif outcome.special_use:
            found.source = "forward"
        else:
            found.source = "zone" if zone is not None and zone.kind == "file" else "own"
        if zone is not None and zone.kind == "file":
            found.file, found.line = self._place(zone.key, outcome.owner, asking.rrtype, places)
        found.ended = self._ended(outcome, rcode, name, asking, found)
        return found

    def _ended(self, outcome: Outcome, rcode: int, name: str, asking: Asking, origin: Origin) -> str:
        """Return what ended the search for an answer, "" for an answer of the usual way."""
        zone = origin.zone
        if outcome.special_use:
            return f"{outcome.special_use} is a special-use name: no upstream is asked for it"
        if rcode == codes.REFUSED:
            return self._refused(outcome, asking)
        if rcode == codes.SERVFAIL and not outcome.cached and outcome.zone is None:
            return "nothing is loaded yet"
        if outcome.leaves_it_to_others and (outcome.asked is not None or outcome.cached):
            return f"zone {zone} has no such name, or delegates it, and leaves it to upstreams"
        if rcode == codes.NXDOMAIN and origin.source in ("own", "zone"):
            return self._leftover(name) or f"zone {zone} has no such name"
        has_no_answer = (
            outcome.reply is not None and not header.COUNTS.unpack_from(outcome.reply, header.COUNTS_AT)[1]
        )
        if rcode == codes.NOERROR and has_no_answer:
            return f"the name is there, and has nothing of type {asking.type}"
        return ""

    def _refused(self, outcome: Outcome, asking: Asking) -> str:
        client, forward = asking.client, self._config.forward
        if asking.rrtype in (codes.AXFR, codes.IXFR):
            return "zone transfers are asked for over TCP"
        if outcome.zone is not None and not outcome.rights & NAMES:
            return f"acl.names refuses {client}"
        if forward.forwards and not outcome.rights & FORWARD:
            return f"it is no name of ours, and acl.forward refuses {client}"
        return "it is no name of ours, and no upstream is configured for it"

    def _leftover(self, name: str) -> str:
        """Return that a name of the cluster domain is what a search list leaves over, "" if it isn't."""
        domain = self._config.cluster_domain.rstrip(".").lower()
        name = name.lower()
        if not name.endswith(f".{domain}."):
            return ""
        labels = name.rstrip(".").removesuffix("." + domain).split(".")
        if labels[-1] == "svc":
            labels.pop()
            if len(labels) > 1 and self._is_there(NAMESPACE, "", labels[-1]):
                namespace = labels.pop()
                if self._is_there(SERVICE, namespace, labels[-1]):
                    return ""
        if len(labels) < 2 or labels[0].startswith("_"):
            return ""
        asked = ".".join(labels)
        end = name.removeprefix(asked).rstrip(".")
        return f"what a search list leaves over: a resolver that asks for {asked} goes on without {end}"

    def _is_there(self, kind: Kind, namespace: str, name: str) -> bool:
        with self._store.env.begin() as txn:
            key = object_key(kind, namespace, name)
            return txn.get(key, db=self._store.tables.objects) is not None

    def _place(self, zone: bytes, owner: bytes, rrtype: int, places: Places) -> tuple[str, int]:
        from svcdns.zonefiles.zone_rows import record_at

        with self._store.env.begin() as txn:
            record = record_at(txn, self._store.tables, zone)
        return ("", 0) if record is None else places.find(record, owner, rrtype)

    def _upstreams(self, zone: str) -> list[str]:
        rows = [row for row in self._around.upstreams() if row.get("zone") == zone]
        return [f"{row['upstream']}{'' if row.get('up') else ' (down)'}" for row in rows]


def question(name: str, rrtype: int) -> bytes:
    """Return the message that asks for a name, as dig asks: RD, EDNS.  Raises BadName."""
    asked = wire_of(name) + header.TYPE_CLASS.pack(rrtype, codes.IN)
    return header.HEADER.pack(b"\0\0", header.RD, 1, 0, 0, 1) + asked + edns.opt(_UDP_SIZE, False)


def _said(name: str, reply: bytes, origin: Origin) -> Step:
    """Return what a reply says."""
    from dns import rcode

    from svcdns.wire.dig_text import dig_text, read_reply

    message = read_reply(reply)
    text = rcode.to_text(message.rcode())
    return Step(name, text, origin.source, sum(map(len, message.answer)), dig_text(message), origin)


async def _asked(server: Endpoint, packet: bytes) -> bytes | None:
    """Ask a server over UDP; None where it does not answer."""
    loop = asyncio.get_running_loop()
    reply: asyncio.Future[bytes] = loop.create_future()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Waiting(reply), remote_addr=(server.host, server.port)
            )
            with closing(transport):
                transport.sendto(packet)
                return await reply
    except (OSError, TimeoutError):
        return None


class _Waiting(asyncio.DatagramProtocol):
    """Takes the first datagram, or what the kernel says of its way."""

    def __init__(self, reply: asyncio.Future[bytes]) -> None:
        self._reply = reply

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self._reply.done():
            self._reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._reply.done():
            self._reply.set_exception(exc)
