"""The supervisor: owns the data folder and the sockets, and keeps the other processes running.

    take the folder -> bind all sockets -> become `user` -> start the writer, the workers, the forwarder
    -> start again what dies, until SIGTERM or SIGINT -> end all, exit code 0

    SIGUSR2 -> the new code rehearses -> becomes the new code, which goes on from there (see succession.py)
    SIGHUP  -> the writer looks at zone files; then the same, but only where the configuration has changed

Rules:

* it runs the standard library only, and never opens the store: what can't crash needs no supervisor (what
  its children share it loads for them: see forking.py);
* it has one thread, and children end when the lifeline does: nothing of a server outlives its supervisor;
* a mistake of the user's ends in one line on stderr and exit code 1, before any child runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import signal
import socket
import sys
import time
from collections.abc import Iterator
from select import select
from typing import Any

from svcdns import __version__
from svcdns.config.listening import ADDRESSES
from svcdns.config.load import of_spelt, spelt_options
from svcdns.config.sections import Config, ConfigError
from svcdns.dns.stats import SLOTS
from svcdns.system import service_notice

from . import capabilities, data_folder, inherited_sockets, succession, surroundings, tapping
from .children import Child
from .counters import Counters
from .crew import Commands, Crew, Held
from .cut_data import refuse_cut_data
from .logs import READY
from .rehearsal import Failed, Rehearsal
from .replacement import Replacement
from .sockets import BindError, Sockets, bind_all
from .succession import SIGNALS, Legacy
from .surroundings import NotHere
from .upgrade_progress import Progress

_RETRY_SECONDS = 5.0
_POLL_SECONDS = 0.02
_POLL_OFTEN_SECONDS = 30.0
_UPGRADE_FAILED = "the upgrade has failed"
_NOT_TAKEN = "the configuration stays as it was"

log = logging.getLogger(__name__)


def run(config: Config, commands: Commands | None = None, legacy: Legacy | None = None) -> int:
    """Serve until stopped; return the exit code.

    With a `legacy`, go on from a running server's instead of beginning afresh.
    Raises ConfigError when `user` can't be had (exit code 2 is the caller's business).
    """
    commands = commands or Commands()
    if legacy is not None:
        return _successor(config, commands, legacy).run()
    _check_user(config)
    workers = _workers(config)
    try:
        surroundings.check(config)
        locks = data_folder.take(config.data)
        refuse_cut_data(config.data)
        sockets = bind_all(config, workers)
        _become_user(config)
        counters = Counters.create(workers, SLOTS)
        tap = tapping.create(config, workers)
        crew = Crew(config, commands, sockets, counters, Held(locks, os.pipe()), tap=tap)
        return Supervisor(crew, commands).run()
    except (data_folder.FolderError, BindError, NotHere) as refused:
        return _fail(str(refused))
    except OSError as failed:
        return _fail(f"{failed.filename or config.data}: {failed.strerror or failed}")


def _successor(config: Config, commands: Commands, legacy: Legacy) -> Supervisor:
    """Return the supervisor of a server that runs already, which is about to replace its children."""
    capabilities.hold_back()
    for number in (*legacy.lifeline, *legacy.locks, legacy.counting, *tapping.there(legacy.tapping)):
        os.set_inheritable(number, False)
    held, sockets = Held(legacy.locks, legacy.lifeline), Sockets.of(legacy.sockets)
    counters, tap = Counters(legacy.counting), tapping.of_descriptor(legacy.tapping)
    tokens = {name: token for name, _, token in legacy.clients}
    crew = Crew(of_spelt(legacy.config), commands, sockets, counters, held, tap=tap, tokens=tokens)
    crew.adopt(legacy.pids, legacy.given_up, [pid for _, pid, _ in legacy.clients])
    return Supervisor(crew, commands, config, legacy.upgrades)


def _become_user(config: Config) -> None:
    """Become `user`, with what the proxy will need held back for it."""
    becomes = bool(config.user) and os.geteuid() == 0
    if becomes and config.proxy.serve:
        with capabilities.kept():
            data_folder.give_to(config.data, config.user)
    elif becomes:
        data_folder.give_to(config.data, config.user)
    elif config.proxy.serve:
        capabilities.hold_back()


def _workers(config: Config) -> int:
    return config.dns.workers or len(os.sched_getaffinity(0))


def _fail(text: str) -> int:
    print(f"svcdns: {text}", file=sys.stderr)
    return 1


def _check_user(config: Config) -> None:
    if config.user and os.geteuid() not in (0, pwd.getpwnam(config.user).pw_uid):
        raise ConfigError(f"user: becoming {config.user!r} needs a start as root; leave user empty otherwise")


class Supervisor:
    """The running server: its sockets and its children."""

    def __init__(
        self, crew: Crew, commands: Commands, successor: Config | None = None, upgrades: int = 0
    ) -> None:
        """All is taken and bound; `run` starts the children, but for those that were adopted.

        `successor` is the configuration of an upgrade that has come so far that this is the new code.
        """
        self.crew = crew
        self._commands = commands
        self._upgrades = upgrades
        self._progress = Progress(crew.config.data, upgrades)
        self._replacement: Replacement | None = None
        self._under_way: Iterator[None] | None = self._replace(successor) if successor else None
        self._announced = successor is not None
        self._hung_up = False
        """SIGHUP has come, and the configuration is yet to be read for it."""
        self._failure = _UPGRADE_FAILED
        self._woken: socket.socket | None = None
        self._publish_again_at: float | None = None
        """When to write addresses.json, which could not be written."""
        self._started = time.monotonic()

    def run(self) -> int:
        """Start the children and keep them running; return the exit code."""
        woken = self._woken = _wake_on_signals()
        fatal = False
        try:
            if self._under_way is None:
                self._publish_addresses()
                if self.crew.forwarder is None:
                    log.info("nothing is forwarded: upstreams in [forward] is empty")
                self.crew.start()
            while not fatal and not self._signalled(woken):
                fatal = self._check()
                self._go_on()
                self._announce()
                if self._publish_again_at is not None and time.monotonic() >= self._publish_again_at:
                    self._publish_addresses()
        finally:
            self._stop(woken)
        return 1 if fatal else 0

    def _check(self) -> bool:
        """Start again what died; return whether something can't be cured."""
        if self._replacement is not None:
            return self._replacement.check()
        return self.crew.check(self.crew.children())

    def _signalled(self, woken: socket.socket) -> bool:
        """Wait for a signal or until there is something to look at; return True to end."""
        select([woken], [], [], self._patience())
        try:
            numbers = woken.recv(4096)
        except BlockingIOError:
            return False
        if signal.SIGHUP in numbers:
            self._hung_up = True
            self.crew.hang_up()
        if signal.SIGUSR2 in numbers:
            if self._under_way is None:
                self._begin_rehearsal()
            else:
                log.warning("an upgrade is under way already")
        return signal.SIGTERM in numbers or signal.SIGINT in numbers

    def _patience(self) -> float | None:
        if self._under_way is not None or (self._hung_up and self._announced):
            return _POLL_SECONDS
        now = time.monotonic()
        waits = [self.crew.patience(now)]
        if self._publish_again_at is not None:
            waits.append(max(0.0, self._publish_again_at - now))
        if not self._announced:
            early = now - self._started < _POLL_OFTEN_SECONDS
            waits.append(_POLL_SECONDS if early else 25 * _POLL_SECONDS)
        return min((seconds for seconds in waits if seconds is not None), default=None)

    def _announce(self) -> None:
        if not self._announced and self.crew.counters.ready():
            self._announced = True
            logging.getLogger(READY).info("svcdns ready: %s", self._where())
            service_notice.tell(service_notice.READY)

    def _where(self) -> str:
        sockets = self.crew.sockets
        dns = ",".join(map(str, sockets.dns_addresses))
        workers, data = len(self.crew.workers), self.crew.config.data
        return f"dns={dns} api={sockets.api_address} workers={workers} data={data}"

    def _publish_addresses(self) -> None:
        """Write where we listen; where the disk takes nothing, try again later."""
        sockets, data = self.crew.sockets, self.crew.config.data
        tls, workers = bool(self.crew.config.api.tls_cert), len(self.crew.workers)
        try:
            data_folder.publish_addresses(data, sockets.dns_addresses, sockets.api_address, workers, tls=tls)
        except OSError as failed:
            if self._publish_again_at is None:
                text = f"{failed.strerror or failed}; tried again every {_RETRY_SECONDS:g} s"
                log.warning("%s can't be written: %s", data / ADDRESSES, text)
            self._publish_again_at = time.monotonic() + _RETRY_SECONDS
        else:
            self._publish_again_at = None

    # An upgrade: the first half is the old code's, the second the new code's.

    def _begin_rehearsal(self, *, if_changed: bool = False) -> None:
        self._upgrades += 1
        self._failure = _NOT_TAKEN if if_changed else _UPGRADE_FAILED
        self._under_way = self._rehearse(if_changed=if_changed)

    def _go_on(self) -> None:
        """Take the next step of an upgrade that is under way, or begin one that was waited with."""
        if self._under_way is None and self._hung_up and self._announced:
            self._hung_up = False
            self._begin_rehearsal(if_changed=True)
        if self._under_way is None:
            return
        try:
            next(self._under_way)
            return
        except StopIteration:
            pass
        except Failed as failed:
            for line in failed.lines():
                log.error("%s: %s", self._failure, line)
            self._progress.end(1, *failed.lines())
        except Exception as bug:  # an upgrade never ends the server
            log.exception(self._failure)
            self._progress.end(1, f"the upgrade has failed ({bug}): the log says more")
        self._under_way = self._replacement = None

    def _rehearse(self, *, if_changed: bool) -> Iterator[None]:
        """Have the new code check all that it would take over, then become it.  Raises Failed.

        With `if_changed`, only where it has read another configuration than the one that runs.
        """
        if if_changed:
            log.info("zone files are looked at, and the configuration is read again")
        else:
            log.info("upgrading: the new code checks the configuration")
        self._progress = Progress(self.crew.config.data, self._upgrades)
        self._progress.write("the new code checks the configuration")
        words, legacy = succession.command(), self._legacy()
        rehearsal = Rehearsal(words, legacy)
        try:
            while (config := rehearsal.result()) is None:
                yield
        except GeneratorExit:
            rehearsal.end()
            raise
        changed = ", ".join(_changed(spelt_options(self.crew.config), config))
        if if_changed and not changed:
            log.info("the configuration has not changed")
            self._progress.end(0, "the configuration has not changed")
            return
        if changed:
            log.info("changed options are taken: %s", changed)
        legacy = self._legacy().with_successor(config)  # children may have died meanwhile
        log.info("upgrading: process %d goes on as %s", os.getpid(), " ".join(words))
        try:
            with capabilities.lent():
                succession.become(words, legacy, self._descriptors(), self._unread)
        except OSError as failed:
            raise Failed(f"{words[0]} can't be run: {failed.strerror or failed}") from None

    def _unread(self) -> set[int]:
        """Return the signals that have come and are yet to be acted on."""
        numbers = {int(signal.SIGHUP)} if self._hung_up else set()
        if self._woken is not None:
            with contextlib.suppress(BlockingIOError):
                numbers.update(self._woken.recv(4096))
        return numbers & SIGNALS - {signal.SIGCHLD}

    def _legacy(self) -> Legacy:
        crew = self.crew
        return Legacy(
            config=spelt_options(crew.config),
            locks=crew.held.locks,
            lifeline=crew.held.lifeline,
            counting=crew.counters.descriptor,
            tapping=tapping.descriptor_of(crew.tap),
            sockets=crew.sockets.numbers(),
            pids=tuple(_pid(child) for child in crew.answering()),
            given_up=tuple(child.row - 1 for child in crew.workers if child.given_up),
            upgrades=self._upgrades,
            clients=tuple((child.name, _pid(child), token) for child, token in crew.tokens()),
        )

    def _descriptors(self) -> list[int]:
        held = self.crew.held
        sockets = [one.fileno() for one in self.crew.sockets.all()]
        shared = (self.crew.counters.descriptor, tapping.descriptor_of(self.crew.tap))
        return [one for one in {*held.locks, *held.lifeline, *shared, *sockets} if one >= 0]

    def _replace(self, config: Config) -> Iterator[None]:
        """Replace the children by those of the new code and configuration.  Raises Failed."""
        old = self.crew
        self._progress.write(f"svcdns {__version__} starts beside the old processes")
        new = _next_crew(old, config, self._commands)
        self._replacement = replacement = Replacement(old, new)
        announced = False
        try:
            for _ in replacement.steps():
                if replacement.in_charge is new and not announced:
                    announced = True
                    self._progress.write("the new processes answer; the old ones finish what they have begun")
                yield
        finally:
            if replacement.in_charge is new:
                self.crew = new
                self._publish_addresses()
        text = f"svcdns {__version__}: {self._where()}"
        logging.getLogger(READY).info("svcdns upgraded: %s", text)
        self._progress.end(0, f"upgraded to {text}")

    def _stop(self, woken: socket.socket) -> None:
        log.info("stopping")
        service_notice.tell(service_notice.STOPPING)
        both = self._replacement
        if self._under_way is not None:
            with contextlib.suppress(Failed):
                self._under_way.close()  # type: ignore[attr-defined]
        for crew in (both.old, both.new) if both else (self.crew,):
            crew.stop()
            crew.sockets.close()
        os.close(self.crew.held.lifeline[1])
        signal.set_wakeup_fd(-1)
        woken.close()
        data_folder.withdraw(self.crew.config.data)


