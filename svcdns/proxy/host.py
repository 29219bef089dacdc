"""The machine around the proxy: looked at, put in order, and followed.

Rules:

* one look reads everything anew, by three dumps: what a change was about doesn't matter, and none is missed;
* changes are told by the kernel (rtnetlink groups) and looked at a moment later, once for all that come
  together; an overrun is a change.  What nobody tells (packet rules, sysctls) is looked at every few seconds;
* a look may take at most a tenth of the time: a machine with a million routes has slow ones;
* what could not be put in order is a line of `complaints`; traffic is carried all the same.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from svcdns.cluster.traffic_plan import Host
from svcdns.netlink import route, wire

from . import announcing, docker_jump, machine_settings, own_routes
from .changes_made import DEFAULT_FOLDER, ChangesMade
from .host_settings import HostSettings, Network
from .networks import Found, host, primary_addresses

_GROUPS = (
    route.LINKS,
    route.IPV4_ADDRESSES,
    route.IPV4_ROUTES,
    route.IPV6_ADDRESSES,
    route.IPV6_ROUTES,
)
_SETTLE_SECONDS = 0.1
_UNTOLD_SECONDS = 5.0
_SHARE, _SHARE_UNTOLD = 10, 100
"""A look is followed by a pause that is so many times as long; the second where nothing was told."""
_LONGEST_PAUSE = 60.0
"""Where a look waits for somebody else (iptables for its lock), that says nothing of what looks cost."""
_DRAIN = 1000
"""Datagrams that are thrown away before a look, at most: the queue of a busy machine never ends."""


def read(kernel: wire.Socket) -> Found:
    """Return what the kernel says of links, addresses and routes.  Raises OSError, wire.Malformed."""
    return Found(tuple(route.links(kernel)), tuple(route.addresses(kernel)), tuple(route.routes(kernel)))


class HostWatch:
    """Knows what the machine is, and keeps it as the settings want it."""

    def __init__(self, settings: HostSettings, folder: Path = DEFAULT_FOLDER) -> None:
        """`folder` is for the file of what was changed (`changes_made`).  Raises OSError."""
        self.settings = settings
        """May be set to others at any time; the next look goes by them."""
        self.primary: tuple[bytes, ...] = ()
        """The node's own address in each family."""
        self.complaints: tuple[str, ...] = ()
        """What could not be put in order, a line each."""
        self.announces_in: frozenset[Network] = frozenset()
        """The networks of the interfaces on which addresses are answered for."""
        self._routes = wire.Socket(wire.ROUTE)
        self._packets = wire.Socket(wire.NETFILTER)
        self._told = wire.Socket(wire.ROUTE, _GROUPS)
        self._looking = threading.Lock()  # `run` looks in another thread
        self._made = ChangesMade(folder)
        self._host = Host()
        self._addresses: frozenset[bytes] = frozenset()
        self._announced: frozenset[bytes] | None = None
        self._told_at, self._untold = 0.0, ""
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the sockets; what was put in order stays."""
        for one in (self._routes, self._packets, self._told):
            one.close()

    def host(self) -> Host:
        """Return what engines are told of the machine, as of the last look."""
        return self._host

    def own_addresses(self) -> frozenset[bytes]:
        """Return all addresses of the machine, as of the last look."""
        return self._addresses

    def announce(self, addresses: frozenset[bytes]) -> None:
        """Answer for these on the interfaces that the settings name, from the next look on; it comes soon.

        Until this is called, what was announced before stays.
        """
        if addresses != self._announced:
            self._announced = addresses
            self._changed.set()

    def look(self, *, at_once: bool = False) -> Host:
        """Read everything anew, put it in order, return what engines are told.  Raises OSError, Malformed.

        `at_once`: without what may take seconds, packet rules by iptables; those come with the next look of
        `run`, which is soon.
        """
        with self._looking:
            found = self._look(at_once)
        if at_once:
            self._changed.set()
        return found

    def _look(self, at_once: bool) -> Host:
        found, settings = read(self._routes), self.settings
        self._host = host(found, settings)
        self._addresses = frozenset(one.address for one in found.addresses)
        self.primary = primary_addresses(found, settings)
        self.announces_in = announcing.networks(found, settings)
        self.complaints = tuple(self._set_up(found, settings, at_once))
        return self._host

    async def run(self, changed: Callable[[], None]) -> None:
        """Look whenever something changes, until cancelled; call `changed` where that came to anything."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            loop.remove_reader(self._told.fileno())
            self._changed.set()

        try:
            while True:
                loop.add_reader(self._told.fileno(), tell)
                pause = await self._next_look(changed)
                await asyncio.sleep(pause)
        finally:
            loop.remove_reader(self._told.fileno())

    async def _next_look(self, changed: Callable[[], None]) -> float:
        """Wait for a change, look, and return how long to pause."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_UNTOLD_SECONDS):
                await self._changed.wait()
        share = _SHARE if self._changed.is_set() else _SHARE_UNTOLD
        if self._changed.is_set():
            await asyncio.sleep(_SETTLE_SECONDS)
            self._changed.clear()
            self._drain()
        before, began = self._known(), time.monotonic()
        try:
            await asyncio.to_thread(self.look)
        except (OSError, wire.Malformed) as wrong:
            self.complaints = (f"the kernel doesn't say what this machine is: {wrong}",)
        if self._known() != before:
            changed()
        return min(_LONGEST_PAUSE, (time.monotonic() - began) * share)

    def _known(self) -> tuple[object, ...]:
        return self._host, self._addresses, self.announces_in, self.complaints

    def _set_up(self, found: Found, settings: HostSettings, at_once: bool) -> Iterator[str]:
        yield from own_routes.set_up(self._routes, found, settings)
        yield from machine_settings.set_up(self._routes, found, settings, self._made)
        if not settings.announce or self._announced is not None:  # before that, what is announced stays
            yield from self._announce(found, settings)
        if settings.docker and not at_once:
            with suppress(OSError):  # without the right to see packet rules there is no kernel engine either
                yield from docker_jump.set_up(self._packets, self._host, settings.node_ports)

    def _announce(self, found: Found, settings: HostSettings) -> Iterator[str]:
        announced = self._announced or frozenset()
        complaints, fresh = announcing.set_up(self._routes, found, settings, announced, self._made)
        if time.monotonic() - self._told_at >= announcing.REFRESH_SECONDS:
            self._told_at = time.monotonic()
            fresh = announcing.wanted(found, settings, announced)
        if fresh:
            self._untold = announcing.tell(found, fresh)
        yield from complaints
        if self._untold:
            yield self._untold

    def _drain(self) -> None:
        for _ in range(_DRAIN):
            try:
                self._told.receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except (OSError, wire.Malformed):  # an overrun, too: a look is due in any case
                continue
