"""Three replicas whose way to etcd loses, delays and breaks whatever it likes: nothing acknowledged is lost.

Each worker has names of its own and knows what may have become of them: what was answered with success has
happened, what was refused has not, and of what nobody knows (504) it is one or the other.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from replicas.replicas_harness import Patient, Replica, Replicas, assert_alike
from toolbox.builders import pod, service
from toolbox.waiting import until

from svcdns.etcd.client import Unavailable, Unknown
from svcdns.etcd.messages import Changes, Compare, Delete, Found, Get, Outcome, Put
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import SERVICE
from svcdns.registry.replicated import committer, following, lanes
from svcdns.registry.requests import DeleteOptions

WORKERS = 6
GONE = ""
"""The state of a name that has no object; of one that has, it is the value of a label."""


class Faulty(Patient):
    """A client between which and etcd anything happens, until it is to be well."""

    def __init__(self, endpoints: Sequence[str], chance: random.Random) -> None:
        super().__init__(endpoints)
        self.chance = chance
        self.is_well = False
        self.late: list[asyncio.Task[Outcome]] = []

    async def transaction(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get] = ()
    ) -> Outcome:
        """Carry it out, or not, or later; and say so, or not."""
        fate = 1.0 if self.is_well else self.chance.random()
        if fate < 0.05:
            raise Unavailable("not now")
        if fate < 0.1:
            raise Unknown("lost before it came")
        if fate < 0.15:
            self.late.append(asyncio.ensure_future(self._later(compares, success, failure)))
            raise Unknown("under way")
        if fate < 0.2:
            await asyncio.sleep(self.chance.random() / 20)
        outcome = await super().transaction(compares, success, failure)
        if 0.2 < fate < 0.25:
            raise Unknown("lost on the way back")
        return outcome

    async def _later(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get]
    ) -> Outcome:
        await asyncio.sleep(self.chance.random() / 5)
        return await super().transaction(compares, success, failure)

    async def range(self, key: bytes, end: bytes | None = None, **options: Any) -> Found:
        """Read, or not."""
        if not self.is_well and self.chance.random() < 0.05:
            raise Unavailable("not now")
        return await super().range(key, end, **options)

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Watch, for a while, and not at once."""
        async for changes in super().watch(key, end, from_revision):
            if not self.is_well and self.chance.random() < 0.05:
                raise Unavailable("the watch was lost")
            if not self.is_well and self.chance.random() < 0.1:
                await asyncio.sleep(self.chance.random() / 20)
            yield changes


class Worker:
    """Creates, changes and deletes a Service again and again, at any replica."""

    def __init__(self, number: int, replicas: list[Replica], chance: random.Random) -> None:
        self.name = f"s{number}"
        self.may_be = {GONE}
        self.uids: set[str] = set()
        self.answered = {"done": 0, "refused": 0, "unknown": 0}
        self._replicas, self._chance = replicas, chance

    async def run(self, steps: int) -> None:
        for step in range(steps):
            await self._step(f"v{step}")

    async def _step(self, value: str) -> None:
        at = self._chance.choice(self._replicas)
        what = self._chance.choice(["create", "patch", "patch", "delete"])
        wanted = GONE if what == "delete" else value
        try:
            if what == "create":
                made = await at.create(service(self.name, labels={"value": value}))
                assert made["metadata"]["uid"] not in self.uids
                self.uids.add(made["metadata"]["uid"])
                assert GONE in self.may_be, "it was created though it was there"
            elif what == "patch":
                await at.patch(SERVICE, self.name, {"metadata": {"labels": {"value": value}}})
            else:
                await at.registry.delete(SERVICE, "default", self.name, DeleteOptions())
        except StatusError as refused:
            self._refused(refused, what, wanted)
            await until(lambda: not at.registry.trouble, "the outage to be over")
            return
        self.answered["done"] += 1
        self.may_be = {wanted}

    def _refused(self, refused: StatusError, what: str, wanted: str) -> None:
        if refused.code == 504:
            self.answered["unknown"] += 1
            self.may_be |= {wanted}
            return
        self.answered["refused"] += 1
        if refused.code == 404:
            assert GONE in self.may_be, f"{what}: it was not found though it was there"
            self.may_be = {GONE}
        elif refused.code == 409:
            assert self.may_be - {GONE}, f"{what}: it was there though it was not"
            self.may_be -= {GONE}
        else:
            assert refused.code == 503, refused


@pytest.mark.parametrize("seed", [1, 2, pytest.param(None, marks=pytest.mark.soak)])
async def test_nothing_acknowledged_is_lost(
    replicas: Replicas, seed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (following, lanes):
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(committer, "WRITE_SECONDS", 2.0)
    chance = random.Random(seed if seed is not None else random.randrange(1 << 32))
    clients = [Faulty(replicas.etcd.endpoints, chance) for _ in range(3)]
    for client in clients:
        client.is_well = True
    a, b, c = clients
    async with (
        replicas.replica("a", client=a) as one,
        replicas.replica("b", client=b) as two,
        replicas.replica("c", client=c) as three,
    ):
        all_of_them = [one, two, three]
        for client in clients:
            client.is_well = False
        workers = [Worker(number, all_of_them, chance) for number in range(WORKERS)]
        await asyncio.gather(*(worker.run(40 if seed is not None else 1000) for worker in workers))
        for client in clients:
            client.is_well = True
        await asyncio.gather(*(task for client in clients for task in client.late), return_exceptions=True)
        for at in all_of_them:
            await until(lambda at=at: not at.registry.trouble, "the outage to be over")
        await one.create(pod("last"))
        for at in (two, three):
            await at.shows_what(one)
            await assert_alike(at, one)
        there = {obj["metadata"]["name"]: obj for obj in one.objects(SERVICE)}
        for worker in workers:
            found = there.get(worker.name)
            stands = GONE if found is None else found["metadata"]["labels"]["value"]
            assert stands in worker.may_be, worker.name
        answered = {word: sum(one.answered[word] for one in workers) for word in workers[0].answered}
        assert answered["done"], answered
        held = [obj["spec"]["clusterIP"] for obj in there.values()]
        assert len(held) == len(set(held))
