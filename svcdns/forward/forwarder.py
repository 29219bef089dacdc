"""The forwarder's work: errands from the workers in, replies to the clients out.

    errand -> our zones have their say -> limits -> the cache or a flight -> reply

* Our zones come first here too: what has become ours on the way is answered from them, and only they
  know which name an alias of ours leads to.
* Where upstreams' CNAMEs lead across the border (`border`), whoever speaks for the target goes on: our zones,
  or other upstreams.  A chain that crosses it more than MOST_CROSSINGS times ends in SERVFAIL.
* Questions that wait for upstreams are counted, for each client (of IPv6, each network of 64 bits) and
  in all; above the limits the answer is SERVFAIL (EDE 23) at once.
* Names that mean something else than a place in the tree (`special_names`) never go upstream.
* A reply to UDP leaves through the socket of the listener that was asked, one to TCP goes back to the
  worker that has the connection.
* Our own loop probes are refused and noted (see `loops`), and what an upstream asks of what we ask it is
  answered by our zones (see `circles`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic

from svcdns.cache.entry import CacheEntry, decode
from svcdns.cache.store import now
from svcdns.dns import stats
from svcdns.dns.access import EVERYBODY, NAMES
from svcdns.dns.answer import above_ours
from svcdns.dns.draft import Draft, answer_name, go_on
from svcdns.dns.forward_link import OLDEST_SECONDS, ForwardReply, ForwardRequest, receive_requests, send
from svcdns.dns.reply import unresolved, write
from svcdns.dns.stats import Stats
from svcdns.dns.view import View, ZoneTable
from svcdns.wire import codes
from svcdns.wire.key import key_of_wire
from svcdns.wire.query import Query
from svcdns.wire.question import Malformed, Question, parse
from svcdns.wire.reply import Frame, refusal

from .bailiwick import Border
from .cname_chains import continued, lead_back
from .partial_loops import Circles, Verdict
from .single_flight import Flights
from .special_use_names import SPECIAL, answer_special

log = logging.getLogger(__name__)

BATCH = 64
MOST_CROSSINGS = 4
_CD = 0x10


@dataclass(frozen=True, slots=True)
class Limits:
    """Questions that may wait for upstreams at one time."""

    outstanding: int
    per_client: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A client's question while upstreams are asked."""

    errand: ForwardRequest
    link: socket.socket
    client: str
    """Whose it is, as limits count."""
    question: Question
    frame: Frame
    draft: Draft
    view_table: ZoneTable
    ask: Query
    crossings: int = 0
    """How often its chain has crossed the border so far."""


