"""The counters: what the processes of one server say of themselves, in shared memory.

    header  = magic | process rows | counters a row                    (u64 each)
    process = PROCESS_FIELDS, one row for the writer, one a worker, one for the forwarder (u64 each)
    slots   = one array of counters a worker, one of the forwarder, and one of those who were there before
              an upgrade (u64 each)

Rules:

* the supervisor makes the memory at each start, as a file without a name (memfd) whose descriptor its
  children inherit: what a disk does, full or read-only, is no matter;
* each number has one process that writes it (see PROCESS_FIELDS) and is set as one aligned store of
  eight octets, so no reader ever sees half of one;
* a slot outlives its worker: the next one takes the numbers up where the last one left them, so
  totals never go down while the supervisor lives.

What the counters of a slot mean is said in `svcdns.dns.stats`; here they are only numbers.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Literal

NAME = "svcdns-counters"
"""Of the memory, as /proc shows it."""

_MAGIC = 0x3230_434E_4456_5353
_HEADER = 4
"""Numbers in the header; the fourth is `stopping`."""

Field = Literal["pid", "restarts", "crashes", "given_up", "ready", "busy", "unlocked", "beat", "cache"]

PROCESS_FIELDS: tuple[Field, ...] = (
    "pid",
    "restarts",
    "crashes",
    "given_up",
    "ready",
    "busy",
    "unlocked",
    "beat",
    "cache",
)
"""pid: 0 while there is none; restarts: after the first start; crashes: how often in a row it died of a
signal of its own (SIGSEGV) before it was ready; given_up: 1 once the supervisor has closed its sockets
(these four are the supervisor's).  ready: 1 once it answers (set by the process, taken back by the
supervisor when it dies); busy: zone transfers under way (set by the worker), the writer's: 1 once there was
a Pod with probes; unlocked: 1 while it reads the
store without a lock, on a read-only file system (set by the process), the writer's: 1 while what is answered
is older than store.stale_after; beat: when it last showed life
(time.monotonic(), milliseconds); cache: number of the generation of the cache that holds answers of this
run, 0 until there is one (these two are the forwarder's)."""

LIFELESS_SECONDS = 3.0
"""Without a beat for so long a process doesn't live."""

WRITER = 0
"""Row of the writer; worker n has row n + 1, the forwarder the row behind them."""


class CountersError(Exception):
    """They are not ours or have another shape."""


class Counters:
    """The mapped memory; for each of `workers` and the forwarder `width` counters, behind a row a process."""

    def __init__(self, descriptor: int) -> None:
        """Map them; the descriptor is closed with this object.  Raises CountersError."""
        self.descriptor = descriptor
        size = os.fstat(descriptor).st_size
        if size < 8 * _HEADER:
            raise CountersError("the counters are too short")
        self._map = mmap.mmap(descriptor, size)
        self._numbers = memoryview(self._map).cast("Q")
        magic, rows, self.width = self._numbers[0], self._numbers[1], self._numbers[2]
        if magic != _MAGIC or size != 8 * _size(rows - 2, self.width):
            raise CountersError("the counters have another shape")
        self.workers = rows - 2

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    @classmethod
    def create(cls, workers: int, width: int, name: str = NAME) -> Counters:
        """Make them, all numbers 0.  Raises OSError when there is no memory left."""
        descriptor = os.memfd_create(name)
        try:
            # Taken now: what is missing must show here, not as SIGBUS in a worker.
            os.posix_fallocate(descriptor, 0, 8 * _size(workers, width))
            os.pwrite(descriptor, array("Q", (_MAGIC, workers + 2, width)).tobytes(), 0)
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def get(self, process: int, field: Field) -> int:
        """Return a number of a process row (WRITER, or worker + 1)."""
        return self._numbers[self._at(process, field)]

    def set(self, process: int, field: Field, value: int) -> None:
        """Set a number of a process row."""
        self._numbers[self._at(process, field)] = value

    @property
    def forwarder(self) -> int:
        """Return the row of the forwarder; its slot is one lower, behind those of the workers."""
        return self.workers + 1

    def beat(self, process: int) -> None:
        """Store that a process lives, now."""
        self.set(process, "beat", int(1000 * monotonic()))

    def beat_age(self, process: int) -> float:
        """Return for how long a process has shown no life, in seconds."""
        return monotonic() - self.get(process, "beat") / 1000

    def forwarder_lives(self) -> bool:
        """Return whether there is a forwarder that shows life."""
        return bool(self.get(self.forwarder, "ready")) and self.beat_age(self.forwarder) < LIFELESS_SECONDS

    @property
    def probes_are_wanted(self) -> bool:
        """Return whether there was a Pod with probes since the writer began."""
        return bool(self.get(WRITER, "busy"))

    def want_probes(self) -> None:
        """Store that there is one (the writer does)."""
        self.set(WRITER, "busy", 1)

    @property
    def is_stale(self) -> bool:
        """Return whether what is answered is older than it should be."""
        return bool(self.get(WRITER, "unlocked"))

    def set_stale(self, is_stale: bool) -> None:
        """Store whether it is (the writer does)."""
        self.set(WRITER, "unlocked", int(is_stale))

    @property
    def stopping(self) -> bool:
        """Return whether the server is about to end: it is not ready any more."""
        return bool(self._numbers[3])

    def set_stopping(self) -> None:
        """Store that the server is about to end (the supervisor does)."""
        self._numbers[3] = 1

    def ready(self) -> bool:
        """Return whether the writer is ready, as is each other process that was not given up.

        A forwarder that is not needed counts as given up.
        """
        others = range(1, self.forwarder + 1)
        up = all(self.get(row, "ready") or self.get(row, "given_up") for row in others)
        return up and bool(self.get(WRITER, "ready")) and not self.stopping

    def slot(self, worker: int) -> Slot:
        """Return the counters of one worker (from 0), or of the forwarder (the number behind them)."""
        start = _HEADER + len(PROCESS_FIELDS) * (self.workers + 2) + self.width * worker
        return Slot(self._numbers[start : start + self.width])

    def totals(self) -> list[int]:
        """Return each counter summed over all workers, the forwarder and those before an upgrade."""
        slots = [self.slot(worker).read() for worker in range(self.workers + 2)]
        return [sum(numbers) for numbers in zip(*slots, strict=True)]

    def go_on_from(self, before: Counters) -> None:
        """Count on from where the processes before an upgrade are; once more when they have ended."""
        if before.width == self.width:
            self.slot(self.workers + 1).write(before.totals())

    def _at(self, process: int, field: Field) -> int:
        return _HEADER + len(PROCESS_FIELDS) * process + PROCESS_FIELDS.index(field)


@dataclass(frozen=True, slots=True)
class Slot:
    """The counters of one worker: its part of the map."""

    _numbers: memoryview

    def read(self) -> list[int]:
        """Return all counters."""
        return list(self._numbers)

    def write(self, values: Sequence[int]) -> None:
        """Set all counters (as many as the slot has)."""
        self._numbers[:] = memoryview(array("Q", values))


def _size(workers: int, width: int) -> int:
    return _HEADER + len(PROCESS_FIELDS) * (workers + 2) + width * (workers + 2)


_HAS_LIVED: tuple[Field, ...] = ("ready", "beat", "given_up")


def reasons(counters: Counters) -> list[str]:
    """Return why the server isn't ready, a short text each, for /readyz; [] when all is well.

    A worker that was given up is named although the others answer for it.  A forwarder counts until it has
    lived for the first time: later, own names are answered as ever while it is started again.
    """
    found = ["stopping"] if counters.stopping else []
    if not counters.get(WRITER, "ready"):
        found.append("manifests and zone files are being loaded")
    for worker in range(counters.workers):
        if counters.get(worker + 1, "given_up"):
            found.append(f"dns worker {worker} died too often and was given up")
        elif not counters.get(worker + 1, "ready"):
            found.append(f"dns worker {worker} is starting")
    if not any(counters.get(counters.forwarder, field) for field in _HAS_LIVED):
        found.append("the forwarder is starting")
    return found
