"""Nodes whose Lease is late: their Ready condition becomes Unknown, as Kubernetes' node controller does it.

Rules:

* a proxy that lives says so of others, one for each late node (`announcer`): the server has no part in it.
  So nobody says it of the last one;
* some proxies may write their own Node only.  So where nobody has said it for a while, all others try;
* it is written once for each time that a node is late, and only where a proxy said Ready before;
* whoever comes back says for itself that it is ready (`own_node`).

https://kubernetes.io/docs/concepts/architecture/nodes/#condition
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from svcdns.client import ApiError, AsyncClient, NoServer, Unreachable
from svcdns.client.calls import get, merge
from svcdns.client.exchange import Call
from svcdns.cluster.rendezvous import owner
from svcdns.cluster.traffic_objects import NODE_UNKNOWN, PROXY_RUNNING
from svcdns.objects.kinds import NODE

from .members import Member, Members
from .own_node import condition

LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
"""After so long it was said by the one whose turn it is, or can't be."""
_FORBIDDEN = 403


class LateNodes:
    """Says of others that they are late."""

    def __init__(self, client: AsyncClient, node: str, members: Members) -> None:
        """`node` is the name of this one."""
        self._client = client
        self._node = node
        self._members = members
        self._said: dict[str, int] = {}
        """By node, the version of the Lease that was late."""

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            for one in list(self._late(time.monotonic())):
                if await self._say(one.node):
                    self._said[one.node] = one.version
            await asyncio.sleep(LOOK_SECONDS)

    async def _say(self, node: str) -> bool:
        """Return whether there is nothing left to do."""
        try:
            await self._client.run(_unknown(node))
        except ApiError as refused:
            return refused.status == _FORBIDDEN
        except (NoServer, Unreachable):
            return False
        return True

    def _late(self, now: float) -> Iterator[Member]:
        """Yield late nodes that it is this one's turn to speak of."""
        others = [one for one in self._members if one.node != self._node]
        living = {self._node, *(one.node for one in others if not one.has_left and now < one.ends_at)}
        for one in others:
            is_late = not one.has_left and now >= one.ends_at
            is_new = self._said.get(one.node) != one.version
            if is_late and is_new:
                is_mine = owner(one.node.encode(), living) == self._node
                if is_mine or now >= one.ends_at + _PATIENCE_SECONDS:
                    yield one


def _unknown(name: str) -> Call[None]:
    found = yield from get(NODE, "", name)
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    before = next((one for one in conditions if one.get("type") == "Ready"), None)
    if before is not None and before.get("reason") == PROXY_RUNNING:
        others = [one for one in conditions if one is not before]
        late = condition(
            before, "Unknown", NODE_UNKNOWN, "svcdns proxy has stopped renewing the node's Lease"
        )
        late["lastHeartbeatTime"] = before.get("lastHeartbeatTime", late["lastHeartbeatTime"])
        yield from merge(NODE, "", name, {"status": {"conditions": [*others, late]}}, "status")
