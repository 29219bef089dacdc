"""The memory of the tap: numbers, a page of statistics, and a ring for each process that answers questions.

    numbers = magic | rings | octets of a ring | WORDS      (u64 each)
    page    = version | size | octets                       (what `publish` was given last)
    rings   = one a worker and one of the forwarder         (see `ring`)

Rules:

* the supervisor makes it as a file without a name (memfd) whose descriptor its children inherit, as it does
  the counters; a ring takes memory only where something was written, so a tap that is not used costs none;
* each word has one process that writes it, and is set as one aligned store of eight octets;
* the page is written by one process; who reads it while it changes reads it again.

Standard library only: the supervisor reads this.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import sys
from array import array
from time import monotonic
from typing import Literal

from .ring import NUMBERS, Ring

NAME = "svcdns-tap"
"""Of the memory, as /proc shows it."""

Word = Literal["looked_at", "reopenings", "records", "lost", "lines", "lines_lost", "frames", "frames_lost"]

WORDS: tuple[Word, ...] = (
    "looked_at",
    "reopenings",
    "records",
    "lost",
    "lines",
    "lines_lost",
    "frames",
    "frames_lost",
)
"""looked_at: until when somebody looks (time.monotonic(), milliseconds; set by the writer).  reopenings: how
often files were to be opened anew (set by the supervisor).  All else counts what the observer has done:
records read and lost (overwritten before they were read), lines of the query log written and lost, frames of
dnstap sent and lost."""

LOOKED_SECONDS = 15.0
"""For so long somebody who has asked is taken to be still looking."""
_MAGIC = 0x3130_5041_5453_5653
_HEADER = 3
_PAGE_AT = 4096
_PAGE = 512 << 10
_PAGE_HEAD = 16
_RINGS_AT = _PAGE_AT + _PAGE
_TRIES = 100
_LEAST_OCTETS = 4096
"""Of a ring that is worth to have."""


class TapError(Exception):
    """It is not ours or has another shape."""


class Tap:
    """The mapped memory."""

    def __init__(self, descriptor: int) -> None:
        """Map it; the descriptor is closed with this object.  Raises TapError."""
        self.descriptor = descriptor
        size = os.fstat(descriptor).st_size
        if size < _RINGS_AT:
            raise TapError("the tap is too short")
        self._map = mmap.mmap(descriptor, size)
        self._octets = memoryview(self._map)
        self._numbers = self._octets[:_PAGE_AT].cast("Q")
        self._page = self._octets[_PAGE_AT:_RINGS_AT].cast("Q")
        magic, self.rings, self.ring_octets = self._numbers[:_HEADER]
        if magic != _MAGIC or size != _size(self.rings, self.ring_octets):
            raise TapError("the tap has another shape")

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    @classmethod
    def create(cls, rings: int, octets: int) -> Tap:
        """Make it, with so many rings of so many octets (a multiple of 8).  Raises OSError.

        They are smaller where this process may have no files of that size (RLIMIT_FSIZE counts these too).
        """
        octets = min(octets, _octets_within(resource.getrlimit(resource.RLIMIT_FSIZE)[0], rings))
        descriptor = os.memfd_create(NAME)
        try:
            os.ftruncate(descriptor, _size(rings, octets))
            os.pwrite(descriptor, array("Q", (_MAGIC, rings, octets)).tobytes(), 0)
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def ring(self, number: int) -> Ring:
        """Return one of the rings: that of a worker, or of the forwarder behind them."""
        start = _RINGS_AT + number * _ring_size(self.ring_octets)
        return Ring(self._octets[start : start + _ring_size(self.ring_octets)])

    def get(self, word: Word) -> int:
        """Return a word."""
        return self._numbers[_HEADER + WORDS.index(word)]

    def set(self, word: Word, value: int) -> None:
        """Set a word."""
        self._numbers[_HEADER + WORDS.index(word)] = value

    def add(self, word: Word, count: int) -> None:
        """Add to a word that this process alone writes."""
        self.set(word, self.get(word) + count)

    def look(self) -> None:
        """Store that somebody looks, now."""
        self.set("looked_at", int(1000 * (monotonic() + LOOKED_SECONDS)))

    @property
    def is_looked_at(self) -> bool:
        """Return whether somebody looks."""
        return self.get("looked_at") > 1000 * monotonic()

    def publish(self, octets: bytes) -> bool:
        """Show these octets to whoever reads; False where they are too many."""
        if len(octets) > _PAGE - _PAGE_HEAD:
            return False
        version = self._page[0] | 1  # odd while it changes, also where a former process died amid
        self._page[0] = version
        self._page[1] = len(octets)
        at = _PAGE_AT + _PAGE_HEAD
        self._octets[at : at + len(octets)] = octets
        self._page[0] = version + 1
        return True

    def published(self) -> bytes:
        """Return the octets that were shown last, b"" where there are none."""
        at = _PAGE_AT + _PAGE_HEAD
        for _ in range(_TRIES):
            version, size = self._page[0], self._page[1]
            found = bytes(self._octets[at : at + min(size, _PAGE - _PAGE_HEAD)])
            if not version & 1 and version == self._page[0]:
                return found
        return b""  # who wrote it has died amid: the next one will

    def go_on_from(self, before: Tap) -> None:
        """Count on from where the processes before an upgrade are, and know who looks."""
        for word in WORDS:
            self.set(word, before.get(word))


def _octets_within(limit: int, rings: int) -> int:
    """Return how many octets a ring may have in a file of so many octets, of which -1 is no limit."""
    if limit == resource.RLIM_INFINITY or limit < _size(rings, _LEAST_OCTETS):
        return sys.maxsize
    each = (limit - _RINGS_AT) // rings - _ring_size(0)
    return each // 8 * 8


def _ring_size(octets: int) -> int:
    return 8 * NUMBERS + octets


def _size(rings: int, octets: int) -> int:
    return _RINGS_AT + rings * _ring_size(octets)
