"""Looking at what is asked, for clients of the API: statistics, the last questions, and those that come.

Looking makes it be recorded: a server that records on demand begins with the first look, and ends
LOOKED_SECONDS after the last.  So the first answer may have little in it, and says so (`began`).  Whoever is
too slow for what comes is told how many records they missed.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from svcdns.config.query_words import QueryWord
from svcdns.store.snapshot import Begin

from .client_pods import ClientPods
from .lines import fields
from .memory import Tap
from .origins import Origins
from .record import Record, records_of
from .ring import Block, RingReader
from .selection import every

MOST_LAST = 10_000
"""Questions that are shown at once."""
FOLLOW_SECONDS = 0.2
FRESH_SECONDS = 3.0
"""A page of statistics that is older is waited for."""
WAIT_SECONDS = 8.0
"""What an observer takes to start, and some more."""
_LOOK_SECONDS = 5.0
_AT_ONCE = 8
"""Blocks that are worked through before others have a turn."""

_encode = msgspec.json.Encoder().encode


class Viewer:
    """Shows what is in a tap; used from one loop."""

    def __init__(self, tap: Tap, sampling: Callable[[], int], begin: Begin) -> None:
        """`sampling` says one of how many is recorded now; `begin` begins a snapshot of the store."""
        self._tap = tap
        self._sampling = sampling
        self._begin = begin
        self._origins, self._pods = Origins(), ClientPods()
        self._ended = False

    def end(self) -> None:
        """End the streams: the server stops."""
        self._ended = True

    def _look(self) -> bool:
        """Have it recorded; return whether that begins only now."""
        began = not self._sampling()
        self._tap.look()
        self._origins.refresh(self._begin)
        self._pods.refresh(self._begin)
        return began

    async def statistics(self) -> dict[str, Any] | None:
        """Return the page of statistics, and what was lost; None where none comes: there is no observer."""
        began, deadline = self._look(), time.monotonic() + WAIT_SECONDS
        while (page := self._fresh()) is None:
            if self._ended or time.monotonic() > deadline:
                return None
            await asyncio.sleep(FOLLOW_SECONDS)
        counts = {word: self._tap.get(word) for word in ("records", "lost")}
        log = {word: self._tap.get(word) for word in ("lines", "lines_lost", "frames", "frames_lost")}
        return {**page, "began": began, **counts, **log}

    def _fresh(self) -> dict[str, Any] | None:
        octets = self._tap.published()
        page: dict[str, Any] = msgspec.json.decode(octets) if octets else {"time": 0.0}
        return page if abs(time.time() - page["time"]) < FRESH_SECONDS else None

    async def recent(self, words: Sequence[QueryWord], last: int) -> dict[str, Any]:
        """Return the last questions that all words mean, the newest last."""
        began = self._look()
        found = await asyncio.to_thread(self._recent, words, min(last, MOST_LAST))
        return {
            "began": began,
            "sample": self._sampling(),
            "queries": [fields(self._pods(one)) for one in found],
        }

    def _recent(self, words: Sequence[QueryWord], last: int) -> list[Record]:
        matches, time_of = every(words), attrgetter("time")
        found: list[Record] = []
        for number in range(self._tap.rings):
            blocks = RingReader(self._tap.ring(number)).recent(self._tap.ring_octets)
            found += _newest(filter(matches, _backwards(blocks, self._origins)), last)
        return sorted(heapq.nlargest(last, found, key=time_of), key=time_of)

    async def follow(self, words: Sequence[QueryWord]) -> AsyncIterator[bytes]:
        """Yield questions as they are answered, in lines of JSON: some at a time, b"" where none came.

        A line {"lost": N} stands where N records were missed.
        """
        self._look()
        readers = [RingReader(self._tap.ring(number)) for number in range(self._tap.rings)]
        matches, looked = every(words), time.monotonic()
        while not self._ended:
            for reader in readers:
                blocks, lost = reader.read()
                if lost:
                    yield _encode({"lost": lost}) + b"\n"
                for at in range(0, len(blocks), _AT_ONCE):
                    yield b"".join(self._lines(blocks[at : at + _AT_ONCE], matches))
                    await asyncio.sleep(0)
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                self._look()
            yield b""
            await asyncio.sleep(FOLLOW_SECONDS)

    def _lines(self, blocks: Sequence[Block], matches: Callable[[Record], bool]) -> Iterator[bytes]:
        for block in blocks:
            for record in records_of(block, self._origins):
                if matches(record):
                    yield _encode(fields(self._pods(record))) + b"\n"


def _backwards(blocks: Sequence[Block], origins: Origins) -> Iterator[Record]:
    for block in blocks:
        yield from reversed(list(records_of(block, origins)))


def _newest(records: Iterator[Record], most: int) -> list[Record]:
    return [record for record, _ in zip(records, range(most), strict=False)]
