"""An engine of containers that says what a test wants: Docker 20 to 29 or Podman, whole or in a bad way.

    async with FakeEngine(folder / "engine.sock") as engine:
        engine.start("shop-db-1", compose=("shop", "db", 1), address="10.89.0.5")

It answers the five GETs that are asked, over a Unix socket, and notes them; anything but a GET is noted in
`refused`, and refused.
"""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any, Self

from aiohttp import web


@dataclass
class FakeContainer:
    """One container; what is not set, a usual one has."""

    id: str
    name: str
    address: str
    labels: dict[str, str]
    state: str = "running"
    health: str = ""
    """"" is one without a healthcheck."""
    health_log: str = "connection refused"
    networks: dict[str, str] | None = None
    """Addresses by network; None: `bridge` alone."""
    ipv6: str = ""
    mode: str = "bridge"
    exposed: tuple[str, ...] = ("5432/tcp",)
    published: tuple[tuple[str, int, str], ...] = ()
    """(address of the host, its port, exposed port)"""
    image: str = "postgres:16"
    started: str = ""
    healthcheck: list[str] | None = None

    def attached(self) -> dict[str, Any]:
        there = {"bridge": self.address} if self.networks is None else self.networks
        is_there = self.state in ("running", "paused")
        return {
            name: {"IPAddress": ip if is_there else "", "GlobalIPv6Address": self.ipv6 if is_there else ""}
            for name, ip in there.items()
        }


