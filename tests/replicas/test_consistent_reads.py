"""A read at any replica has what was acknowledged at any before it began, or says that it may be older."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from replicas.checker import check
from replicas.etcd_log import MARK, SPAN
from replicas.history import Change, History
from replicas.replicas_harness import Held, Replica, Replicas
from toolbox.builders import service
from toolbox.running_etcd import RunningEtcd
from toolbox.waiting import GUARD_SECONDS, run, until

from svcdns.api.app import create_app
from svcdns.etcd.client import Etcd
from svcdns.etcd.messages import Found
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import SERVICE
from svcdns.registry.replicated import consistent_reads
from svcdns.registry.requests import DeleteOptions
from svcdns.registry.transaction import decode

SERVICES = "/api/v1/namespaces/default/services"
NAMES = ("web", "db")
BEGIN = "Service/default/"


async def newest(replica: Replica) -> str:
    """Wait as a reader does; return what it is told."""
    assert replica.registry.consistent_reads is not None
    return await replica.registry.consistent_reads.newest()


@asynccontextmanager
async def api_of(replica: Replica) -> AsyncIterator[TestClient[Any, Any]]:
    """Give a client of a replica's API."""
    app = create_app(replica.registry, health=list, metrics=lambda: (b"", "text/plain"), version="1")
    async with TestClient(TestServer(app)) as client:
        yield client


async def names_at(api: TestClient[Any, Any], query: str = "") -> list[str]:
    """Return the names of Services that a list shows."""
    async with api.get(SERVICES + query) as answer:
        assert answer.status == 200, await answer.text()
        return [item["metadata"]["name"] for item in (await answer.json())["items"]]


