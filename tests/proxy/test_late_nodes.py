"""Who says of a late node that it is: the one whose turn it is, and else all who may."""

import asyncio
from typing import Any

import pytest
from toolbox.waiting import until

from svcdns.client.exchange import ApiError
from svcdns.cluster.rendezvous import owner
from svcdns.cluster.traffic_objects import Lease, LeaseMetadata, LeaseSpec
from svcdns.proxy import late_nodes
from svcdns.proxy.members import DURATION_SECONDS, NAMESPACE, Members

NODES = ("a", "b", "c")


class Forbids:
    """An API that lets nobody write another's Node; it counts who tries."""

    def __init__(self) -> None:
        self.tries = 0

    async def run(self, call: Any) -> None:
        call.close()
        self.tries += 1
        raise ApiError(403, "Forbidden", "nodes is forbidden")


def members(now: list[float]) -> Members:
    made = Members(lambda: now[0])
    for version, name in enumerate(NODES, 1):
        made.put(Lease(LeaseMetadata(name, NAMESPACE, resource_version=str(version)), LeaseSpec(name)))
    return made


def test_one_at_first_and_all_when_nothing_came_of_it() -> None:
    now = [1000.0]
    known = members(now)
    now[0] += DURATION_SECONDS - 1
    for version, name in enumerate(("a", "b"), 10):
        known.put(Lease(LeaseMetadata(name, NAMESPACE, resource_version=str(version)), LeaseSpec(name)))
    now[0] += 2
    late = {name: late_nodes.LateNodes(None, name, known) for name in ("a", "b")}  # type: ignore[arg-type]
    chosen = owner(b"c", {"a", "b"})
    assert {name for name, one in late.items() if list(one._late(now[0]))} == {chosen}
    now[0] += 5
    assert {name for name, one in late.items() if list(one._late(now[0]))} == {"a", "b"}


async def test_who_may_not_say_so_tries_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_nodes, "LOOK_SECONDS", 0.001)
    api, known = Forbids(), members([-1000.0])
    asked = late_nodes.LateNodes(api, "a", known)  # type: ignore[arg-type]
    looks, late = [], asked._late
    monkeypatch.setattr(asked, "_late", lambda now: looks.append(now) or late(now))
    running = asyncio.create_task(asked.run())
    await until(lambda: len(looks) > 3)
    running.cancel()
    assert api.tries == 2, "once for each of the others"
