"""The engine's API, of which only GETs are made: version, list, inspection, events.

Rules:

* the API version is negotiated at each connection: the newest that both know, for /events too (Docker 29
  refuses what is older than 1.44);
* nothing waits for the head of an event stream: Podman sends none before the first event;
* every answer is bounded, and so is a line of the stream.

https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import asyncio
import errno
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from msgspec import Struct, field

from svcdns.config.container_engines import ContainerEngine

from . import engine_objects
from .engine_objects import Container

NEWEST = (1, 52)
"""The newest version of the API that is known here."""
ANSWER_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_MOST_OCTETS = 64 << 20
_MOST_LINE = 1 << 20
_BEFORE_SECONDS = 2
"""How much earlier than now a stream begins: a `Date` has whole seconds."""
_AT_ONCE = 16
"""Connections, and so inspections that are under way."""


class EngineAway(Exception):
    """The engine does not answer, or not as one; the text is one line that says what helps."""


class EngineEvent(Struct):
    """One line of /events."""

    type: str = field(name="Type", default="")
    action: str = field(name="Action", default="")
    actor: _Actor = field(name="Actor", default_factory=lambda: _Actor())
    health: str = field(name="HealthStatus", default="")

    @property
    def health_said(self) -> str | None:
        """The health that a health_status event tells in any of three forms, None where it tells none.

        Docker: `health_status: healthy`.  Podman: `health_status`, and the value beside it.
        """
        word, _, value = self.action.partition(":")
        if word != "health_status":
            return None
        attributes = self.actor.attributes or {}
        said = value.strip() or self.health or attributes.get("health_status") or ""
        return said or attributes.get("HealthStatus") or None


class _Actor(Struct):
    id: str = field(name="ID", default="")
    attributes: dict[str, str] | None = field(name="Attributes", default=None)


class _Component(Struct):
    name: str = field(name="Name", default="")


class _Version(Struct, rename="pascal"):
    api_version: str
    min_api_version: str = field(name="MinAPIVersion", default="")
    version: str = ""
    components: list[_Component] | None = None


class _Info(Struct):
    id: str = field(name="ID", default="")


_decode_event = msgspec.json.Decoder(EngineEvent).decode
_decode_version = msgspec.json.Decoder(_Version).decode
_decode_info = msgspec.json.Decoder(_Info).decode


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an engine says of itself."""

    api: str
    """The version that is spoken, such as 1.41."""
    version: str
    is_podman: bool
    now: int
    """Seconds since 1970 by its own clock."""


