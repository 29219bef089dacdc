"""The client for asyncio: the same calls as `sync.Client`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import httpcore

from svcdns.objects.kinds import Kind

from . import calls, explanations, registration, waiting
from .connection import Connection, find
from .exchange import Call, Object, Request, Response, T, Unreachable
from .registration import Added
from .transport import SECONDS, extensions, reading, why_unreachable


class AsyncClient:
    """Talks to the API of a svcdns server.

        async with AsyncClient() as there:
            await there.add("cache", ["10.0.0.5", "10.0.0.6"], ports={"redis": 6379})

    Each method raises ApiError for what the server refuses, Unreachable where none answers.
    """

    def __init__(self, connection: Connection | None = None, *, seconds: float = SECONDS) -> None:
        """Connect to what `svcdns.client.find` finds where nothing is said.

        `seconds` is how long an answer may take.  Raises NoServer.
        """
        self.connection = connection or find()
        self.warnings: list[str] = []
        """What the server has warned of so far."""
        self._seconds = seconds
        self._is_checked = not self.connection.is_unsure
        self._pool = httpcore.AsyncConnectionPool(ssl_context=self.connection.tls(), retries=1)
        self._replicas = [replace(self.connection, url=url) for url in self.connection.others]
        """Those to be asked next where the connection's own is away."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def run(self, call: Call[T]) -> T:
        """Run any call: send what it asks for, until it returns."""
        try:
            request = next(call)
            while True:
                request = call.send(await self.send(request))
        except StopIteration as end:
            result: T = end.value
            return result

    async def send(self, request: Request) -> Response:
        """Send one request.  Raises Unreachable, and NoServer where KUBECONFIG names what is no svcdns."""
        if not self._is_checked:
            self._is_checked = True
            await self.run(explanations.check_server(self.connection))
        with self._asking() as there, why_unreachable(there, self._seconds):
            answer = await self._pool.request(
                request.method,
                there.url + request.path,
                headers=request.headers(there.token),
                content=request.octets(),
                extensions=extensions(self._seconds),
            )
        response = reading(answer.status, answer.headers, answer.content)
        self.warnings += response.warnings
        return response

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        """Give the connection to ask; where it is away, the next request goes to the next replica.

        Nothing is sent twice: whether a write was carried out by a server that is gone, nobody can say here.
        """
        there = self.connection
        try:
            yield there
        except Unreachable:
            if self._replicas and self.connection is there:  # or somebody else has moved on already
                self._replicas.append(there)
                self.connection = self._replicas.pop(0)
            raise

    async def watch(
        self, kind: Kind, namespace: str = "", name: str = "", labels: str = "", since: str = ""
    ) -> AsyncIterator[Object]:
        """Yield watch events until the server ends it: what is there and each change from then on.

        With `since`, the resourceVersion of a list, only the changes after it.
        """
        async for lines in self.lines(calls.watch(kind, namespace, name, labels, since)):
            for line in lines:
                yield json.loads(line)

    async def lines(
        self, request: Request, silent_seconds: float | None = None
    ) -> AsyncIterator[list[bytes]]:
        """Yield the lines of a stream, at least one, as they come together, until the server ends it.

        `silent_seconds` is how long it may take until something comes.  Raises ApiError and Unreachable.
        """
        with self._asking() as there, why_unreachable(there, silent_seconds):
            async with self._pool.stream(
                request.method,
                there.url + request.path,
                headers=request.headers(there.token),
                extensions=extensions(silent_seconds),
            ) as answer:
                if answer.status != 200:
                    raise Response(answer.status, await answer.aread()).refusal()
                rest = b""
                async for octets in answer.aiter_stream():
                    *lines, rest = (rest + octets).split(b"\n")
                    if whole := [line for line in lines if line]:
                        yield whole

    async def get(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        """Return an object, None if there is none."""
        return await self.run(calls.get(kind, namespace, name))

    async def list(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """Return all objects of a kind in a namespace, in all of them where none is named."""
        return await self.run(calls.list_objects(kind, namespace, labels, fields))

    async def apply(self, obj: Object, namespace: str = "", *, force: bool = True) -> Object:
        """Create an object, or bring it to what is said of it; return it as it is now."""
        return await self.run(calls.apply(obj, namespace, force=force))

    async def delete(self, kind: Kind, name: str, namespace: str = "default") -> bool:
        """Delete an object; return whether there was one."""
        return await self.run(calls.delete(kind, namespace, name))

    async def add(self, name: str, addresses: Sequence[str], **more: Any) -> Added:
        """Register a Service and a Pod for each address; see `registration.add`."""
        return await self.run(registration.add(name, addresses, **more))

    async def remove(
        self,
        name: str,
        addresses: Sequence[str] = (),
        namespace: str = "default",
        aliases: Sequence[str] = (),
    ) -> Sequence[str]:
        """Take a Service and its Pods away; see `registration.remove`."""
        return await self.run(registration.remove(name, addresses, aliases=aliases, namespace=namespace))

    async def set_ready(
        self, name: str, ready: bool, because: str = "", namespace: str = "default"
    ) -> Sequence[str]:
        """Say that a Pod, or all Pods of a Service, are ready or not; see `registration.set_ready`."""
        return await self.run(registration.set_ready(name, ready, because, namespace=namespace))

    async def heartbeat(self, name: str, namespace: str = "default") -> bool:
        """Show that a Pod lives; False: it is not there any more, and is to be registered again."""
        return await self.run(calls.heartbeat(namespace, name))

    async def wait_for_proxies(self, seconds: float = 10) -> Sequence[str]:
        """Wait until the traffic does what was acknowledged by now; see `waiting.wait`."""
        return await self.run(waiting.wait(seconds))

    async def explain(
        self,
        name: str,
        namespace: str = "default",
        *,
        type: str = "A",
        client: str = "",
        search: bool = False,
        forward: bool = False,
    ) -> Mapping[str, Any]:
        """Return what a name or a Pod answers, from which objects, and why not more.

        `rcode`, `response` and `origin` are the reply that `client` (an address; "": this one) gets for a
        `type`, and where that comes from; see `explanations.explain`.
        """
        asked = explanations.explain(
            name, namespace, type=type, client=client, search=search, forward=forward
        )
        return await self.run(asked)
