"""What becomes of a forwarded question: said here at once, held, or looked up.

    a worker's request -> read once -> our zones -> special-use names -> loops -> look up -> respond

* Our zones come first here too: what has become ours on the way is answered from them, and only they know
  which name a CNAME of ours leads to.
* Special-use names (`special_use_names`) don't go upstream.
* Our own loop probes are refused and noted (`loops`).  What an upstream asks of us while we ask it the same
  is answered by our zones (`partial_loops`).
* What is left is looked up in the cache or upstream (`single_flight`) and answered by `respond`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

from svcdns.dns import stats
from svcdns.dns.forward_link import OLDEST_SECONDS, ForwardRequest, receive_requests, waits
from svcdns.dns.lookup import answer_name, unknown_name
from svcdns.dns.reply import write
from svcdns.dns.view import View
from svcdns.wire import codes, header
from svcdns.wire.key import text_of_key
from svcdns.wire.query import Query
from svcdns.wire.reply import refusal

from .bailiwick import Bailiwick
from .clients import Clients, ForwardedQuestion
from .partial_loops import Outcome, PartialLoopDetector
from .respond import Responder
from .single_flight import LooksUp
from .special_use_names import answer_special_use, special_use_zone

log = logging.getLogger(__name__)

BATCH = 64
"""Requests that are taken from one link at a time."""


@dataclass(frozen=True, slots=True)
class Loops:
    """What finds forwarding loops."""

    is_probe: Callable[[bytes], bool]
    """Says of a name (its key) whether it is a probe that has come back (`loops`)."""
    partial: PartialLoopDetector


class Forwarder:
    """Takes requests from the workers and has them answered; one a server, used from one thread."""

    def __init__(
        self,
        links: Sequence[socket.socket],
        clients: Clients,
        bailiwick: Bailiwick,
        lookups: LooksUp,
        loops: Loops,
    ) -> None:
        """`links` are our ends of the workers' links."""
        self._links = links
        self._clients = clients
        self._bailiwick = bailiwick
        self._lookups = lookups
        self._loops = loops
        self._respond = Responder(clients, bailiwick, lookups).respond

    def start(self) -> None:
        """Begin to take requests, in the running loop."""
        loop = asyncio.get_running_loop()
        for link in self._links:
            loop.add_reader(link.fileno(), partial(self._receive, link))

    async def finish(self, seconds: float) -> None:
        """Take what waits in the links, for so long at most, then no more.

        After an upgrade nobody else would: the next forwarder has links of its own.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while any(map(waits, self._links)) and loop.time() < deadline:
            await asyncio.sleep(0)
        self.stop()

    def stop(self) -> None:
        """Take no more requests; those that wait in the links stay there for the next forwarder."""
        loop = asyncio.get_running_loop()
        for link in self._links:
            loop.remove_reader(link.fileno())
        self._loops.partial.stop()

    def _receive(self, link: socket.socket) -> None:
        """Take what waits in a link; clients have given up what is too old."""
        oldest = monotonic() - OLDEST_SECONDS
        with self._bailiwick.view() as view:
            for request in receive_requests(link, BATCH):
                if request.came > oldest:
                    try:
                        self.take(self._clients.read(request, link), view)
                    except Exception:
                        self._log(request)

    def _take_again(self, question: ForwardedQuestion) -> None:
        """Take a question that was held."""
        with self._bailiwick.view() as view:
            try:
                self.take(question, view)
            except Exception:
                self._log(question.request)

    def _log(self, request: ForwardRequest) -> None:
        """Log and count what goes wrong with a request: it costs the others nothing."""
        log.exception("a question could not be forwarded: %s", request.packet[:64].hex())
        self._clients.count(stats.PANICS)

    def take(self, question: ForwardedQuestion, view: View | None) -> None:
        """Say at once what can be said without upstreams, hold a question, or have it looked up."""
        if view is None:
            self._clients.send(question, refusal(question.frame, codes.SERVFAIL, codes.EDE_NOT_READY))
            return
        reply = self._reply_at_once(question, view)
        if reply is not None:
            self._clients.send(question, reply)
        elif not self._is_loop(question, view):
            question.query = _query_of(question)
            self._lookups.look_up(question, self._respond)

    def _reply_at_once(self, question: ForwardedQuestion, view: View) -> bytes | None:
        """Return what is said without upstreams; None where they are to be asked."""
        frame, asked = question.frame, question.question
        if asked.rrtype == codes.HINFO and self._is_probe(asked.key):
            self._clients.count(stats.FORWARD_LOOPS)
            return refusal(frame, codes.REFUSED, codes.EDE_OTHER, "a forwarding loop")

        # Our zones; most names that come here are nowhere near them.
        if view.table.is_outside(asked.key):
            draft = unknown_name(asked.name, asked.key, dnssec=asked.do)
        else:
            draft = answer_name(view, asked.name, asked.key, asked.rrtype, True, dnssec=asked.do)
        question.draft = draft
        if draft.zone is not None and not question.may_ask_names:
            return refusal(frame, codes.REFUSED, codes.EDE_PROHIBITED)
        if draft.outside is None:
            return write(frame, draft)

        # They leave it to others: is there anybody to ask?
        special = special_use_zone(view.table, draft.outside.key, asked.rrtype)
        if special is not None:
            return write(frame, answer_special_use(draft, special, asked.rrtype, view))
        if not self._lookups.has_pool(draft.outside.key, asked.rrtype):
            return _from_zones_alone(question, view)
        return None

    def _is_probe(self, key: bytes) -> bool:
        return self._loops.is_probe(key) or self._loops.partial.is_probe(key)

    def _is_loop(self, question: ForwardedQuestion, view: View) -> bool:
        """Say whether an upstream asks for what it is being asked; if so, hold the question or answer it.

        A CNAME of ours is no loop: an upstream may ask for it while we ask for where it leads.
        """
        zone = _zone_of(question, view)
        if zone is None or question.draft.chain:
            return False
        outcome = self._loops.partial.check(question, zone, partial(self._take_again, question))
        if outcome is Outcome.NO_LOOP:
            return False
        if outcome is Outcome.HELD:
            return True
        self._clients.count(stats.FORWARD_LOOPS)
        if outcome is Outcome.REFUSE:
            reply = refusal(question.frame, codes.REFUSED, codes.EDE_OTHER, "a forwarding loop")
        else:
            reply = _from_zones_alone(question, view)
        self._clients.send(question, reply)
        return True


def _zone_of(question: ForwardedQuestion, view: View) -> str | None:
    """Return the zone of ours that leaves a name to upstreams, or that for aliases; None for neither."""
    if (zone := question.draft.zone) is not None:
        return zone.origin
    aliases = view.table.alias_zone(question.question.key)
    return None if aliases is None else text_of_key(aliases)


def _query_of(question: ForwardedQuestion) -> Query:
    """Return what upstreams are asked for a client: the name that our zones leave to them."""
    asked, outside = question.question, question.draft.outside
    assert outside is not None
    cd = bool(header.flags_of(question.request.packet) & header.CD)
    return Query(outside.key, asked.rrtype, asked.do, cd, outside.wire)


def _from_zones_alone(question: ForwardedQuestion, view: View) -> bytes:
    """Return what our zones say to a client for whom nobody else is asked."""
    asked = question.question
    draft = answer_name(view, asked.name, asked.key, asked.rrtype, dnssec=asked.do)
    if draft.zone is None:
        return refusal(question.frame, codes.REFUSED, codes.EDE_NOT_AUTHORITATIVE)
    return write(question.frame, draft)
