"""A client of etcd's JSON gateway (/v3/...): ranges, transactions, watches.

https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import msgspec


class Unavailable(Exception):
    """No member answers, or none may: nothing was changed, and the reason says why."""


class Unknown(Exception):
    """Whether a transaction was carried out is not known."""


class Compacted(Exception):
    """What came before this revision is gone."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"compacted up to revision {revision}")
        self.revision = revision


@dataclass(frozen=True, slots=True)
class KeyValue:
    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class Found:
    kvs: tuple[KeyValue, ...]
    revision: int
    more: bool
    count: int


@dataclass(frozen=True, slots=True)
class Change:
    type: str
    kv: KeyValue
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    revision: int
    events: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    succeeded: bool
    revision: int
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    target: str
    result: str
    key: bytes
    number: int
    end: bytes | None = None

    @classmethod
    def unchanged(cls, key: bytes, mod_revision: int) -> Self:
        return cls("MOD", "EQUAL", key, mod_revision)

    @classmethod
    def absent(cls, key: bytes) -> Self:
        return cls("VERSION", "EQUAL", key, 0)

    @classmethod
    def exists(cls, key: bytes) -> Self:
        return cls("VERSION", "GREATER", key, 0)

    @classmethod
    def none_since(cls, key: bytes, end: bytes, revision: int) -> Self:
        """No key of a range was put after a revision."""
        return cls("MOD", "LESS", key, revision + 1, end)


@dataclass(frozen=True, slots=True)
class Put:
    key: bytes
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    key: bytes
    end: bytes | None = None


@dataclass(frozen=True, slots=True)
class Get:
    key: bytes
    end: bytes | None = None


_FIELDS = {"MOD": "mod_revision", "VERSION": "version"}


def _b(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


class Etcd:
    def __init__(self, endpoints: Sequence[str], *, timeout: float = 5.0) -> None:
        self._endpoints = list(endpoints)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _call(self, path: str, body: Any) -> Any:
        last = ""
        for endpoint in self._endpoints:
            try:
                timeout = aiohttp.ClientTimeout(self._timeout, sock_connect=1.0)
                async with self._http().post(
                    endpoint + path, data=msgspec.json.encode(body), timeout=timeout
                ) as r:
                    octets = await r.read()
                    if r.status == 200:
                        return msgspec.json.decode(octets)
                    found = msgspec.json.decode(octets)
                    message = str(found.get("message") or found.get("error"))
                    if "compacted" in message:
                        raise Compacted(0)
                    raise Unavailable(message)
            except aiohttp.ClientConnectorError as refused:
                last = str(refused)
            except (aiohttp.ClientError, TimeoutError) as lost:
                raise Unknown(f"{endpoint}: {lost!r}") from None
        raise Unavailable(last)

    async def range(
        self,
        key: bytes,
        end: bytes | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        serializable: bool = False,
    ) -> Found:
        body: dict[str, Any] = {"key": _b(key)}
        if end is not None:
            body["range_end"] = _b(end)
        if revision:
            body["revision"] = str(revision)
        if limit:
            body["limit"] = str(limit)
        try:
            return _found(await self._call("/v3/kv/range", body))
        except Unknown as lost:
            raise Unavailable(str(lost)) from None

    async def transaction(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get] = ()
    ) -> Outcome:
        body = {
            "compare": [_compare(one) for one in compares],
            "success": [_operation(one) for one in success],
            "failure": [_operation(one) for one in failure],
        }
        got = await self._call("/v3/kv/txn", body)
        found = tuple(
            _found(one["response_range"]) for one in got.get("responses", ()) if "response_range" in one
        )
        return Outcome(bool(got.get("succeeded")), int(got["header"]["revision"]), found)

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        body = {
            "create_request": {
                "key": _b(key),
                "range_end": _b(end),
                "start_revision": str(from_revision),
                "fragment": True,
            }
        }
        last = "no endpoint"
        for endpoint in self._endpoints:
            try:
                timeout = aiohttp.ClientTimeout(None, sock_connect=1.0)
                async with self._http().post(
                    endpoint + "/v3/watch",
                    data=msgspec.json.encode(body),
                    timeout=timeout,
                    read_bufsize=1 << 24,
                ) as r:
                    events: list[Change] = []
                    async for line in r.content:
                        got = msgspec.json.decode(line)
                        if "error" in got:
                            raise Unavailable(str(got["error"]))
                        result = got["result"]
                        if int(result.get("compact_revision", 0)):
                            raise Compacted(int(result["compact_revision"]))
                        if result.get("canceled"):
                            raise Unavailable(str(result.get("cancel_reason")))
                        events += [_change(one) for one in result.get("events", ())]
                        if events and not result.get("fragment"):
                            yield Changes(events[-1].mod_revision, tuple(events))
                            events = []
                    raise Unavailable("the watch has ended")
            except aiohttp.ClientError as lost:
                last = str(lost)
        raise Unavailable(last)


def _compare(one: Compare) -> dict[str, Any]:
    out = {
        "key": _b(one.key),
        "target": one.target,
        "result": one.result,
        _FIELDS[one.target]: str(one.number),
    }
    if one.end is not None:
        out["range_end"] = _b(one.end)
    return out


def _operation(one: Put | Delete | Get) -> dict[str, Any]:
    if isinstance(one, Put):
        return {"request_put": {"key": _b(one.key), "value": _b(one.value)}}
    body = {"key": _b(one.key)}
    if one.end is not None:
        body["range_end"] = _b(one.end)
    return {"request_delete_range" if isinstance(one, Delete) else "request_range": body}


def _found(got: Any) -> Found:
    kvs = tuple(_kv(one) for one in got.get("kvs", ()))
    revision = int(got["header"]["revision"]) if "header" in got else 0
    return Found(kvs, revision, bool(got.get("more")), int(got.get("count", 0)))


def _kv(got: Any) -> KeyValue:
    return KeyValue(
        base64.b64decode(got["key"]),
        base64.b64decode(got.get("value", "")),
        int(got.get("create_revision", 0)),
        int(got.get("mod_revision", 0)),
        int(got.get("version", 0)),
        int(got.get("lease", 0)),
    )


def _change(got: Any) -> Change:
    kv = _kv(got["kv"])
    return Change(got.get("type", "PUT"), kv, kv.mod_revision)
