"""Reading and writing objects: one set of handlers for all kinds.

A request has been parsed into a Target; here it becomes one call of the registry, and what that returns
becomes an answer.  Whatever is wrong is raised as StatusError and answered in `app`.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from aiohttp import web

from svcdns.objects.errors import StatusError, bad_request, not_found
from svcdns.objects.kinds import POD, SERVICE
from svcdns.registry.identity import agreed
from svcdns.registry.requests import Patch, Selection, WriteOptions, Written

from . import bodies, consistency, lists, parameters, responses
from .encodings import encoded
from .paths import HEARTBEAT, Target
from .responses import Clock
from .watches import Watches

if TYPE_CHECKING:
    from svcdns.registry.registry import Registry

_T = TypeVar("_T")

_ANSWERED_WITH_OBJECT = frozenset({SERVICE, POD})
"""Kinds whose deletion is answered with the object; of others with a Status, unless the object stays."""


@dataclass(slots=True)
class Resources:
    """Handlers of everything below /api/v1 and /apis/GROUP/VERSION."""

    _registry: Registry
    _watches: Watches
    _clock: Clock
    """For ages in tables."""
    _check_created: Callable[[web.Request, Target, str], None]
    """Raises StatusError where the sender may create no object of this name ("": one that is generated)."""
    _running: set[asyncio.Future[Any]] = field(default_factory=set)

    async def answer(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Answer a request whose method is allowed there.  Raises StatusError."""
        return await encoded(request, await self._answered(request, target))

    async def _answered(self, request: web.Request, target: Target) -> web.StreamResponse:
        if not target.can_exist():
            raise _not_found(target)
        match request.method:
            case "POST" if target.subresource == HEARTBEAT:
                return await self._beat(request, target)
            case "POST" if target.subresource:
                return await self._evict(request, target)
            case "POST":
                return await self._create(request, target)
            case "PUT":
                return await self._replace(request, target)
            case "PATCH":
                return await self._patch(request, target)
            case "DELETE" if target.name:
                return await self._delete(request, target)
            case "DELETE":
                return await self._delete_collection(request, target)
        return await (self._get if target.name else self._list)(request, target)

    async def _get(self, request: web.Request, target: Target) -> web.Response:
        wanted = parameters.resource_version(request.query)
        stale = await consistency.reach(self._registry, wanted)
        if wanted:
            with self._registry.listing(target.kind, target.namespace, Selection()) as listing:
                consistency.check_reached(wanted, listing.revision)
        try:
            octets = self._registry.get(target.kind, target.namespace, target.name)
        except StatusError as missing:
            missing.warnings += stale
            raise
        return responses.object_answer(request, target.kind, octets, self._clock, warnings=stale)

    async def _list(self, request: web.Request, target: Target) -> web.StreamResponse:
        options = parameters.list_options(_asked(request, target), target.kind)
        if options.watch and request.method == "GET":
            return await self._watches.answer(request, target, options)
        stale = await consistency.reach(self._registry, options.resource_version)
        with self._registry.listing(
            target.kind, target.namespace, options.selection, options.limit, options.continue_
        ) as listing:
            _check_revision(options, listing.revision)
            return await lists.answer(request, target.kind, listing, self._clock, stale)

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        options = _write_options(request)
        given, warnings = await bodies.read_object(request, options.field_validation)
        self._check_created(request, target, _name(given))
        write = self._registry.create(target.kind, target.namespace, _agreed(target, given), options)
        return await self._written(request, target, write, warnings)

    async def _evict(self, request: web.Request, target: Target) -> web.Response:
        """Delete a Pod in the way of policy/v1 Eviction: there are no disruption budgets to ask here."""
        body, _ = await bodies.read_object(request)
        if body.get("kind") not in (None, "", "Eviction"):
            raise bad_request(f"the body of an eviction is an Eviction, not {body['kind']!r:.80}")
        given = body.get("deleteOptions")
        if given is not None and not isinstance(given, dict):
            raise bad_request("deleteOptions: an object is expected")
        options = parameters.delete_options(request.query, given)
        await self._finish(self._registry.delete(target.kind, target.namespace, target.name, options))
        return responses.json_answer(request, responses.SUCCESS, status=201)

    async def _beat(self, request: web.Request, target: Target) -> web.Response:
        """Count a heartbeat of a Pod; whatever the body says, it says no more than its coming."""
        if not _write_options(request).dry_run:
            await self._finish(self._registry.heartbeats.beat(target.namespace, target.name))
        return web.Response(status=204)

    async def _replace(self, request: web.Request, target: Target) -> web.Response:
        options = _write_options(request)
        given, warnings = await bodies.read_object(request, options.field_validation)
        at = (target.kind, target.namespace, target.name)
        write = self._registry.replace(*at, _agreed(target, given), options, target.subresource)
        return await self._written(request, target, write, warnings)

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        options = _write_options(request)
        patch, warnings = await bodies.read_patch(request, options.field_validation)
        parameters.check_patch(request.query, patch.type)
        if patch.type == "apply":
            patch = Patch(patch.type, _agreed(target, patch.document))
        at = (target.kind, target.namespace, target.name)
        write = self._registry.patch(*at, patch, options, target.subresource)
        return await self._written(request, target, write, warnings)

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        options = parameters.delete_options(request.query, await bodies.read_optional_object(request))
        written = await self._finish(
            self._registry.delete(target.kind, target.namespace, target.name, options)
        )
        last = msgspec.json.decode(written.object)
        if target.kind in _ANSWERED_WITH_OBJECT or last["metadata"].get("deletionTimestamp"):
            return self._answer(request, target, written)
        octets = responses.deleted_status(target.kind, last)
        return responses.json_answer(request, octets, warnings=written.warnings)

    async def _delete_collection(self, request: web.Request, target: Target) -> web.Response:
        selection = parameters.selection(request.query, target.kind)
        options = parameters.delete_options(request.query, await bodies.read_optional_object(request))
        await consistency.reach(self._registry, None)
        page = await self._finish(
            self._registry.delete_collection(target.kind, target.namespace, selection, options)
        )
        return lists.page_answer(request, target.kind, page, self._clock)

    async def _written(
        self,
        request: web.Request,
        target: Target,
        write: Coroutine[Any, Any, Written],
        warnings: tuple[str, ...] = (),
    ) -> web.Response:
        """Answer with the object that a write comes to; `warnings` are about the body."""
        return self._answer(request, target, await self._finish(write), warnings)

    def _answer(
        self, request: web.Request, target: Target, written: Written, warnings: tuple[str, ...] = ()
    ) -> web.Response:
        status = 201 if written.created else 200
        about_all = (*warnings, *written.warnings)
        return responses.object_answer(
            request, target.kind, written.object, self._clock, status=status, warnings=about_all
        )

    async def _finish(self, write: Coroutine[Any, Any, _T]) -> _T:
        """Await a write that goes on to its end even when the client leaves."""
        task = asyncio.ensure_future(write)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has seen it; if nobody did, it needs no log line


