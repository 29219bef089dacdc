"""A deletion is carried out though other replicas write all the time, and they wait for no one for long."""

import asyncio
from collections.abc import Sequence

from replicas.replicas_harness import Replica, Replicas, assert_alike
from toolbox.builders import pod
from toolbox.waiting import until

from svcdns.etcd.client import Etcd
from svcdns.etcd.messages import Compare, Delete, Get, Outcome, Put
from svcdns.objects.kinds import POD
from svcdns.registry.requests import DeleteOptions

TRIES = 60
"""Each try can meet a write that was under way; without precedence there is no end to them."""
STALE = b"of one that has died"
Operations = Sequence[Put | Delete | Get]


class Writers:
    """Clients that change objects at a replica without a pause."""

    def __init__(self, at: Replica) -> None:
        self.at, self.begun = at, 0
        self.ended = 0
        """The number, as they began, of the last write that was acknowledged."""
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, count: int) -> None:
        """Have each change an object of its own."""
        for number in range(count):
            await self.at.create(pod(f"w-{number}", f"10.1.0.{number}"))
            self._tasks.append(asyncio.create_task(self._write(f"w-{number}")))

    async def _write(self, name: str) -> None:
        while True:
            number = self.begun = self.begun + 1
            await self.at.patch(POD, name, {"metadata": {"annotations": {"n": str(number)}}})
            self.ended = max(self.ended, number)

    async def end(self) -> None:
        """Stop them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Slow(Etcd):
    """A client whose deletions of Pods are sent only after a write of others, or once these wait."""

    writers: Writers | None = None
    prefix = b""
    tries = 0

    async def transaction(
        self, compares: Sequence[Compare], success: Operations, failure: Sequence[Get] = ()
    ) -> Outcome:
        """Carry it out behind what others do meanwhile."""
        if self.writers is not None and any(_deletes(one) for one in success):
            self.tries += 1
            begun = self.writers.begun
            while self.tries < TRIES and self.writers.ended <= begun and not await self._has_precedence():
                await asyncio.sleep(0)
        return await super().transaction(compares, success, failure)

    async def _has_precedence(self) -> bool:
        found = (await self.range(self.prefix + b"precedence")).kvs
        return any(kv.value != STALE for kv in found)


def _deletes(one: Put | Delete | Get) -> bool:
    return isinstance(one, Delete) and b"/objects/Pod/" in one.key


async def test_a_deletion_is_overtaken_only_so_often(replicas: Replicas) -> None:
    client = Slow(replicas.etcd.endpoints)
    client.prefix = replicas.prefix.encode()
    async with replicas.replica("a", client=client) as a, replicas.replica("b") as b:
        await a.create(pod("old"))
        client.writers = Writers(b)
        await client.writers.begin(8)
        await asyncio.wait_for(a.registry.delete(POD, "default", "old", DeleteOptions()), 60)
        begun = client.writers.begun
        await until(lambda: client.writers and client.writers.ended > begun, "the others to go on")
        await client.writers.end()
        assert 1 < client.tries < TRIES and "old" not in b.names(POD)
        await until(lambda: not held(replicas), "what they waited for to go")
        await assert_alike(a, b)


def held(replicas: Replicas) -> str:
    return replicas.etcd.ctl("get", "--print-value-only", f"{replicas.prefix}precedence")


async def test_nobody_waits_for_long_for_one_that_has_died(replicas: Replicas) -> None:
    client = Slow(replicas.etcd.endpoints)
    client.prefix = replicas.prefix.encode()
    async with replicas.replica("a", client=client) as a, replicas.replica("b") as b:
        replicas.etcd.ctl("put", f"{replicas.prefix}precedence", STALE.decode())
        await a.create(pod("old"))
        client.writers = Writers(b)
        await client.writers.begin(8)
        await asyncio.wait_for(a.registry.delete(POD, "default", "old", DeleteOptions()), 60)
        await client.writers.end()
        assert 1 < client.tries < TRIES
        await b.shows_what(a)
        assert "old" not in b.names(POD)
