"""A store that is damaged: one line that says so and exit code 1, no traceback, no writer that dies again
and again.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toolbox.calls import Calls
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

PAGE = 4096


@pytest.fixture(scope="module")
def good_data() -> Iterator[Path]:
    """A data folder that a server has filled and left."""
    with RunningServer(workers=1) as server:
        calls = Calls(server.api)
        for number in range(200):
            calls.create_service(f"web-{number}")
        calls.close()
        assert server.stop() == 0
        yield server.data


@pytest.fixture
def stopped(good_data: Path, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that has data of its own and does not run."""
    server = RunningServer(workers=2, data=tmp_path / "data")
    shutil.copytree(good_data, server.data)
    yield server
    server.close()


def foreign(data: Path) -> None:
    data.write_bytes(b"not LMDB's" * 10_000)


def meta_pages_zeroed(data: Path) -> None:
    with data.open("r+b") as file:
        file.write(bytes(2 * PAGE))


def cut_in_half(data: Path) -> None:
    os.truncate(data, data.stat().st_size // 2 // PAGE * PAGE)


def cut_to_the_meta_pages(data: Path) -> None:
    os.truncate(data, 2 * PAGE)


def cut_in_the_meta_pages(data: Path) -> None:
    os.truncate(data, 100)


def a_folder(data: Path) -> None:
    data.unlink()
    data.mkdir()


@pytest.mark.parametrize(
    "damage",
    [foreign, meta_pages_zeroed, cut_in_half, cut_to_the_meta_pages, cut_in_the_meta_pages, a_folder],
    ids=lambda damage: damage.__name__,
)
def test_damage_is_told_in_one_line(stopped: RunningServer, damage: Callable[[Path], None]) -> None:
    damage(stopped.data / "data.mdb")
    before = len(stopped.log())
    stopped.launch()
    assert stopped.process is not None
    assert stopped.process.wait(GUARD_SECONDS) == 1
    log = stopped.log()[before:]
    lines = [line for line in log.splitlines() if line.startswith("svcdns: ")]
    assert len(lines) == 1, log
    assert str(stopped.data) in lines[0]
    assert "Traceback" not in log
    assert "writer was ended" not in log, log
