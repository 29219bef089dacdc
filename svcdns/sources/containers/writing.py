"""The plan of an engine, brought into the registry through the API: applied, and what is not wanted deleted.

Rules:

* an object is ours where it has our two labels; no other is ever changed or deleted, whatever its name.  What
  is known to be ours is applied and deleted by its uid, so never what somebody put in its place meanwhile;
* server-side apply, never forced: a field that somebody else owns stays theirs, and the rest is applied;
* what is applied already is not written again; after a look at what is registered, what was changed or
  deleted by hand is;
* what goes is deleted before anything is applied: an address may have gone to another container.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from svcdns.client import ApiError, AsyncClient, NoServer, Unreachable
from svcdns.client.calls import get, path, path_of_one
from svcdns.client.exchange import APPLY, Call, Request, Response, answer
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE, Kind

from .field_paths import without
from .plan import (
    ENGINE_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    Key,
    Object,
    Plan,
    Remark,
    as_applied,
    lingering,
    stale,
)

NAME_TAKEN, FIELD_TAKEN, REFUSED = "NameTaken", "FieldTaken", "Refused"
SERVICE_SECONDS = 60.0
"""How long a Service outlives its last container: a cluster IP stays while all are made anew."""
_AT_ONCE = 8
_MANY = 20
"""More objects than these that are new in a namespace, and what is there is listed."""
_ATTEMPTS = 4
_PAGE = 500
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_CREATED, _NOT_FOUND, _CONFLICT, _INVALID, _SERVERS = 201, 404, 409, 422, 500
_LATER = (401, 429)
"""What another attempt may cure: a token of a writer that is being replaced, too much at once."""
_T = TypeVar("_T")

_NOTHING: Object = {"spec": {}, "status": {}}
_SHARED = Remark("", "")
"""No problem: a Service that another engine has made finds our Pods too."""


def _whole(request: Request) -> Call[Response]:
    """Send one request; return the whole answer.  Raises ApiError where it is a refusal."""
    response = yield request
    response.json("metadata")
    return response


class ApiAway(Exception):
    """The registry takes nothing now; the text says why."""


class _Live(NamedTuple):
    """An object of ours as it is registered."""

    uid: str
    revision: str


class _Applied(NamedTuple):
    """What was applied, and the revision that came of it."""

    configuration: Object
    revision: str


class Writing:
    """What one engine has in the registry."""

    def __init__(self, client: AsyncClient, engine: str, linger: float = 0.0) -> None:
        """`engine` is its name; `linger` is for how many seconds a Pod outlives its container."""
        self._client = client
        self._engine = engine
        self._linger = linger
        self._live: dict[Key, _Live] = {}
        self._applied: dict[Key, _Applied] = {}
        self._missing_since: dict[Key, float] = {}
        self._namespaces: set[str] = set()
        self.problems: dict[Key, Remark] = {}
        """Why an object is not as it was planned."""
        self._left: dict[Key, Object] = {}
        """What was tried and is left as it is until the next look."""
        self._found: dict[tuple[Kind, str], dict[str, Object]] = {}
        """Metadata of all objects of a kind in a namespace, while many are applied."""
        self.writes = 0
        """Objects that were changed, made or deleted."""

    def uid(self, key: Key) -> str:
        """Return the uid of an object of ours, "" for others."""
        there = self._live.get(key)
        return there.uid if there is not None else ""

    async def look(self) -> None:
        """Learn what of ours is registered.  Raises ApiAway."""
        selector = f"{MANAGED_BY_LABEL}={MANAGED_BY},{ENGINE_LABEL}={self._engine}"
        self._live = {**await self._listed(POD, selector), **await self._listed(SERVICE, selector)}
        self._applied = {key: one for key, one in self._applied.items() if key in self._live}
        self._namespaces.clear()
        self._left.clear()
        self.problems = {key: one for key, one in self.problems.items() if key in self._applied}

    async def forget_engines(self, known: Iterable[str]) -> int:
        """Delete what engines have left that are configured no more; return how many.  Raises ApiAway."""
        others = ",".join(sorted({self._engine, *known}))
        selector = f"{MANAGED_BY_LABEL}={MANAGED_BY},{ENGINE_LABEL},{ENGINE_LABEL} notin ({others})"
        found = {**await self._listed(POD, selector), **await self._listed(SERVICE, selector)}
        for key, there in found.items():
            await self._delete_by_uid(key, there.uid)
        return len(found)

    async def bring_to(self, plan: Plan) -> float | None:
        """Apply and delete until the registry has what is planned.

        Return in how many seconds there is more to delete, None for never.  Raises ApiAway.
        """
        now = time.monotonic()
        going, staying, soonest = self._unwanted(plan, now)
        await self._each(self._delete, going)
        objects = {**plan.objects, **staying}
        changed = [key for key, wanted in objects.items() if self._is_new(key, wanted)]
        for namespace in dict.fromkeys(key.namespace for key in changed):
            await self._make_namespace(namespace)
        self._found = await self._look_at_many([key for key in changed if key not in self._live])
        changed.sort(key=lambda key: key.kind is POD)  # Services begin, and Pods need not wait for them
        await self._each(lambda key: self._apply(key, objects[key]), changed)
        for key in self.problems.keys() - objects.keys():
            del self.problems[key]
        return soonest

    async def doubt(self) -> None:
        """Say that no Pod is ready: nobody knows how its container is.  Raises ApiAway."""
        await self.look()

        async def doubted(key: Key) -> None:
            applied = self._applied.get(key)
            body = applied.configuration if applied is not None else await self._registered(key)
            if body is not None:
                await self._apply(key, stale(body))

        await self._each(doubted, [key for key in self._live if key.kind is POD])

    async def _registered(self, key: Key) -> Object | None:
        """Return what is registered as it would be applied, None where it has gone.  Raises ApiAway."""
        try:
            found = await self._run(get(key.kind, key.namespace, key.name))
        except ApiError as refused:
            raise ApiAway(str(refused)) from None
        return None if found is None else as_applied(found)

    def _unwanted(self, plan: Plan, now: float) -> tuple[list[Key], dict[Key, Object], float | None]:
        """Return what goes now, Pods that stay a while, and in how many seconds the next one goes."""
        missing = [key for key in self._live if key not in plan.objects and key not in plan.kept]
        self._missing_since = {key: self._missing_since.get(key, now) for key in missing}
        going, staying, waits = [], {}, []
        for key in missing:
            lasts = SERVICE_SECONDS if key.kind is SERVICE else self._linger
            applied = self._applied.get(key)
            rest = self._missing_since[key] + lasts - now
            if rest <= 0 or (applied is None and key.kind is POD):
                going.append(key)
                continue
            waits.append(rest)
            if key.kind is POD and applied is not None:
                staying[key] = lingering(applied.configuration)
        return going, staying, min(waits, default=None)

    def _is_new(self, key: Key, wanted: Object) -> bool:
        if key in self._left:
            return self._left[key] != wanted
        applied, live = self._applied.get(key), self._live.get(key)
        is_same = applied is not None and live is not None and applied.revision == live.revision
        return not (is_same and applied is not None and applied.configuration == wanted)

    async def _each(self, work: Callable[[Key], Awaitable[None]], keys: Iterable[Key]) -> None:
        """Do some work for each key, several at once; raises what one of them raised, when all have ended."""
        waiting = iter(keys)

        async def work_on() -> None:
            for key in waiting:
                await work(key)

        ended = await asyncio.gather(*(work_on() for _ in range(_AT_ONCE)), return_exceptions=True)
        for wrong in ended:
            if isinstance(wrong, BaseException):
                raise wrong

    async def _apply(self, key: Key, wanted: Object) -> None:
        self.problems.pop(key, None)
        self._left.pop(key, None)
        body, problem = wanted, _SHARED
        for _ in range(_ATTEMPTS):
            if key not in self._live and (taken := await self._whose(key)) is not None:
                problem = taken
                break
            try:
                await self._apply_once(key, body, wanted)
                return
            except ApiError as refused:
                problem = Remark(REFUSED, f"{key}: {refused}", key)
                conflicts = [name for name, text in refused.causes if "conflict with" in text]
                if refused.status == _CONFLICT and conflicts:
                    for name in conflicts:
                        body = without(body, name)
                    text = f"{', '.join(conflicts)[:300]} is set by somebody else, and stays as it is"
                    self.problems[key] = Remark(FIELD_TAKEN, text, key)
                elif refused.status == _CONFLICT:
                    self._live.pop(key, None)  # another object has its name now
                    self._found.pop((key.kind, key.namespace), None)
                elif refused.status == _NOT_FOUND:
                    self._namespaces.discard(key.namespace)
                    await self._make_namespace(key.namespace)
                elif refused.status == _INVALID and key in self._live:
                    await self._delete(key)  # what may not change is made anew
                else:
                    break
        self._left[key] = wanted
        if problem is not _SHARED:
            self.problems[key] = problem

    async def _apply_once(self, key: Key, body: Object, wanted: Object) -> None:
        metadata = dict(body["metadata"])
        there = self._live.get(key)
        if there is not None:
            metadata["uid"] = there.uid
        manager = quote(f"{MANAGED_BY}/{self._engine}", safe="")
        where = f"{path_of_one(key.kind, key.namespace, key.name)}?fieldManager={manager}"
        response = await self._run(_whole(Request("PATCH", where, {**body, "metadata": metadata}, APPLY)))
        made = response.json("metadata")["metadata"]
        self.writes += there is None or there.revision != made["resourceVersion"]
        if there is None and response.status != _CREATED:
            # Somebody was faster: what of theirs was touched is given back, by applying nothing
            bare = {word: body["metadata"][word] for word in ("name", "namespace")}
            await self._send(Request("PATCH", where, {**body, "metadata": bare, **_NOTHING}, APPLY))
            raise ApiError(_CONFLICT, "AlreadyExists", f"{key} was made by somebody else in this moment")
        self._live[key] = _Live(made["uid"], made["resourceVersion"])
        self._applied[key] = _Applied(wanted, made["resourceVersion"])

    async def _whose(self, key: Key) -> Remark | None:
        """Return why an object that is not known to be ours can't be applied, None where it can."""
        if (others := self._found.get((key.kind, key.namespace))) is not None:
            metadata = others.get(key.name)
        else:
            try:
                found = await self._run(get(key.kind, key.namespace, key.name))
            except ApiError as refused:
                return Remark(REFUSED, f"{key}: {refused}", key)
            metadata = found["metadata"] if found is not None else None
        return None if metadata is None else self._of_another(key, metadata)

    def _of_another(self, key: Key, metadata: Object) -> Remark | None:
        """Return why an object that is registered is not ours to apply, None where it is one of ours."""
        labels = metadata.get("labels") or {}
        if labels.get(MANAGED_BY_LABEL) == MANAGED_BY and labels.get(ENGINE_LABEL) == self._engine:
            self._live[key] = _Live(metadata["uid"], metadata["resourceVersion"])
            return None
        if labels.get(MANAGED_BY_LABEL) == MANAGED_BY and key.kind is SERVICE:
            return _SHARED
        text = f"{key} is there and not made from a container: it stays as it is"
        return Remark(NAME_TAKEN, f"{text}; give the container another name, or delete it", key)

    async def _make_namespace(self, name: str) -> None:
        if name in self._namespaces:
            return
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        manager = quote(f"{MANAGED_BY}/{self._engine}", safe="")
        try:
            if await self._run(get(NAMESPACE, "", name)) is None:
                await self._send(Request("POST", f"{path(NAMESPACE)}?fieldManager={manager}", made))
        except ApiError:
            return  # what is to be in it says why
        self._namespaces.add(name)

    async def _delete(self, key: Key) -> None:
        there = self._live.pop(key)
        self._applied.pop(key, None)
        self._missing_since.pop(key, None)
        await self._delete_by_uid(key, there.uid)

    async def _delete_by_uid(self, key: Key, uid: str) -> None:
        """Delete an object; one that has gone, or whose name another has now, is none of ours."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        try:
            await self._send(Request("DELETE", path_of_one(key.kind, key.namespace, key.name), body))
            self.writes += 1
        except ApiError as refused:
            if refused.status not in (_NOT_FOUND, _CONFLICT):
                raise ApiAway(f"{key} can't be deleted: {refused}") from None

    async def _look_at_many(self, unknown: Iterable[Key]) -> dict[tuple[Kind, str], dict[str, Object]]:
        """Return what is registered where many objects come to: a list is cheaper than a GET for each."""
        counts = Counter((key.kind, key.namespace) for key in unknown)
        return {
            (kind, namespace): {one["name"]: one for one in await self._metadata(kind, namespace)}
            for (kind, namespace), count in counts.items()
            if count > _MANY
        }

    async def _listed(self, kind: Kind, selector: str) -> dict[Key, _Live]:
        """Return what is registered with some labels.  Raises ApiAway."""
        return {
            Key(kind, one["namespace"], one["name"]): _Live(one["uid"], one["resourceVersion"])
            for one in await self._metadata(kind, "", selector)
        }

    async def _metadata(self, kind: Kind, namespace: str, selector: str = "") -> list[Object]:
        """Return the metadata of objects, page by page.  Raises ApiAway."""
        found: list[Object] = []
        following = ""
        while True:
            query = {"labelSelector": selector, "limit": str(_PAGE), "continue": following}
            request = Request("GET", path(kind, namespace, **query), accept=_METADATA)
            try:
                page = await self._run(answer(request, "items", "metadata"))
            except ApiError as refused:
                raise ApiAway(str(refused)) from None
            found += (one["metadata"] for one in page["items"])
            following = page["metadata"].get("continue", "")
            if not following:
                return found

    async def _send(self, request: Request) -> Any:
        """Return an answer's JSON.  Raises ApiError for a refusal, ApiAway where trying again may help."""
        return await self._run(answer(request, "kind"))

    async def _run(self, call: Call[_T]) -> _T:
        """Run a call; raises the same."""
        try:
            return await self._client.run(call)
        except ApiError as refused:
            if refused.status >= _SERVERS or refused.status in _LATER:
                raise ApiAway(str(refused)) from None
            raise
        except (Unreachable, NoServer) as lost:
            raise ApiAway(str(lost)) from None
