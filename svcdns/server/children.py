"""The processes that the supervisor starts, and when it starts them again.

Rules:

* a child that died is started again at once on the same sockets; what waits in them is answered;
* five deaths within ten seconds: a worker is given up, where others are left to take over its
  questions; all else is tried again after a growing pause;
* exit code FATAL is never tried again;
* who crashed is executed from then on, not forked: a fork has its memory where the one before had it, and who
  makes a process crash again and again would learn where that is.

Standard library only.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from .adopted import Adopted
from .child_setup import FATAL, VARIABLE, Handoff
from .counters import Counters

MANY_DEATHS = 5
WITHIN_SECONDS = 10.0
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0

CRASHES = tuple(
    -number for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
)
"""Exit codes of a process that did not end itself, nor was ended by another."""

log = logging.getLogger(__name__)

Process = subprocess.Popen[bytes] | Adopted
Begin = Callable[[Sequence[str], Collection[int], int], Process]
"""Begins a process: is given a command, the descriptors that it is to have, and that of its handoff."""


def execute(command: Sequence[str], descriptors: Collection[int], handoff: int) -> Process:
    """Begin a process by executing a command.  Raises OSError when the system refuses."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=(*descriptors, handoff),
        env={**os.environ, VARIABLE: str(handoff)},
        process_group=0,  # Ctrl-C is for the supervisor, which ends its children in order
    )


@dataclass(slots=True)
class Deaths:
    """When a child died lately."""

    times: deque[float] = field(default_factory=deque)
    pauses: int = 0

    def add(self, now: float) -> int:
        """Add a death; return how many there were within the last WITHIN_SECONDS."""
        self.times.append(now)
        while now - self.times[0] > WITHIN_SECONDS:
            self.times.popleft()
        if len(self.times) < MANY_DEATHS:
            self.pauses = 0
        return len(self.times)

    def pause(self) -> float:
        """Return how long to wait before the next start, in seconds; it doubles each time."""
        self.pauses += 1
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.pauses - 1)))


@dataclass(slots=True, eq=False)
class Child:
    """One process: what to run, and how it fared."""

    name: str
    command: Sequence[str]
    handoff: Handoff
    row: int
    """Its row in the counters."""
    counters: Counters
    keep: Sequence[int] = ()
    """Descriptors to pass that it need not know of (the folder's lock)."""
    process: Process | None = None
    deaths: Deaths = field(default_factory=Deaths)
    again_at: float | None = None
    """When it is to be started again (monotonic), None when it runs or was given up."""
    given_up: bool = False
    fatal: bool = False
    outlives_mistakes: bool = False
    """Whether FATAL is tried again too: an upgrade's server was good before; a proxy is not the server."""
    starting: Callable[[], AbstractContextManager[None]] = nullcontext
    """What its start is done within: rights that it alone is given."""
    begin: Begin = execute
    code: int | None = None
    """How it ended last, None before that."""

    @property
    def runs(self) -> bool:
        """Whether there is a process that has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether it does its work."""
        return bool(self.counters.get(self.row, "ready"))

    def has_ended(self) -> bool:
        """Return whether it was started and has ended."""
        return self.code is not None or (self.process is not None and not self.runs)

    def how_it_ended(self) -> str:
        """Return that as a text."""
        code = self.process.poll() if self.process is not None else self.code
        return _how(self.code or 0 if code is None else code)

    def adopt(self, pid: int) -> None:
        """Take a process that runs already as this one; 0: there is none, so it is started soon."""
        if pid:
            self.process = Adopted(pid)
        else:
            self.again_at = time.monotonic()

    def start(self) -> None:
        """Start it.  Raises OSError when the system refuses."""
        self.again_at = None
        with self.handoff.in_memory() as handoff, self.starting():
            self.process = self.begin(self.command, (*self.handoff.descriptors(), *self.keep), handoff)
        self.counters.set(self.row, "pid", self.process.pid)
        log.debug("%s runs as process %d", self.name, self.process.pid)

    def check(self, *, may_give_up: bool) -> None:
        """Check whether it died, and start it again when it is time to."""
        now = time.monotonic()
        if self.process is not None and (code := self.process.poll()) is not None:
            self._died(code, now, may_give_up=may_give_up)
        if self.again_at is not None and now >= self.again_at:
            self.counters.set(self.row, "restarts", self.counters.get(self.row, "restarts") + 1)
            try:
                self.start()
            except OSError as failed:
                log.error("%s can't be started: %s", self.name, failed.strerror or failed)
                self.again_at = now + self.deaths.pause()

    def _died(self, code: int, now: float, *, may_give_up: bool) -> None:
        self.process, self.code = None, code
        if code in CRASHES:
            self.begin = execute
        crashed = code in CRASHES and not self.counters.get(self.row, "ready")
        self.counters.set(self.row, "crashes", self.counters.get(self.row, "crashes") + 1 if crashed else 0)
        self.counters.set(self.row, "pid", 0)
        self.counters.set(self.row, "ready", 0)
        self.counters.set(self.row, "busy", 0)
        self.counters.set(self.row, "unlocked", 0)
        if code == FATAL and not self.outlives_mistakes:
            self.fatal = True
            return
        many = self.deaths.add(now)
        if many < MANY_DEATHS and code != FATAL:
            self.again_at = now
            log.warning("%s %s; starting it again", self.name, _how(code))
        elif may_give_up and many >= MANY_DEATHS:
            self.given_up = True
            self.counters.set(self.row, "given_up", 1)
            log.error("%s %s, %d times within %ds: given up", self.name, _how(code), many, WITHIN_SECONDS)
        else:
            pause = self.deaths.pause()
            self.again_at = now + pause
            log.error(
                "%s %s, %d times lately; starting it again in %.2f s", self.name, _how(code), many, pause
            )

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def stop_all(children: Sequence[Child], seconds: float) -> None:
    """Ask all to end, give them `seconds`, then kill those that are left; returns when all are gone."""
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for child in children:
        if child.process is None:
            continue
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("%s did not end in time and is killed", child.name)
            child.process.kill()
            child.process.wait()
