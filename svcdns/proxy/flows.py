"""Connections that the kernel remembers beyond their endpoint: UDP ones move on, TCP ones stay unless told.

The kernel translates a connection as it did its first packet, for as long as packets come.  A UDP client
that keeps its socket would go on talking to an endpoint that has left, or to nobody.  Rules:

* after each change that is in effect, the UDP flows to the frontends that changed are forgotten whose
  endpoint isn't among the frontend's now, also where there is none; the client's next datagram goes where
  a new one's would.  Flows to endpoints that stay aren't touched, whatever else changed;
* so at a start, when all frontends are new to the proxy, only those move whose endpoint left meanwhile;
* TCP connections to an endpoint that left go on, unless `reset_removed`: then they are forgotten, and the
  next packet of either side is answered by a reset;
* it is done beside the event loop, the newest state of a frontend only; what cannot be done is said once, and
  tried again after pauses that grow.

https://kubernetes.io/docs/reference/networking/virtual-ips/ (kube-proxy: pkg/proxy/conntrack/cleanup.go)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from svcdns.cluster.traffic_plan import NODE, TCP, UDP, Endpoint, Frontend, Host, Rule
from svcdns.netlink import conntrack, wire
from svcdns.system.log_on_change import LogOnChange

_FAMILIES = {4: conntrack.IPV4, 6: conntrack.IPV6}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_FEW = 8
"""So many frontends are asked for one by one; for more, all flows are looked through once."""

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """Which flows to one frontend are to be forgotten."""

    kept: frozenset[Endpoint] = frozenset()
    """UDP: those to any other endpoint; TCP: these never."""
    is_gone: bool = False
    """The frontend is nobody's now: only flows that were translated are about it."""
    removed: frozenset[Endpoint] = frozenset()
    """TCP: those to these endpoints."""

    def is_stale(self, flow: conntrack.Flow) -> bool:
        """Return whether a flow to this frontend is to be forgotten."""
        end = Endpoint(flow.answering, flow.answering_port)
        if flow.protocol == TCP:
            return end in self.removed
        if self.is_gone:
            return end != (flow.destination, flow.destination_port)
        return end not in self.kept


class Flows:
    """Forgets flows whose endpoint left; told of what is in effect."""

    def __init__(self, host: Callable[[], Host], reset_removed: bool = False) -> None:
        """`host` says which addresses offer node ports."""
        self._host = host
        self._reset_removed = reset_removed
        self.pending: dict[Frontend, Wanted] = {}
        """What is to be looked for."""
        self._is_idle = True
        self._wake = asyncio.Event()
        self._said = LogOnChange()
        self.forgotten = 0
        """How many flows were forgotten."""

    @property
    def is_done(self) -> bool:
        """Whether all that was told has been looked for."""
        return self._is_idle and not self.pending

    def applied(self, changed: Mapping[Frontend, Rule | None], before: Mapping[Frontend, Rule]) -> None:
        """Take what is in effect now (None: gone), and what was before where there was anything."""
        for frontend, rule in changed.items():
            if frontend.protocol == UDP:
                self.pending[frontend] = Wanted(endpoints(rule), is_gone=rule is None)
            elif frontend.protocol == TCP and self._reset_removed:
                left = endpoints(before.get(frontend)) - endpoints(rule)
                earlier = self.pending.get(frontend, Wanted()).removed
                now = endpoints(rule)
                self.pending[frontend] = Wanted(now, removed=(earlier | left) - now)
        self._wake.set()

    async def run(self) -> None:
        """Forget flows as changes come, until cancelled."""
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            pending, self.pending = self.pending, {}
            self._is_idle, began = False, time.monotonic()
            try:
                self.forgotten += await asyncio.to_thread(forget, pending, self._host())
                failure, failures = "", 0
            except (OSError, wire.Malformed) as wrong:
                failure, failures = str(wrong), failures + 1
                self.have_again(pending)
            self._is_idle = True
            if self._said.is_new(failure) and failure:
                log.error("flows of endpoints that left stay as they are, for now: %s", failure)
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, 10)) if failures else 0.0
            # Half of a core at most, however large the table.
            await asyncio.sleep(max(pause, time.monotonic() - began))

    def have_again(self, wanted: Mapping[Frontend, Wanted]) -> None:
        """Put back what could not be looked for; what has been told since is newer."""
        for frontend, earlier in wanted.items():
            newer = self.pending.get(frontend)
            if newer is None:
                self.pending[frontend] = earlier
            elif frontend.protocol == TCP:
                self.pending[frontend] = Wanted(
                    newer.kept, removed=newer.removed | earlier.removed - newer.kept
                )
        self._wake.set()


def endpoints(rule: Rule | None) -> frozenset[Endpoint]:
    """Return the endpoints that anybody is sent to."""
    return frozenset((*rule.inside.endpoints, *rule.outside.endpoints)) if rule else frozenset()


def forget(wanted: Mapping[Frontend, Wanted], host: Host) -> int:
    """Forget the flows that are stale; return how many.  Raises OSError, wire.Malformed."""
    places: dict[tuple[int, int], dict[tuple[bytes, int], Wanted]] = {}
    for frontend, one in wanted.items():
        of_protocol = places.setdefault((frontend.family, frontend.protocol), {})
        for address in addresses(frontend, host):
            of_protocol[address, frontend.port] = one
    count = 0
    with wire.Socket(wire.NETFILTER) as kernel:
        for (version, protocol), by_place in places.items():
            found = _to(kernel, _FAMILIES[version], protocol, by_place)
            stale = [flow for flow in found if _is_stale(flow, by_place)]
            count += conntrack.delete(kernel, stale)
    return count


def addresses(frontend: Frontend, host: Host) -> Collection[bytes]:
    """Return the addresses of a frontend: those that offer node ports, where it is one."""
    if frontend.address != NODE:
        return (frontend.address,)
    size = 4 if frontend.family == 4 else 16
    return tuple(one for one in host.node_addresses if len(one) == size)


def _to(
    kernel: wire.Socket, family: int, protocol: int, places: Iterable[tuple[bytes, int]]
) -> Iterator[conntrack.Flow]:
    chosen = list(places)
    if len(chosen) > _FEW:
        yield from conntrack.flows(kernel, family, protocol)
        return
    for place in chosen:
        yield from conntrack.flows(kernel, family, protocol, place)


def _is_stale(flow: conntrack.Flow, by_place: Mapping[tuple[bytes, int], Wanted]) -> bool:
    one = by_place.get((flow.destination, flow.destination_port))
    return one is not None and one.is_stale(flow)