class Forwarder:
    """Answers errands; one a server, used from one thread."""

    def __init__(
        self,
        udp: Sequence[socket.socket],
        links: Sequence[socket.socket],
        border: Border,
        flights: Flights,
        counters: Stats,
        *,
        limits: Limits,
        udp_size: int,
        is_probe: Callable[[bytes], bool],
        circles: Circles | None = None,
        rights: Mapping[str, int] = EVERYBODY,
    ) -> None:
        """`udp` are the listeners' sockets by their numbers, `links` our ends of the workers' links."""
        self._udp = udp
        self._links = links
        self._border = border
        self._flights = flights
        self._counters = counters
        self._limits = limits
        self._udp_size = udp_size
        self._is_probe = is_probe
        self._circles = circles or Circles(lambda key: (), flights.is_under_way)
        self._rights = rights
        self._clients: Counter[str] = Counter()
        self.outstanding = 0

    def start(self) -> None:
        """Begin to take errands, in the running loop."""
        loop = asyncio.get_running_loop()
        for link in self._links:
            loop.add_reader(link.fileno(), partial(self._take, link))

    def stop(self) -> None:
        """Take no more errands; those that wait in the links stay there for the next forwarder."""
        loop = asyncio.get_running_loop()
        for link in self._links:
            loop.remove_reader(link.fileno())
        self._circles.stop()

    def _take(self, link: socket.socket) -> None:
        oldest = monotonic() - OLDEST_SECONDS
        self._serve_all([errand for errand in receive_requests(link, BATCH) if errand.came > oldest], link)

    def _serve_all(self, batch: Sequence[ForwardRequest], link: socket.socket) -> None:
        with self._border.view() as view:
            for errand in batch:
                try:
                    self._serve(errand, link, view)
                except Exception:
                    log.exception("a question could not be forwarded: %s", errand.packet[:64].hex())
                    self._counters.slots[stats.PANICS] += 1

    def _serve(self, errand: ForwardRequest, link: socket.socket, view: View | None) -> None:
        """Answer a question, or have it answered later."""
        try:
            question = parse(errand.packet)
        except Malformed:
            return  # a worker has read it before: it can't be
        frame = Frame(errand.packet, question.end, question.edns, self._udp_size, errand.request_id > 0, True)
        reply: bytes | None
        if view is None:
            reply = refusal(frame, codes.SERVFAIL, codes.EDE_NOT_READY)
        elif question.rrtype == codes.HINFO and self._is_probe_of_ours(question.key):
            self._counters.slots[stats.FORWARD_LOOPS] += 1
            reply = refusal(frame, codes.REFUSED, codes.EDE_OTHER, "a forwarding loop")
        else:
            reply = self._ask_zones(errand, link, view, question, frame)
        if reply is not None:
            self._send(errand, link, reply)

    def _is_probe_of_ours(self, key: bytes) -> bool:
        return self._is_probe(key) or self._circles.is_probe(key)

    def _ask_zones(
        self, errand: ForwardRequest, link: socket.socket, view: View, question: Question, frame: Frame
    ) -> bytes | None:
        """Return what can be said without upstreams; None where they are asked, and answer later."""
        draft = answer_name(view, question.name, question.key, question.rrtype, True)
        outside = draft.outside
        if draft.zone is not None and not self._may_ask_names(errand):
            return refusal(frame, codes.REFUSED, codes.EDE_PROHIBITED)
        if outside is None:
            return write(frame, draft)
        if outside.key.startswith(SPECIAL):
            return write(frame, answer_special(draft, question.rrtype))
        if not self._flights.has_pool(outside.key, question.rrtype):
            return self._nobody_to_ask(view, question, frame)
        if not self._goes_round(errand, link, view, question, frame, draft):
            do = question.edns is not None and question.edns.do
            cd = bool(errand.packet[3] & _CD)
            ask = Query(outside.key, question.rrtype, do, cd, outside.wire)
            self._look_up(_Waiting(errand, link, _counted(errand), question, frame, draft, view.table, ask))
        return None

    def _goes_round(
        self,
        errand: ForwardRequest,
        link: socket.socket,
        view: View,
        question: Question,
        frame: Frame,
        draft: Draft,
    ) -> bool:
        """Say whether an upstream asks for what it is being asked; answer it, once that is proved.

        An alias of ours is no circle: an upstream may ask for it while we ask for where it leads.
        """
        if draft.zone is None or draft.chain:
            return False
        again = partial(self._serve_all, [errand], link)
        verdict = self._circles.look(str(errand.client[0]), question.key, question.rrtype, draft.zone, again)
        if verdict is Verdict.REFUSE:
            self._send(errand, link, refusal(frame, codes.REFUSED, codes.EDE_OTHER, "a forwarding loop"))
        elif verdict is Verdict.NOBODY:
            self._send(errand, link, self._nobody_to_ask(view, question, frame))
        self._counters.slots[stats.FORWARD_LOOPS] += verdict in (Verdict.REFUSE, Verdict.NOBODY)
        return verdict is not Verdict.GO_ON

    def _nobody_to_ask(self, view: View, question: Question, frame: Frame) -> bytes:
        """Return what our zones alone say, where no upstream is there for the name."""
        draft = answer_name(view, question.name, question.key, question.rrtype)
        if draft.zone is None:
            return refusal(frame, codes.REFUSED, codes.EDE_NOT_AUTHORITATIVE)
        return write(frame, draft)

    def _look_up(self, waiting: _Waiting) -> None:
        stored = self._flights.fresh(waiting.ask)
        if stored is not None:
            self._counters.slots[stats.CACHE_HITS] += 1
            self._reply(waiting, stored)
        elif not self._has_room(waiting.client):
            self._counters.slots[stats.FORWARD_REFUSED] += 1
            text = "too many questions wait for upstreams"
            self._count(waiting, stats.SERVFAIL)
            reply = unresolved(waiting.frame, waiting.draft, codes.EDE_NETWORK_ERROR, text)
            self._send(waiting.errand, waiting.link, reply)
        else:
            self._counters.slots[stats.CACHE_MISSES] += 1
            self.outstanding += 1
            self._clients[waiting.client] += 1
            self._flights.join(waiting.ask, partial(self._land, waiting))

    def _may_ask_names(self, errand: ForwardRequest) -> bool:
        """Say whether a client may ask for our own names, by whatever way it comes to them."""
        return bool(self._rights[str(errand.client[0])] & NAMES)

    def _has_room(self, client: str) -> bool:
        limits = self._limits
        return self.outstanding < limits.outstanding and self._clients[client] < limits.per_client

    def _land(self, waiting: _Waiting, stored: bytes) -> None:
        """Answer a client whose question has come back."""
        self.outstanding -= 1
        self._clients[waiting.client] -= 1
        if not self._clients[waiting.client]:
            del self._clients[waiting.client]
        self._reply(waiting, stored)

    def _reply(self, waiting: _Waiting, stored: bytes) -> None:
        frame, draft = waiting.frame, waiting.draft
        entry = decode(stored)
        if entry.ede in (codes.EDE_STALE_ANSWER, codes.EDE_STALE_NXDOMAIN):
            self._counters.slots[stats.STALE_ANSWERS] += 1
        if frame.tcp and entry.is_truncated:
            # Over TCP there is nothing left to try, so a part would be taken for the whole.
            text = "the answer is too long for UDP, and no upstream gave it over TCP"
            reply = unresolved(frame, draft, codes.EDE_NO_REACHABLE_UPSTREAM, text)
        elif targets := self._border.crossing(waiting.ask, entry):
            self._go_on(waiting, entry, targets)
            return
        elif draft.chain:
            reply = continued(frame, draft, waiting.ask, entry, now())
            reply = above_ours(reply, waiting.view_table, waiting.ask.key)
        else:
            reply = entry.reply(now(), frame)
            reply = above_ours(reply, waiting.view_table, waiting.ask.key)
        self._give(waiting, reply, is_nodata=not draft.chain and entry.is_nodata)

    def _go_on(self, waiting: _Waiting, entry: CacheEntry, targets: list[bytes]) -> None:
        """Go on where upstreams lead across the border, to the last of these targets."""
        frame, draft = waiting.frame, waiting.draft
        assert draft.outside is not None
        ours_first = draft.authoritative and bool(draft.chain)
        lead_back(draft, draft.outside, targets, entry.records(now()).ttl, frame.end)
        draft.outside = None
        with self._border.view() as view:
            if view is not None and self._may_have(waiting.errand, view, targets[-1]):
                go_on(view, draft, targets[-1], frame.end, waiting.question.rrtype)
        draft.authoritative = ours_first  # AA speaks of the first owner name (RFC 1035 section 4.1.1)
        if (outside := draft.outside) is None:
            self._give(waiting, write(frame, draft))
        elif outside.key.startswith(SPECIAL):
            self._give(waiting, write(frame, answer_special(draft, waiting.question.rrtype)))
        elif waiting.crossings == MOST_CROSSINGS:
            text = "the CNAMEs lead to and fro between zones"
            self._give(waiting, unresolved(frame, draft, codes.EDE_OTHER, text))
        elif not self._flights.has_pool(outside.key, waiting.question.rrtype):
            text = "no upstreams: none is configured for where the CNAMEs lead"
            self._give(waiting, unresolved(frame, draft, codes.EDE_NO_REACHABLE_UPSTREAM, text))
        else:
            ask = replace(waiting.ask, key=outside.key, name=outside.wire)
            self._look_up(replace(waiting, ask=ask, crossings=waiting.crossings + 1))

    def _may_have(self, errand: ForwardRequest, view: View, target: bytes) -> bool:
        """Say whether a client may hear of a name: of ours, who may ask for our names."""
        return self._may_ask_names(errand) or view.table.place(key_of_wire(target)).zone is None

    def _give(self, waiting: _Waiting, reply: bytes, *, is_nodata: bool = False) -> None:
        """Count and send the reply to a question that upstreams were asked for."""
        rcode = reply[3] & 0xF
        is_nodata = is_nodata and rcode == codes.NOERROR
        self._count(waiting, stats.NODATA if is_nodata else stats.RCODE_SLOT.get(rcode, stats.OTHER_RCODE))
        self._send(waiting.errand, waiting.link, reply)

    def _count(self, waiting: _Waiting, rcode: int) -> None:
        transport = int(waiting.frame.tcp)
        self._counters.slots[stats.slot(stats.FORWARD, transport, waiting.question.rrtype, rcode)] += 1

    def _send(self, errand: ForwardRequest, link: socket.socket, reply: bytes) -> None:
        if errand.request_id:
            sent = send(link, ForwardReply(errand.request_id, reply))
        else:
            sent = self._send_over_udp(errand, reply)
        if not sent:
            self._counters.slots[stats.DROPPED] += 1

    def _send_over_udp(self, errand: ForwardRequest, reply: bytes) -> bool:
        try:
            self._udp[errand.listener].sendmsg([reply], errand.ancillary, 0, tuple(errand.client))
        except (OSError, IndexError):
            return False
        return True


def _counted(errand: ForwardRequest) -> str:
    """Return whose question it is: an address, or the 64 bits of an IPv6 one that one customer has."""
    address = str(errand.client[0])
    if ":" not in address:
        return address
    return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8].hex()
