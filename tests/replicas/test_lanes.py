"""A replica has several transactions under way at once: none touches what another does, or waits for it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from replicas.replicas_harness import Object, Patient, Replicas, assert_alike
from toolbox.builders import pod, service
from toolbox.waiting import until

from svcdns.etcd.client import Unknown
from svcdns.etcd.messages import Compare, Delete, Get, Outcome, Put
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import POD, SERVICE
from svcdns.registry.replicated import committer
from svcdns.registry.requests import DeleteOptions
from svcdns.store.environment import open_store

Operations = Sequence[Put | Delete | Get]


def names_of(success: Operations) -> set[str]:
    """Return the names of the objects that a transaction writes, but for Events: these come at any time."""
    written = [one.key for one in success if b"/objects/" in one.key]
    return {key.rpartition(b"/")[2].decode() for key in written if b"/Event/" not in key}


class Gate(Patient):
    """A client that holds transactions that write an object of a name, and questions, until they may go."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        super().__init__(endpoints)
        self.begun: list[set[str]] = []
        """The names of the objects of each transaction that was begun."""
        self.under_way: list[set[str]] = []
        self.held: dict[str, asyncio.Event] = {}
        self.held_answers: dict[str, asyncio.Event] = {}
        """The same of those that are carried out at once, and not answered."""
        self.lost: dict[str, bool] = {}
        """Whose answers are lost: whether they are carried out."""
        self.questions = asyncio.Event()
        self.questions.set()

    async def transaction(
        self, compares: Sequence[Compare], success: Operations, failure: Sequence[Get] = ()
    ) -> Outcome:
        """Carry it out, or not, when it is let go."""
        names = names_of(success)
        if not names:
            if len(success) == 1 and b"/replicas/" in success[0].key:
                await self.questions.wait()
            return await super().transaction(compares, success, failure)
        self.begun.append(names)
        self.under_way.append(names)
        try:
            return await self._carry_out(names, (compares, success, failure))
        finally:
            self.under_way.remove(names)

    async def _carry_out(
        self, names: set[str], whole: tuple[Sequence[Compare], Operations, Sequence[Get]]
    ) -> Outcome:
        for name in names & self.held.keys():
            await self.held[name].wait()
        lost = [self.lost.pop(name) for name in names & self.lost.keys()]
        if not all(lost):
            raise Unknown("as the test wants it")
        outcome = await super().transaction(*whole)
        for name in names & self.held_answers.keys():
            await self.held_answers[name].wait()
        if lost:
            raise Unknown("as the test wants it")
        return outcome

    def hold(self, name: str) -> Callable[[], None]:
        """Hold transactions that write an object; return what lets them go."""
        self.held[name] = asyncio.Event()
        return self.held[name].set

    async def has_begun(self, name: str) -> None:
        """Wait until a transaction that writes an object was begun."""
        await until(lambda: any(name in names for names in self.begun), f"a transaction with {name}")


def begin(work: Coroutine[Any, Any, Object]) -> asyncio.Task[Object]:
    """Have a client write something."""
    return asyncio.ensure_future(work)


LABEL = {"metadata": {"labels": {"x": "y"}}}
OTHER_LABEL = {"metadata": {"labels": {"z": "y"}}}


async def test_a_write_is_answered_while_another_transaction_is_under_way(replicas: Replicas) -> None:
    gate = Gate(replicas.etcd.endpoints)
    async with replicas.replica("a", client=gate) as a, replicas.replica("b") as b:
        let_go = gate.hold("first")
        first = begin(a.create(service("first")))
        await gate.has_begun("first")
        second = await a.create(service("second"))
        assert a.get(SERVICE, "second") == second and not first.done()
        let_go()
        assert await first == a.get(SERVICE, "first")
        assert second["spec"]["clusterIP"] != first.result()["spec"]["clusterIP"]
        await assert_alike(a, b)


async def test_who_changes_what_is_under_way_waits_and_nobody_else(replicas: Replicas) -> None:
    gate = Gate(replicas.etcd.endpoints)
    async with replicas.replica("a", client=gate) as a, replicas.replica("b") as b:
        await a.create(service("web"))
        gate.begun.clear()
        let_go = gate.hold("web")
        patches = [begin(a.patch(SERVICE, "web", LABEL))]
        await gate.has_begun("web")
        patches.append(begin(a.patch(SERVICE, "web", OTHER_LABEL)))
        for name in ("one", "two", "three"):
            await a.create(service(name))
        assert gate.begun == [{"web"}, {"one"}, {"two"}, {"three"}], "the second patch was not even tried"
        let_go()
        await asyncio.gather(*patches)
        assert a.get(SERVICE, "web")["metadata"]["labels"] == {"x": "y", "z": "y"}
        await assert_alike(a, b)


