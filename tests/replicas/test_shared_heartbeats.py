"""Heartbeats count at whichever replica they reach, and each Pod is awaited by one of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from replicas.replicas_harness import Object, Patient, Replica, Replicas
from toolbox.builders import lease, pod
from toolbox.waiting import until

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import LEASE, POD
from svcdns.registry.replicated import passing_on, shared_heartbeats

HEARD, SILENT = [f"heard-{n}" for n in range(16)], [f"silent-{n}" for n in range(6)]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have heartbeats passed on at once, so that no test waits for long."""
    monkeypatch.setattr(passing_on, "PASS_SECONDS", 0.1)
    monkeypatch.setattr(shared_heartbeats, "SLACK_SECONDS", 4.0)


def promising(name: str) -> Object:
    made = pod(name, f"10.1.0.{1 + (HEARD + SILENT).index(name)}", ready=True)
    return {**made, "metadata": {**made["metadata"], "annotations": {"svcdns.io/heartbeat": "1s"}}}


async def knowing(*replicas: Replica) -> None:
    """Wait until all of some replicas know each other."""
    for one in replicas:
        living = one.registry.work.living
        await until(lambda living=living: len(living()) == len(replicas), "replicas to know each other")


def is_late(at: Replica, name: str) -> bool:
    conditions = at.get(POD, name)["status"]["conditions"]
    return any(one["type"] == "svcdns.io/Heartbeat" and one["status"] == "False" for one in conditions)


def late(at: Replica, names: Iterable[str]) -> list[str]:
    return [name for name in names if is_late(at, name)]


def versions(at: Replica, names: Iterable[str]) -> list[str]:
    return [at.get(POD, name)["metadata"]["resourceVersion"] for name in names]


@asynccontextmanager
async def beating(at: Replica) -> AsyncIterator[None]:
    """Have heartbeats of those that are heard reach one replica."""

    async def beat() -> None:
        while True:
            try:
                await at.registry.heartbeats.beat_each([("default", name) for name in HEARD])
            except StatusError as refused:
                assert refused.code == 503
            await asyncio.sleep(0.2)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_heartbeats_count_at_any_replica_and_silence_at_all(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await knowing(a, b)
        owners = {a.registry.work.is_own("Pod", "default", name) for name in HEARD}
        assert owners == {True, False}, "some are awaited by the other one"
        await asyncio.gather(*(a.create(promising(name)) for name in HEARD + SILENT))
        await b.shows_what(a)
        before = versions(a, HEARD)
        async with beating(a):
            await until(lambda: late(b, SILENT) == SILENT, "the silent ones to be late")
            await a.shows_what(b)
            assert versions(a, HEARD) == before, "nothing was ever written of those that were heard of"
            for name in SILENT:
                await a.registry.heartbeats.beat("default", name)
                assert not is_late(a, name), "it is ready again when its heartbeat is answered"
            await b.shows_what(a)
            assert late(b, SILENT) == []
            with pytest.raises(StatusError) as unknown:
                await a.registry.heartbeats.beat("default", "nobody")
            assert unknown.value.code == 404


async def test_who_waited_dies_and_another_one_waits(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        async with replicas.replica("b") as b:
            await knowing(a, b)
            await asyncio.gather(*(a.create(promising(name)) for name in HEARD + SILENT))
            await b.shows_what(a)
        before = versions(a, HEARD)
        async with beating(a):
            await until(lambda: late(a, SILENT) == SILENT, "the silent ones to be late")
            assert versions(a, HEARD) == before


async def test_a_lease_that_is_renewed_at_one_replica_counts_at_the_other(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await knowing(a, b)
        await asyncio.gather(*(a.create(promising(name)) for name in HEARD + SILENT))
        await asyncio.gather(*(a.create(lease(name, "me", leaseDurationSeconds=1)) for name in HEARD))
        await b.shows_what(a)
        before = versions(a, HEARD)

        async def renew() -> None:
            while True:
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                change = {"spec": {"holderIdentity": "me", "renewTime": now}}
                await asyncio.gather(*(a.patch(LEASE, name, change) for name in HEARD))
                await asyncio.sleep(0.2)

        task = asyncio.create_task(renew())
        await until(lambda: late(a, SILENT) == SILENT, "the silent ones to be late")
        assert versions(a, HEARD) == before
        task.cancel()
        await until(lambda: late(a, HEARD) == HEARD, "those whose Leases end to be late too")


async def test_while_etcd_is_away_heartbeats_are_refused_and_nobody_becomes_late(
    replicas: Replicas,
) -> None:
    clients = [Patient(replicas.etcd.endpoints) for _ in range(2)]
    async with replicas.replica("a", client=clients[0]) as a, replicas.replica("b", client=clients[1]) as b:
        await knowing(a, b)
        await asyncio.gather(*(a.create(promising(name)) for name in HEARD + SILENT))
        await b.shows_what(a)
        before = versions(a, HEARD)
        async with beating(a):
            replicas.etcd.kill()
            try:
                for one in (a, b):
                    await until(lambda one=one: one.registry.trouble, "the outage to be noticed")
                with pytest.raises(StatusError) as refused:
                    await b.registry.heartbeats.beat("default", HEARD[0])
                assert refused.value.code == 503
                loop = asyncio.get_running_loop()
                began = loop.time()
                await until(lambda: loop.time() - began > 6, "all periods to be over")
            finally:
                replicas.etcd.start()
            await until(lambda: late(b, SILENT) == SILENT, "the silent ones to be late")
            assert versions(b, HEARD) == before
