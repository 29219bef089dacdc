"""Connections to upstreams: kept, shared, closed by either side, and gone at the end with all that waits."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from forward.unit.transports_harness import (
    HANG,
    KINDS,
    SOON,
    WWW,
    ask_for,
    data_of,
    exchange,
    left_over,
    text_of,
    upstream,
)
from toolbox.misbehaving import Misbehaving
from toolbox.stopping import stop
from toolbox.upstreams import Certificates, Unbound
from toolbox.waiting import until

from svcdns.config.upstream_spec import parse
from svcdns.forward.upstreams import stream
from svcdns.forward.upstreams.factory import make
from svcdns.forward.upstreams.upstream import NoReply
from svcdns.wire.response import Response


@pytest.fixture(scope="module")
def unbound(need: Callable[..., str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound() as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("tls", [False, True])
async def test_connections_are_kept_and_shared(tls: bool, certificates: Certificates) -> None:
    with Misbehaving(certificates=certificates if tls else None) as server:
        async with upstream(f"{'tls' if tls else 'tcp'}://{server.address}", certificates.ca) as made:
            for _ in range(5):
                await made.exchange(WWW, HANG)
            assert server.connections == 1
            await asyncio.gather(*(made.exchange(WWW, HANG) for _ in range(500)))
            assert server.connections <= stream.CONNECTIONS
            assert server.count == 505


async def test_replies_are_matched_in_any_order() -> None:
    with Misbehaving() as server:
        async with upstream(f"tcp://{server.address}") as made:
            server.behaviour, server.seconds = "slow", 1.0
            slow = asyncio.create_task(made.exchange(ask_for("slow.example.", "TXT"), HANG))
            while not server.count:
                await asyncio.sleep(0)
            server.behaviour = "answers"
            assert data_of(await made.exchange(WWW, HANG)) == ["192.0.2.7"]
            assert not slow.done()
            assert data_of(await slow) == ['"upstream"'] and server.connections == 1


async def test_a_server_that_closes_after_each_answer() -> None:
    with Misbehaving("once") as server:
        assert [data_of(found) for found in (await exchange(f"tcp://{server.address}", *[WWW] * 5))]
        assert server.count == 5


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "IDLE_SECONDS", 0.05)
    with Misbehaving() as server:
        async with upstream(f"tcp://{server.address}") as made:
            await made.exchange(WWW, HANG)
            assert left_over()
            await until(lambda: not left_over(), "the connection to end", HANG)
            await made.exchange(WWW, HANG)
            assert server.connections == 2


async def test_after_a_time_out_there_is_a_new_connection() -> None:
    """TCP itself would notice a host that has vanished only after minutes."""
    with Misbehaving() as server:
        async with upstream(f"tcp://{server.address}") as made:
            await made.exchange(WWW, HANG)
            server.behaviour = "silent"
            with pytest.raises(NoReply):
                await made.exchange(WWW, 0.2)
            server.behaviour = "answers"
            await made.exchange(WWW, HANG)
            assert server.connections == 2


async def test_https_goes_on_after_a_time_out(need: Callable[..., str]) -> None:
    need("unbound")
    with Unbound() as server:
        async with upstream(server.https_address, server.ca) as made:
            await made.exchange(WWW, HANG)
            stop(server.pid)
            with pytest.raises(NoReply, match="no reply in time"):
                await made.exchange(WWW, 0.3)
            os.kill(server.pid, signal.SIGCONT)
            assert data_of(await made.exchange(WWW, HANG)) == ["192.0.2.10"]


# Ends


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_ends_what_is_under_way(need: Callable[..., str], kind: str) -> None:
    need("unbound")
    with Unbound() as server:
        made = make(parse(text_of(server, kind)), server.ca)
        await made.exchange(WWW, HANG)
        stop(server.pid)
        under_way = [asyncio.create_task(made.exchange(WWW, HANG)) for _ in range(3)]
        await asyncio.sleep(0.1)
        await made.close()
        start = time.monotonic()
        replies = await asyncio.gather(*under_way, return_exceptions=True)
        assert all(isinstance(reply, NoReply) for reply in replies)
        assert time.monotonic() - start < SOON
        with pytest.raises(NoReply):
            await made.exchange(WWW, HANG)
        assert not left_over()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_exchange_leaves_nothing_behind(unbound: Unbound, kind: str, stopped: bool) -> None:
    """Cancelled after more and more time, from before the first step to after the last."""
    before = open_files()
    if stopped:
        stop(unbound.pid)
    try:
        ask = ask_for("many.example.org.")
        for number in range(40):
            made = make(parse(text_of(unbound, kind)), unbound.ca)
            task = asyncio.create_task(made.exchange(ask, HANG))
            if number < 10:
                for _ in range(number):
                    await asyncio.sleep(0)
            else:
                await asyncio.wait([task], timeout=0.0005 * (number - 9))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert kind == "https" or number > 0 or not left_over()
            await made.close()
            await asyncio.sleep(0)
            assert not left_over(), number
    finally:
        os.kill(unbound.pid, signal.SIGCONT)
    assert open_files() == before


async def test_many_at_once_cost_a_socket_each_and_no_more() -> None:
    with Misbehaving("slow", seconds=0.5) as server:
        async with upstream(server.address) as made:
            tasks = [asyncio.create_task(made.exchange(WWW, HANG)) for _ in range(200)]
            await asyncio.sleep(0)
            assert len(left_over()) == 400  # the tasks and their sockets
            for task in tasks[::2]:
                task.cancel()
            replies = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(reply, Response) for reply in replies) == 100