async def test_an_address_that_is_under_way_is_given_to_nobody_else(replicas: Replicas) -> None:
    gate = Gate(replicas.etcd.endpoints)
    async with replicas.replica("a", client=gate) as a:
        let_go = gate.hold("first")
        first = begin(a.create(service("first", clusterIP="10.96.0.77")))
        await gate.has_begun("first")
        second = begin(a.create(service("second", clusterIP="10.96.0.77")))
        await a.create(service("third"))
        assert not any("second" in names for names in gate.begun)
        let_go()
        assert (await first)["spec"]["clusterIP"] == "10.96.0.77"
        with pytest.raises(StatusError, match="already allocated"):
            await second


@pytest.mark.parametrize("is_carried_out", [True, False])
async def test_while_it_is_found_out_what_became_of_one_the_other_goes_on(
    replicas: Replicas, is_carried_out: bool
) -> None:
    gate = Gate(replicas.etcd.endpoints)
    async with replicas.replica("a", client=gate) as a, replicas.replica("b") as b:
        gate.lost["first"] = is_carried_out
        gate.questions.clear()
        first = begin(a.create(service("first")))
        await gate.has_begun("first")
        for name in ("second", "third"):
            await a.create(service(name))
        assert not first.done()
        gate.questions.set()
        assert await first == a.get(SERVICE, "first")
        assert sum("first" in names for names in gate.begun) == 2 - is_carried_out
        await assert_alike(a, b)


async def test_a_replica_that_dies_with_two_under_way_has_carried_out_each_or_not(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "STOP_SECONDS", 0.0)
    gate = Gate(replicas.etcd.endpoints)
    async with replicas.replica("b") as b:
        async with replicas.replica("a", client=gate) as a:
            gate.held_answers["first"] = asyncio.Event()
            gate.hold("second")
            both = [begin(a.create(service("first")))]
            await gate.has_begun("first")
            both.append(begin(a.create(service("second"))))
            await gate.has_begun("second")
            await until(lambda: b.names(SERVICE) == ["first"], "what was carried out")
        found = await asyncio.gather(*both, return_exceptions=True)
        assert [one.code for one in found if isinstance(one, StatusError)] == [504, 504]
        async with replicas.replica("a") as a:
            await a.shows_what(b)
            assert a.names(SERVICE) == ["first"]
            await asyncio.gather(a.create(service("second")), a.patch(SERVICE, "first", LABEL))
            await assert_alike(a, b)


async def test_a_deletion_has_nothing_beside_it(replicas: Replicas) -> None:
    gate = Gate(replicas.etcd.endpoints)
    async with replicas.replica("a", client=gate) as a, replicas.replica("b") as b:
        await a.create(pod("old"))
        gate.begun.clear()
        holds = [gate.hold(name) for name in ("first", "old")]
        done = [begin(a.create(service("first")))]
        await gate.has_begun("first")
        deletion = asyncio.ensure_future(a.registry.delete(POD, "default", "old", DeleteOptions()))
        done += [begin(a.create(service(f"behind-{number}"))) for number in range(3)]
        await asyncio.wait(done, timeout=0.1)
        assert not any("old" in names for names in gate.begun), "it waits for what is under way"
        holds[0]()
        await gate.has_begun("old")
        done.append(begin(a.create(service("later"))))
        await asyncio.wait(done, timeout=0.1)
        assert gate.under_way == [gate.begun[-1]] and "old" in gate.begun[-1], "nothing is begun beside it"
        holds[1]()
        await asyncio.gather(deletion, *done)
        assert sum("old" in names for names in gate.begun) == 1
        await assert_alike(a, b)
        assert b.names(POD) == [] and len(b.names(SERVICE)) == 5


@pytest.mark.usefixtures("no_events")
async def test_who_is_refused_is_told_so_though_others_write_all_the_time(replicas: Replicas) -> None:
    async with replicas.replica("b") as b:

        class Overtaken(Patient):
            """A client whose writes that change nothing another replica overtakes each time."""

            count = 0

            async def transaction(
                self, compares: Sequence[Compare], success: Operations, failure: Sequence[Get] = ()
            ) -> Outcome:
                """Carry it out behind a transaction of the other replica."""
                if not success:
                    self.count += 1
                    await b.create(service(f"other-{self.count}"))
                return await super().transaction(compares, success, failure)

        client = Overtaken(replicas.etcd.endpoints)
        async with replicas.replica("a", client=client) as a:
            await a.create(service("web"))
            before = client.count
            with pytest.raises(StatusError, match="already exists"):
                await a.create(service("web"))
            assert client.count < before + 5, "what the map shows by then was there meanwhile"


async def test_only_a_map_may_lose_its_last_commit_in_a_power_cut(replicas: Replicas) -> None:
    stores = {
        is_map: open_store(replicas.folder / f"{is_map}", "writer", is_map=is_map) for is_map in (False, True)
    }
    flags = {is_map: store.env.flags() for is_map, store in stores.items()}
    for store in stores.values():
        store.close()
    assert [flags[is_map]["metasync"] for is_map in (False, True)] == [True, False]
    assert all(of["sync"] for of in flags.values()), "a power cut tears neither"
