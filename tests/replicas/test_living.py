"""Replicas say that they live and how far they are: whose work is whose, and who waits for all."""

import asyncio
import itertools

import pytest
from replicas.replicas_harness import Held, Patient, Replica, Replicas, know_each_other, living
from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.objects.kinds import SERVICE
from svcdns.registry.replicated import compaction
from svcdns.registry.replicated.keys import Keys, after

KEYS = [f"web-{number}" for number in range(300)]


def owned(replica: Replica) -> set[str]:
    return {key for key in KEYS if replica.registry.work.is_own("Pod", "default", key)}


async def test_each_objects_work_is_one_replicas_and_is_taken_over(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        async with replicas.replica("c") as c:
            await know_each_other(a, b, c)
            parts = [owned(one) for one in (a, b, c)]
            assert set().union(*parts) == set(KEYS) and sum(map(len, parts)) == len(KEYS)
        await know_each_other(a, b)
        assert owned(a) | owned(b) == set(KEYS) and not owned(a) & owned(b)
        assert owned(a) >= parts[0], "nobody loses work because another one goes"


async def test_who_waits_for_all_is_told_who_is_behind(replicas: Replicas) -> None:
    client = Held(replicas.etcd.endpoints)
    async with replicas.replica("a") as a, replicas.replica("b", client=client) as b:
        await know_each_other(a, b)
        for number in range(3):
            await a.create(service(f"s{number}"))
            assert await a.registry.work.behind(GUARD_SECONDS) == []
            assert f"s{number}" in b.names(SERVICE)
        client.may.clear()
        await a.create(service("held"))
        behind = await a.registry.work.behind(0.2)
        assert len(behind) == 1 and f"({living_name(b)})" in behind[0]
        waiting = asyncio.ensure_future(a.registry.work.behind(GUARD_SECONDS))
        client.may.set()
        assert await waiting == []
        assert "held" in b.names(SERVICE)


def living_name(replica: Replica) -> str:
    sharing = replica.registry.sharing
    assert sharing is not None
    return str(sharing.name)


async def test_who_lives_is_found_out_again_after_its_key_was_taken_away(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await know_each_other(a, b)
        replicas.etcd.ctl("put", f"{replicas.prefix}live/odd", "{by hand")
        replicas.etcd.ctl("del", f"{replicas.prefix}live/{living_name(a)}")
        await a.create(service("web"))
        await know_each_other(a, b)
        assert await b.registry.work.behind(GUARD_SECONDS) == []


async def test_a_replica_whose_lease_was_lost_is_there_again(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await know_each_other(a, b)
        live = Keys(replicas.prefix).live
        client = Patient(replicas.etcd.endpoints)
        lost = {kv.lease for kv in (await client.range(live, after(live))).kvs}
        for lease in lost:
            await client.lease_revoke(lease)
        async with asyncio.timeout(GUARD_SECONDS):
            while len({kv.lease for kv in (await client.range(live, after(live))).kvs} - lost) < 2:
                await asyncio.sleep(0.01)
        await client.close()
        await know_each_other(a, b)


async def test_one_replica_compacts_and_nothing_that_another_has_not_seen(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "EVERY_SECONDS", 0.2)
    clients = [Held(replicas.etcd.endpoints) for _ in range(2)]
    key = f"{replicas.prefix}compaction"

    def turns() -> int:
        fields = replicas.etcd.ctl("get", key, "-w", "fields").splitlines()
        return int(next((line.split()[-1] for line in fields if line.startswith('"Version"')), "0"))

    async def more_turns() -> None:
        seen = turns()
        await until(lambda: turns() >= seen + 3, "three turns")

    async with replicas.replica("a", client=clients[0]) as a, replicas.replica("b", client=clients[1]) as b:
        await know_each_other(a, b)
        await a.create(service("web"))
        unseen = a.revision // 1_000_000
        replicas.etcd.ctl("put", f"{replicas.prefix}live/slow", f'{{"host": "slow", "revision": {unseen}}}')
        for one in (a, b):
            await until(lambda one=one: len(living(one)) == 3, "the one written by hand to be seen")
        for number in range(20):
            await a.patch(SERVICE, "web", {"metadata": {"labels": {"n": str(number)}}})
        await more_turns()
        assert max(itertools.chain(*(one.compacted for one in clients)), default=0) <= unseen
        replicas.etcd.ctl("del", f"{replicas.prefix}live/slow")
        await until(
            lambda: max(itertools.chain(*(one.compacted for one in clients)), default=0) > unseen,
            "what all have seen to be compacted",
        )
        assert sum(len(one.compacted) for one in clients) <= turns(), "one replica a turn"
        await b.create(service("after"))
        await a.shows_what(b)
        assert a.names(SERVICE) == ["after", "web"]
