"""The supervisor: owns the data folder and the sockets, and keeps the other processes running.

    take the folder -> bind all sockets -> become `user` -> start the writer, the workers, the forwarder
    -> start again what dies, until SIGTERM or SIGINT -> end all, exit code 0

Rules:

* standard library only, and it never opens the store: what can't crash needs no supervisor;
* children are started by exec, never by a bare fork, and end when the lifeline does: nothing of a
  server outlives its supervisor;
* a mistake of the user's ends in one line on stderr and exit code 1, before any child runs.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from select import select

from svcdns.config.listening import ADDRESSES
from svcdns.config.sections import Config, ConfigError
from svcdns.dns.stats import SLOTS

from . import child_setup, folder
from . import counters as counters_file
from .children import Child, stop_all
from .counters import WRITER, Counters
from .logs import READY
from .sockets import BindError, Sockets, bind_all

STOP_SECONDS = 5.0
WORKERS_STOP_SECONDS = 3.0
"""All together less than the 10 s after which podman and docker kill."""
STUCK_SECONDS = 10.0
_POLL_SECONDS = 0.02
_POLL_OFTEN_SECONDS = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Commands:
    """What is run as the children."""

    writer: Sequence[str] = (sys.executable, "-m", "svcdns.server.writer")
    worker: Sequence[str] = (sys.executable, "-m", "svcdns.server.worker")
    forwarder: Sequence[str] = (sys.executable, "-m", "svcdns.server.forwarder")


def run(config: Config, commands: Commands | None = None) -> int:
    """Serve until told to end; return the exit code.

    Raises ConfigError when `user` can't be had (exit code 2 is the caller's business).
    """
    _check_user(config)
    commands = commands or Commands()
    workers = config.dns.workers or len(os.sched_getaffinity(0))
    try:
        lock = folder.take(config.data)
        sockets = bind_all(config, workers)
        if config.user and os.geteuid() == 0:
            folder.give_to(config.data, config.user)
        counters = Counters.create(config.data / counters_file.FILE, workers, SLOTS)
        folder.tell_addresses(config.data, sockets.dns_addresses, sockets.api_address, workers)
        return Supervisor(config, commands, lock, sockets, counters).run()
    except (folder.FolderError, BindError) as refused:
        return _fail(str(refused))
    except OSError as failed:
        return _fail(f"{failed.filename or config.data}: {failed.strerror or failed}")


def _fail(text: str) -> int:
    print(f"svcdns: {text}", file=sys.stderr)
    return 1


def _check_user(config: Config) -> None:
    if config.user and os.geteuid() not in (0, pwd.getpwnam(config.user).pw_uid):
        raise ConfigError(f"user: becoming {config.user!r} needs a start as root; leave user empty otherwise")


class Supervisor:
    """The running server: its sockets and its children."""

    def __init__(
        self, config: Config, commands: Commands, lock: int, sockets: Sockets, counters: Counters
    ) -> None:
        """All is taken and bound; `run` starts the children."""
        self.sockets = sockets
        self.counters = counters
        self.folder = config.data
        lifeline, self._lifeline = os.pipe()  # our end closes with us, however we end
        shared = [one.fileno() for one in sockets.tcp]
        api = child_setup.make(config, lifeline, api=sockets.api.fileno())
        self.writer = Child("writer", commands.writer, api, WRITER, counters, keep=(lock,))
        self.workers = [
            Child(
                f"dns worker {number}",
                [*commands.worker, str(number)],
                child_setup.make(
                    config,
                    lifeline,
                    worker=number,
                    udp=tuple(one.fileno() for one in row),
                    tcp=tuple(shared),
                    links=tuple(end.fileno() for end, _ in sockets.links[number : number + 1]),
                ),
                number + 1,
                counters,
                keep=(lock,),
            )
            for number, row in enumerate(sockets.udp)
        ]
        self.forwarder: Child | None = None
        if config.forward.forwards:
            there = child_setup.make(config, lifeline, links=tuple(end.fileno() for _, end in sockets.links))
            self.forwarder = Child(
                "forwarder", commands.forwarder, there, counters.forwarder, counters, keep=(lock,)
            )
            self._answer_through(0)
        else:
            counters.set(counters.forwarder, "given_up", 1)  # nobody need wait for it
            log.info("nothing is forwarded: upstreams in [forward] is empty")
        self.announced = False
        self._started = time.monotonic()

    def run(self) -> int:
        """Start the children and keep them running; return the exit code."""
        woken = _wake_on_signals()
        fatal = False
        try:
            for child in self._children():
                child.start()
            while not fatal and not self._signalled(woken):
                self._end_stuck_forwarder()
                for child in self._children():
                    child.check(may_give_up=self._may_give_up(child))
                    self._close_if_given_up(child)
                fatal = any(child.fatal for child in self._children())
                self._announce()
        finally:
            self._stop(woken)
        return 1 if fatal else 0

    def _children(self) -> list[Child]:
        return [self.writer, *self.workers, *([self.forwarder] if self.forwarder else [])]

    def _may_give_up(self, child: Child) -> bool:
        """Only a worker, and never the last: its questions need somebody to go to."""
        return child not in (self.writer, self.forwarder) and any(
            not other.given_up for other in self.workers if other is not child
        )

    def _close_if_given_up(self, child: Child) -> None:
        if not child.given_up:
            return
        for one in self.sockets.udp[child.row - 1]:
            one.close()  # the kernel spreads its flows over the sockets that are left
        alive = next(worker.row - 1 for worker in self.workers if not worker.given_up)
        if self.forwarder and self._answers_through < alive:
            # It holds the same sockets: flows would go on to them where nobody reads.
            self._answer_through(alive)
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
        udp = tuple(one.fileno() for one in self.sockets.udp[worker])
        self.forwarder.handoff = replace(self.forwarder.handoff, udp=udp)

    def _signalled(self, woken: socket.socket) -> bool:
        """Wait for a signal or until there is something to look at; return True to end."""
        select([woken], [], [], self._patience())
        try:
            numbers = woken.recv(4096)
        except BlockingIOError:
            return False
        if signal.SIGHUP in numbers and self.counters.get(WRITER, "ready"):
            self.writer.signal(signal.SIGHUP)  # not before: it would die of it, and reads all anyway
        return signal.SIGTERM in numbers or signal.SIGINT in numbers

    def _patience(self) -> float | None:
        due = [child.again_at for child in self._children() if child.again_at is not None]
        now = time.monotonic()
        waits = [max(0.0, at - now) for at in due]
        if not self.announced:
            early = now - self._started < _POLL_OFTEN_SECONDS
            waits.append(_POLL_SECONDS if early else 25 * _POLL_SECONDS)
        if self.forwarder:
            waits.append(STUCK_SECONDS / 5)
        return min(waits, default=None)

    def _announce(self) -> None:
        if not self.announced and self.counters.ready():
            self.announced = True
            logging.getLogger(READY).info(
                "svcdns ready: dns=%s api=%s workers=%d",
                ",".join(map(str, self.sockets.dns_addresses)),
                self.sockets.api_address,
                len(self.workers),
            )

    def _stop(self, woken: socket.socket) -> None:
        self.counters.set_stopping()
        log.info("stopping")
        # Own names are answered for as long as any of the others takes to end.
        others = [child for child in self._children() if child not in self.workers]
        stop_all(others, STOP_SECONDS)
        stop_all(self.workers, WORKERS_STOP_SECONDS)
        self.sockets.close()
        os.close(self._lifeline)
        woken.close()
        (self.folder / ADDRESSES).unlink(missing_ok=True)


def _wake_on_signals() -> socket.socket:
    """Return a socket that gets an octet, its number, for each signal that concerns us."""
    woken, waker = socket.socketpair()
    woken.setblocking(False)
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return woken
