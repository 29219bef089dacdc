"""etcd is away, answers that are lost, and maps that are behind: DNS goes on, nothing is guessed or lost."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from replicas.replicas_harness import (
    Patient,
    Replica,
    Replicas,
    assert_alike,
    assert_same_objects,
    be_patient,
)
from toolbox.builders import endpoint_slice, headless, pod, service
from toolbox.waiting import until

from svcdns.config.sections import Config
from svcdns.etcd.client import Etcd, Full, Unavailable, Unknown
from svcdns.etcd.messages import Changes, Compare, Delete, Get, Outcome, Put
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, POD, SERVICE
from svcdns.registry.replicated import committer, following
from svcdns.registry.requests import DeleteOptions, Selection


class Losing(Patient):
    """A client to which happens what a test says, to transactions that write Services."""

    fate = ""
    """"carried out" and "lost" on the way: no answer comes; "refused": none takes it; "late": no answer,
    and it is only carried out when it was asked what became of it; "full" and "nearly full": etcd says that
    it has no room, and has carried it out in the second case."""
    late: tuple[Any, ...] | None = None
    late_outcome: Outcome | None = None
    questions = ""
    """The same for those that ask what became of one."""

    async def transaction(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get] = ()
    ) -> Outcome:
        """Carry it out, or not."""
        is_write = any(b"/Service/" in one.key for one in success)
        is_question = len(success) == 1 and b"/replicas/" in success[0].key
        fate = self.fate if is_write else self.questions if is_question else ""
        if is_write:
            self.fate = ""
        elif fate:
            self.questions = ""
        if fate == "refused":
            raise Unavailable("as the test wants it")
        if fate == "late":
            self.late = (compares, success, failure)
        elif fate not in ("lost", "full"):
            outcome = await super().transaction(compares, success, failure)
        if "full" in fate:
            raise Full("as the test wants it")
        if self.late is not None and is_question:
            self.late_outcome = await super().transaction(*self.late)
            self.late = None
        if fate:
            raise Unknown("as the test wants it")
        return outcome


@pytest.mark.parametrize("questions", ["", "carried out", "lost", "refused"])
@pytest.mark.parametrize("fate", ["carried out", "lost"])
async def test_a_write_whose_answer_is_lost_is_carried_out_once(
    replicas: Replicas, fate: str, questions: str
) -> None:
    client = Losing(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a, replicas.replica("b") as b:
        await a.create(service("web"))
        client.fate, client.questions = fate, questions
        try:
            made = await a.create(service("lost"))
        except StatusError as refused:  # when it was known that it is lost, etcd was away
            assert (fate, refused.code) == ("lost", 503) and questions
            await until(lambda: not a.registry.trouble, "the outage to be over")
            made = await a.create(service("lost"))
        assert a.get(SERVICE, "lost") == made
        await until(lambda: not a.registry.trouble, "the outage to be over")
        later = await a.patch(SERVICE, "lost", {"metadata": {"labels": {"x": "y"}}})
        await b.shows_what(a)
        assert b.get(SERVICE, "lost") == later
        assert later["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_transaction_that_was_taken_for_lost_is_not_carried_out_later(replicas: Replicas) -> None:
    client = Losing(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        await a.create(service("web"))
        client.fate = "late"
        made = await a.create(service("late"))
        assert client.late_outcome is not None and not client.late_outcome.succeeded
        assert a.get(SERVICE, "late") == made


async def test_a_write_that_etcd_does_not_take_is_answered_with_why(replicas: Replicas) -> None:
    client = Losing(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        client.fate = "refused"
        with pytest.raises(StatusError) as refused:
            await a.create(service("web"))
        assert (refused.value.code, refused.value.retry_after) == (503, 2)
        assert "as the test wants it" in refused.value.message
        await until(lambda: not a.registry.trouble, "the outage to be over")
        await a.create(service("web"))


async def test_what_was_carried_out_though_etcd_said_that_it_is_full_is_answered(replicas: Replicas) -> None:
    client = Losing(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        client.fate = "full"
        with pytest.raises(StatusError) as refused:
            await a.create(service("web"))
        assert refused.value.code == 503 and "nothing was changed" in refused.value.message
        await until(lambda: not a.registry.trouble, "the outage to be over")
        assert a.names(SERVICE) == []
        client.fate = "nearly full"
        made = await a.create(service("web"))
        assert a.get(SERVICE, "web") == made
        await a.patch(SERVICE, "web", {"metadata": {"labels": {"x": "y"}}})


class Mute(Patient):
    """A client whose watch says nothing any more, as that of a member that is frozen; the next one does."""

    is_mute = False

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Watch, and stop where the test says so."""
        self.is_mute = False
        async for changes in super().watch(key, end, from_revision):
            if self.is_mute:
                await asyncio.Event().wait()
            yield changes


