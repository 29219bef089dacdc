"""GET /svcdns/v1/stats and /svcdns/v1/queries: what is asked, by whom, and what it is answered.

    /svcdns/v1/stats                            {"perSecond":{"1s":{...}},"last":{"1m":{"names":[...]}}}
    /svcdns/v1/queries?last=100&rcode=nxdomain  {"sample":16,"queries":[{"qname":"web.default.svc.",...}]}
    /svcdns/v1/queries?follow=1                 lines of JSON: a question each, or {"lost":12}

`name`, `client`, `rcode`, `source`, `type` and `slow` say which questions are meant: all that are given have
to be true (svcdns.config.query_words).  It shows clients and names of all namespaces, so it is for who may
read the metrics.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from aiohttp import web

from svcdns.config.query_words import QueryWord, query_word
from svcdns.config.readers import Wrong
from svcdns.objects.errors import Cause, StatusError
from svcdns.tap.viewer import MOST_LAST, Viewer

from .parameters import boolean, number
from .responses import json_answer
from .sending import send

STATS = "/svcdns/v1/stats"
QUERIES = "/svcdns/v1/queries"
PATHS = (STATS, QUERIES)
MOST_STREAMS = 16
_WORDS = ("name", "client", "slow", "type")
_PLAIN_WORDS = ("rcode", "source")
"""Parameters whose value is a word by itself."""


class Seeing:
    """Answers these paths; `viewer` None: nothing is ever recorded."""

    def __init__(self, viewer: Viewer | None) -> None:
        self._viewer = viewer
        self._streams = 0

    def end(self) -> None:
        """End the streams: the server stops."""
        if self._viewer is not None:
            self._viewer.end()

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        """Answer one of PATHS.  Raises StatusError 400, 429 and 503."""
        if self._viewer is None:
            text = 'nothing can be seen: record in [tap] of the configuration is "never"'
            raise StatusError(503, "ServiceUnavailable", text)
        if path == STATS:
            page = await self._viewer.statistics()
            if page is None:
                text = "there are no statistics yet: the process that keeps them does not run"
                raise StatusError(503, "ServiceUnavailable", text)
            return json_answer(request, msgspec.json.encode(page))
        words = list(_words(request))
        if boolean(request.query, "follow"):
            return await self._follow(request, self._viewer, words)
        last = number(request.query, "last")
        if last is not None and not 0 < last <= MOST_LAST:
            raise _invalid(f"must be from 1 to {MOST_LAST}", "last")
        return json_answer(request, msgspec.json.encode(await self._viewer.recent(words, last or 100)))

    async def _follow(
        self, request: web.Request, viewer: Viewer, words: list[QueryWord]
    ) -> web.StreamResponse:
        if self._streams >= MOST_STREAMS:
            text = f"{MOST_STREAMS} others follow the questions already"
            raise StatusError(429, "TooManyRequests", text, retry_after=5)
        answer = web.StreamResponse(
            headers={"Content-Type": "application/jsonl", "Cache-Control": "no-store"}
        )
        self._streams += 1
        try:
            await answer.prepare(request)
            if request.method == "HEAD":
                return answer
            async for lines in viewer.follow(words):
                await send(answer, lines, until=b"\n")
        except ConnectionError:
            pass  # the client has gone
        finally:
            self._streams -= 1
        return answer


def _words(request: web.Request) -> Iterator[QueryWord]:
    """Yield what the parameters say.  Raises StatusError 400."""
    for field in (*_WORDS, *_PLAIN_WORDS):
        for value in request.query.getall(field, ()):
            try:
                word = query_word(value if field in _PLAIN_WORDS else f"{field}:{value}")
            except Wrong as wrong:
                raise _invalid(str(wrong), field) from None
            if word.kind != field:
                raise _invalid(f"{value[:80]!r} is no {field}", field)
            yield word


def _invalid(text: str, field: str) -> StatusError:
    return StatusError(
        400, "BadRequest", f"{field}: {text}", causes=[Cause("FieldValueInvalid", text, field)]
    )
