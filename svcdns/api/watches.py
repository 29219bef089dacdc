"""Watch streams: one line of JSON an event, for as long as the client stays.

    {"type":"ADDED","object":{...}}\\n

How lines travel, in an HTTP answer or over a WebSocket, is said in `watch_transports`.
A stream ends in one of four ways: the time that the client or we set is up, or the server shuts down
(both end it properly, and the client goes on from the last revision it saw); the registry refuses to go
on (an ERROR event with the Status, 410 Expired as a rule); the client has gone; or it reads so slowly that
its connection is cut off (`connections`).  Events come in batches, whose lines are made once for all who are
sent the same.  Nothing is queued for a watcher but the batch that is being sent and what its connection
holds: the next batch is asked for when most of this one has been taken.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import Kind
from svcdns.registry.requests import Batch, Event

from . import connections, consistency, partial_metadata, tables
from .metrics import ApiMetrics
from .negotiation import metadata_version, table_version
from .parameters import ListOptions
from .paths import Target
from .responses import included, with_warnings
from .watch_transports import WatchTransport, transport_of

if TYPE_CHECKING:
    from svcdns.registry.registry import Registry

_log = logging.getLogger(__name__)

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_SHORTEST, _LONGEST = 1800, 3600
"""Seconds; a stream whose client sets no time lasts a random while between these."""
_LONGEST_ASKED = 86400
_AT_A_STOP = 0.5
"""Seconds in which a client takes the end of its stream when the server stops."""


@dataclass(slots=True)
class Watches:
    """All watch streams of this server."""

    registry: Registry
    counters: ApiMetrics
    bookmark_interval: float
    """Seconds between two bookmarks."""
    closed: bool = False
    _open: set[_Stream] = field(default_factory=set)

    def close(self) -> None:
        """End all streams properly; later ones end at once."""
        self.closed = True
        for stream in self._open:
            stream.end()

    async def answer(self, request: web.Request, target: Target, options: ListOptions) -> web.StreamResponse:
        """Stream events until one of the ends that the head of this file names.

        Raises StatusError when the registry refuses before the stream has begun.
        """
        transport = transport_of(request)
        with_warnings(transport.answer, await self._reach(target, options))
        after = _begins_after(self.registry, target, options)
        # The state's revision is what the bookmark after the initial events says, so it is always wanted.
        events = self.registry.watch(
            target.kind,
            target.namespace,
            options.selection,
            after,
            bookmarks=options.bookmarks or after is None,
            initial_events=after is None,
        )
        opening = asyncio.ensure_future(_next(events))
        try:
            # One turn of the loop lets the registry refuse at once; then it is an HTTP error.
            await asyncio.wait({opening}, timeout=0)
            if opening.done() and (error := opening.exception()):
                raise error
            stream = _Stream(self, request, transport, target.kind, options, initial=after is None)
            self._open.add(stream)
            with self.counters.watches.labels(target.kind.plural).track_inprogress():
                try:
                    return await stream.run(opening, events)
                finally:
                    self._open.discard(stream)
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait({opening})  # what is still being asked can't be closed
            if (aclose := getattr(events, "aclose", None)) is not None:
                await aclose()

    async def _reach(self, target: Target, options: ListOptions) -> tuple[str, ...]:
        """Wait until the state that is sent first is as new as is asked for.  Raises StatusError 504."""
        wanted = options.resource_version
        if wanted and not options.send_initial_events:
            return ()  # it begins behind that, whenever it comes
        stale = await consistency.reach(self.registry, wanted)
        if wanted:
            with self.registry.listing(target.kind, target.namespace, options.selection) as listing:
                consistency.check_reached(wanted, listing.revision)
        return stale


def _begins_after(registry: Registry, target: Target, options: ListOptions) -> int | None:
    """Return the revision after which events are wanted, None for the present state first."""
    if options.send_initial_events:
        return None
    if options.resource_version:
        return options.resource_version
    if options.send_initial_events is False:
        with registry.listing(target.kind, target.namespace, options.selection) as listing:
            return listing.revision
    return None


async def _next(events: AsyncIterator[Batch]) -> Batch | None:
    async for batch in events:
        return batch
    return None


class _Stream:
    """One stream: what has been sent, and when it ends."""

    def __init__(
        self,
        watches: Watches,
        request: web.Request,
        transport: WatchTransport,
        kind: Kind,
        options: ListOptions,
        *,
        initial: bool,
    ) -> None:
        self._watches = watches
        self._request = request
        self._transport = transport
        self._was_cut = False
        self._connection = request.app[connections.KEY].of(request)
        self._kind = kind
        self._options = options
        accept = request.headers.get("Accept", "")
        self._table = table_version(accept)
        self._metadata = metadata_version(accept)
        self._columns_sent = False
        self._initial = initial
        """What comes now is the present state."""
        self._revision = 0 if initial else options.resource_version or 0
        """What a bookmark may say: all events up to here have been sent.  0: unknown yet."""
        asked = min(options.timeout, _LONGEST_ASKED)
        self._deadline = asyncio.timeout(asked or random.uniform(_SHORTEST, _LONGEST))

    def end(self) -> None:
        """End the stream properly, now."""
        with suppress(RuntimeError):  # not begun, or over already
            self._deadline.reschedule(asyncio.get_running_loop().time())

    async def run(
        self, opening: asyncio.Future[Batch | None], events: AsyncIterator[Batch]
    ) -> web.StreamResponse:
        """Send everything; return the response when the stream has ended."""
        await self._transport.open(self.end)
        ticking: asyncio.Task[None] | None = None
        if self._options.bookmarks:
            ticking = asyncio.create_task(self._send_bookmarks())
        try:
            with suppress(TimeoutError):
                async with self._deadline:
                    if self._watches.closed:
                        self.end()
                    await self._send_all(opening, events)
            await self._transport.finish(_AT_A_STOP if self._watches.closed else None)
        except TimeoutError:
            self._abort()
        except asyncio.CancelledError:
            # All who wait for a client to read share a future of aiohttp's, which the deadline has cancelled.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            self._was_cut = True
            self._abort()
        except ConnectionError:
            pass  # the client has gone
        finally:
            if ticking is not None:
                ticking.cancel()
            self._transport.release()
            self._note_cut()
        return self._transport.answer

    async def _send_all(self, opening: asyncio.Future[Batch | None], events: AsyncIterator[Batch]) -> None:
        try:
            first = await opening
            if first is None:
                return
            await self._pass_on(first)
            async for batch in events:
                await self._pass_on(batch)
        except StatusError as error:
            await self._send_error(error)
        except ConnectionError:
            raise
        except Exception:
            _log.exception("a watch of %s failed", self._kind.plural)
            text = "Internal error occurred: the server's log says more"
            await self._send_error(StatusError(500, "InternalError", text))

    async def _send_error(self, error: StatusError) -> None:
        await self._send(_line("ERROR", msgspec.json.encode(error.as_json())))

    async def _pass_on(self, batch: Batch) -> None:
        last = batch.events[-1]
        if last.type != "BOOKMARK":
            await self._send(self._lines(batch))
            if not self._initial:
                self._revision = last.revision
            return
        self._revision = last.revision
        if self._initial:
            self._initial = False
            if self._options.send_initial_events:
                await self._send_bookmark({INITIAL_EVENTS_END: "true"})

    async def _send_bookmarks(self) -> None:
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(self._watches.bookmark_interval)
                if self._revision:
                    await self._send_bookmark({})

    async def _send_bookmark(self, annotations: dict[str, str]) -> None:
        metadata: dict[str, Any] = {"resourceVersion": str(self._revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        kind = self._kind
        obj = {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata}
        await self._send(_line("BOOKMARK", self._shown(msgspec.json.encode(obj))))

    def _lines(self, batch: Batch) -> bytes:
        """Return the events of a batch as they are sent; those of Tables are this client's own."""
        if self._table:
            return b"".join(self._line_of(event) for event in batch.events)
        lines = batch.encoded.get(self._metadata)
        if lines is None:
            lines = batch.encoded[self._metadata] = b"".join(map(self._line_of, batch.events))
        return lines

    def _line_of(self, event: Event) -> bytes:
        return _line(event.type, self._shown(event.object))

    def _shown(self, octets: bytes) -> bytes:
        if self._metadata:
            return partial_metadata.of_object(octets, self._metadata)
        if not self._table:
            return octets
        columns, self._columns_sent = not self._columns_sent, True
        beside = included(self._request)
        return tables.of_object(self._kind, octets, time.time(), self._table, beside, columns)

    async def _send(self, lines: bytes) -> None:
        """Send lines; whatever ends this or comes in between, each of them is whole."""
        await self._transport.send(lines)

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    def _note_cut(self) -> None:
        """Count and log a client that was cut off because it reads too slowly, or not at all."""
        if self._was_cut or (self._connection is not None and self._connection.is_cut_off):
            self._watches.counters.slow_watches.inc()
            _log.warning("a watch of %s was cut off: the client reads too slowly", self._kind.plural)


def _line(type_: str, octets: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), octets)