def _pid(child: Child) -> int:
    return child.process.pid if child.process else 0


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names of the options that have another value; what only the new code knows doesn't count."""
    return [name for name, value in after.items() if name in before and before[name] != value]


def _next_crew(old: Crew, config: Config, commands: Commands) -> Crew:
    """Return the crew that is to follow; nothing of it is started yet.  Raises Failed."""
    workers = _workers(config)
    counters = Counters.create(workers, SLOTS)
    counters.go_on_from(old.counters)
    try:
        sockets = inherited_sockets.follow(old.sockets, old.config, config, workers)
    except BindError as refused:
        raise Failed(f"{refused}; or restart svcdns instead of upgrading it") from None
    tap = tapping.next_of(old.tap, config, workers)
    crew = Crew(config, commands, sockets, counters, old.held, tap=tap, before=old.sockets)
    for child in crew.answering():  # none is at its first start
        row = min(child.row, old.counters.forwarder)
        counters.set(child.row, "restarts", old.counters.get(row, "restarts") + 1)
    return crew


def _wake_on_signals() -> socket.socket:
    """Return a socket that gets an octet, its number, for each signal that concerns us."""
    woken, waker = socket.socketpair()
    woken.setblocking(False)
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.detach(), warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # an upgrade has had them wait
    return woken