class Asking(Etcd):
    """A client that counts questions for the newest transaction, and has them wait for their answers."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.asked, self.answered = 0, 0
        self.may_return = asyncio.Event()
        self.may_return.set()

    async def range(self, key: bytes, end: bytes | None = None, **options: Any) -> Found:
        """Read a range."""
        is_question = bool(options.get("newer_than"))
        self.asked += is_question
        found = await super().range(key, end, **options)
        self.answered += is_question
        if is_question:
            await self.may_return.wait()
        return found


# What is done one after the other by each of some clients at once: (at the first replica, what, which).
actions = st.tuples(
    st.booleans(), st.sampled_from(["write", "write", "delete", "read"]), st.sampled_from(NAMES)
)
histories = st.lists(st.lists(actions, min_size=1, max_size=8), min_size=1, max_size=4)


class Recording:
    """Clients of two replicas, and what they were told."""

    def __init__(self, replicas: dict[str, Replica]) -> None:
        self.history = History()
        self._replicas = replicas
        self._marks = 0

    async def client(self, does: list[tuple[bool, str, str]]) -> None:
        """Do one thing after the other."""
        for first, what, name in does:
            at = "a" if first else "b"
            await (self.read(at) if what == "read" else self.write(at, what, name))

    async def write(self, at: str, what: str, name: str) -> None:
        replica, self._marks = self._replicas[at], self._marks + 1
        mark = None if what == "delete" else f"m{self._marks}"
        marked = {"metadata": {"annotations": {MARK: mark}}}
        with self.history.operation(at, BEGIN + name, mark=mark) as operation:
            try:
                if what == "delete":
                    gone = await replica.registry.delete(SERVICE, "default", name, DeleteOptions())
                    revision = int(decode(gone.object)["metadata"]["resourceVersion"]) // SPAN
                    self.history.changes.append(Change(revision, BEGIN + name, None))
                    operation.done()
                    return
                made = service(name)
                made["metadata"] |= marked["metadata"]
                try:
                    written = await replica.create(made)
                except StatusError as there:
                    if there.code != 409:
                        raise
                    written = await replica.patch(SERVICE, name, marked)
                operation.done(int(written["metadata"]["resourceVersion"]) // SPAN)
            except StatusError as refused:
                assert refused.code in (404, 409), refused
                operation.refused()

    async def read(self, at: str) -> None:
        replica = self._replicas[at]
        with self.history.operation(at, BEGIN, is_read=True) as operation:
            operation.is_consistent = not await newest(replica)
            assert operation.is_consistent
            operation.done(replica.revision // SPAN)


async def told(replicas: Replicas, clients: list[list[tuple[bool, str, str]]]) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        recording = Recording({"a": a, "b": b})
        await asyncio.gather(*map(recording.client, clients))
        wrong = [text for text in check(recording.history) if text.startswith("order")]
        assert not wrong, wrong


@given(histories)
@settings(max_examples=15)
def test_what_was_acknowledged_before_a_read_began_is_in_it(etcd: RunningEtcd, clients: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(told(Replicas(etcd, Path(folder)), clients))


async def test_how_new_a_read_is_follows_from_its_resource_version(replicas: Replicas) -> None:
    client = Held(replicas.etcd.endpoints)
    async with replicas.replica("a") as a, replicas.replica("b", client=client) as b, api_of(b) as api:
        client.may.clear()
        made = await a.create(service("web"))
        version = made["metadata"]["resourceVersion"]
        assert await names_at(api, "?resourceVersion=0") == [], "whatever is at hand"
        watch_query = "?watch=true"
        waiting = [
            asyncio.ensure_future(names_at(api, query))
            for query in ("", "?limit=5", f"?resourceVersion={version}", "?labelSelector=!a")
        ]
        one = asyncio.ensure_future(api.get(f"{SERVICES}/web"))
        not_older = asyncio.ensure_future(api.get(f"{SERVICES}/web?resourceVersion={version}"))
        initial = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        watches = [
            asyncio.ensure_future(api.get(SERVICES + watch_query + more))
            for more in ("", initial, f"{initial}&resourceVersion={version}")
        ]
        done, _ = await asyncio.wait([*waiting, one, not_older, *watches], timeout=0.2)
        assert not done, "all of these wait for what was acknowledged"
        client.may.set()
        assert [await names for names in waiting] == [["web"]] * 4
        assert [(await got).status for got in (one, not_older)] == [200, 200]
        for watch in watches:
            async with await watch as answer:
                assert b'"name":"web"' in await answer.content.readline()


async def test_without_sending_the_state_a_watch_begins_at_the_most_recent(replicas: Replicas) -> None:
    client = Held(replicas.etcd.endpoints)
    async with replicas.replica("a") as a, replicas.replica("b", client=client) as b, api_of(b) as api:
        client.may.clear()
        await a.create(service("before"))
        query = "?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
        watching = asyncio.ensure_future(api.get(SERVICES + query))
        await asyncio.sleep(0)
        client.may.set()
        async with await watching as answer:
            await a.create(service("after"))
            assert b'"name":"after"' in await answer.content.readline()


async def test_a_collection_is_deleted_with_what_another_has_acknowledged(replicas: Replicas) -> None:
    client = Held(replicas.etcd.endpoints)
    async with replicas.replica("a") as a, replicas.replica("b", client=client) as b, api_of(b) as api:
        client.may.clear()
        await a.create(service("web"))
        deleting = asyncio.ensure_future(api.delete(SERVICES))
        done, _ = await asyncio.wait([deleting], timeout=0.1)
        assert not done
        client.may.set()
        assert (await deleting).status == 200
        assert await names_at(api) == []


async def test_a_resource_version_that_does_not_come_is_refused(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistent_reads, "SECONDS", 0.1)
    async with replicas.replica("a") as a, api_of(a) as api:
        made = await a.create(service("web"))
        later = int(made["metadata"]["resourceVersion"]) + 1000 * SPAN
        for path in (f"{SERVICES}?resourceVersion={later}", f"{SERVICES}/web?resourceVersion={later}"):
            async with api.get(path) as answer:
                assert answer.status == 504
                assert "Too large resource version" in (await answer.json())["message"]


async def test_who_comes_while_a_question_is_under_way_shares_the_next(replicas: Replicas) -> None:
    client = Asking(replicas.etcd.endpoints)
    async with replicas.replica("a") as a, replicas.replica("b", client=client) as b:
        client.may_return.clear()
        first = asyncio.ensure_future(newest(b))
        await until(lambda: client.answered == 1, "the first question")
        await a.create(service("web"))  # the question that is under way does not know of it
        rest = [asyncio.ensure_future(newest(b)) for _ in range(20)]
        await asyncio.sleep(0)
        client.may_return.set()
        assert await asyncio.gather(first, *rest) == [""] * 21
        assert client.asked == 2
        assert "web" in b.names(SERVICE)


async def test_a_revision_that_never_comes_leaves_nothing_behind(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody who may read may ask for one, as often as they like."""
    monkeypatch.setattr(consistent_reads, "SECONDS", 0.05)
    async with replicas.replica("a") as a:
        follower = a.registry._committer._follower
        assert follower is not None
        reads = a.registry.consistent_reads
        assert reads is not None
        await asyncio.gather(*(reads.shows(10**18 + number) for number in range(50)))
        assert not follower._waiting
        monkeypatch.setattr(consistent_reads, "SECONDS", GUARD_SECONDS)
        await a.create(service("web"))
        assert await newest(a) == ""


