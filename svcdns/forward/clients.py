"""Clients of the forwarder: a question as it is carried from the link to the reply, and the way back.

    ForwardRequest (from a worker) -> Clients.read -> ForwardedQuestion -> ... -> Clients.send

* A question is parsed once.  Each step adds what it has found out: our zones' draft, then the query for
  upstreams.
* A reply over UDP leaves through the socket of the listener that was asked, one over TCP goes back to the
  worker that has the connection.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from svcdns.dns import stats
from svcdns.dns.access import EVERYBODY, NAMES, counted_as
from svcdns.dns.draft import Draft
from svcdns.dns.forward_link import ForwardReply, ForwardRequest, send
from svcdns.dns.stats import Stats
from svcdns.tap.recorder import Recorder
from svcdns.wire.query import Query
from svcdns.wire.question import Question, parse
from svcdns.wire.reply import Frame


@dataclass(slots=True, eq=False)
class ForwardedQuestion:
    """A client's question, and what the forwarder knows of it so far."""

    request: ForwardRequest
    link: socket.socket | None
    """Our end of the link through which it came; None: nobody is answered through one."""
    question: Question
    frame: Frame
    may_ask_names: bool
    """Whether the client may ask for our own names, by whatever way it comes to them."""
    draft: Draft = field(init=False, repr=False)
    """What our zones say, and whatever has been added since."""
    query: Query = field(init=False, repr=False)
    """What upstreams are asked now."""
    departures: int = 0
    """How often its CNAMEs have led out of bailiwick so far."""

    @property
    def client(self) -> str:
        """The client's address."""
        return str(self.request.client[0])

    @property
    def counted_as(self) -> str:
        """Whose question it is for the limits."""
        return counted_as(self.client)


class Clients:
    """Reads clients' questions, sends the replies and counts both."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        counters: Stats,
        rights: Mapping[str, int] = EVERYBODY,
        udp_size: int = 1232,
        recorder: Recorder | None = None,
    ) -> None:
        """`listeners` are the UDP sockets by their numbers, `rights` those of each client's address.

        `udp_size` bounds replies over UDP (octets), `recorder` is shown what was answered.
        """
        self._recorder = recorder or Recorder()
        self.counters = counters
        self._listeners = listeners
        self._rights = rights
        self._udp_size = udp_size

    def read(self, request: ForwardRequest, link: socket.socket | None) -> ForwardedQuestion:
        """Return the question of a request.  Raises Malformed."""
        question = parse(request.packet)
        over_tcp = request.request_id > 0
        frame = Frame(request.packet, question.end, question.edns, self._udp_size, over_tcp, True)
        may_ask_names = bool(self._rights[str(request.client[0])] & NAMES)
        return ForwardedQuestion(request, link, question, frame, may_ask_names)

    def count(self, counter: int) -> None:
        """Count something: one of the single counters of svcdns.dns.stats."""
        self.counters.slots[counter] += 1

    def count_reply(self, question: ForwardedQuestion, rcode_slot: int) -> None:
        """Count a reply by what it says (svcdns.dns.stats.RCODE_SLOT)."""
        over_tcp = int(question.frame.tcp)
        self.count(stats.slot(stats.FORWARD, over_tcp, question.question.rrtype, rcode_slot))

    def send(self, question: ForwardedQuestion, reply: bytes) -> None:
        """Send a reply by the way that its question came; one that can't be sent is counted."""
        request = question.request
        sent = True
        if request.request_id and question.link is not None:
            sent = send(question.link, ForwardReply(request.request_id, reply))
        else:
            try:
                listener = self._listeners[request.listener]
                if request.ancillary:
                    listener.sendmsg([reply], request.ancillary, 0, request.client)
                else:
                    listener.sendto(reply, request.client)
            except (OSError, IndexError):
                sent = False
        if not sent:
            self.count(stats.DROPPED)
        if self._recorder.sample:
            took = int(1e9 * (monotonic() - request.came))
            asked, said = [(request.packet, request.client)], [(reply, request.client)]
            self._recorder.record(int(question.frame.tcp), took, asked, said)
