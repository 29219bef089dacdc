"""How one crew follows another without a question lost: the second half of an upgrade.

    the new forwarder starts, then the new workers, beside the old ones and on the same sockets
    -> all are ready: the new writer starts, reads what it needs, ends the old one and opens the API
    -> the old workers end when their TCP clients are served, then the old forwarder and the old API clients
    -> the new ones start: never are there two proxies, and what the kernel holds carries traffic meanwhile

Until the old writer has been ended, whatever fails ends the new crew and leaves the old one as it was.  After
that the new one is in charge: questions are answered either way.

Standard library only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from .children import Child, stop_all
from .crew import Crew
from .inherited_sockets import close_others
from .rehearsal import Failed
from .takeover import LEAVE, STAY

READY_SECONDS = 30.0
LEAVE_SECONDS = 8.0
"""For so long an old worker may serve its TCP clients: longer than they get (worker.LEAVE_SECONDS)."""
FORWARDER_SECONDS = 5.0

log = logging.getLogger(__name__)


class Replacement:
    """A crew on its way in and a crew on its way out."""

    def __init__(self, old: Crew, new: Crew) -> None:
        """Nothing of `new` has been started."""
        self.old = old
        self.new = new
        self.in_charge = old
        """Whose sockets and configuration are the server's."""

    def check(self) -> bool:
        """Start again what died of either crew, but for a writer whose time is over."""
        old = self.old.all_but_writer() if self.new.writer.runs else self.old.children()
        if self.in_charge is self.new:
            return self.new.check(self.new.children())
        return self.old.check(old)

    def steps(self) -> Iterator[None]:
        """Do it, a step each time that the supervisor has a moment.  Raises Failed; all is as before then."""
        new, old = self.new, self.old
        with contextlib.ExitStack() as pidfds:
            try:
                if new.forwarder and old.forwarder:
                    pidfds.enter_context(_succeeding(new.forwarder, old.forwarder))
                # First the forwarder: a worker has nobody to hand over to before, and would say SERVFAIL.
                for children in (new.forwarders(), new.workers):
                    yield from self._start(children)
                    yield from self._until(partial(_all_ready, children))
                pidfds.enter_context(_succeeding(new.writer, old.writer))
                yield from self._start([new.writer])
                yield from self._until(lambda: not old.writer.runs or new.counters.ready())
            except Exception:
                self._give_up()
                raise
        self.in_charge = new
        new.outlive_mistakes()
        try:
            yield from self._until(new.counters.ready)
        except Failed as late:
            yield from self._end_old()
            text = (
                "questions are answered by the new version, but its API is not: it is started again and again"
            )
            raise Failed(text, *late.lines()) from None
        yield from self._end_old()

    def _start(self, children: list[Child]) -> Iterator[None]:
        for child in children:
            try:
                child.start()
            except OSError as failed:
                raise Failed(f"{child.name} can't be started: {failed.strerror or failed}") from None
            yield

    def _until(self, condition: Callable[[], bool]) -> Iterator[None]:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            for child in self.new.children():
                if child.has_ended():
                    raise Failed(f"the new {child.name} {child.how_it_ended()}: the log says more")
            if time.monotonic() > deadline:
                names = ", ".join(
                    child.name for child in self.new.children() if child.runs and not child.is_ready
                )
                raise Failed(f"not ready within {READY_SECONDS:g} s: {names}")
            yield

    def _give_up(self) -> None:
        """End the new crew and leave all as it was."""
        self.new.stop()
        if self.old.forwarder:
            self.old.forwarder.signal(STAY)
        close_others(self.new.sockets, self.old.sockets)

    def _end_old(self) -> Iterator[None]:
        """End the old crew: workers when they have served their clients, then the forwarder."""
        old = self.old
        for worker in old.workers:
            worker.signal(LEAVE)
        yield from self._gone(old.workers, LEAVE_SECONDS)
        if old.forwarder:
            old.forwarder.signal(signal.SIGTERM)
            yield from self._gone([old.forwarder], FORWARDER_SECONDS)
        stop_all([old.writer], 0.0)
        yield from self._next_clients()
        self.new.counters.go_on_from(old.counters)
        self.new.forget_those_before()
        close_others(old.sockets, self.new.sockets)

    def _next_clients(self) -> Iterator[None]:
        for client in self.old.clients:
            client.signal(signal.SIGTERM)
        yield from self._gone(self.old.clients, FORWARDER_SECONDS)
        if self.old.tap is not None and self.new.tap is not None:
            self.new.tap.go_on_from(self.old.tap)  # once more: its observer has read what was left
        self.new.start_clients_soon()

    def _gone(self, children: list[Child], seconds: float) -> Iterator[None]:
        deadline = time.monotonic() + seconds
        while any(child.runs for child in children) and time.monotonic() < deadline:
            yield
        stop_all(children, 0.0)


def _all_ready(children: list[Child]) -> bool:
    return all(child.is_ready for child in children)


@contextlib.contextmanager
def _succeeding(child: Child, old: Child) -> Iterator[None]:
    """Have `child` know the process of `old` while the body runs, as the one whose work it takes over."""
    pidfd = -1
    if old.process is not None and old.runs:
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(old.process.pid)
    child.handoff = replace(child.handoff, predecessor=pidfd)
    try:
        yield
    finally:
        child.handoff = replace(child.handoff, predecessor=-1)
        if pidfd >= 0:
            os.close(pidfd)
