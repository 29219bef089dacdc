"""The children of one configuration: who they are, what each is handed, and which of them may be lost.

A server has one crew; during an upgrade there are two for a moment, the old one and the one that is to follow
it, each with its own configuration, counters and links (see replacement.py).

Standard library only.
"""

from __future__ import annotations

import logging
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from svcdns.config.listening import reachable
from svcdns.config.sections import Config
from svcdns.tap.memory import Tap

from . import capabilities, forking, tapping
from .child_setup import Handoff
from .children import Child, stop_all
from .counters import WRITER, Counters
from .sockets import Sockets

STOP_SECONDS = 5.0
WORKERS_STOP_SECONDS = 3.0
OBSERVER_STOP_SECONDS = 1.5
"""All together less than the 10 s after which podman and docker kill."""
STUCK_SECONDS = 10.0
_WANTED_SECONDS = 1.0
"""How often is looked whether there is something to do for a client that was not started."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Commands:
    """What is run as the children."""

    writer: Sequence[str] = (sys.executable, "-m", "svcdns.server.writer")
    worker: Sequence[str] = (sys.executable, "-m", "svcdns.server.worker")
    forwarder: Sequence[str] = (sys.executable, "-m", "svcdns.server.forwarder")
    proxy: Sequence[str] = (sys.executable, "-m", "svcdns.server.proxy")
    prober: Sequence[str] = (sys.executable, "-m", "svcdns.server.prober")
    containers: Sequence[str] = (sys.executable, "-m", "svcdns.server.containers")
    observer: Sequence[str] = (sys.executable, "-m", "svcdns.server.observer")


PROXY, PROBER, CONTAINERS, OBSERVER = "proxy", "prober", "containers", "observer"
"""The clients that a server brings along, by the names of their commands: the last is one of the tap."""
Starting = Callable[[], AbstractContextManager[None]]


def _tokens(config: Config) -> dict[str, str]:
    """Return the clients that there are, each with what it shows to the API: "" where it is not asked."""
    there = {
        PROXY: config.proxy.serve,
        PROBER: config.probes.run,
        CONTAINERS: bool(config.containers),
        OBSERVER: tapping.is_wanted(config),
    }
    return {
        name: secrets.token_urlsafe(32) if config.api.authenticates and name != OBSERVER else ""
        for name, wanted in there.items()
        if wanted
    }


def _shown_to_api(tokens: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, token) for name, token in tokens.items() if name != OBSERVER)


@dataclass(frozen=True, slots=True)
class Held:
    """Descriptors that a supervisor holds all its life, and leaves to its successor."""

    locks: tuple[int, ...]
    """Of the data folder (see data_folder.take)."""
    lifeline: tuple[int, int]
    """A pipe: what the children have, and our end, which closes with us, however we end."""


class Crew:
    """The children of one configuration."""

    def __init__(
        self,
        config: Config,
        commands: Commands,
        sockets: Sockets,
        counters: Counters,
        held: Held,
        *,
        tap: Tap | None = None,
        before: Sockets | None = None,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is started yet; there is a worker for each of those that `counters` has room for.

        `before` are the sockets of the crew that this one is to follow.  `tokens` are those of the clients of
        a crew that runs already (None: there are the clients that the configuration wants, with new ones).
        """
        self._passed_on = before.passing[1].fileno() if before is not None else -1
        self.config = config
        self.sockets = sockets
        self.counters = counters
        self.tap = tap
        self.held = held
        self._keep = held.locks
        ours, forwarders = (end.fileno() for end in sockets.flush) if sockets.flush else (-1, -1)
        tokens = _tokens(config) if tokens is None else tokens
        api = self._handoff(api=sockets.api.fileno(), flush=ours, own_tokens=_shown_to_api(tokens))
        self.writer = self._child("writer", commands.writer, api, WRITER)
        self.workers = [self._worker(number, commands) for number in range(counters.workers)]
        self.forwarder: Child | None = None
        if config.forward.forwards:
            links = tuple(end.fileno() for _, end in sockets.links)
            there = self._handoff(links=links, flush=forwarders)
            self.forwarder = self._child("forwarder", commands.forwarder, there, counters.forwarder)
            self._answer_through(0)
        else:
            counters.set(counters.forwarder, "given_up", 1)  # nobody need wait for it
        lent = {PROXY: capabilities.lent}
        self.clients = [
            self._client(name, getattr(commands, name), token, lent.get(name, nullcontext))
            for name, token in tokens.items()
        ]

    def _worker(self, number: int, commands: Commands) -> Child:
        handoff = self._handoff(
            worker=number,
            udp=tuple(one.fileno() for one in self.sockets.udp_of(number, self.counters.workers)),
            tcp=tuple(one.fileno() for one in self.sockets.tcp),
            links=tuple(end.fileno() for end, _ in self.sockets.links[number : number + 1]),
            passing_on=self.sockets.passing[0].fileno(),
            passed_on=self._passed_on,
        )
        name, command = f"dns worker {number}", [*commands.worker, str(number)]
        return self._child(name, command, handoff, number + 1)

    def _child(self, name: str, command: Sequence[str], handoff: Handoff, row: int) -> Child:
        return Child(name, command, handoff, row, self.counters, self._keep, begin=forking.begin)

    def _client(self, name: str, command: Sequence[str], token: str, starting: Starting) -> Child:
        """Return a client of the API, whose life is no matter to the others: its counters are its own."""
        scheme = "https" if self.config.api.tls_cert else "http"
        url = f"{scheme}://{reachable(self.sockets.api_address)}"
        handoff = self._handoff(api_url=url, api_token=token)
        alone = Counters.create(0, 1, f"svcdns-{name}")
        return Child(name, command, handoff, 0, alone, outlives_mistakes=True, starting=starting)

    def _handoff(self, **rest: int | str | tuple[object, ...]) -> Handoff:
        numbers = self.held.lifeline[0], self.counters.descriptor, tapping.descriptor_of(self.tap)
        return Handoff(self.config, *numbers, **rest)  # type: ignore[arg-type]

    def children(self) -> list[Child]:
        """Return all of them."""
        return [*self.answering(), *self.clients]

    def answering(self) -> list[Child]:
        """Return the server itself: without one of these, something is not answered."""
        return [self.writer, *self.workers, *self.forwarders()]

    def all_but_writer(self) -> list[Child]:
        """Return those who answer questions."""
        return [*self.workers, *self.forwarders()]

    def forwarders(self) -> list[Child]:
        """Return the forwarder, if there is one."""
        return [self.forwarder] if self.forwarder else []

    def adopt(self, pids: Sequence[int], given_up: Sequence[int], clients: Sequence[int]) -> None:
        """Take processes that run as the children, in the order of `answering` and of `clients`.

        0 stands for one to be started.
        """
        for child, pid in zip(self.answering(), pids, strict=True):
            child.given_up = child.row - 1 in given_up
            if not child.given_up:
                child.adopt(pid)
        for child, pid in zip(self.clients, clients, strict=True):
            if pid or self._is_wanted(child):
                child.adopt(pid)

    def tokens(self) -> Iterable[tuple[Child, str]]:
        """Return each client with what it shows to the API."""
        return ((child, child.handoff.api_token) for child in self.clients)

    def forget_those_before(self) -> None:
        """To be called when the crew before has ended: nothing more comes from there."""
        for worker in self.workers:
            worker.handoff = replace(worker.handoff, passed_on=-1)

    def outlive_mistakes(self) -> None:
        """Start again also who says that it can't be cured: DNS is worth more than a mistake made since."""
        for child in self.children():
            child.outlives_mistakes = True

    def start(self) -> None:
        """Start all of them, but for those that have nothing to do yet.  Raises OSError.

        The writer is last of those that answer: it loads most, and questions need not wait for it.
        """
        for child in [*self.all_but_writer(), self.writer, *self.clients]:
            if self._is_wanted(child):
                child.start()

    def hang_up(self) -> None:
        """On SIGHUP: have zone files looked at, and the query log opened anew."""
        if self.counters.get(WRITER, "ready"):  # else it would die of it, and it reads all anyway
            self.writer.signal(signal.SIGHUP)
        if self.tap is not None:
            self.tap.add("reopenings", 1)

    def start_clients_soon(self) -> None:
        """Have the clients started with the next look at the children."""
        for child in self.clients:
            child.again_at = time.monotonic() if self._is_wanted(child) else None

    def _is_wanted(self, child: Child) -> bool:
        """Return whether a child has anything to do: a prober has not before there is a Pod with probes."""
        if child.name == OBSERVER:
            looked_at = self.tap is not None and self.tap.is_looked_at
            return looked_at or tapping.is_always_wanted(self.config)
        return child.name != PROBER or self.counters.probes_are_wanted

    def _waits(self, child: Child) -> bool:
        return child.name in (PROBER, OBSERVER) and child.process is None and child.again_at is None

    def check(self, children: Iterable[Child]) -> bool:
        """Start again who died of `children`, end a stuck forwarder; return whether one can't be cured."""
        fatal = False
        self._end_stuck_forwarder()
        for child in filter(self._waits, self.clients):
            child.again_at = time.monotonic() if self._is_wanted(child) else None
        for child in children:
            child.check(may_give_up=self._may_give_up(child))
            self._close_if_given_up(child)
            fatal = fatal or child.fatal
        return fatal

    def _may_give_up(self, child: Child) -> bool:
        """Only a worker, and never the last: its questions need somebody to go to."""
        return child in self.workers and any(
            not other.given_up for other in self.workers if other is not child
        )

    def _close_if_given_up(self, child: Child) -> None:
        if not child.given_up:
            return
        left = [worker.row - 1 for worker in self.workers if not worker.given_up]
        read = {one for number in left for one in self.sockets.udp_of(number, len(self.workers))}
        for one in self.sockets.udp_of(child.row - 1, len(self.workers)):
            if one not in read:
                one.close()  # the kernel spreads its flows over the sockets that are left
        if self.forwarder and self._answers_through < left[0]:
            # It holds the same sockets: flows would go on to them where nobody reads.
            self._answer_through(left[0])
            self.forwarder.signal(signal.SIGTERM)

    def _end_stuck_forwarder(self) -> None:
        """Kill a forwarder that has shown no life for long; the next one does its work."""
        row = self.counters.forwarder
        if self.forwarder and self.counters.get(row, "ready"):
            age = self.counters.beat_age(row)
            if age > STUCK_SECONDS:
                log.error("the forwarder has shown no life for %.0f s: it is ended", age)
                self.counters.set(row, "ready", 0)
                self.forwarder.signal(signal.SIGKILL)

    def _answer_through(self, worker: int) -> None:
        """Have the forwarder, from its next start on, answer UDP clients through a worker's sockets."""
        assert self.forwarder is not None
        self._answers_through = worker
        row = self.sockets.udp[worker]
        self.forwarder.handoff = replace(self.forwarder.handoff, udp=tuple(one.fileno() for one in row))

    def patience(self, now: float) -> float | None:
        """Return for how many seconds there is nothing to look at unless a child ends; None: for ever."""
        waits = [max(0.0, one.again_at - now) for one in self.children() if one.again_at is not None]
        if self.forwarder:
            waits.append(STUCK_SECONDS / 5)
        if any(map(self._waits, self.clients)):
            waits.append(_WANTED_SECONDS)
        return min(waits, default=None)

    def stop(self) -> None:
        """End all: the workers last, so that own names are answered while the others end."""
        self.counters.set_stopping()
        observers = [client for client in self.clients if client.name == OBSERVER]
        others = [client for client in self.clients if client not in observers]
        stop_all([self.writer, *self.forwarders(), *others], STOP_SECONDS)
        stop_all(self.workers, WORKERS_STOP_SECONDS)
        stop_all(observers, OBSERVER_STOP_SECONDS)  # it reads what the others have recorded last
