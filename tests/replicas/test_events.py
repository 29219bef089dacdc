"""Events where replicas share a registry: they are in etcd, few enough for it, and all replicas show them."""

import asyncio
from collections.abc import Callable

import pytest
from replicas.replicas_harness import Replica, Replicas, assert_alike
from toolbox.builders import namespace, service
from toolbox.waiting import until

from svcdns.cluster.event_messages import EventMessage, Subject
from svcdns.objects.kinds import EVENT
from svcdns.registry import events
from svcdns.registry.events import Recorder

KEEP = 5


def names(replica: Replica) -> list[str]:
    """Return what each Event is about."""
    return [one["involvedObject"]["name"] for one in replica.objects(EVENT)]


def message(where: str, number: int) -> EventMessage:
    subject = Subject("Service", "v1", where, f"s{number}", f"uid-{number}")
    return EventMessage(subject, "Warning", "Tested", "")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP", KEEP)
    monkeypatch.setattr(events, "_SLACK", 0)
    monkeypatch.setattr(events, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.0)


@pytest.mark.usefixtures("few")
async def test_whoever_writes_events_the_newest_are_kept(replicas: Replicas) -> None:
    """One replica cuts the history of all, and another one does where that one has gone."""

    async def told(by: Replica, first: int) -> None:
        for number in range(first, first + 8):
            await by.create(service(f"s{number}"))
            await until(lambda number=number: f"s{number}" in names(by), "the Event")

    def kept(first: int) -> Callable[[Replica], bool]:
        return lambda one: sorted(names(one)) == [f"s{number}" for number in range(first, first + KEEP)]

    async with replicas.replica("a") as a:
        async with replicas.replica("b") as b:
            await told(a, 10)
            await until(lambda: kept(13)(a) and kept(13)(b), "the history to be cut")
            await told(b, 20)
            await until(lambda: kept(23)(a) and kept(23)(b), "the history to be cut")
            await assert_alike(a, b)
        await told(a, 30)
        await until(lambda: kept(33)(a), "the history to be cut")
    kept_there = replicas.etcd.ctl("get", "--prefix", "--keys-only", f"{replicas.prefix}objects/Event/")
    assert len(kept_there.split()) == KEEP


async def test_events_of_more_namespaces_than_a_transaction_holds_are_written_in_several(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction compares each Event and each namespace that one is in."""
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.0)
    async with replicas.replica("a") as a:
        where = [f"n{number}" for number in range(80)]
        await asyncio.gather(*(a.create(namespace(name)) for name in where))
        a.registry.record([message(where[number % 80], number) for number in range(events.BATCH)])
        await until(lambda: len(names(a)) >= events.BATCH, "all Events")
        assert {one["count"] for one in a.objects(EVENT)} == {1}


async def test_what_is_put_back_is_counted_with_what_came_meanwhile() -> None:
    """An Event that had no room, and happens again before its turn, is one that happened twice."""
    meanwhile = [message("default", 2), message("default", 3)]

    async def write(action: Callable[[object], object]) -> int:
        recorder.record(meanwhile)
        meanwhile.clear()
        return 1  # of how many there were

    recorder = Recorder(write, lambda *work: False)
    recorder.record([message("default", 1), message("default", 2)])
    await recorder._write_some()
    left = [(one.subject.name, waiting.count) for one, waiting in recorder._waiting.items()]
    assert left == [("s2", 2), ("s3", 1)]
    await recorder.stop()
    assert not recorder._waiting
