"""Turns: what is done between two looks of the event loop at its sockets is one whole step, or its like."""

import asyncio
from collections import Counter

import pytest
from toolbox.waiting import GUARD_SECONDS

from svcdns.system.turns import WHOLE, Turns


class Loop:
    """Counts the turns of the running loop."""

    def __init__(self) -> None:
        self.turn = 0
        self._tick()

    def _tick(self) -> None:
        self.turn += 1
        self._handle = asyncio.get_running_loop().call_soon(self._tick)

    def stop(self) -> None:
        self._handle.cancel()


@pytest.mark.parametrize("share", [WHOLE, WHOLE // 4, 1])
async def test_a_turn_of_the_loop_has_room_for_one_whole_step_or_some_small_ones(share: int) -> None:
    turns, loop = Turns(), Loop()
    done: Counter[int] = Counter()

    async def work() -> None:
        for _ in range(20):
            await turns.next(share)
            done[loop.turn] += 1

    await asyncio.gather(*(work() for _ in range(50)))
    loop.stop()
    assert sum(done.values()) == 1000
    assert max(done.values()) <= WHOLE // share
    assert len(done) <= 1000 * share // WHOLE + 45, "no turn goes by unused while somebody waits"


async def test_all_come_in_the_order_in_which_they_asked() -> None:
    turns = Turns()
    order: list[str] = []

    async def work(name: str, steps: int) -> None:
        for _ in range(steps):
            await turns.next()
            order.append(name)

    await asyncio.gather(work("a", 3), work("b", 1), work("c", 3))
    assert order == ["a", "a", "b", "c", "a", "c", "c"]


async def test_who_leaves_takes_no_turn() -> None:
    turns = Turns()
    await turns.next()
    others = [asyncio.ensure_future(turns.next()) for _ in range(3)]
    leaving, staying = (asyncio.ensure_future(turns.next()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    async with asyncio.timeout(GUARD_SECONDS):
        await staying
        await asyncio.gather(*others)
        await turns.next()
    assert leaving.cancelled()


async def test_who_is_alone_waits_for_nobody() -> None:
    step = Turns().next()
    with pytest.raises(StopIteration):
        step.send(None)
