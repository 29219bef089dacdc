"""Following a kind of object for as long as one wants: what is there, then each change.

    async for step in follow(client, SERVICE):
        Page(items, is_first)   some of what is there; more may follow
        Listed(...)             that was all: what none of these pages showed is gone
        Changed(events, ...)    what came at once: (type, object)
        Lost(why)               nobody answers, or refuses; what was learned stays, and it is tried again

Rules:

* after anything but the proper end of a watch all is listed again, so nothing that happened in between is
  missed, whatever the server has forgotten (410) or become; so it is where another server is asked;
* the first list is of whatever state is at hand, as client-go's: what is newer comes by the watch; later
  ones are of the most recent, so that a server that is behind takes nobody back;
* a stream in which not even a bookmark comes is as good as cut;
* attempts are spread at random, so that many who lost the same server don't come back at once.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from msgspec import DecodeError, Raw, Struct, field, json

from svcdns.objects.kinds import Kind

from . import calls
from .asynchronous import AsyncClient
from .connection import NoServer
from .exchange import ApiError, Request, Unreachable

SILENT_SECONDS = 150.0
"""Two bookmarks and more that did not come: they are a minute apart."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
_PAGE = 500
_GONE = 410


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the objects that there are, as JSON."""

    items: Sequence[Raw]
    is_first: bool
    """A listing begins with it; one before that had no end is void."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The pages since the last one of these were all."""

    revision: str
    """As of which this is the state."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Changes in their order: ADDED, MODIFIED or DELETED, and the object as JSON."""

    events: Sequence[tuple[str, Raw]]
    revision: str
    """As of which this is the state."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The server can't be followed for now; the text says why."""

    why: str
    status: int = 0
    """The HTTP status of a refusal; 0: nobody has answered."""


Step = Page | Listed | Changed | Lost


class _ListMetadata(Struct, rename="camel"):
    resource_version: str = ""
    continuation: str = field(name="continue", default="")


class _List(Struct):
    metadata: _ListMetadata
    items: list[Raw] | None = None


class _WatchEvent(Struct):
    type: str
    object: Raw


class _Metadata(Struct, rename="camel"):
    resource_version: str = ""


class _Object(Struct):
    metadata: _Metadata


async def follow(
    client: AsyncClient, kind: Kind, *, labels: str = "", name: str = "", namespace: str = ""
) -> AsyncIterator[Step]:
    """Yield what there is of a kind and what changes, until closed; nothing the server does ends it.

    A namespace of "" means all of them.
    """
    fields = f"metadata.name={name}" if name else ""
    query = {"namespace": namespace, "labelSelector": labels, "fieldSelector": fields}
    failures, has_listed = 0, False
    while True:
        try:
            revision = ""
            async for page in _pages(client, kind, query, any_state=not has_listed):
                yield Page(page.items or (), is_first=not revision)
                revision = page.metadata.resource_version
            yield Listed(revision)
            has_listed = True
            async for changed in _watched_on(client, kind, query, revision):
                failures = 0
                yield changed
        except ApiError as refused:
            if refused.status != _GONE:
                yield Lost(str(refused), refused.status)
        except (Unreachable, NoServer, DecodeError) as lost:
            yield Lost(str(lost))
        failures += 1
        await asyncio.sleep(_pause(failures))


def _pause(failures: int) -> float:
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
    return random.uniform(0.5, 1.0) * longest


async def _pages(
    client: AsyncClient, kind: Kind, query: dict[str, str], *, any_state: bool
) -> AsyncIterator[_List]:
    following, how_new = "", "0" if any_state else ""
    while True:
        more = {"limit": str(_PAGE), "continue": following, "resourceVersion": how_new}
        path = calls.path(kind, **query, **more)
        response = await client.send(Request("GET", path))
        if response.status != 200:
            response.json()  # raises ApiError
        page = json.decode(response.body, type=_List)
        yield page
        following = page.metadata.continuation
        if not following:
            return


async def _watched_on(
    client: AsyncClient, kind: Kind, query: dict[str, str], revision: str
) -> AsyncIterator[Changed]:
    """Yield changes after a revision; where the server ends the stream in order, begin another one.

    Ends where another server is asked meanwhile: its revisions may be those of another registry.
    """
    failures, there = 0, client.connection
    while client.connection is there:
        seen = revision
        more = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": revision}
        request = Request("GET", calls.path(kind, **query, **more))
        async for lines in client.lines(request, SILENT_SECONDS):
            events = [json.decode(line, type=_WatchEvent) for line in lines]
            revision = _revision_of(events[-1])
            yield Changed(
                [(one.type, one.object) for one in events if one.type not in ("BOOKMARK", "ERROR")], revision
            )
        failures = failures + 1 if revision == seen else 0
        if failures:
            await asyncio.sleep(_pause(failures))


def _revision_of(event: _WatchEvent) -> str:
    """Return the revision that an event brings.  Raises ApiError where it is the server's refusal."""
    if event.type == "ERROR":
        status = json.decode(event.object)
        code = status.get("code") if isinstance(status, dict) else None
        raise ApiError.of(code if isinstance(code, int) else 500, status)
    return json.decode(event.object, type=_Object).metadata.resource_version
