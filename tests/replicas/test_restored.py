"""etcd is restored from a backup while a replica writes, waits for what is gone then, or lists."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from replicas.replicas_harness import Patient, Replica, Replicas
from toolbox.builders import service
from toolbox.running_etcd import RunningEtcd
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.etcd.client import Unavailable
from svcdns.etcd.messages import Changes, Compare, Delete, Found, Get, Outcome, Put
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import SERVICE
from svcdns.registry.replicated import beginning, committer, compaction

MORE = 30
"""Writes behind the backup: the restored etcd takes long to come to the revision of the next one."""


class Unseeing(Patient):
    """A client whose watch of objects ends with the next change while it may not go on."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        super().__init__(endpoints)
        self.may = asyncio.Event()
        self.may.set()
        self.is_cut = self.is_answered = False
        self.compacted: list[int] = []

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Yield what happens, when it may."""
        async for changes in super().watch(key, end, from_revision):
            if key.endswith(b"objects/") and not self.may.is_set():
                self.is_cut = True
                raise Unavailable("as the test wants it")
            yield changes

    async def range(self, *given: Any, revision: int = 0, **named: Any) -> Found:
        """Read; of the past, as who begins to watch does, when it may."""
        if revision:
            await self.may.wait()
        return await super().range(*given, revision=revision, **named)

    async def compact(self, revision: int) -> None:
        """Note it."""
        self.compacted.append(revision)
        await super().compact(revision)

    async def transaction(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get] = ()
    ) -> Outcome:
        """Carry it out, and note that it was answered where a Service `lost` is written."""
        outcome = await super().transaction(compares, success, failure)
        self.is_answered |= any(one.key.endswith(b"/lost") for one in success)
        return outcome


@asynccontextmanager
async def ahead_of_a_backup(replicas: Replicas) -> AsyncIterator[tuple[Replica, Unseeing, Path]]:
    """Give a replica, its client, and a backup that has the Service `kept` and none that came later."""
    backup = replicas.folder / "backup"
    client = Unseeing(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        await a.create(service("kept"))
        replicas.etcd.ctl("snapshot", "save", str(backup))
        for number in range(MORE):
            await a.create(service(f"more-{number}"))
        yield a, client, backup


@pytest.mark.usefixtures("no_events")
async def test_a_write_that_was_carried_out_and_is_gone_keeps_no_other_from_it(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "LANES", 1)
    monkeypatch.setattr(committer, "WRITE_SECONDS", 2 * GUARD_SECONDS)
    async with ahead_of_a_backup(replicas) as (a, client, backup):
        client.may.clear()
        writing = asyncio.ensure_future(a.create(service("lost")))
        await until(lambda: client.is_cut and client.is_answered, "a write that is not shown")
        replicas.etcd.restore(backup)
        client.may.set()
        with pytest.raises(StatusError) as unknown:
            await asyncio.wait_for(writing, GUARD_SECONDS)
        assert unknown.value.code == 504
        await until(lambda: a.names(SERVICE) == ["kept"], "the list")
        await until(lambda: not a.registry.trouble, "the outage to be over")
        await asyncio.wait_for(a.create(service("new")), GUARD_SECONDS)
        assert a.names(SERVICE) == ["kept", "new"]


@pytest.mark.usefixtures("no_events")
async def test_a_write_is_not_answered_by_a_map_of_another_past(replicas: Replicas) -> None:
    """Its revision is less than that of the map, which does not show it all the same."""
    async with ahead_of_a_backup(replicas) as (a, client, backup):
        client.may.clear()
        replicas.etcd.restore(backup)
        refused = StatusError(503, "ServiceUnavailable", "")
        while refused.code == 503:
            await until(lambda: not a.registry.trouble, "the outage to be over")
            with pytest.raises(StatusError) as caught:
                await a.create(service("new"))
            refused = caught.value
        assert refused.code == 504 and "may have been carried out" in refused.message
        client.may.set()
        await until(lambda: a.names(SERVICE) == ["kept", "new"], "the list")


@pytest.mark.usefixtures("no_events")
async def test_compaction_goes_on_behind_one_of_what_is_gone(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "EVERY_SECONDS", 0.1)
    backup = replicas.folder / "backup"
    client = Unseeing(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        await a.create(service("kept"))
        await until(lambda: len(client.compacted) > 2, "some turns")
        replicas.etcd.ctl("snapshot", "save", str(backup))
        for number in range(MORE):
            await a.create(service(f"more-{number}"))
        of_its_past = a.revision // 1_000_000
        client.may.clear()
        replicas.etcd.restore(backup)
        client.compacted.clear()
        await until(lambda: of_its_past in client.compacted, "one up to where etcd has not come")
        client.may.set()
        await until(lambda: a.names(SERVICE) == ["kept"], "the list")
        client.compacted.clear()
        await until(lambda: len(client.compacted) > 2, "more turns")


class Restoring(Patient):
    """A client whose etcd is restored from a backup while a list is read."""

    def __init__(self, etcd: RunningEtcd, backup: Path) -> None:
        super().__init__(etcd.endpoints)
        self._etcd, self._backups = etcd, [backup]

    async def range(self, *given: Any, revision: int = 0, **named: Any) -> Found:
        """Read, of another past than the revision is of if it is the first time."""
        if revision and self._backups:
            self._etcd.restore(self._backups.pop())
        return await super().range(*given, revision=revision, **named)


async def test_an_etcd_that_is_restored_while_it_is_listed_is_listed_as_it_is_then(
    replicas: Replicas,
) -> None:
    backup = replicas.folder / "backup"
    async with replicas.replica("a") as a:
        await a.create(service("kept"))
        replicas.etcd.ctl("snapshot", "save", str(backup))
        await a.create(service("lost"))
    async with replicas.replica("new", client=Restoring(replicas.etcd, backup)) as new:
        assert new.registry.trouble == "" and new.names(SERVICE) == ["kept"]
        await new.create(service("more"))
