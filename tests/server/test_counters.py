"""The counters: what one process writes, all others read."""

import os

import pytest

from svcdns.dns.stats import SLOTS
from svcdns.server.counters import WRITER, Counters, CountersError, reasons


def mapped_again(counters: Counters) -> Counters:
    return Counters(os.dup(counters.descriptor))


def memory(octets: bytes) -> int:
    descriptor = os.memfd_create("test")
    os.pwrite(descriptor, octets, 0)
    return descriptor


def test_all_numbers_begin_at_0() -> None:
    counters = Counters.create(3, SLOTS)
    assert counters.workers == 3
    assert counters.totals() == [0] * SLOTS
    assert [counters.get(row, "pid") for row in range(4)] == [0] * 4


def test_another_process_sees_what_is_written() -> None:
    one = Counters.create(2, 5)
    other = mapped_again(one)
    one.slot(1).write([1, 2, 3, 4, 2**64 - 1])
    one.set(2, "restarts", 7)
    one.set(WRITER, "pid", 99)
    assert other.slot(1).read() == [1, 2, 3, 4, 2**64 - 1]
    assert other.slot(0).read() == [0] * 5
    assert (other.get(2, "restarts"), other.get(1, "restarts"), other.get(WRITER, "pid")) == (7, 0, 99)


def test_totals_are_sums_over_the_workers() -> None:
    counters = Counters.create(2, 3)
    counters.slot(0).write([1, 2, 3])
    counters.slot(1).write([10, 20, 30])
    assert counters.totals() == [11, 22, 33]


def test_those_before_an_upgrade_count_on() -> None:
    old, new = Counters.create(1, 2), Counters.create(3, 2)
    old.slot(0).write([5, 6])
    new.go_on_from(old)
    new.slot(2).write([1, 1])
    old.slot(1).write([1, 0])
    assert new.totals() == [6, 7]
    new.go_on_from(old)
    assert new.totals() == [7, 7]


def test_counters_of_another_width_begin_at_0() -> None:
    old, new = Counters.create(1, 2), Counters.create(1, 3)
    old.slot(0).write([5, 6])
    new.go_on_from(old)
    assert new.totals() == [0, 0, 0]


@pytest.mark.parametrize("octets", [b"", b"x" * 31, b"x" * 4096])
def test_what_are_no_counters_is_refused(octets: bytes) -> None:
    with pytest.raises(CountersError):
        Counters(memory(octets))


def test_counters_of_another_shape_are_refused() -> None:
    counters = Counters.create(2, 5)
    size = os.fstat(counters.descriptor).st_size
    with pytest.raises(CountersError):
        Counters(memory(os.pread(counters.descriptor, size, 0) + bytes(8)))


def test_reasons_say_what_is_missing() -> None:
    counters = Counters.create(2, 1)
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
