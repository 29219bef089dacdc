"""Work beside a block."""

import asyncio

import pytest

from svcdns.system.background import background


async def test_work_ends_with_its_block() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        try:
            await asyncio.sleep(60)
        finally:
            steps.append("ended")

    async with background(work()):
        await asyncio.sleep(0)
        steps.append("block")
    assert steps == ["begun", "block", "ended"]


async def test_what_the_work_raises_comes_out_at_the_end_of_the_block() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with background(work()):
            await asyncio.sleep(0)
