"""GET /svcdns/v1/stream: what several kinds have and what becomes of it, in one answer that goes on.

    GET /svcdns/v1/stream?kinds=services,pods&namespace=shop
    {"kind":"services","type":"ADDED","object":{...}}             the state: one line an object
    {"type":"SYNCED","object":{"metadata":{"resourceVersion":"7"}}}
    {"kind":"pods","type":"MODIFIED","object":{...}}              then what changes, at most 4 times a second
    {"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}    all up to here has been said

`namespace` left out is all; `resourceVersion` goes on where a SYNCED or BOOKMARK stood, without the state
(410 where the server no longer knows what came since).  A browser has six connections for a server, so a page
can't have a watch for each kind.

Rules:

* it takes what a list and a watch of each kind take, and ends when its client may no more;
* of an object that changes several times in a quarter of a second only the last state is sent; so nothing
  says how often it changed, and what was made and deleted meanwhile is only DELETED;
* nothing is queued: who reads slowly is asked for less often, and who falls behind what the server remembers
  gets RESET and the whole state again.  Who doesn't read at all is cut off, as at watches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from svcdns.objects.errors import Cause, StatusError
from svcdns.objects.kinds import ENDPOINTS, STORED, Kind
from svcdns.registry.requests import Batch, Event, Selection

from .parameters import number
from .paths import Action
from .sending import send

if TYPE_CHECKING:
    from svcdns.registry.registry import Registry

_log = logging.getLogger(__name__)

PATH = "/svcdns/v1/stream"
KINDS = {kind.plural: kind for kind in STORED if kind is not ENDPOINTS}
"""By their plurals; Endpoints are shown from slices, which can be followed themselves."""
MOST_STREAMS = 50
PAUSE = 0.25
"""Seconds between two times that something is sent."""
SILENCE = 15.0
"""Seconds after which a BOOKMARK says that the stream lives."""
_OCTETS = 1 << 20
"""What is gathered of changes before it is sent."""
_LONGEST_NAMESPACE = 63

Check = Callable[[web.Request, Iterable[Action]], None]
"""Raises StatusError 401 or 403 where who asks may not do all of this, or no more."""


class Streams:
    """All streams of this server."""

    def __init__(self, registry: Registry, check: Check) -> None:
        self._registry = registry
        self._check = check
        self._open = 0
        self._ended = asyncio.Event()

    def end(self) -> None:
        """End all streams: the server stops."""
        self._ended.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send a stream until its client leaves.  Raises StatusError 400, 403, 410 and 429."""
        kinds, namespace, after = _asked(request)
        self._check(request, _actions(kinds, namespace))
        if self._open >= MOST_STREAMS:
            text = f"{MOST_STREAMS} streams are open already; list instead"
            raise StatusError(429, "TooManyRequests", text, retry_after=5)
        self._open += 1
        try:
            return await self._send(request, kinds, namespace, after)
        finally:
            self._open -= 1

    async def _send(
        self, request: web.Request, kinds: tuple[Kind, ...], namespace: str, after: int | None
    ) -> web.StreamResponse:
        headers = {"Content-Type": "application/jsonl", "Cache-Control": "no-store"}
        answer = web.StreamResponse(headers=headers)
        following = _Following(self._registry, kinds, namespace, after)
        try:
            await following.begin()
            await answer.prepare(request)
            if request.method == "HEAD":
                return answer
            while not self._ended.is_set():
                begun = asyncio.get_running_loop().time()
                await send(answer, await following.lines(self._ended), until=b"\n")
                self._check(request, _actions(kinds, namespace))
                if following.is_synced:
                    left = PAUSE - (asyncio.get_running_loop().time() - begun)
                    await _until(self._ended, max(left, 0))
        except StatusError as refused:
            if not answer.prepared:
                raise
            await _end(answer, refused)
        except ConnectionError:
            pass  # the client has gone
        except Exception:
            if not answer.prepared:
                raise
            _log.exception("a stream of %s failed", ", ".join(kind.plural for kind in kinds))
            text = "Internal error occurred: the server's log says more"
            await _end(answer, StatusError(500, "InternalError", text))
        finally:
            await following.close()
        return answer


async def _end(answer: web.StreamResponse, refused: StatusError) -> None:
    """End a stream by the line that says why, unless its client has gone."""
    with suppress(ConnectionError):
        await answer.write(_line("", "ERROR", msgspec.json.encode(refused.as_json())))


@dataclass(slots=True)
class _Followed:
    """One kind: its watch, and what it gives next."""

    kind: Kind
    watch: AsyncGenerator[Batch]
    next: asyncio.Future[Batch]
    seen: int
    """All up to this revision has been taken; 0: the state has not been, yet."""


