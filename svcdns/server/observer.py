"""The observer: reads what others have recorded, and makes of it the query log, dnstap and statistics.

    rings of the workers and the forwarder -> records -> lines, frames, what is asked most -> the tap's page

It is a process of its own, so whatever it waits for (a disk, a pipe, who takes dnstap), the others don't.
What it is too slow for is overwritten, and counted.  When it dies the next one goes on where it was.  At its
end it reads what is left.

Run by the supervisor as `python -m svcdns.server.observer`, once there is something to do for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from svcdns import __version__
from svcdns.config.sections import Config
from svcdns.system.background import background
from svcdns.tap.client_pods import ClientPods
from svcdns.tap.dnstap import Encoder
from svcdns.tap.frame_sender import FrameSender
from svcdns.tap.line_file import LineFile
from svcdns.tap.lines import LINES, showing
from svcdns.tap.memory import Tap, Word
from svcdns.tap.origins import Origins
from svcdns.tap.record import Record, records_of
from svcdns.tap.ring import Block, RingReader
from svcdns.tap.selection import Selection
from svcdns.tap.statistics import Statistics

from . import scheduling
from .child_process import run
from .child_setup import Handoff
from .rates import Rates
from .store_reader import StoreReader
from .tapping import of_descriptor, sampling

READ_SECONDS = 0.1
IDLE_SECONDS = 0.5
"""Between two looks into the rings while something is recorded, and while nothing is."""
PUBLISH_SECONDS = 1.0
FIRST_SECONDS = 0.2
"""Until the first rates can be told."""
_PASSES = 10
"""Each reads half a ring at most, so all that stands in it is read, and what comes meanwhile."""
_AT_ONCE = 16
"""Blocks, each of up to 64 records, that are worked through before others have a turn."""

_encode = msgspec.json.Encoder().encode


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Observe until stopped."""
    scheduling.step_back()
    tap = of_descriptor(handoff.tapping)
    if tap is None:
        await stop.wait()
        return
    observer = _Observer(tap, config)
    rates, counters, store = Rates(), handoff.counters(), StoreReader(config.data)

    async def publish() -> None:
        rates.see(counters.totals(), time.monotonic())
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            store.try_to_open()
            store.look_again()
            observer.origins.refresh(store.begin)
            observer.pods.refresh(store.begin)
            rates.see(counters.totals(), time.monotonic())
            if tap.is_looked_at:
                observer.publish(rates)
            await asyncio.sleep(PUBLISH_SECONDS)

    gc.collect()
    gc.freeze()
    async with AsyncExitStack() as stack:
        if observer.frames is not None:
            await stack.enter_async_context(background(observer.frames.run()))
        await stack.enter_async_context(background(publish()))
        await observer.run(stop)


class _Observer:
    """What this process is made of."""

    def __init__(self, tap: Tap, config: Config) -> None:
        self._tap = tap
        self._config = config
        self._wanted = sampling(config, tap)
        self._readers = [RingReader(tap.ring(number)) for number in range(tap.rings)]
        for reader in self._readers:
            reader.go_on()
        self.origins, self.pods = Origins(), ClientPods()
        self._statistics = Statistics(config.tap.sample, config.cluster_domain)
        self._for_statistics = Selection((), (), config.tap.sample)
        log = config.query_log
        self._lines = LineFile(log.path) if log.path else None
        self._for_lines = Selection(log.include, log.exclude, log.sample)
        self._shown, self._line = showing(log.clients), LINES[log.format]
        dnstap = config.dnstap
        self.frames = FrameSender(dnstap.to, *self._counting("frames", "frames_lost")) if dnstap.to else None
        self._for_frames = Selection(dnstap.include, dnstap.exclude, dnstap.sample)
        self._encoder = Encoder(dnstap.identity or os.uname().nodename, __version__, queries=dnstap.queries)
        self._reopenings = tap.get("reopenings")

    def _counting(self, *words: Word) -> tuple[Callable[[int], None], ...]:
        """Return what adds to each of these words."""
        return tuple(partial(self._tap.add, word) for word in words)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until stopped, then what is left."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), READ_SECONDS if self._wanted() else IDLE_SECONDS)
            self._reopen_if_asked()
            await self._read()
        if self._lines is not None:
            self._lines.close()

    def _reopen_if_asked(self) -> None:
        if self._reopenings != (asked := self._tap.get("reopenings")):
            self._reopenings = asked
            if self._lines is not None:
                self._lines.reopen()
            if self.frames is not None:
                self.frames.reopen()

    async def _read(self) -> None:
        """Work through what was recorded since the last time, for all rings in turn."""
        for _ in range(_PASSES):
            if not [reader for reader in self._readers if await self._read_some(reader)]:
                return

    async def _read_some(self, reader: RingReader) -> bool:
        """Work through what can be read of a ring at once; return whether there was anything."""
        blocks, lost = reader.read()
        self._tap.add("lost", lost)
        for at in range(0, len(blocks), _AT_ONCE):
            self._take(blocks[at : at + _AT_ONCE])
            await asyncio.sleep(0)
        reader.leave_place()
        return bool(blocks)

    def _take(self, blocks: Sequence[Block]) -> None:
        everything = [
            record for block in blocks for record in records_of(block, self.origins, upstreams=True)
        ]
        records = [one for one in everything if not one.to_upstream]
        self._tap.add("records", len(everything))
        self._statistics.add(filter(self._for_statistics.wants, records), time.monotonic())
        if self._lines is not None:
            self._write(self._lines, [one for one in records if self._for_lines.wants(one)])
        if self.frames is not None:
            for record in filter(self._for_frames.wants, everything):
                for message in self._encoder.messages(record):
                    self.frames.put(message)

    def _write(self, lines: LineFile, records: Sequence[Record]) -> None:
        sample = self._config.query_log.sample
        counted = (one._replace(sample=max(one.sample, sample)) for one in records)
        shown = (self._shown(self.pods(one)) for one in counted)
        texts = [self._line(one) for one in shown]
        written = lines.write(texts)
        self._tap.add("lines", written)
        self._tap.add("lines_lost", len(texts) - written)

    def publish(self, rates: Rates) -> None:
        """Show what is counted to who looks."""
        page = {
            "time": time.time(),
            "sample": self._wanted(),
            "perSecond": rates.shown(),
            "last": self._statistics.shown(time.monotonic()),
        }
        self._tap.publish(_encode(page))


if __name__ == "__main__":
    run(serve)
