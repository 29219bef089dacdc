"""A reflector as client-go's: it lists, watches, and holds what it has been told.

What it does is client-go's tools/cache/reflector.go: a watch that ends is begun again at the last
resourceVersion; 410 Expired makes it list anew, first "not older than" what it knows; bookmarks move the
resourceVersion; with WatchList the list itself comes as a stream.  It fails on whatever client-go would
stumble over: an object of another kind, a list without a resourceVersion, an unknown event.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Key = tuple[str, str]
Object = dict[str, Any]

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Expired(Exception):
    """410: the server no longer knows that resourceVersion."""


@dataclass
class Counts:
    """How often something happened to a reflector; tests see to it that everything did."""

    lists: int = 0
    watches: int = 0
    expired: int = 0
    killed: int = 0
    bookmarks: int = 0
    events: int = 0


@dataclass
class Reflector:
    """Follows one collection; `objects` is what it holds."""

    session: aiohttp.ClientSession
    url: str
    kind: str
    query: dict[str, str] = field(default_factory=dict)
    watch_list: bool = False
    """Whether it asks for the list as a stream (sendInitialEvents)."""
    objects: dict[Key, Object] = field(default_factory=dict)
    revision: str = ""
    counts: Counts = field(default_factory=Counts)
    may_watch: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: it stands still, as a machine that sleeps."""
    _listed: bool = False
    _response: aiohttp.ClientResponse | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        self.may_watch.set()
        while True:
            await self.may_watch.wait()
            try:
                if not self._listed:
                    await (self._stream_list() if self.watch_list else self._list())
                if self._listed and self.may_watch.is_set():
                    await self._watch()
            except Expired:
                self.counts.expired += 1
                self._listed = False
            except (aiohttp.ClientError, ConnectionError):
                pass  # killed: go on at the last resourceVersion

    def kill(self) -> None:
        """Cut the connection of the watch, whatever is under way on it."""
        if self._response is not None and self._response.connection is not None:
            self.counts.killed += 1
            transport = self._response.connection.transport
            if transport is not None:
                transport.abort()

    def sleep(self) -> None:
        """Stand still until `wake`, without a connection."""
        self.may_watch.clear()
        self.kill()

    def wake(self) -> None:
        """Go on."""
        self.may_watch.set()

    # List, in pages

    async def _list(self) -> None:
        self.counts.lists += 1
        try:
            found, revision = await self._pages(self.revision or "0")
        except Expired:
            found, revision = await self._pages("")
        self._replace(found, revision)

    async def _pages(self, revision: str) -> tuple[dict[Key, Object], str]:
        found: dict[Key, Object] = {}
        token = ""
        while True:
            page = await self._page({"limit": "50", "continue": token} if token else
                                    {"limit": "50", "resourceVersion": revision})  # fmt: skip
            assert page["kind"] == f"{self.kind}List", page["kind"]
            for item in page["items"]:
                found[_key(item)] = item
            token = page["metadata"].get("continue", "")
            if not token:
                return found, page["metadata"]["resourceVersion"]

    async def _page(self, query: dict[str, str]) -> Object:
        async with self.session.get(self.url, params={**self.query, **query}) as answer:
            page: Object = await answer.json()
            if answer.status == 410:
                raise Expired
            assert answer.status == 200, page
            return page

    def _replace(self, found: dict[Key, Object], revision: str) -> None:
        assert int(revision) > 0
        self.objects, self.revision, self._listed = found, revision, True

    # Watch

    async def _stream_list(self) -> None:
        """The state comes as ADDED events and ends with a bookmark; the stream then goes on as a watch."""
        self.counts.lists += 1
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        if self.revision:
            query["resourceVersion"] = self.revision
        initial: dict[Key, Object] | None = {}
        async for type_, obj in self._events(query):
            if initial is None:
                self._take(type_, obj)
            elif type_ == "BOOKMARK":
                assert obj["metadata"]["annotations"] == {INITIAL_EVENTS_END: "true"}
                self._replace(initial, obj["metadata"]["resourceVersion"])
                initial = None
            else:
                assert type_ == "ADDED", type_
                initial[_key(obj)] = obj

    async def _watch(self) -> None:
        async for type_, obj in self._events({"resourceVersion": self.revision}):
            self._take(type_, obj)

    def _take(self, type_: str, obj: Object) -> None:
        self.counts.events += 1
        if type_ == "BOOKMARK":
            self.counts.bookmarks += 1
        elif type_ == "DELETED":
            self.objects.pop(_key(obj), None)
        else:
            assert type_ in ("ADDED", "MODIFIED"), type_
            self.objects[_key(obj)] = obj
        self.revision = obj["metadata"]["resourceVersion"]

    async def _events(self, query: dict[str, str]) -> AsyncIterator[tuple[str, Object]]:
        self.counts.watches += 1
        timeout = str(random.randint(5, 10))
        query = {
            **self.query,
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": timeout,
        }
        async with self.session.get(self.url, params=query) as self._response:
            if self._response.status == 410:
                raise Expired
            assert self._response.status == 200, await self._response.text()
            async for line in self._response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    assert event["object"]["kind"] == "Status"
                    assert event["object"]["code"] == 410, event
                    raise Expired
                assert event["object"]["kind"] == self.kind, event["object"]["kind"]
                yield event["type"], event["object"]


def _key(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end; what it failed of is raised."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