@dataclass
class FakeEngine:
    """The engine; fields may be changed at any time."""

    socket: Path
    api: str = "1.41"
    oldest: str = "1.24"
    podman: bool = False
    """Its list has neither health, mode, nor ports that are only exposed."""
    holds_head_back: bool = False
    """Nothing of an event stream is sent before its first event."""
    clock: float = 0.0
    """Seconds by which its clock is ahead."""
    id: str = "7TRN:IPZB:QYBB:VPBQ"
    broken: int = 0
    """The status of every answer, 0 for good ones."""
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    """What was asked that an engine behind a socket proxy would not do."""
    streams: list["_Stream"] = field(default_factory=list)
    loses_events: bool = False
    tls: ssl.SSLContext | None = None
    """With it, it listens on TCP, at `port`."""
    port: int = 0
    before_stream: Callable[[], Awaitable[None]] | None = None
    """What happens before a stream of events begins."""

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self._past: list[dict[str, Any]] = []
        self._runner: web.AppRunner | None = None

    # Its life

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def begin(self) -> None:
        """Listen, again perhaps, on a socket that is a new file."""
        app = web.Application(middlewares=[self._noted])
        app.router.add_get("/version", self._version)
        app.router.add_get("/v{api}/info", self._info)
        app.router.add_get("/v{api}/containers/json", self._list)
        app.router.add_get("/v{api}/containers/{id}/json", self._inspect)
        app.router.add_get("/v{api}/events", self._events)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
        await self._runner.setup()
        self.socket.unlink(missing_ok=True)
        if self.tls is None:
            await web.UnixSite(self._runner, self.socket).start()
            return
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]

    async def end(self) -> None:
        """Die: streams end, and nobody listens; containers live on."""
        self.end_streams()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    def end_streams(self) -> None:
        for stream in self.streams:
            stream.lines.put_nowait(None)

    # What happens to containers

    def start(
        self,
        name: str,
        address: str = "10.89.0.5",
        compose: tuple[str, str, int] | None = None,
        labels: dict[str, str] | None = None,
        **more: Any,
    ) -> FakeContainer:
        """Start a container; `compose` is its project, service and number."""
        words = {}
        if compose is not None:
            project, service, number = compose
            words = {
                "com.docker.compose.project": project,
                "com.docker.compose.service": service,
                "com.docker.compose.container-number": str(number),
                "com.docker.compose.oneoff": "False",
            }
        number = next(self._numbers)
        made = FakeContainer(f"{number:064x}", name, address, {**words, **(labels or {})}, **more)
        made.started = made.started or f"2026-01-01T00:00:{number % 60:02d}.{number:09d}Z"
        self.containers[made.id] = made
        self.say("start", made)
        return made

    def change(self, one: FakeContainer, action: str, **fields: Any) -> None:
        """Change a container, and say so."""
        for word, value in fields.items():
            setattr(one, word, value)
        self.say(action, one)

    def flip(self, one: FakeContainer, health: str) -> None:
        """Change its health, and say so as Docker or as Podman does."""
        one.health = health
        if self.podman:
            self.say("health_status", one, health_status=health)
        else:
            self.say(f"health_status: {health}", one)

    def stop(self, one: FakeContainer) -> None:
        self.change(one, "die", state="exited")

    def remove(self, one: FakeContainer) -> None:
        self.containers.pop(one.id, None)
        self.say("remove" if self.podman else "destroy", one)

    def say(self, action: str, one: FakeContainer, **attributes: str) -> None:
        """Send an event to all who listen."""
        if self.loses_events:
            return
        now = time.time() + self.clock
        actor = {"ID": one.id, "Attributes": {"name": one.name, **attributes}}
        event = {"Type": "container", "Action": action, "Actor": actor, "time": int(now)}
        self._past = [*self._past[-255:], event]
        self.send(json.dumps(event).encode() + b"\n")

    def send(self, octets: bytes) -> None:
        """Send any octets to all who listen."""
        for stream in self.streams:
            stream.lines.put_nowait(octets)

    # What is asked

    @web.middleware
    async def _noted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        word = request.path.split("/", 2)[-1] if request.path.startswith("/v1") else request.path
        self.asked["inspect" if word.startswith("containers/") and word.count("/") == 2 else word] += 1
        if request.method != "GET":
            self.refused.append(f"{request.method} {request.path}")
        if self.broken:
            return web.json_response({"message": "the engine is starting"}, status=self.broken)
        version = request.match_info.get("api")
        if version is not None and not _number(self.oldest) <= _number(version) <= _number(self.api):
            text = f"client version {version} is too old. Minimum supported API version is {self.oldest}"
            return web.json_response({"message": text}, status=400)
        answer: web.StreamResponse = await handler(request)
        return answer

    def _date(self) -> dict[str, str]:
        return {"Date": formatdate(time.time() + self.clock, usegmt=True)}

    async def _version(self, request: web.Request) -> web.Response:
        engine = "Podman Engine" if self.podman else "Engine"
        told = {"ApiVersion": self.api, "MinAPIVersion": self.oldest, "Version": "28.0.1"}
        return web.json_response({**told, "Components": [{"Name": engine}]}, headers=self._date())

    async def _info(self, request: web.Request) -> web.Response:
        return web.json_response({"ID": self.id})

    async def _list(self, request: web.Request) -> web.Response:
        wanted = json.loads(request.query.get("filters", "{}")).get("id")
        return web.json_response(
            [self._listed(one) for one in self.containers.values() if wanted is None or one.id in wanted],
            headers=self._date(),
        )

    def _listed(self, one: FakeContainer) -> dict[str, Any]:
        words = {"starting": " (health: starting)", "healthy": " (healthy)", "unhealthy": " (unhealthy)"}
        ports: list[dict[str, Any]] = [
            {
                "IP": host,
                "PrivatePort": int(port.split("/")[0]),
                "PublicPort": number,
                "Type": port.split("/")[1],
            }
            for host, number, port in one.published
        ]
        if not self.podman and one.state == "running":
            ports += [
                {"PrivatePort": int(port.split("/")[0]), "Type": port.split("/")[1]} for port in one.exposed
            ]
        found = {
            "Id": one.id,
            "Names": [f"/{one.name}"],
            "Image": one.image,
            "Labels": one.labels,
            "State": one.state,
            "Status": "Up 3 minutes" + ("" if self.podman else words.get(one.health, "")),
            "Created": 1_700_000_000,
            "Ports": ports,
            "NetworkSettings": {"Networks": one.attached() or None},
        }
        if not self.podman:
            found["HostConfig"] = {"NetworkMode": one.mode}
        if not self.podman and _number(self.api) >= (1, 52):
            found["Health"] = {"Status": one.health or "none", "FailingStreak": 0}
        return found

    async def _inspect(self, request: web.Request) -> web.Response:
        one = self.containers.get(request.match_info["id"])
        if one is None:
            return web.json_response({"message": "no such container"}, status=404)
        test = one.healthcheck or (["CMD", "true"] if one.health else None)
        return web.json_response(
            {
                "Id": one.id,
                "Name": f"/{one.name}",
                "State": {
                    "Status": one.state,
                    "Running": one.state in ("running", "restarting"),
                    "Restarting": one.state == "restarting",
                    "StartedAt": one.started,
                    "Health": {"Status": one.health, "Log": [{"Output": one.health_log}]},
                },
                "Config": {
                    "Labels": one.labels,
                    "ExposedPorts": {port: {} for port in one.exposed},
                    "Healthcheck": {"Test": test} if test else None,
                },
                "HostConfig": {"NetworkMode": one.mode},
                "NetworkSettings": {"Networks": one.attached(), "Ports": {}},
            }
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self.before_stream is not None:
            await self.before_stream()
        answer = web.StreamResponse(headers=self._date())
        stream = _Stream()
        since = int(request.query.get("since", 0))
        for event in self._past:
            if since and event["time"] >= since:
                stream.lines.put_nowait(json.dumps(event).encode() + b"\n")
        self.streams.append(stream)
        try:
            if not self.holds_head_back:
                await answer.prepare(request)
            while (octets := await stream.lines.get()) is not None:
                if not answer.prepared:
                    await answer.prepare(request)
                await answer.write(octets)
        except ConnectionError:
            pass  # who listened has gone
        finally:
            self.streams.remove(stream)
        return answer


class _Stream:
    """Somebody who listens; None ends it."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue()


def _number(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))
