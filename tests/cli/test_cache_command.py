"""`svcdns cache flush`: what it sends to a forwarder, and what it says when there is none."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toolbox.running_server import SOURCE, RunningServer

from svcdns.cli import cache
from svcdns.cli.refused import Refused
from svcdns.forward.control import SOCKET, Control


async def svcdns(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SVCDNS_")}
    ran = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "svcdns", "cache", "flush", *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    out, err = await asyncio.wait_for(ran.communicate(), 60)
    assert ran.returncode is not None
    return ran.returncode, out.decode(), err.decode()


def flush(
    *arguments: str, cwd: Path, data: Path | None = None, count: int = 12
) -> tuple[int, str, list[bytes]]:
    """Run the command against a Control; return its exit code, what it printed, what was to be flushed."""
    flushed: list[bytes] = []

    async def forget(prefix: bytes) -> int:
        flushed.append(prefix)
        return count

    async def whole() -> tuple[int, str, str]:
        control = Control()
        await control.start(data or cwd, forget)
        try:
            return await svcdns(*arguments, "--data", str(data or cwd), cwd=cwd)
        finally:
            await control.stop()

    code, out, err = asyncio.run(whole())
    return code, out + err, flushed


def test_a_name_and_all_below_it(tmp_path: Path) -> None:
    said = (0, "flushed 12 answers\n", [b"com\0example\0"])
    assert flush("example.com", cwd=tmp_path) == said
    assert flush("EXAMPLE.com.", cwd=tmp_path) == said


def test_everything(tmp_path: Path) -> None:
    assert flush(cwd=tmp_path, count=1) == (0, "flushed 1 answer\n", [b""])
    assert flush(".", cwd=tmp_path, count=0) == (0, "flushed 0 answers\n", [b""])


def test_a_data_folder_with_a_long_path(tmp_path: Path) -> None:
    data = tmp_path / ("x" * 200)
    data.mkdir()
    assert flush("a.example", cwd=tmp_path, data=data)[:2] == (0, "flushed 12 answers\n")


@pytest.mark.parametrize("name", ["", "@", "a..b", "x" * 64])
def test_a_bad_name_is_a_mistake(tmp_path: Path, name: str) -> None:
    code, said, flushed = flush(name, cwd=tmp_path)
    assert (code, flushed) == (2, [])
    assert said.startswith("svcdns: ") and said.count("\n") == 1
    assert "is no domain name" in said and "; allowed: such as example.com" in said


def refused(cwd: Path, *arguments: str) -> str:
    code, out, err = asyncio.run(svcdns(*arguments, cwd=cwd))
    assert (code, out) == (1, "")
    assert err.startswith("svcdns: ") and err.count("\n") == 1
    return err.removeprefix("svcdns: ").strip()


def test_nobody_is_there(tmp_path: Path) -> None:
    text = "no server runs on {}; allowed: --data or --config of one that does"
    assert refused(tmp_path) == text.format(tmp_path / "svcdns-data")
    assert refused(tmp_path, "--data", "nosuch") == text.format(tmp_path / "nosuch")
    (tmp_path / "file").touch()
    assert refused(tmp_path, "--data", "svcdns-data") == text.format(tmp_path / "svcdns-data")


def test_a_forwarder_that_was_killed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / SOCKET))
    assert refused(tmp_path, "--data", ".").startswith("no server runs on ")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (
            errno.EACCES,
            "can't be reached: permission denied; run it as root or as the user whose the folder is",
        ),
        (errno.ECONNRESET, "ended before it answered; try again"),
        (errno.EMFILE, "can't be reached: too many open files"),
    ],
)
def test_what_the_machine_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: int, expected: str
) -> None:
    def fails(folder: Path) -> None:
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr("svcdns.forward.control.address_in", fails)
    with pytest.raises(Refused) as caught:
        cache.flush(data=str(tmp_path))
    assert str(caught.value) == f"the server on {tmp_path} {expected}"


@contextmanager
def saying(folder: Path, octets: bytes) -> Iterator[None]:
    """Something that is no forwarder: says this to whoever connects, and hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / SOCKET))
        listener.listen()

        def serve() -> None:
            there, _ = listener.accept()
            with there:
                there.recv(4096)
                there.sendall(octets)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(60)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b'{"error": "busy"}\n', "busy"),
        (b"", "ended before it answered; try again"),
        (b"{\n", "ended before it answered; try again"),
        (b"[]\n", "ended before it answered; try again"),
        (b'{"flushed": "many"}\n', "ended before it answered; try again"),
        (b"x" * 100_000, "ended before it answered; try again"),
    ],
)
def test_what_else_may_come_back(tmp_path: Path, octets: bytes, expected: str) -> None:
    with saying(tmp_path, octets):
        assert refused(tmp_path, "--data", ".").endswith(expected)


def test_a_server_that_forwards_nothing(tmp_path: Path) -> None:
    with RunningServer(workers=1, config="[forward]\nupstreams = []\n") as server:
        text = f"the server on {server.data} can forget nothing now: its log says why"
        assert refused(tmp_path, "--data", str(server.data)) == text
