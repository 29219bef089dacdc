"""Lists on their way to a client: what is small as one answer, what is large in pieces.

Of a large list, only the piece that is being sent is held, and the next one is read when the client has
taken most of it.  One that takes nothing is cut off (`connections`).
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from svcdns.objects.kinds import Kind
from svcdns.registry.listing import Listing
from svcdns.registry.requests import Page, Piece

from . import list_forms, tables
from .encodings import LEVEL, SMALLEST
from .list_forms import ListForm
from .negotiation import JSON, YAML, accepts_gzip, wants_yaml
from .responses import Clock, octets_answer, with_warnings
from .sending import send

_log = logging.getLogger(__name__)


async def answer(
    request: web.Request, kind: Kind, listing: Listing, clock: Clock, warnings: Sequence[str] = ()
) -> web.StreamResponse:
    """Answer with a list; `warnings` go with it."""
    form = list_forms.of(request, kind, clock)
    async with aclosing(listing.pieces()) as pieces:
        first: list[Piece] = []
        octets = 0
        while octets < SMALLEST:
            piece = await anext(pieces, None)
            if piece is None:
                items = [item for read in first for item in read.items]
                page = Page(items, listing.revision, listing.continue_, listing.remaining)
                return with_warnings(octets_answer(form.whole(page)), warnings)
            first.append(piece)
            octets += sum(map(len, piece.items))
        sending = _Sending(request, form, listing)
        with_warnings(sending.response, warnings)
        return await sending.run(first, pieces)


def page_answer(request: web.Request, kind: Kind, page: Page, clock: Clock) -> web.Response:
    """Answer with a list that is at hand."""
    return octets_answer(list_forms.of(request, kind, clock).whole(page))


@dataclass(slots=True)
class _Sending:
    """One large list that is being sent."""

    request: web.Request
    form: ListForm
    listing: Listing
    response: web.StreamResponse = field(default_factory=web.StreamResponse)
    _gzip: Any = None
    """A compressor, where the client takes gzip."""

    async def run(self, first: list[Piece], rest: AsyncIterator[Piece]) -> web.StreamResponse:
        """Send all of it."""
        self._set_headers()
        await self.response.prepare(self.request)
        if self.request.method == "HEAD":
            return self.response
        try:
            await self._send_all(first, rest)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            # The answer has begun: all that can be said is that it has no proper end.
            _log.exception("a list was broken off")
            if self.request.transport is not None:
                self.request.transport.abort()
        return self.response

    def _set_headers(self) -> None:
        headers = self.response.headers
        accept = self.request.headers.get("Accept", "")
        headers["Content-Type"] = YAML if wants_yaml(accept) else JSON  # YAML takes JSON as its own
        headers["Cache-Control"] = "no-cache, private"
        if accepts_gzip(self.request.headers.get("Accept-Encoding", "")):
            headers["Content-Encoding"] = "gzip"
            headers["Vary"] = "Accept-Encoding"
            self._gzip = zlib.compressobj(LEVEL, wbits=31)
        if self.request.version >= (1, 1):
            self.response.enable_chunked_encoding()

    async def _send_all(self, first: list[Piece], rest: AsyncIterator[Piece]) -> None:
        has_metadata_last = self.listing.has_limit
        metadata = None if has_metadata_last else tables.list_metadata(Page([], self.listing.revision))
        await self._send(self.form.begin(metadata))
        separator = b""
        while first:
            await self._send(separator + self.form.piece(first.pop(0)))
            separator = b","
        async for piece in rest:
            await self._send(b"," + self.form.piece(piece))
        page = Page([], self.listing.revision, self.listing.continue_, self.listing.remaining)
        await self._send(self.form.end(tables.list_metadata(page) if has_metadata_last else None))
        if self._gzip is not None:
            await send(self.response, self._gzip.flush())
        await self.response.write_eof()

    async def _send(self, octets: bytes) -> None:
        if self._gzip is not None:
            octets = await asyncio.to_thread(self._gzip.compress, octets)
        await send(self.response, octets)