async def test_a_watch_that_says_nothing_is_begun_again(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(following, "SILENT_SECONDS", 0.1)
    client = Mute(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        await a.create(service("before"))
        client.is_mute = True
        made = await a.create(service("web"))
        assert a.get(SERVICE, "web") == made


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_while_etcd_is_away_all_but_writes_goes_on(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    clients = [Patient(replicas.etcd.endpoints) for _ in range(2)]
    async with replicas.replica("a", client=clients[0]) as a, replicas.replica("b", client=clients[1]) as b:
        await a.create(headless("web"))
        await a.create(pod("web-1", "10.1.0.1", ready=True))
        await b.shows_what(a)
        rows = b.rows()
        monkeypatch.setattr(committer, "WRITE_SECONDS", 3.0)
        for client in clients:
            be_patient(client, 1.0)
        replicas.etcd.kill() if how == "killed" else replicas.etcd.freeze()
        try:
            with pytest.raises(StatusError) as refused:
                await b.create(pod("web-2", "10.1.0.2", ready=True))
            assert refused.value.code in (503, 504)
            await until(lambda: b.registry.trouble, "the replica to notice")
            objects = b.everything()  # Events of what was created came until now
            assert [one["metadata"]["name"] for one in objects["Pod"]] == ["web-1"]
            with pytest.raises(StatusError) as refused:
                await b.create(pod("web-3", "10.1.0.3", ready=True))
            assert refused.value.code == 503
            assert "etcd can't be used since 20" in b.registry.trouble
            assert (b.rows(), b.everything()) == (rows, objects)
        finally:
            replicas.etcd.start() if how == "killed" else replicas.etcd.thaw()
        monkeypatch.undo()
        for client in clients:
            be_patient(client)
        for one in (a, b):
            await until(lambda one=one: not one.registry.trouble, "the outage to be over")
        await a.create(pod("web-4", "10.1.0.4", ready=True))
        await b.shows_what(a)
        assert "web-4" in b.names(POD) and "web-3" not in b.names(POD)
        assert a.rows_but_apexes() == b.rows_but_apexes()


async def test_a_replica_that_starts_without_etcd_answers_from_its_map(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        await a.create(headless("web"))
        await a.create(pod("web-1", "10.1.0.1", ready=True))
        rows = a.rows()
    replicas.etcd.kill()
    try:
        async with replicas.replica("a") as a:
            assert a.rows() == rows
            with pytest.raises(StatusError) as refused:
                await a.create(service("db"))
            assert refused.value.code == 503
            replicas.etcd.start()
            await a.registry.try_to_write()
            assert a.registry.trouble == ""
            await a.create(service("db"))
    finally:
        replicas.etcd.kill()
        replicas.etcd.start()


async def test_a_replica_that_differs_when_etcd_is_back_says_in_what(replicas: Replicas) -> None:
    async with replicas.replica("a"):
        pass
    replicas.etcd.kill()
    async with replicas.replica("a", Config(cluster_domain="other.test")) as a:
        replicas.etcd.start()
        await a.registry.try_to_write()
        assert "cluster_domain: cluster.local in etcd, other.test here" in a.registry.trouble
        with pytest.raises(StatusError, match="cluster_domain"):
            await a.create(service("web"))


async def test_a_replica_without_a_map_does_not_start_without_etcd(replicas: Replicas) -> None:
    with pytest.raises(StatusError, match="etcd can't be used"):
        async with replicas.replica("a", client=Etcd(["http://127.0.0.1:1"])):
            pass


async def fill(a: Replica) -> None:
    """Have objects of several kinds, some that were deleted again."""
    await a.create(headless("web"))
    await a.create(service("db", type="NodePort"))
    for number in range(1, 30):
        await a.create(pod(f"web-{number}", f"10.1.0.{number}", ready=bool(number % 3)))
    await a.create(endpoint_slice("own", "db", "10.9.0.1"))
    for number in range(1, 10):
        await a.registry.delete(POD, "default", f"web-{number}", DeleteOptions())


async def test_a_replica_that_begins_with_nothing_comes_to_the_same(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        await fill(a)
        async with replicas.replica("new") as new:
            await new.shows_what(a)
            await assert_same_objects(new, a)
            assert new.rows_but_apexes() == a.rows_but_apexes()
            await new.create(pod("web-99", "10.1.0.99", ready=True))
            await a.shows_what(new)
            assert new.rows_but_apexes() == a.rows_but_apexes()


async def test_a_replica_that_was_away_goes_on_from_its_map(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        async with replicas.replica("b") as b:
            await fill(a)
            await b.shows_what(a)
        await a.create(service("later"))
        await a.registry.delete(POD, "default", "web-20", DeleteOptions())
        async with replicas.replica("b") as b:
            await b.shows_what(a)
            await assert_alike(a, b)


async def test_a_replica_that_was_away_for_too_long_lists_what_there_is(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        async with replicas.replica("b") as b:
            await fill(a)
            await b.shows_what(a)
            seen = b.revision
        await a.create(service("later"))
        await a.registry.delete(POD, "default", "web-20", DeleteOptions())
        await a.registry.delete(SERVICE, "default", "db", DeleteOptions())
        await a.patch(SERVICE, "web", {"metadata": {"labels": {"x": "y"}}})
        replicas.etcd.ctl("compact", str(a.revision // 1_000_000))
        async with replicas.replica("b") as b:
            await b.shows_what(a)
            await assert_same_objects(a, b)
            assert a.rows_but_apexes() == b.rows_but_apexes()
            with pytest.raises(StatusError) as expired:
                await anext(aiter(b.registry.watch(POD, "", Selection(), seen)))
            assert expired.value.code == 410
            made = await b.create(service("newest"))
            await a.shows_what(b)
            assert a.get(SERVICE, "newest") == made


async def test_a_watcher_goes_on_at_another_replica(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(headless("web"))
        seen = a.revision
        await a.create(pod("web-1", "10.1.0.1", ready=True))
        await b.shows_what(a)
        batch = await anext(aiter(b.registry.watch(ENDPOINTSLICE, "", Selection(), seen)))
        assert [event.type for event in batch.events] == ["MODIFIED"]
        assert b"10.1.0.1" in batch.events[0].object


async def test_a_map_of_another_registry_is_made_anew(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        await fill(a)
    replicas.etcd.ctl("del", "--prefix", replicas.prefix)
    async with replicas.replica("begins another"), replicas.replica("a") as a:
        assert a.names(POD) == [] == a.names(SERVICE)
        await a.create(service("web"))


async def test_writes_wait_for_their_turn_when_many_come_at_once(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        made: list[Any] = await asyncio.gather(
            *(one.create(service(f"s{n}")) for n, one in enumerate([a, b] * 150))
        )
        await a.shows_what(b)
        assert len({one["spec"]["clusterIP"] for one in made}) == 300 == len(a.names(SERVICE))


@pytest.mark.parametrize("meanwhile", [0, 40])
async def test_an_etcd_that_was_restored_from_a_backup_is_listed_anew(
    replicas: Replicas, meanwhile: int
) -> None:
    backup = replicas.folder / "backup"
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(service("kept"))
        replicas.etcd.ctl("snapshot", "save", str(backup))
        for number in range(10):
            await a.create(service(f"lost-{number}"))
        await b.shows_what(a)
        replicas.etcd.restore(backup)
        for number in range(meanwhile):  # its revision is that of the maps again, and further
            replicas.etcd.ctl("put", f"/somebody/else/{number}", "x")
        for one in (a, b):
            await until(lambda one=one: one.names(SERVICE) == ["kept"], "the list")
            await until(lambda one=one: not one.registry.trouble, "the outage to be over")
        await b.create(service("new"))
        await until(lambda: "new" in a.names(SERVICE), "what the other has taken")
        assert a.rows_but_apexes() == b.rows_but_apexes()


async def test_an_etcd_that_was_emptied_does_not_empty_the_maps(replicas: Replicas) -> None:
    etcd = replicas.etcd
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(service("kept"))
        await b.shows_what(a)
        rows = a.rows_but_apexes()
        etcd.kill()
        [member] = etcd.members
        shutil.rmtree(member.data)
        etcd.start()
        for one in (a, b):
            await until(lambda one=one: replicas.prefix in one.registry.trouble, "the reason")
            with pytest.raises(StatusError, match="emptied"):
                await one.create(service("new"))
            assert one.rows_but_apexes() == rows
    async with replicas.replica("a") as a:
        assert "emptied" in a.registry.trouble
        assert a.rows_but_apexes() == rows, "after a restart too"
    assert etcd.ctl("get", replicas.prefix, "--prefix") == "", "nothing was written"
