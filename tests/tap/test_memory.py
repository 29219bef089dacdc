"""The memory of the tap: who looks, what is published, and what an upgrade takes over."""

import os
import threading

import pytest

from svcdns.tap.memory import NAME, Tap, TapError


def test_a_tap_that_is_not_used_takes_no_memory() -> None:
    tap = Tap.create(8, 16 << 20)
    assert os.fstat(tap.descriptor).st_blocks * 512 < 64 << 10
    assert NAME in os.readlink(f"/proc/self/fd/{tap.descriptor}")


def test_another_process_sees_who_looks_and_the_page() -> None:
    tap = Tap.create(1, 4096)
    other = Tap(os.dup(tap.descriptor))
    assert (other.is_looked_at, other.published()) == (False, b"")
    tap.look()
    assert tap.publish(b"page")
    assert (other.is_looked_at, other.published()) == (True, b"page")
    assert tap.publish(b"p")
    assert other.published() == b"p"
    assert not tap.publish(bytes(1 << 20)), "more than there is room for"


def test_a_page_that_changes_is_read_whole() -> None:
    tap = Tap.create(1, 4096)
    tap.publish(b"0" * 5000)
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            tap.publish(str(number % 10).encode() * (4000 + number % 2000))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        assert all(len(set(tap.published())) <= 1 for _ in range(300))
    finally:
        stop.set()
        thread.join()


def test_what_an_observer_left_half_written_does_not_hang_who_reads() -> None:
    tap = Tap.create(1, 4096)
    tap.publish(b"page")
    tap._page[0] |= 1  # it died amid
    assert tap.published() == b""
    tap.publish(b"next")
    assert tap.published() == b"next"


def test_counting_goes_on_after_an_upgrade() -> None:
    before, after = Tap.create(1, 4096), Tap.create(3, 8192)
    before.add("lines", 5)
    before.look()
    after.go_on_from(before)
    assert (after.get("lines"), after.is_looked_at) == (5, True)


@pytest.mark.parametrize("octets", [0, 100, 1 << 20])
def test_what_is_no_tap_is_refused(octets: int) -> None:
    descriptor = os.memfd_create("other")
    os.ftruncate(descriptor, octets)
    with pytest.raises(TapError):
        Tap(descriptor)