class Engine:
    """A client of one engine."""

    def __init__(self, config: ContainerEngine) -> None:
        """Nothing is connected yet; made in an event loop.  Raises EngineAway for unusable certificates."""
        self._config = config
        self._path = urlsplit(config.endpoint).path if config.endpoint.startswith("unix:") else ""
        self._url = "http://engine" if self._path else self._tcp_url()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(self._path, limit=_AT_ONCE + 2)
            if self._path
            else aiohttp.TCPConnector(limit=_AT_ONCE + 2, ssl=self._tls()),
            timeout=aiohttp.ClientTimeout(ANSWER_SECONDS, sock_connect=_CONNECT_SECONDS),
        )
        self._prefix = ""
        self._tells_health = False
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def greet(self) -> Greeting:
        """Agree on a version of the API.  Raises EngineAway."""
        octets, date = await self._get("/version")
        try:
            told = _decode_version(octets)
            newest, oldest = _number(told.api_version), _number(told.min_api_version or "1.24")
        except (msgspec.DecodeError, ValueError):
            raise EngineAway(
                f"{self._config.endpoint}: what answers there is no engine of containers"
            ) from None
        spoken = max(min(NEWEST, newest), oldest)
        self._prefix = f"/v{spoken[0]}.{spoken[1]}"
        is_podman = any("podman" in one.name.lower() for one in told.components or ())
        self._tells_health = not is_podman
        try:
            now = int(parsedate_to_datetime(date).timestamp())
        except (TypeError, ValueError):
            now = 0
        return Greeting(self._prefix[2:], told.version, is_podman, now)

    async def id(self) -> str:
        """Return what the engine calls itself.  Raises EngineAway."""
        octets, _ = await self._get(f"{self._prefix}/info")
        with suppress(msgspec.DecodeError):
            return _decode_info(octets).id
        return ""

    async def containers(self, ids: Sequence[str] = ()) -> list[Container]:
        """Return all containers, or those of some ids that are there, in any state.  Raises EngineAway."""
        path = f"{self._prefix}/containers/json?all=1"
        if ids:
            path += f"&filters={quote(json.dumps({'id': list(ids)}))}"
        octets, _ = await self._get(path)
        try:
            return engine_objects.listed(octets, tells_health=self._tells_health)
        except msgspec.DecodeError as wrong:
            raise self._odd(wrong) from None

    async def inspected(self, container: Container) -> Container | None:
        """Return a container with all that is known of it, None where it has gone.  Raises EngineAway."""
        async with self._room:
            try:
                octets, _ = await self._get(f"{self._prefix}/containers/{quote(container.id, safe='')}/json")
            except _NotThere:
                return None
        try:
            return engine_objects.inspected(octets, container)
        except msgspec.DecodeError as wrong:
            raise self._odd(wrong) from None

    async def events(self, since: int) -> AsyncIterator[list[EngineEvent]]:
        """Yield what comes together, from a time of the engine's clock on, until the engine ends it.

        Raises EngineAway.
        """
        filters = quote(json.dumps({"type": ["container", "network"]}))
        begin = f"since={max(0, since - _BEFORE_SECONDS)}&" if since else ""
        forever = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        url = f"{self._url}{self._prefix}/events?{begin}filters={filters}"
        try:
            async with self._session.get(url, timeout=forever, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise await self._refusal(answer)
                rest = b""
                async for octets in answer.content.iter_any():
                    *lines, rest = (rest + octets).split(b"\n")
                    if len(rest) > _MOST_LINE:
                        raise EngineAway(
                            f"{self._config.endpoint}: a line of /events is over {_MOST_LINE} octets"
                        )
                    yield [event for line in lines if (event := _event(line))]
        except (aiohttp.ClientError, OSError, TimeoutError) as wrong:
            raise self._away(wrong) from None

    async def _get(self, path: str) -> tuple[bytes, str]:
        """Return the body and the Date of an answer.  Raises EngineAway."""
        try:
            async with self._session.get(f"{self._url}{path}", allow_redirects=False) as answer:
                if answer.status != 200:
                    raise await self._refusal(answer)
                parts, size = [], 0
                async for octets in answer.content.iter_any():
                    parts.append(octets)
                    size += len(octets)
                    if size > _MOST_OCTETS:
                        raise EngineAway(f"{self._config.endpoint}: an answer is over {_MOST_OCTETS} octets")
                return b"".join(parts), answer.headers.get("Date", "")
        except (aiohttp.ClientError, OSError, TimeoutError) as wrong:
            raise self._away(wrong) from None

    async def _refusal(self, answer: aiohttp.ClientResponse) -> EngineAway:
        text = (await answer.content.read(1000)).decode(errors="replace")
        with suppress(ValueError, AttributeError):
            text = str(json.loads(text).get("message", text))
        said = f"{self._config.endpoint}: HTTP status {answer.status}: {' '.join(text.split())[:200]}"
        if answer.status == 404:
            return _NotThere(said)
        if answer.status == 403:
            said += "; a socket proxy has to allow GET of version, info, containers and events"
        return EngineAway(said)

    def _odd(self, wrong: Exception) -> EngineAway:
        return EngineAway(f"{self._config.endpoint}: an answer is not understood: {str(wrong)[:200]}")

    def _away(self, wrong: BaseException) -> EngineAway:
        endpoint, cause = self._config.endpoint, _os_error(wrong)
        number = cause.errno if cause is not None else None
        if isinstance(wrong, TimeoutError):
            return EngineAway(f"{endpoint}: no answer in time")
        if number in (errno.EACCES, errno.EPERM):
            text = "its group may (usermod -aG docker USER; in a container --group-add GID)"
            return EngineAway(f"{endpoint}: this user may not read it; {text}")
        if number == errno.ENOENT:
            return EngineAway(
                f"{endpoint}: is not there; is the engine running, and its folder mounted here?"
            )
        if number == errno.ECONNREFUSED:
            text = (
                "a socket that is mounted as a file stays that of an engine that has ended: mount its folder"
            )
            return EngineAway(
                f"{endpoint}: nobody listens; {text if self._path else 'is the engine running?'}"
            )
        return EngineAway(f"{endpoint}: {str(wrong)[:200] or type(wrong).__name__}")

    def _tcp_url(self) -> str:
        with_tls = self._config.tls_ca or self._config.tls_cert
        return self._config.endpoint.replace("tcp://", "https://" if with_tls else "http://", 1)

    def _tls(self) -> ssl.SSLContext | bool:
        config = self._config
        if not (config.tls_ca or config.tls_cert):
            return True
        try:
            context = ssl.create_default_context(cafile=config.tls_ca or None)
            if config.tls_cert:
                context.load_cert_chain(config.tls_cert, config.tls_key)
        except (OSError, ValueError) as wrong:
            raise EngineAway(f"{config.endpoint}: its certificates can't be used: {wrong}") from None
        return context


class _NotThere(EngineAway):
    """HTTP status 404."""


def _os_error(wrong: BaseException) -> OSError | None:
    found: BaseException | None = wrong
    while found is not None and not (
        isinstance(found, OSError)
        and found.errno
        and not isinstance(found, ssl.SSLError)  # its numbers differ
    ):
        found = getattr(found, "os_error", None) or found.__cause__
    return found


def _event(line: bytes) -> EngineEvent | None:
    """Return an event, None for a line that is none: events are hints."""
    try:
        return _decode_event(line)
    except msgspec.DecodeError:
        return None


def _number(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
