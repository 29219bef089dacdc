"""The relay's loop: what is asked of it from other threads, timers, and handlers that go wrong."""

import os
import threading
from collections.abc import Iterator

import pytest
from toolbox.waiting import wait_for

from svcdns.proxy.relay.loop import READABLE, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    made.start()
    yield made
    made.stop()


def test_calls_are_done_in_its_own_thread_and_answered(loop: Loop) -> None:
    assert loop.call(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda: 1 // 0)
    assert loop.call(lambda: 1) == 1


def test_after_its_end_calls_are_refused_and_none_is_left_waiting() -> None:
    made = Loop()
    made.start()
    outcomes: list[object] = []

    def ask() -> None:
        try:
            while True:
                outcomes.append(made.call(lambda: 1))
        except RuntimeError as refused:
            outcomes.append(refused)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    wait_for(lambda: len(outcomes) > 50, "calls to be answered")
    made.stop()
    made.stop()
    for thread in asking:
        thread.join(30)
    assert not any(thread.is_alive() for thread in asking)
    assert sum(isinstance(one, RuntimeError) for one in outcomes) == 4


def test_a_handler_that_raises_is_logged_and_the_others_go_on(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    ends = [os.pipe() for _ in range(2)]
    heard: list[bytes] = []

    def wrong(events: int) -> None:
        os.read(ends[0][0], 1)
        raise ValueError("on purpose")

    loop.call(lambda: loop.watch(ends[0][0], READABLE, wrong))
    loop.call(lambda: loop.watch(ends[1][0], READABLE, lambda events: heard.append(os.read(ends[1][0], 1))))
    loop.call(lambda: loop.again(lambda: 1 // 0))
    loop.call(lambda: loop.later(0, lambda: 1 // 0))
    os.write(ends[0][1], b"x")
    wait_for(lambda: "on purpose" in caplog.text, "the error to be logged")
    os.write(ends[1][1], b"x")
    wait_for(lambda: heard, "the other handler")
    assert caplog.text.count("ZeroDivisionError") == 2
    loop.call(lambda: [loop.forget(end) for end, _ in ends])
    for end in (end for both in ends for end in both):
        os.close(end)


def test_timers_come_in_order_and_once(loop: Loop) -> None:
    seen: list[int] = []
    for number, seconds in ((3, 0.06), (1, 0.0), (2, 0.03)):
        loop.call(lambda number=number, seconds=seconds: loop.later(seconds, lambda: seen.append(number)))
    wait_for(lambda: len(seen) >= 3, "all timers")
    loop.call(lambda: None)
    assert seen == [1, 2, 3]


def test_a_paused_descriptor_is_heard_again_when_it_is_resumed(loop: Loop) -> None:
    reader, writer = os.pipe()
    heard: list[bytes] = []
    loop.call(lambda: loop.watch(reader, READABLE, lambda events: heard.append(os.read(reader, 1))))
    loop.call(lambda: loop.pause(reader))
    os.write(writer, b"x")
    for _ in range(20):
        loop.call(lambda: None)
    assert not heard
    loop.call(lambda: loop.resume(reader))
    wait_for(lambda: heard == [b"x"], "the octet")
    loop.call(lambda: loop.forget(reader))
    os.close(reader)
    os.close(writer)


def test_a_loop_that_breaks_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Loop()
    monkeypatch.setattr(made, "_turn", lambda: os.close(-1))
    monkeypatch.setattr(threading, "excepthook", lambda what: None)
    made.start()
    with pytest.raises(RuntimeError):
        made.call(lambda: 1)
    made.stop()