def _name(given: dict[str, Any]) -> str:
    metadata = given.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _agreed(target: Target, body: dict[str, Any]) -> dict[str, Any]:
    return agreed(target.kind, target.namespace, target.name, body)


def _asked(request: web.Request, target: Target) -> Mapping[str, str]:
    """Return the query of a list; a path below /watch/ says a part of it itself."""
    if not target.watched:
        return request.query
    query = {**request.query, "watch": "true"}
    if target.only:
        wanted = [query.get("fieldSelector", ""), f"metadata.name={target.only}"]
        query["fieldSelector"] = ",".join(filter(None, wanted))
    return query


def _write_options(request: web.Request) -> WriteOptions:
    return parameters.write_options(request.query, request.headers.get("User-Agent", ""))


def _not_found(target: Target) -> StatusError:
    if target.name:
        return not_found(target.kind.plural, target.name[:300], target.kind.group)
    return not_found("namespaces", target.namespace[:300])


def _check_revision(options: parameters.ListOptions, present: int) -> None:
    """Raise StatusError when a list of another revision was asked for than the present one."""
    wanted = options.resource_version
    consistency.check_reached(wanted, present)
    if wanted and options.match == "Exact" and wanted != present:
        text = f"The resourceVersion for the provided list is too old: {wanted}, current: {present}"
        raise StatusError(410, "Expired", text)
