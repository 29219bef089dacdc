"""The counters file: what one process writes, all others read."""

from __future__ import annotations

from pathlib import Path

import pytest

from svcdns.dns.stats import SLOTS
from svcdns.server.counters import WRITER, Counters, CountersError, reasons


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counters"


def test_all_numbers_begin_at_0(path: Path) -> None:
    counters = Counters.create(path, 3, SLOTS)
    assert counters.workers == 3
    assert counters.totals() == [0] * SLOTS
    assert [counters.get(row, "pid") for row in range(4)] == [0] * 4


def test_another_process_sees_what_is_written(path: Path) -> None:
    one = Counters.create(path, 2, 5)
    other = Counters.open(path)
    one.slot(1).write([1, 2, 3, 4, 2**64 - 1])
    one.set(2, "restarts", 7)
    one.set(WRITER, "pid", 99)
    assert other.slot(1).read() == [1, 2, 3, 4, 2**64 - 1]
    assert other.slot(0).read() == [0] * 5
    assert (other.get(2, "restarts"), other.get(1, "restarts"), other.get(WRITER, "pid")) == (7, 0, 99)


def test_totals_are_sums_over_the_workers(path: Path) -> None:
    counters = Counters.create(path, 2, 3)
    counters.slot(0).write([1, 2, 3])
    counters.slot(1).write([10, 20, 30])
    assert counters.totals() == [11, 22, 33]


def test_a_new_file_leaves_those_who_hold_the_old_one_alone(path: Path) -> None:
    old = Counters.create(path, 1, 2)
    new = Counters.create(path, 1, 2)
    old.slot(0).write([5, 5])
    assert new.totals() == [0, 0]


@pytest.mark.parametrize("octets", [b"", b"x" * 31, b"x" * 4096])
def test_what_is_no_counters_file_is_refused(path: Path, octets: bytes) -> None:
    path.write_bytes(octets)
    with pytest.raises(CountersError):
        Counters.open(path)


def test_a_file_of_another_shape_is_refused(path: Path) -> None:
    Counters.create(path, 2, 5)
    with path.open("ab") as file:
        file.write(b"\0" * 8)
    with pytest.raises(CountersError):
        Counters.open(path)


def test_reasons_say_what_is_missing(path: Path) -> None:
    counters = Counters.create(path, 2, 1)
    assert reasons(counters) == [
        "manifests and zone files are being loaded",
        "dns worker 0 is starting",
        "dns worker 1 is starting",
        "the forwarder is starting",
    ]
    for row in range(4):
        counters.set(row, "ready", 1)
    assert reasons(counters) == []
    assert counters.ready()
    counters.set(2, "ready", 0)
    counters.set(2, "given_up", 1)
    assert reasons(counters) == ["dns worker 1 died too often and was given up"]
    counters.set_stopping()
    assert reasons(counters)[0] == "stopping"
    assert not counters.ready()
