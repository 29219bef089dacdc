"""What a client of etcd gets, from a real one: answers, and members that are away."""

import asyncio
import contextlib
import signal
from collections.abc import Callable

import pytest
from toolbox.on_etcd import PATIENCE_SECONDS
from toolbox.running_etcd import Member, RunningEtcd

from svcdns.etcd import connections
from svcdns.etcd.client import Compacted, Etcd, NotYet, Rejected, Unavailable
from svcdns.etcd.messages import Changes, Compare, Delete, Found, Get, Put

NOWHERE = "http://127.0.0.1:1"


async def put(client: Etcd, key: bytes, value: bytes = b"x") -> int:
    return (await client.transaction([], [Put(key, value)])).revision


async def test_a_range_is_read_in_pages_at_one_revision(etcd: RunningEtcd) -> None:
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    for number in range(5):
        revision = await put(client, b"/pages/%d" % number, b"\0\xff%d" % number)
    await put(client, b"/pages/9")
    first = await client.range(b"/pages/", b"/pages0", revision=revision, limit=3)
    rest = await client.range(first.kvs[-1].key + b"\0", b"/pages0", revision=revision, limit=3)
    assert (first.more, rest.more, first.count) == (True, False, 5)
    assert [kv.value for kv in first.kvs + rest.kvs] == [b"\0\xff%d" % number for number in range(5)]
    assert rest.kvs[-1].mod_revision == revision
    await client.close()


async def test_a_transaction_does_one_or_the_other(etcd: RunningEtcd) -> None:
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    made = await put(client, b"/txn/a", b"1")
    for compares, succeeds in (
        ([Compare.unchanged(b"/txn/a", made)], True),
        ([Compare.unchanged(b"/txn/a", made - 1)], False),
        ([Compare.absent(b"/txn/b"), Compare.exists(b"/txn/a")], True),
        ([Compare.absent(b"/txn/a")], False),
        ([Compare.exists(b"/txn/b")], False),
        ([Compare.none_since(b"/txn/", b"/txn0", made)], True),
        ([Compare.none_since(b"/txn/", b"/txn0", made - 1)], False),
        ([Compare.none_since(b"/nobody/", b"/nobody0", 0)], True),
    ):
        outcome = await client.transaction(compares, [], [Get(b"/txn/a")])
        assert outcome.succeeded is succeeds, compares
        assert succeeds or outcome.found[0].kvs[0].value == b"1"
    gone = await client.transaction([], [Delete(b"/txn/a"), Put(b"/txn/b", b"")])
    assert gone.revision == made + 1
    assert (await client.range(b"/txn/", b"/txn0")).kvs[0].key == b"/txn/b"
    await client.close()


async def test_a_range_gives_keys_alone_and_what_one_member_has(etcd: RunningEtcd) -> None:
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    await put(client, b"/keys/a", b"value")
    [alone] = (await client.range(b"/keys/a", keys_only=True)).kvs
    [whole] = (await client.range(b"/keys/a", serializable=True)).kvs
    assert (alone.value, whole.value) == (b"", b"value")
    await client.close()


