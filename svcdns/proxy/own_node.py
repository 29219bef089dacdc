"""The Node of this proxy: made where it is missing, and kept at the addresses that the machine has.

Rules:

* labels, taints and all else that somebody sets stay: the zone of a node is a label of theirs;
* a Node that another program keeps (its Ready condition has another reason) is left alone;
* Ready says that a proxy was there at its lastHeartbeatTime; one that ends in order says so.  Of one whose
  Lease is late the proxies of other nodes say so (`late_nodes`);
* traffic needs no Node: where the API refuses, one line in the log says so.

https://kubernetes.io/docs/reference/node/node-status/
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address

from svcdns.client import ApiError, AsyncClient, NoServer, Unreachable
from svcdns.client.calls import get, merge, path
from svcdns.client.exchange import Call, Object, Request, answer
from svcdns.cluster.traffic_objects import NODE_UNKNOWN, PROXY_ENDED, PROXY_RUNNING
from svcdns.objects.kinds import NODE
from svcdns.system.log_on_change import LogOnChange

BEAT_SECONDS = 300.0
_RETRY_SECONDS = 10.0
_LEAVE_SECONDS = 1.0
"""For so long may the API take for the last word: it often ends at the same time."""
_CONFLICT = 409

log = logging.getLogger(__name__)


class OwnNode:
    """Keeps the Node of one proxy."""

    def __init__(self, client: AsyncClient, name: str, addresses: Callable[[], Sequence[bytes]]) -> None:
        """`addresses` gives the node's own, one a family."""
        self._client = client
        self._name = name
        self._addresses = addresses
        self.times_kept = 0
        self._has_begun = False
        self._wake = asyncio.Event()
        self._refused = LogOnChange()

    def look(self) -> None:
        """Look soon whether the addresses are others."""
        self._wake.set()

    async def run(self) -> None:
        """Keep it until cancelled."""
        self._has_begun = True
        while True:
            kept = await self._say(True)
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS if kept else _RETRY_SECONDS):
                    await self._wake.wait()

    async def leave(self) -> None:
        """Say that this proxy has ended, if it has said that it runs."""
        if not self._has_begun:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._say(False)

    async def _say(self, runs: bool) -> bool:
        try:
            await self._client.run(_kept(self._name, self._addresses(), runs))
        except (ApiError, NoServer, Unreachable) as refused:
            if isinstance(refused, ApiError) and self._refused.is_new(str(refused)):
                log.warning("this Node is not registered: %s", refused)
            return False
        self._refused.is_new("")
        self.times_kept += 1
        return True


def _kept(name: str, addresses: Sequence[bytes], runs: bool) -> Call[None]:
    """Make the Node where it is missing, and bring its status to what is; leave another's alone."""
    found = yield from get(NODE, "", name)
    if found is None:
        if not runs:
            return
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        made: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        try:
            found = yield from answer(Request("POST", path(NODE), made))
        except ApiError as refused:
            if refused.status != _CONFLICT:
                raise
            found = made
    status = found.get("status") or {}
    conditions = status.get("conditions") or []
    before = next((one for one in conditions if one.get("type") == "Ready"), None)
    if before is None or before.get("reason") in (PROXY_RUNNING, PROXY_ENDED, NODE_UNKNOWN):
        others = [one for one in conditions if one is not before]
        given = {"conditions": [*others, _ready(before, runs)], "addresses": _addresses(name, addresses)}
        yield from merge(NODE, "", name, {"status": given}, "status")


def _ready(before: Object | None, runs: bool) -> Object:
    if runs:
        return condition(before, "True", PROXY_RUNNING, "svcdns proxy carries traffic here")
    return condition(before, "False", PROXY_ENDED, "svcdns proxy has ended")


def condition(before: Object | None, status: str, reason: str, message: str) -> Object:
    """Return a Ready condition as of now; `before` is the one that it replaces."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    same = before is not None and before.get("status") == status
    since = before.get("lastTransitionTime", now) if before is not None and same else now
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": since,
    }


def _addresses(name: str, addresses: Sequence[bytes]) -> list[Object]:
    own = [{"type": "InternalIP", "address": str(ip_address(one))} for one in addresses]
    return [*own, {"type": "Hostname", "address": name}]