@dataclass(slots=True)
class _Following:
    """What a stream follows, and how far it is."""

    registry: Registry
    kinds: tuple[Kind, ...]
    namespace: str
    after: int | None
    is_synced: bool = False
    _followed: list[_Followed] = field(default_factory=list)
    _said: int = 0
    """The revision of the last bookmark."""

    async def begin(self) -> None:
        """Begin all watches.  Raises StatusError 410 where they can't go on after `after`."""
        self.is_synced = self.after is not None
        for kind in self.kinds:
            watch = self.registry.watch(
                kind,
                self.namespace if kind.namespaced else "",
                Selection(),
                self.after,
                initial_events=self.after is None,
            )
            assert isinstance(watch, AsyncGenerator)
            self._followed.append(_Followed(kind, watch, _next(watch), self.after or 0))
        # One turn of the loop lets the registry refuse at once; then it is an HTTP error.
        waiting = [one.next for one in self._followed]
        await asyncio.wait(waiting, timeout=0)
        for future in waiting:
            if future.done() and (error := future.exception()):
                raise error

    async def close(self) -> None:
        """End all watches."""
        while self._followed:
            one = self._followed.pop()
            one.next.cancel()
            await asyncio.wait({one.next})  # what is still being asked can't be closed
            if not one.next.cancelled():
                one.next.exception()
            await one.watch.aclose()

    async def lines(self, ended: asyncio.Event) -> bytes:
        """Return what is to be sent next, waiting for it; b"" at an end."""
        stop = asyncio.ensure_future(ended.wait())
        try:
            waiting: list[asyncio.Future[Any]] = [stop, *(one.next for one in self._followed)]
            await asyncio.wait(waiting, timeout=SILENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        try:
            gathered = await self._gather()
        except StatusError as error:
            if error.code != 410:
                raise
            return await self._reset()
        return gathered + self._position(silent=not gathered)

    async def _reset(self) -> bytes:
        """Begin anew: more has happened than is remembered since this client was sent something."""
        await self.close()
        self.after, self._said = None, 0
        await self.begin()
        return _line("", "RESET", b"{}")

    async def _gather(self) -> bytes:
        """Return the lines of all that is there, the last state of each object."""
        last: dict[tuple[str, str, str], tuple[str, bytes]] = {}
        octets = 0
        for one in self._followed:
            while one.next.done() and octets < _OCTETS:
                for event in one.next.result().events:
                    octets += len(event.object)
                    self._take(one, event, last)
                one.next = _next(one.watch)
                await asyncio.wait({one.next}, timeout=0)
        return b"".join(_line(plural, *said) for (plural, *_), said in last.items())

    def _take(
        self, one: _Followed, event: Event, last: dict[tuple[str, str, str], tuple[str, bytes]]
    ) -> None:
        if event.type == "BOOKMARK" or one.seen:
            one.seen = event.revision
        if event.type == "BOOKMARK":
            return
        named = _named(event.object).metadata
        key = (one.kind.plural, named.namespace, named.name)
        before = last.pop(key, None)
        type_ = "ADDED" if before and before[0] == "ADDED" and event.type == "MODIFIED" else event.type
        last[key] = (type_, event.object)

    def _position(self, *, silent: bool) -> bytes:
        """Return the line that says how far all of it has been said, b"" for nothing new."""
        seen = [one.seen for one in self._followed]
        if not all(seen):
            return b""
        behind = [one.seen for one in self._followed if one.seen < self.registry.last_change(one.kind)]
        revision = max(min(behind) if behind else max(seen), self._said)
        if self.is_synced and revision == self._said and not silent:
            return b""
        self._said = revision
        type_, self.is_synced = "BOOKMARK" if self.is_synced else "SYNCED", True
        return _line("", type_, b'{"metadata":{"resourceVersion":"%d"}}' % revision)


def _actions(kinds: tuple[Kind, ...], namespace: str) -> Iterable[Action]:
    """Yield what somebody must be allowed to do."""
    for kind in kinds:
        for verb in ("list", "watch"):
            yield Action(verb, kind.group, kind.plural, "", namespace if kind.namespaced else "")


class _Named(msgspec.Struct):
    name: str
    namespace: str = ""


class _Object(msgspec.Struct):
    metadata: _Named


_named = msgspec.json.Decoder(_Object).decode


def _next(watch: AsyncGenerator[Batch]) -> asyncio.Future[Batch]:
    return asyncio.ensure_future(anext(watch))


async def _until(ended: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), seconds)


def _line(plural: str, type_: str, octets: bytes) -> bytes:
    kind = b'"kind":"%b",' % plural.encode() if plural else b""
    return b'{%b"type":"%b","object":%b}\n' % (kind, type_.encode(), octets)


def _asked(request: web.Request) -> tuple[tuple[Kind, ...], str, int | None]:
    """Return the kinds, the namespace and the revision.  Raises StatusError 400."""
    words = [word for given in request.query.getall("kinds", ()) for word in given.split(",") if word]
    unknown = next((word for word in words if word not in KINDS), None)
    if not words or unknown is not None:
        said = f"{unknown[:80]!r} can't be followed" if unknown else "say which"
        raise _invalid(f"{said}; there are {', '.join(KINDS)}", "kinds")
    namespace = request.query.get("namespace", "")
    if len(namespace) > _LONGEST_NAMESPACE or not (namespace.isascii() and namespace.isprintable()):
        raise _invalid("must be the name of a namespace", "namespace")
    after = number(request.query, "resourceVersion")
    if after is not None and after < 0:
        raise _invalid("must be the revision of a SYNCED or BOOKMARK", "resourceVersion")
    return tuple(KINDS[word] for word in dict.fromkeys(words)), namespace, after or None


def _invalid(text: str, field: str) -> StatusError:
    causes = [Cause("FieldValueInvalid", text, field)]
    return StatusError(400, "BadRequest", f"{field}: {text}", causes=causes)