async def test_a_page_of_large_values_has_fewer(etcd: RunningEtcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LARGEST_ANSWER", 1 << 20)
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    for number in range(20):
        await put(client, b"/large/%02d" % number, b"v" * 200_000)
    read, begin, more = list[bytes](), b"/large/", True
    while more:
        found = await client.range(begin, b"/large0", limit=500)
        read += [kv.key for kv in found.kvs]
        begin, more = read[-1] + b"\0", found.more
    assert read == [b"/large/%02d" % number for number in range(20)]
    await client.close()


async def test_a_lease_ends_with_its_keys(etcd: RunningEtcd) -> None:
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    lease = await client.lease_grant(60)
    await client.transaction([], [Put(b"/lease/a", b"", lease)])
    assert await client.lease_keep_alive(lease) == 60
    assert (await client.range(b"/lease/a")).kvs[0].lease == lease
    await client.lease_revoke(lease)
    assert (await client.range(b"/lease/a")).kvs == ()
    assert await client.lease_keep_alive(lease) == 0
    await client.close()


async def test_compacting_what_is_compacted_is_told(etcd: RunningEtcd) -> None:
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    await put(client, b"/compact")
    revision = await put(client, b"/compact")
    await client.compact(revision)
    with pytest.raises(Compacted):
        await client.compact(revision)
    with pytest.raises(NotYet):
        await client.compact(revision + 1000)
    await client.close()


async def test_members_say_how_they_are(etcd: RunningEtcd) -> None:
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    status, [member] = await client.status(), await client.members()
    assert status.version.startswith("3.")
    assert status.leader == member.id
    assert status.size > 0
    assert status.errors == ()
    assert member.urls == tuple(etcd.endpoints)
    await client.close()


async def test_what_etcd_never_takes_is_rejected(etcd: RunningEtcd) -> None:
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    with pytest.raises(Rejected, match="duplicate key"):
        await client.transaction([], [Put(b"a", b"1"), Put(b"a", b"2")])
    with pytest.raises(Rejected, match="too many operations"):
        await client.transaction([], [Put(b"%d" % number, b"") for number in range(129)])
    with pytest.raises(Rejected, match="max-request-bytes"):
        await client.transaction([], [Put(b"large", b"v" * (3 << 20))])
    await client.close()


async def test_a_watch_brings_whole_revisions_in_order(etcd: RunningEtcd) -> None:
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    began = await put(client, b"/watch/0")
    for number in range(5):
        await client.transaction(
            [], [Put(b"/watch/%d" % n, b"v" * 250_000) for n in range(number, number + 5)]
        )
    await client.transaction([], [Delete(b"/watch/0")])
    seen: list[tuple[int, str, bytes]] = []
    async with contextlib.aclosing(client.watch(b"/watch/", b"/watch0", began)) as watch:
        async for changes in watch:
            seen += [(one.mod_revision, one.type, one.kv.key) for one in changes.events]
            whole = {revision: sum(r == revision for r, _, _ in seen) for revision, _, _ in seen}
            assert all(count == (5 if began < r < began + 6 else 1) for r, count in whole.items())
            if seen[-1][1] == "DELETE":
                break
    assert [r for r, _, _ in seen] == sorted(r for r, _, _ in seen)
    assert seen[-1] == (began + 6, "DELETE", b"/watch/0")
    await client.close()


async def test_what_is_gone_and_what_is_not_there_yet_are_told_apart(etcd: RunningEtcd) -> None:
    client = Etcd(etcd.endpoints, timeout=PATIENCE_SECONDS)
    await put(client, b"/old")
    revision = await put(client, b"/old")
    etcd.ctl("compact", str(revision))
    with pytest.raises(Compacted):
        await client.range(b"/old", revision=revision - 1)
    with pytest.raises(NotYet):
        await client.range(b"/old", revision=revision + 1000)
    with pytest.raises(Compacted):
        await anext(client.watch(b"/old", b"/old0", revision - 1))
    await client.close()


async def test_a_member_that_is_not_there_is_passed_over(etcd: RunningEtcd) -> None:
    client = Etcd([NOWHERE, *etcd.endpoints], timeout=PATIENCE_SECONDS)
    assert await put(client, b"/over")
    client = Etcd([NOWHERE, *etcd.endpoints], timeout=PATIENCE_SECONDS)
    watching = asyncio.ensure_future(anext(client.watch(b"/over", b"/over0", 1 + await put(client, b"/o"))))
    await put(client, b"/over")
    assert isinstance(await watching, Changes)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await Etcd([NOWHERE]).range(b"/")
    await client.close()


async def answered(client: Etcd) -> Found:
    """Read a key, again where the members had no leader for as long as a request may take."""
    while True:
        try:
            return await client.range(b"/a")
        except Unavailable:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("lose", [Member.kill, Member.freeze])
async def test_of_three_members_one_may_go(need: Callable[..., str], lose: Callable[[Member], None]) -> None:
    need("etcd")
    with RunningEtcd(members=3) as etcd:
        client = Etcd(etcd.endpoints)
        made = await put(client, b"/a")
        watch = client.watch(b"/a", b"/b", made)
        assert (await anext(watch)).revision == made
        lost = asyncio.ensure_future(anext(watch))
        lose(etcd.members[0])
        assert (await answered(client)).kvs[0].value == b"x", "the next member answers"
        with pytest.raises(Unavailable):
            await lost
        resumed = await put(client, b"/a")
        assert (await anext(client.watch(b"/a", b"/b", made + 1))).revision == resumed
        lose(etcd.members[1])
        with pytest.raises(Unavailable):
            await client.range(b"/a")
        for member in etcd.members[:2]:
            member.signal(signal.SIGCONT)
        await client.close()
