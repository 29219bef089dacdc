"""The client for programs without an event loop: one connection at a time, blocking."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpcore

from svcdns.objects.kinds import Kind

from . import calls, explanations, registration, waiting
from .connection import Connection, find
from .exchange import Call, Object, Request, Response, T
from .registration import Added
from .transport import SECONDS, extensions, reading, why_unreachable


class Client:
    """Talks to the API of a svcdns server.

        with Client() as there:
            there.add("cache", ["10.0.0.5", "10.0.0.6"], ports={"redis": 6379})

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
        self._pool = httpcore.ConnectionPool(ssl_context=self.connection.tls(), retries=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def run(self, call: Call[T]) -> T:
        """Run any call: send what it asks for, until it returns."""
        try:
            request = next(call)
            while True:
                request = call.send(self.send(request))
        except StopIteration as end:
            result: T = end.value
            return result

    def send(self, request: Request) -> Response:
        """Send one request.  Raises Unreachable, and NoServer where KUBECONFIG names what is no svcdns."""
        if not self._is_checked:
            self._is_checked = True
            self.run(explanations.check_server(self.connection))
        with why_unreachable(self.connection, self._seconds):
            answer = self._pool.request(
                request.method,
                self.connection.url + request.path,
                headers=request.headers(self.connection.token),
                content=request.octets(),
                extensions=extensions(self._seconds),
            )
        response = reading(answer.status, answer.headers, answer.content)
        self.warnings += response.warnings
        return response

    def watch(
        self, kind: Kind, namespace: str = "", name: str = "", labels: str = "", since: str = ""
    ) -> Iterator[Object]:
        """Yield watch events until the server ends it: what is there and each change from then on.

        With `since`, the resourceVersion of a list, only the changes after it.
        """
        return self.lines(calls.watch(kind, namespace, name, labels, since))

    def lines(self, request: Request) -> Iterator[Object]:
        """Yield what an answer says in lines of JSON, as they come, until the server ends it."""
        with (
            why_unreachable(self.connection, None),
            self._pool.stream(
                request.method,
                self.connection.url + request.path,
                headers=request.headers(self.connection.token),
                extensions=extensions(None),
            ) as answer,
        ):
            if answer.status != 200:
                raise Response(answer.status, answer.read()).refusal()
            rest = b""
            for octets in answer.iter_stream():
                *lines, rest = (rest + octets).split(b"\n")
                yield from map(json.loads, filter(None, lines))

    def get(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        """Return an object, None if there is none."""
        return self.run(calls.get(kind, namespace, name))

    def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """Return all objects of a kind in a namespace, in all of them where none is named."""
        return self.run(calls.list_objects(kind, namespace, labels, fields))

    def apply(self, obj: Object, namespace: str = "", *, force: bool = True) -> Object:
        """Create an object, or bring it to what is said of it; return it as it is now."""
        return self.run(calls.apply(obj, namespace, force=force))

    def delete(self, kind: Kind, name: str, namespace: str = "default") -> bool:
        """Delete an object; return whether there was one."""
        return self.run(calls.delete(kind, namespace, name))

    def add(self, name: str, addresses: Sequence[str], **more: Any) -> Added:
        """Register a Service and a Pod for each address; see `registration.add`."""
        return self.run(registration.add(name, addresses, **more))

    def remove(
        self,
        name: str,
        addresses: Sequence[str] = (),
        namespace: str = "default",
        aliases: Sequence[str] = (),
    ) -> Sequence[str]:
        """Take a Service and its Pods away; see `registration.remove`."""
        return self.run(registration.remove(name, addresses, aliases=aliases, namespace=namespace))

    def set_ready(
        self, name: str, ready: bool, because: str = "", namespace: str = "default"
    ) -> Sequence[str]:
        """Say that a Pod, or all Pods of a Service, are ready or not; see `registration.set_ready`."""
        return self.run(registration.set_ready(name, ready, because, namespace=namespace))

    def heartbeat(self, name: str, namespace: str = "default") -> bool:
        """Show that a Pod lives; False: it is not there any more, and is to be registered again."""
        return self.run(calls.heartbeat(namespace, name))

    def wait_for_proxies(self, seconds: float = 10) -> Sequence[str]:
        """Wait until the traffic does what was acknowledged by now; see `waiting.wait`."""
        return self.run(waiting.wait(seconds))

    def explain(
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
        return self.run(asked)