async def test_what_others_write_to_the_same_etcd_is_not_waited_for(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(service("web"))
        for number in range(5):
            replicas.etcd.ctl("put", f"/another-of-{replicas.folder.name}", str(number))
            assert await newest(b) == ""
        assert "web" in b.names(SERVICE)


async def test_a_replica_that_hears_nothing_says_how_old_it_may_be(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Held(replicas.etcd.endpoints)
    async with replicas.replica("a") as a, replicas.replica("b", client=client) as b, api_of(b) as api:
        await a.create(service("web"))
        assert await newest(b) == ""
        monkeypatch.setattr(consistent_reads, "SECONDS", 0.2)
        client.may.clear()
        await a.create(service("late"))
        for path in (
            SERVICES,
            f"{SERVICES}/web",
            f"{SERVICES}?watch=true&timeoutSeconds=1",
            f"{SERVICES}/late",
        ):
            async with api.get(path) as answer:
                assert "s old: " in answer.headers["Warning"], path
        monkeypatch.setattr(consistent_reads, "SECONDS", 10 * GUARD_SECONDS)
        again = asyncio.ensure_future(newest(b))
        await until(again.done, "an answer at once: what is known to be late is not waited for again")
        assert "s old: " in again.result()
        client.may.set()
        await b.shows_what(a)
        async with api.get(SERVICES) as answer:
            assert "Warning" not in answer.headers
            assert len((await answer.json())["items"]) == 2


class Late(Asking, Held):
    """A client whose watch can be held up, and the answers to its questions too."""


async def test_a_map_that_is_known_to_be_late_is_not_waited_for_though_a_question_gets_no_answer(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Late(replicas.etcd.endpoints)
    async with replicas.replica("a") as a, replicas.replica("b", client=client) as b:
        reads = b.registry.consistent_reads
        assert reads is not None
        client.may.clear()
        await a.create(service("late"))
        monkeypatch.setattr(consistent_reads, "SECONDS", 0.1)
        while not reads._missed:
            assert await newest(b)
        client.may_return.clear()
        assert await newest(b)
        client.may_return.set()
        monkeypatch.setattr(consistent_reads, "SECONDS", 10 * GUARD_SECONDS)
        again = asyncio.ensure_future(newest(b))
        await until(again.done, "an answer at once")
        assert again.result()
        client.may.set()


async def test_without_etcd_reads_go_on_and_nobody_waits(etcd: RunningEtcd, tmp_path: Path) -> None:
    replicas = Replicas(etcd, tmp_path)
    client = Asking(etcd.endpoints)
    async with replicas.replica("a", client=client) as a, api_of(a) as api:
        await a.create(service("web"))
        assert await newest(a) == ""
        etcd.freeze()
        try:
            assert "s old: " in await newest(a), "after a while"
            outage = a.registry.sharing
            assert outage is not None and outage.outage_seconds > 0
            asked = client.asked
            for _ in range(50):
                async with api.get(SERVICES) as answer:
                    assert "etcd can't be used since" in answer.headers["Warning"]
                    assert len((await answer.json())["items"]) == 1
            assert client.asked == asked, "it is known that etcd does not answer"
        finally:
            etcd.thaw()
        await until(lambda: not (a.registry.sharing and a.registry.sharing.outage_seconds), "etcd")
        assert await newest(a) == ""
