"""No room in etcd (NOSPACE), or on a replica's disk: that nothing was changed is only said where it is so."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import lmdb
import pytest
from replicas.replicas_harness import Patient, Replica, Replicas
from toolbox.builders import headless, pod, service
from toolbox.running_etcd import RunningEtcd
from toolbox.small_disk import Ballast, small_disk
from toolbox.waiting import until

from svcdns.etcd.client import Etcd, Full, Unavailable, Unknown
from svcdns.etcd.messages import Changes, Compare, Found, Put
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import SERVICE
from svcdns.registry.replicated import following
from svcdns.registry.replicated.following import Follower
from svcdns.registry.transaction import WriteTransaction

QUOTA = ("--quota-backend-bytes", str(3 << 20))
WRITERS = 40


async def test_what_etcd_has_carried_out_though_it_was_full_is_not_called_unavailable(
    need: Callable[..., str],
) -> None:
    need("etcd")
    refused: dict[bytes, Exception] = {}

    async def fill(client: Etcd, writer: int) -> None:
        for number in range(1000):
            key = b"/%d/%d" % (writer, number)
            try:
                await client.transaction([Compare.absent(key)], [Put(key, b"x" * 30_000)])
            except (Unavailable, Unknown) as wrong:
                refused[key] = wrong
                return

    with RunningEtcd(options=QUOTA) as etcd:
        clients = [Patient(etcd.endpoints) for _ in range(WRITERS)]
        await asyncio.gather(*(fill(client, writer) for writer, client in enumerate(clients)))
        assert len(refused) == WRITERS
        there = {key for key in refused if (await clients[0].range(key)).kvs}
        for client in clients:
            await client.close()
    assert all("NOSPACE" in str(wrong) for wrong in refused.values())
    assert all(isinstance(refused[key], Full) for key in there)


async def test_a_replica_without_room_takes_no_writes_that_it_could_not_show(replicas: Replicas) -> None:
    place = replicas.folder / "a"
    place.mkdir()
    with small_disk(place, "size=8m"):
        async with replicas.replica("a") as a, replicas.replica("b") as b:
            await a.create(headless("web"))
            ballast = Ballast(place)
            ballast.fill()
            await fill_until_behind(a, b)
            with pytest.raises(StatusError) as refused:
                await a.create(service("refused"))
            assert refused.value.code == 507 and "nothing was changed" in refused.value.message
            ballast.drop()
            await until(lambda: not a.registry.trouble, "the replica to write again")
            await a.shows_what(b)
            assert "refused" not in b.names(SERVICE)
            await a.create(service("taken"))
            await b.shows_what(a)
            assert a.rows_but_apexes() == b.rows_but_apexes()


async def test_what_the_disk_does_not_take_is_said_at_once_whatever_it_was_decided_on(
    replicas: Replicas,
) -> None:
    async with replicas.replica("a") as a:
        tries = 0

        def fail(write: WriteTransaction) -> None:
            nonlocal tries
            tries += 1
            write.decided_on_derived = True  # it would have a turn of its own, behind the others
            raise lmdb.DiskError(os.strerror(errno.ENOSPC))

        both = a.create(service("web")), a.registry._committer.write(fail)
        _, failed = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(failed, StatusError) and failed.code == 507
        assert tries == 1


class Cut(Patient):
    """A client whose watch of objects ends with the next change while it may not go on."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        super().__init__(endpoints)
        self.may = asyncio.Event()
        self.may.set()

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Yield what happens, when it may."""
        is_of_objects = key.endswith(b"objects/")
        if is_of_objects:
            await self.may.wait()
        async for changes in super().watch(key, end, from_revision):
            if is_of_objects and not self.may.is_set():
                raise Unavailable("as the test wants it")
            yield changes


async def test_a_replica_that_could_not_take_a_list_for_want_of_room_takes_writes_after_it(
    replicas: Replicas,
) -> None:
    """Nobody else writes after that: no change that comes says that the disk takes something again."""
    place = replicas.folder / "a"
    place.mkdir()
    client = Cut(replicas.etcd.endpoints)
    with small_disk(place, "size=8m"):
        async with replicas.replica("a", client=client) as a:
            async with replicas.replica("b") as b:
                client.may.clear()
                pods = (pod(f"p{number}", f"10.1.1.{number}", ready=True) for number in range(250))
                await asyncio.gather(*map(b.create, pods))
                seen = b.revision
            replicas.etcd.ctl("compact", str(seen // 1_000_000))
            ballast = Ballast(place)
            ballast.fill()
            client.may.set()
            await until(lambda: is_stuck(a), "the list to have no room")
            ballast.drop()
            await until(lambda: a.revision >= seen, "the list")
            await until(lambda: not a.registry.trouble, "the replica to write again")
            await a.create(service("taken"))


def is_stuck(replica: Replica) -> bool:
    """Return whether a replica says that its map can't be written."""
    sharing = replica.registry.sharing
    return sharing is not None and sharing.name in sharing.living and bool(sharing.living[sharing.name].stuck)


async def fill_until_behind(a: Replica, b: Replica) -> None:
    """Write at `b` until there is no room for that in the map of `a`."""
    for number in range(2000):
        await b.create(pod(f"p{number}", f"10.1.{number // 250}.{number % 250}", ready=True))
        if a.registry.trouble:
            return
    raise AssertionError("the disk is never full")


async def test_while_etcd_has_no_room_it_is_one_outage_until_there_is_some(
    need: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("etcd")
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.05)
    with RunningEtcd(options=QUOTA) as etcd:
        async with Replicas(etcd, tmp_path).replica("a") as a:
            await a.create(service("web"))
            with pytest.raises(StatusError) as refused:
                for number in range(2000):
                    large = {"metadata": {"annotations": {"large": f"{number}".ljust(30_000, "x")}}}
                    await a.patch(SERVICE, "web", large)
            assert refused.value.code == 503 and "NOSPACE" in refused.value.message
            await until(lambda: "alarm:NOSPACE" in etcd.ctl("alarm", "list"), "the alarm")
            trouble, looks = a.registry.trouble, Counted(monkeypatch)
            await until(lambda: looks.count >= 5, "some looks at etcd, which answers reads")
            assert a.registry.trouble == trouble, "the outage has begun again"
            revision = a.revision // 10**6
            for words in (("compaction", str(revision)), ("defrag",), ("alarm", "disarm")):
                etcd.ctl(*words)
            await until(lambda: not a.registry.trouble, "the outage to end")
            await a.create(service("taken"))


class Counted:
    """Counts the looks at etcd."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        looked = Follower.replicas

        async def look(of: Follower, revision: int = 0) -> Found:
            self.count += 1
            return await looked(of, revision)

        monkeypatch.setattr(Follower, "replicas", look)
