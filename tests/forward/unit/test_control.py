"""The socket of the forwarder: what `svcdns cache flush` sends, and what nobody should send."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.forward.control import (
    MOST_CONNECTIONS,
    MOST_OCTETS,
    SOCKET,
    BadRequest,
    Control,
    address_in,
    key_of_text,
)

GUARD_SECONDS = 60.0


class Cache:
    """What is flushed."""

    def __init__(self) -> None:
        self.flushed: list[bytes] = []
        self.fails = False

    async def flush(self, prefix: bytes) -> int:
        if self.fails:
            raise OSError("disk")
        self.flushed.append(prefix)
        return 12


def run(folder: Path, work: Callable[[Control, Cache], Awaitable[None]], seconds: float = 60.0) -> None:
    async def whole() -> None:
        cache, control = Cache(), Control(seconds)
        await control.start(folder, cache.flush)
        try:
            await work(control, cache)
        finally:
            await control.stop()
        assert not list(folder.glob(f"{SOCKET}*"))

    asyncio.run(asyncio.wait_for(whole(), GUARD_SECONDS))


async def connect(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    with address_in(folder) as address:
        return await asyncio.open_unix_connection(address)


async def say(folder: Path, line: bytes) -> dict[str, Any]:
    reader, writer = await connect(folder)
    writer.write(line)
    answer = await reader.read()
    writer.close()
    assert answer.endswith(b"\n") and answer.count(b"\n") == 1
    found: dict[str, Any] = json.loads(answer)
    return found


def test_a_name_and_everything(tmp_path: Path) -> None:
    async def work(control: Control, cache: Cache) -> None:
        assert await say(tmp_path, b'{"flush": "WWW.Example.com."}\n') == {"flushed": 12}
        assert await say(tmp_path, b'{"flush": null}\n') == {"flushed": 12}
        assert await say(tmp_path, b'{"flush": "."}\n') == {"flushed": 12}
        assert await say(tmp_path, b'{"flush": "a\\\\.b.example"}\n') == {"flushed": 12}
        assert cache.flushed == [b"com\0example\0www\0", b"", b"", b"example\0a.b\0"]

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"\n", "the line is no JSON; allowed: "),
        (b"flush\n", "the line is no JSON; allowed: "),
        (b"\xff\xfe\n", "the line is no JSON; allowed: "),
        (b"[" * 1000 + b"\n", "the line is no JSON; allowed: "),
        (b"[]\n", "nothing is known but flush; allowed: "),
        (b"{}\n", "nothing is known but flush; allowed: "),
        (b'{"flush": null, "x": 1}\n', "nothing is known but flush; allowed: "),
        (b'{"flush": 5}\n', "flush: is no text; allowed: "),
        (b'{"flush": ""}\n', "'' is no domain name; allowed: such as example.com, or . for all names"),
        (b'{"flush": "@"}\n', "'@' is no domain name; allowed: such as example.com, or . for all names"),
        (b'{"flush": "a..b"}\n', "'a..b' is no domain name: "),
        (b'{"flush": "' + b"a" * 64 + b'"}\n', " is no domain name: "),
        (b'{"flush": "' + b"a." * 130 + b'"}\n', " is no domain name: "),
        (b"x" * (MOST_OCTETS + 1) + b"\n", "the line is longer than 1024 octets"),
        (b"x" * 1_000_000, "the line is longer than 1024 octets"),
    ],
)
def test_what_means_nothing_gets_an_error_and_flushes_nothing(
    tmp_path: Path, line: bytes, expected: str
) -> None:
    async def work(control: Control, cache: Cache) -> None:
        reader, writer = await connect(tmp_path)
        writer.write(line)
        answer = json.loads(await reader.readline())
        writer.close()
        assert expected in answer["error"]
        assert cache.flushed == []
        assert await say(tmp_path, b'{"flush": null}\n') == {"flushed": 12}

    run(tmp_path, work)


@given(st.text(max_size=300))
def test_no_name_does_more_than_be_refused(text: str) -> None:
    try:
        key = key_of_text(text)
    except BadRequest as wrong:
        assert len(str(wrong).splitlines()) == 1
    else:
        assert not key or key.endswith(b"\0")


def test_a_cache_that_fails_is_told_of(tmp_path: Path) -> None:
    async def work(control: Control, cache: Cache) -> None:
        cache.fails = True
        answer = await say(tmp_path, b'{"flush": null}\n')
        assert answer == {"error": "the cache can't be flushed: the server's log says more"}
        cache.fails = False
        assert await say(tmp_path, b'{"flush": null}\n') == {"flushed": 12}

    run(tmp_path, work)


def test_only_its_owner_gets_at_it(tmp_path: Path) -> None:
    async def work(control: Control, cache: Cache) -> None:
        mode = (tmp_path / SOCKET).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600

    run(tmp_path, work)


def test_what_a_killed_forwarder_left_is_replaced(tmp_path: Path) -> None:
    for name in (SOCKET, SOCKET + ".new"):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(tmp_path / name))

    async def work(control: Control, cache: Cache) -> None:
        assert await say(tmp_path, b'{"flush": null}\n') == {"flushed": 12}

    run(tmp_path, work)


def test_the_socket_of_a_successor_stays(tmp_path: Path) -> None:
    async def work(control: Control, cache: Cache) -> None:
        successor = Control()
        await successor.start(tmp_path, cache.flush)
        await control.stop()
        assert await say(tmp_path, b'{"flush": null}\n') == {"flushed": 12}
        await successor.stop()

    run(tmp_path, work)


def test_one_that_was_removed_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def work(control: Control, cache: Cache) -> None:
        await control.keep()
        assert not caplog.records, "it is there"
        (tmp_path / SOCKET).unlink()
        await control.keep()
        assert await say(tmp_path, b'{"flush": null}\n') == {"flushed": 12}
        assert [record.levelname for record in caplog.records] == ["INFO"]

    run(tmp_path, work)


def test_one_that_cannot_be_made_is_told_of_once_and_made_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    blocked = tmp_path / (SOCKET + ".new")
    blocked.mkdir()

    async def work(control: Control, cache: Cache) -> None:
        await control.keep()
        (told,) = (record.getMessage() for record in caplog.records)
        assert f"{tmp_path / SOCKET}: Is a directory; tried again every 10 s" in told
        blocked.rmdir()
        await control.keep()
        assert await say(tmp_path, b'{"flush": null}\n') == {"flushed": 12}
        assert "reaches this server again" in caplog.records[-1].getMessage()

    run(tmp_path, work)


def test_a_folder_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)

    async def work(control: Control, cache: Cache) -> None:
        assert await say(folder, b'{"flush": null}\n') == {"flushed": 12}

    run(folder, work)


def test_whoever_says_nothing_is_let_go(tmp_path: Path) -> None:
    async def work(control: Control, cache: Cache) -> None:
        reader, writer = await connect(tmp_path)
        writer.write(b'{"flush"')
        assert await reader.read() == b""
        writer.close()
        assert cache.flushed == []

    run(tmp_path, work, seconds=0.2)


def test_whoever_hangs_up_changes_nothing(tmp_path: Path) -> None:
    async def work(control: Control, cache: Cache) -> None:
        for line in (b"", b'{"flush": nul'):
            _, writer = await connect(tmp_path)
            writer.write(line)
            writer.close()
        assert await say(tmp_path, b'{"flush": null}\n') == {"flushed": 12}
        assert cache.flushed == [b""]

    run(tmp_path, work)


def test_one_too_many_is_told_so(tmp_path: Path) -> None:
    async def work(control: Control, cache: Cache) -> None:
        held = [await connect(tmp_path) for _ in range(MOST_CONNECTIONS)]
        reader, writer = await connect(tmp_path)
        answer = json.loads(await reader.read())
        assert answer == {"error": f"{MOST_CONNECTIONS} others are connected; try again"}
        writer.close()
        for _, one in held:
            one.write(b'{"flush": null}\n')
        for waiting, one in held:
            assert json.loads(await waiting.read()) == {"flushed": 12}
            one.close()

    run(tmp_path, work)


def test_an_end_does_not_wait_for_who_is_connected(tmp_path: Path) -> None:
    async def work(control: Control, cache: Cache) -> None:
        reader, writer = await connect(tmp_path)
        writer.write(b"{")
        assert await say(tmp_path, b'{"flush": null}\n') == {"flushed": 12}  # so the other is served too
        await control.stop()
        assert await reader.read() == b""
        writer.close()

    run(tmp_path, work)
