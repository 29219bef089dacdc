"""What a client of etcd does as a user: tokens that are forgotten or run out, and what it may not ask."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from etcd.played_members import good, played, refuses
from toolbox.etcd_access import (
    AS_ADMINISTRATOR,
    FAST_PASSWORDS,
    change_password,
    have_user,
    tokens_that_end,
)
from toolbox.on_etcd import PATIENCE_SECONDS
from toolbox.running_etcd import RunningEtcd

from svcdns.etcd.client import Denied, Etcd, Login, Unavailable
from svcdns.etcd.connections import Connections
from svcdns.etcd.messages import Put


async def put(client: Etcd, key: bytes) -> int:
    return (await client.transaction([], [Put(key, b"x")])).revision


@pytest.fixture
def guarded(need: Callable[..., str]) -> Iterator[RunningEtcd]:
    """Give an etcd with authentication, and the user."""
    need("etcd")
    with RunningEtcd(options=FAST_PASSWORDS, more=AS_ADMINISTRATOR) as etcd:
        have_user(etcd, "secret")
        yield etcd


async def test_a_user_has_a_token_that_is_renewed(guarded: RunningEtcd, password: Path) -> None:
    client = Etcd(guarded.endpoints, Login(user="svcdns", password_file=password), timeout=PATIENCE_SECONDS)
    began = await put(client, b"/svcdns/a")
    watching = asyncio.ensure_future(anext(client.watch(b"/svcdns/", b"/svcdns0", began + 1)))
    assert await put(client, b"/svcdns/b")
    assert (await watching).events[0].kv.key == b"/svcdns/b"
    guarded.kill()
    guarded.start()  # tokens were in its memory
    watching = asyncio.ensure_future(anext(client.watch(b"/svcdns/", b"/svcdns0", began + 1)))
    assert (await watching).events[0].kv.key == b"/svcdns/b"
    guarded.kill()
    guarded.start()
    assert await put(client, b"/svcdns/b"), "a token that etcd does not know is asked for again"
    with pytest.raises(Unavailable, match=r"permission denied.*store\.etcd_prefix"):
        await client.range(b"/other")
    with pytest.raises(Unavailable, match=r"user name is empty.*store\.etcd_user"):
        await Etcd(guarded.endpoints).range(b"/svcdns/")
    password.write_text("wrong")
    with pytest.raises(Unavailable, match=r"authentication failed.*etcd_password_file"):
        await Etcd(guarded.endpoints, Login(user="svcdns", password_file=password)).range(b"/svcdns/")
    await client.close()


async def test_tokens_that_run_out_are_seen_by_nobody(
    need: Callable[..., str], password: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("etcd")
    given: list[str] = []
    authenticate = Connections._authenticate

    async def counted(of: Connections, member: str) -> str:
        given.append(await authenticate(of, member))
        return given[-1]

    monkeypatch.setattr(Connections, "_authenticate", counted)
    with RunningEtcd(options=tokens_that_end(tmp_path, 1), more=AS_ADMINISTRATOR) as etcd:
        have_user(etcd, "secret")
        client = Etcd(etcd.endpoints, Login(user="svcdns", password_file=password), timeout=PATIENCE_SECONDS)
        lease = await client.lease_grant(60)
        began = await client.transaction([], [Put(b"/svcdns/live", b"", lease)])
        seen = list[int]()

        async def watch() -> None:
            async for changes in client.watch(b"/svcdns/n", b"/svcdns/o", began.revision):
                seen.extend(one.mod_revision for one in changes.events)

        async def keep() -> None:
            while len(given) < 4:
                assert await client.lease_keep_alive(lease) == 60
                await asyncio.sleep(0.3)

        watching, written = asyncio.ensure_future(watch()), list[int]()
        keeping = asyncio.ensure_future(keep())
        while len(given) < 4:
            written.append(await put(client, b"/svcdns/n"))
            assert (await client.range(b"/svcdns/live")).kvs, "the lease goes on"
            await asyncio.sleep(0.05)
        await keeping
        while seen[-1:] != written[-1:]:
            assert not watching.done(), "the watch that was begun with the first token goes on"
            await asyncio.sleep(0.01)
        assert seen == written
        [changes] = [await anext(client.watch(b"/svcdns/n", b"/svcdns/o", written[-1]))]
        assert changes.events, "and so does one that is begun with a later one"
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await client.close()


async def test_a_password_that_an_administrator_changes_is_asked_for_by_name(
    guarded: RunningEtcd, password: Path
) -> None:
    client = Etcd(guarded.endpoints, Login(user="svcdns", password_file=password), timeout=PATIENCE_SECONDS)
    await put(client, b"/svcdns/a")
    change_password(guarded, "changed")
    with pytest.raises(Unavailable, match=r"authentication failed.*store\.etcd_password_file"):
        await put(client, b"/svcdns/a")
    password.write_text("changed")
    assert await put(client, b"/svcdns/a"), "the file is read again"
    await client.close()


async def test_a_user_learns_whether_there_is_room(
    guarded: RunningEtcd, password: Path, tmp_path: Path
) -> None:
    client = Etcd(guarded.endpoints, Login(user="svcdns", password_file=password), timeout=PATIENCE_SECONDS)
    root = tmp_path / "root"
    root.write_text("root")
    administrator = Etcd(guarded.endpoints, Login(user="root", password_file=root), timeout=PATIENCE_SECONDS)
    assert not await client.has_no_room()
    alarm = {"action": "ACTIVATE", "memberID": "1", "alarm": "NOSPACE"}
    await administrator._ask("/v3/maintenance/alarm", alarm, len)
    assert await client.has_no_room()
    for one in (client, administrator):
        await one.close()


@pytest.mark.parametrize(
    ("alarms", "has_no_room"),
    [
        ({"alarms": [{"memberID": "7", "alarm": "CORRUPT"}, {"memberID": "8", "alarm": "NOSPACE"}]}, True),
        ({"alarms": [{"memberID": "7", "alarm": "CORRUPT"}]}, False),
        ({"header": {}}, False),
        (None, False),
    ],
)
async def test_where_the_status_is_for_administrators_alarms_tell_whether_there_is_room(
    alarms: dict[str, object] | None, has_no_room: bool
) -> None:
    denies = refuses("etcdserver: permission denied", 7, 403)

    async def answer(request: web.Request) -> web.StreamResponse:
        if "auth" in request.path:
            return await good(request)
        if request.path.endswith("/alarm") and alarms is not None:
            return web.json_response(alarms)
        return await denies(request)

    async with played(answer) as [member]:
        client = Etcd([member.url], Login(user="u"))
        with pytest.raises(Denied):
            await client.status()
        assert await client.has_no_room() is has_no_room
        await client.close()
