"""Who may hold how many connections, and who makes room: the rules, without sockets."""

from __future__ import annotations

import asyncio
import resource

import pytest

from svcdns.api import connections as limits
from svcdns.api.connections import (
    FILES_LEFT,
    HEAD_SECONDS,
    HIGH_WATER,
    SEND_SECONDS,
    SPARE,
    Connection,
    Connections,
)


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high_water = high


class Inner(asyncio.Protocol):
    """Stands for aiohttp's protocol."""


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRACE_SECONDS", -1.0)


def opened(connections: Connections, client: str) -> tuple[Connection, Transport]:
    connection = connections.admit(client, lambda: None)
    transport = Transport()
    connection.serve(Inner()).connection_made(transport)
    return connection, transport


async def test_who_only_waits_makes_room_the_one_that_waits_longest_first() -> None:
    connections = Connections(limit=4, of_client=4)
    first, second = opened(connections, "a"), opened(connections, "b")
    third = opened(connections, "c")
    assert connections.limits() == (4, 3)
    first[0].begin()
    first[0].finish()  # it waits since now
    opened(connections, "d")
    assert len(connections) == 4
    fifth = opened(connections, "e")
    assert second[1].aborted and not first[1].aborted and not third[1].aborted
    assert len(connections) == 4 and fifth[0].refusal is None


async def test_one_client_makes_room_for_itself() -> None:
    connections = Connections(limit=100, of_client=3)
    other = opened(connections, "b")
    own = [opened(connections, "a") for _ in range(3)]
    for _ in range(20):
        assert opened(connections, "a")[0].refusal is None
    assert all(transport.aborted for _, transport in own) and not other[1].aborted
    assert len(connections) == 4


async def test_what_has_come_just_now_makes_no_room_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its request may stand in the socket, unread."""
    monkeypatch.setattr(limits, "GRACE_SECONDS", 60.0)
    connections = Connections(limit=10, of_client=2)
    own = [opened(connections, "a") for _ in range(3)]
    assert [connection.refusal is None for connection, _ in own] == [True, True, False]
    assert not any(transport.aborted for _, transport in own)


async def test_what_is_at_work_stays_and_spare_ones_say_which_limit() -> None:
    connections = Connections(limit=8, of_client=3)
    working = [opened(connections, "a") for _ in range(3)]
    for connection, _ in working:
        connection.begin()
    spare, _ = opened(connections, "a")
    assert spare.refusal is not None
    assert (spare.refusal.code, spare.refusal.reason) == (429, "TooManyRequests")
    assert "3 of one client" in spare.refusal.message
    for client in ("b", "b", "c", "c"):
        opened(connections, client)[0].begin()
    opened(connections, "d")[0].begin()
    crowd, _ = opened(connections, "d")
    assert crowd.refusal is not None
    assert (crowd.refusal.code, crowd.refusal.reason) == (503, "ServiceUnavailable")
    assert "8 in all" in crowd.refusal.message
    assert not any(transport.aborted for _, transport in working)


async def test_spare_ones_make_room_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections(limit=2, of_client=2)
    for client in ("a", "b"):
        opened(connections, client)[0].begin()
    spare = [opened(connections, "a") for _ in range(SPARE)]
    assert all(connection.refusal is not None for connection, _ in spare)
    assert not connections.room(), "those that are young are answered first"
    assert not any(transport.aborted for _, transport in spare)
    monkeypatch.setattr(limits, "SPARE_SECONDS", 0.0)
    assert connections.room()
    assert [transport.aborted for _, transport in spare] == [True] + [False] * (SPARE - 1)
    assert len(connections) == 1 + SPARE


async def test_a_head_has_its_time() -> None:
    connections = Connections()
    now = asyncio.get_running_loop().time()
    silent, half, busy, idle = (opened(connections, client) for client in "abcd")
    half[0].data_received(b"GET / HT")
    busy[0].begin()
    idle[0].begin()
    idle[0].finish()
    connections.close_late(now + HEAD_SECONDS - 1)
    assert not any(transport.aborted for _, transport in (silent, half, busy, idle))
    connections.close_late(now + HEAD_SECONDS + 1)
    assert silent[1].aborted and half[1].aborted
    assert not busy[1].aborted and not idle[1].aborted, "one that is kept open may be silent"
    idle[0].data_received(b"G")
    connections.close_late(asyncio.get_running_loop().time() + HEAD_SECONDS + 1)
    assert idle[1].aborted
    assert len(connections) == 1


async def test_who_does_not_take_what_waits_for_it_is_cut_off() -> None:
    connections = Connections()
    now = asyncio.get_running_loop().time()
    stopped, slow, brisk = (opened(connections, client) for client in "abc")
    for connection, transport in (stopped, slow, brisk):
        assert transport.high_water == HIGH_WATER
        connection.begin()
    for connection, _ in (stopped, slow):
        connection.pause_writing()
    slow[0].resume_writing()
    connections.close_late(now + SEND_SECONDS - 1)
    assert not any(transport.aborted for _, transport in (stopped, slow, brisk))
    connections.close_late(now + SEND_SECONDS + 1)
    assert stopped[1].aborted and stopped[0].is_cut_off
    assert not slow[1].aborted and not brisk[1].aborted
    slow[0].pause_writing()
    connections.close_late(asyncio.get_running_loop().time() + 2 * SEND_SECONDS)
    assert slow[1].aborted and not brisk[1].aborted


async def test_an_end_before_it_was_open() -> None:
    """In the middle of agreeing on TLS: there is no transport to abort."""
    connections = Connections(limit=2, of_client=2)
    ended: list[int] = []
    first = connections.admit("a", lambda: ended.append(1))
    connections.close_late(asyncio.get_running_loop().time() + HEAD_SECONDS + 1)
    assert ended == [1] and len(connections) == 0
    connections.forget(first)
    assert len(connections) == 0


async def test_the_limit_of_open_files_counts_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600, 600))
    limit = 600 - FILES_LEFT - SPARE
    assert connections.limits() == (limit, limit * 3 // 4)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (50, 50))
    assert connections.limits() == (1, 1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert connections.limits() == (8192, 4096)


async def test_room_is_made_until_there_is_enough() -> None:
    connections = Connections(limit=50, of_client=50)
    many = [opened(connections, str(number)) for number in range(50)]
    connections._limit = 10
    assert connections.make_room() == 41
    assert sum(transport.aborted for _, transport in many) == 41 and len(connections) == 9


async def test_what_ends_by_itself_is_forgotten() -> None:
    connections = Connections()
    connection, _ = opened(connections, "a")
    connection.begin()
    connection.inner.connection_lost = lambda error: None  # type: ignore[union-attr,method-assign,assignment]
    connection.connection_lost(None)
    connection.finish()
    assert len(connections) == 0 and not connections._clients and not connections._waiting
    assert not connections._heads and not connections._of
