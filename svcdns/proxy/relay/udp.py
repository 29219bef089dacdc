"""UDP: what comes from one client address and port is a flow to one endpoint, for as long as it is used.

Rules:

* an answer leaves from the address and port that the client asked;
* a flow ends when nothing came for IDLE_SECONDS (UNANSWERED_SECONDS where the endpoint never said
  anything), when its endpoint is one no longer, or refuses (ICMP); the client's next datagram begins
  another;
* there are at most `Limits.most_flows` in all; the one that was unused longest gives way;
* datagrams that find no room in a socket are lost, as in any network.
"""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from contextlib import suppress

from svcdns.proxy.relay import silence
from svcdns.proxy.relay.carrying import Carrying
from svcdns.proxy.relay.loop import READABLE
from svcdns.proxy.relay.picking import Picker, Target

IDLE_SECONDS, UNANSWERED_SECONDS = 120.0, 30.0
"""As the kernel's connection tracking has them: nf_conntrack_udp_timeout_stream, nf_conntrack_udp_timeout."""
_DATAGRAMS_A_TURN = 32
_LOOK_SECONDS = 5.0
_MOST_OCTETS = 65_535

Name = tuple[str, int] | tuple[str, int, int, int]


class Flow:
    """One client's datagrams to one endpoint, and its answers."""

    __slots__ = ("_listener", "depth", "is_answered", "name", "socket", "target", "used")

    def __init__(
        self, listener: UdpListener, name: Name, target: Target, made: socket.socket, depth: int
    ) -> None:
        """Belong to a listener; `made` is connected to the endpoint."""
        self._listener, self.name, self.target, self.socket = listener, name, target, made
        self.depth = depth
        self.used = time.monotonic()
        self.is_answered = False

    def on_event(self, events: int) -> None:
        """Pass on the endpoint's answers."""
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                octets = self.socket.recv(_MOST_OCTETS)
            except BlockingIOError:
                return
            except OSError:  # refused: the endpoint's port is closed
                self._listener.end(self)
                return
            self.is_answered = True
            self._listener.answer(self, octets)

    def is_idle(self, now: float) -> bool:
        """Whether it may go."""
        return now - self.used >= (IDLE_SECONDS if self.is_answered else UNANSWERED_SECONDS)


class Flows:
    """All flows of the relay, the one that was unused longest first."""

    def __init__(self, carrying: Carrying) -> None:
        """Begin with none."""
        self._carrying = carrying
        self._flows: OrderedDict[Flow, UdpListener] = OrderedDict()
        self._looks = False

    def __len__(self) -> int:
        return len(self._flows)

    def add(self, flow: Flow, listener: UdpListener) -> None:
        """Keep a flow, and end it when it is idle."""
        while len(self._flows) >= self._carrying.limits.most_flows:
            oldest, owner = next(iter(self._flows.items()))
            owner.end(oldest)
        self._flows[flow] = listener
        if not self._looks:
            self._looks = True
            self._carrying.loop.later(_LOOK_SECONDS, self._look)

    def use(self, flow: Flow) -> None:
        """Note that something came."""
        flow.used = time.monotonic()
        self._flows.move_to_end(flow)

    def drop(self, flow: Flow) -> None:
        """Forget one; twice is fine."""
        self._flows.pop(flow, None)

    def _look(self) -> None:
        now = time.monotonic()
        for flow, listener in list(self._flows.items()):
            if now - flow.used < UNANSWERED_SECONDS:
                break  # those that follow were used later
            if flow.is_idle(now):
                listener.end(flow)
        self._looks = bool(self._flows)
        if self._looks:
            self._carrying.loop.later(_LOOK_SECONDS, self._look)


class UdpListener:
    """One bound socket of a frontend, and its flows by client."""

    def __init__(
        self, carrying: Carrying, flows: Flows, bound: socket.socket, own: str, picker: Picker
    ) -> None:
        """Serve a socket that is bound at the address `own`.  Raises OSError."""
        self._carrying, self._flows, self._socket = carrying, flows, bound
        self._own, self._picker = own, picker
        self._by_client: dict[Name, Flow] = {}
        self._has_filter = False
        self.change()
        carrying.loop.watch(bound.fileno(), READABLE, self._on_event)

    def change(self) -> None:
        """Go by the picker's present rule; flows whose endpoint left end, and their clients get another."""
        tests = self._picker.silent_to(self._own)
        if tests or self._has_filter:
            self._has_filter = silence.attach(self._socket, tests) and bool(tests)
        for flow in list(self._by_client.values()):
            side = self._picker.side(flow.name[0], self._own)
            if side is None or flow.target not in side.members:
                self.end(flow)

    def close(self) -> None:
        """End it with its flows."""
        for flow in list(self._by_client.values()):
            self.end(flow)
        self._carrying.loop.forget(self._socket.fileno())
        self._socket.close()

    def end(self, flow: Flow) -> None:
        """End a flow."""
        self._by_client.pop(flow.name, None)
        self._flows.drop(flow)
        self._carrying.loop.forget(flow.socket.fileno())
        flow.socket.close()

    def answer(self, flow: Flow, octets: bytes) -> None:
        """Send a client what its endpoint said."""
        self._flows.use(flow)
        with suppress(OSError):  # no room, or the client's host refused an earlier one
            self._socket.sendto(octets, flow.name)

    def _on_event(self, events: int) -> None:
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                octets, name = self._socket.recvfrom(_MOST_OCTETS)
            except BlockingIOError:
                return
            except OSError:  # a client's host refused an answer: not ours to pass on
                continue
            flow = self._by_client.get(name) or self._begin(name)
            if flow is None:
                continue
            self._flows.use(flow)
            try:
                flow.socket.send(octets)
            except BlockingIOError:
                continue
            except OSError:  # the refusal of an earlier one
                self.end(flow)

    def _begin(self, name: Name) -> Flow | None:
        """Return a new flow; None where this client gets nothing."""
        side = self._picker.side(name[0], self._own)
        depth = self._carrying.hops.depth(socket.SOCK_DGRAM, name[0], name[1])
        if side is None or not side.targets or self._carrying.hops.is_too_deep(depth):
            return None
        now = time.monotonic()
        target = self._picker.first(side, name[0], now)
        try:
            made = socket.socket(target.family, socket.SOCK_DGRAM)
        except OSError:  # no descriptors
            return None
        try:
            made.setblocking(False)
            made.connect(target.address)
        except OSError:  # no way there
            made.close()
            return None
        self._carrying.hops.note(made, target, depth)
        self._picker.taken(name[0], target, now)
        flow = Flow(self, name, target, made, depth)
        try:
            self._carrying.loop.watch(made.fileno(), READABLE, flow.on_event)
        except OSError:  # no room in epoll
            made.close()
            return None
        self._by_client[name] = flow
        self._flows.add(flow, self)
        return flow
