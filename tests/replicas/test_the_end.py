"""A replica ends: it waits for nobody, and nobody for it."""

import asyncio
import threading
from collections.abc import Sequence

import lmdb
import pytest
from replicas.replicas_harness import Patient, Replicas
from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.objects.errors import StatusError
from svcdns.registry.replicated import committer


async def test_the_end_does_not_wait_for_an_etcd_that_hangs(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        replicas.etcd.freeze()
        waiting = asyncio.ensure_future(a.create(service("web")))
        await asyncio.sleep(0)
    replicas.etcd.thaw()
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], StatusError)


class Leaving(Patient):
    """A client that lets go of the map of its replica when that has done with all but its lease."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        super().__init__(endpoints)
        self.goes = threading.Event()

    async def lease_revoke(self, lease: int) -> None:
        """Let go."""
        self.goes.set()
        await super().lease_revoke(lease)


async def test_a_write_that_waits_for_the_map_is_answered_at_the_end(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(committer, "WRITE_SECONDS", 2 * GUARD_SECONDS)
    client = Leaving(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        is_taken = threading.Event()

        def take(_: lmdb.Transaction) -> None:
            is_taken.set()
            client.goes.wait(GUARD_SECONDS)

        taking = asyncio.ensure_future(a.registry.transact(take))
        await until(is_taken.is_set, "the map to be taken")
        writing = asyncio.ensure_future(a.create(service("web")))
    with pytest.raises(StatusError, match="this server ends; nothing was changed"):
        await asyncio.wait_for(writing, GUARD_SECONDS)
    await asyncio.gather(taking, return_exceptions=True)
