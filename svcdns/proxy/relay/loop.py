"""The relay's event loop: descriptors, work for the next turn, timers, and calls from other threads.

Rules:

* an event is a hint: a handler tries, and learns from the system call what is the matter.  A descriptor that
  was closed and made again within one turn may get an event that was meant for the former one;
* a handler does a bounded amount of work and asks for another turn (`again`) where more is left;
* what a handler raises is logged and ends nothing else.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
"""For a connection: each change once."""
READABLE, WRITABLE = select.EPOLLIN, select.EPOLLOUT
HUNG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_EVENTS_A_TURN = 256
_ENDED = "the relay has ended"

log = logging.getLogger(__name__)

T = TypeVar("T")
Handler = Callable[[int], None]


class Loop:
    """One thread that waits for descriptors; all but `call` and `stop` is for that thread alone."""

    def __init__(self) -> None:
        """Make it; `start` starts its thread.  Raises OSError (no descriptors left)."""
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, READABLE)
        self._handlers: dict[int, Handler] = {}
        self._again: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def start(self) -> None:
        """Start its thread."""
        self._thread.start()

    def call(self, work: Callable[[], T]) -> T:
        """Have the loop do it between two events; return its result, or raise what it raised.

        Raises RuntimeError once the loop has ended.
        """
        done: Future[T] = Future()
        with self._lock:  # so that no call is left behind by a loop that ends
            if self._stopped:
                raise RuntimeError(_ENDED)
            self._calls.append((done, work))
            os.eventfd_write(self._wake, 1)
        return done.result()

    def stop(self) -> None:
        """End the thread, after the calls that wait; twice is fine."""
        with suppress(RuntimeError):
            self.call(self._stop)
        self._thread.join()

    # For the loop's own thread

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call the handler with what happens to a descriptor.  Raises OSError."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def pause(self, descriptor: int) -> None:
        """Ignore a descriptor until `resume`."""
        self._epoll.modify(descriptor, 0)

    def resume(self, descriptor: int) -> None:
        """Hear of a descriptor that is read only once more."""
        self._epoll.modify(descriptor, READABLE)

    def forget(self, descriptor: int) -> None:
        """Call its handler no more; before it is closed, which takes it out of epoll."""
        self._handlers.pop(descriptor, None)

    def again(self, work: Callable[[], None]) -> None:
        """Do this in the next turn, after the events that have come until then."""
        self._again.append(work)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this once, some time from now."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), work))

    def _run(self) -> None:
        try:
            while not self._stopped:
                for descriptor, events in self._epoll.poll(self._patience(), _EVENTS_A_TURN):
                    if descriptor == self._wake:
                        os.eventfd_read(self._wake)
                    elif handler := self._handlers.get(descriptor):
                        self._guarded(handler, events)
                self._turn()
        finally:  # whatever ended it, nobody waits for ever
            self._stop()
            while self._calls:
                self._calls.popleft()[0].set_exception(RuntimeError(_ENDED))
            self._epoll.close()
            os.close(self._wake)

    def _patience(self) -> float:
        if self._again:
            return 0
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _turn(self) -> None:
        if self._again:
            works, self._again = self._again, []
            for work in works:
                self._guarded(work)
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._guarded(heapq.heappop(self._timers)[2])
        while self._calls and not self._stopped:
            done, work = self._calls.popleft()
            try:
                done.set_result(work())
            except BaseException as wrong:
                done.set_exception(wrong)

    def _guarded(self, work: Callable[..., None], *arguments: int) -> None:
        try:
            work(*arguments)
        except Exception:
            log.exception("an error of the relay, which goes on")

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
