"""The first upstream is asked without a task, and `resolve` goes on from whatever came of that."""

import asyncio
from collections.abc import Callable

import pytest
from forward.unit.pool_harness import pool_of
from forward.unit.routes_harness import ask_for
from forward.unit.transports_harness import data_of
from toolbox.misbehaving import Misbehaving
from toolbox.waiting import until

from svcdns.forward.pool import Attempt, Pool, Unresolved
from svcdns.wire.response import Response

WWW = ask_for("www.example.org")


async def begun(pool: Pool) -> Response | Attempt:
    """Return the answer, or how far the question has come."""
    came: list[Response | Attempt] = []
    pool.begin(WWW, came.append, came.append)
    await until(lambda: came)
    return came[0]


async def test_an_answer_takes_no_task() -> None:
    with Misbehaving() as server:
        async with pool_of(server) as pool:
            answers: list[Response] = []
            pool.begin(WWW, answers.append, lambda _: pytest.fail("it answers"))
            assert len(asyncio.all_tasks()) == 1
            await until(lambda: answers)
            (health,) = pool.upstreams
            assert (health.asked, health.answered, health.failed) == (1, 1, 0) and health.seconds > 0
    assert data_of(answers[0]) == ["192.0.2.7"]


@pytest.mark.parametrize(
    ("behaviour", "counts"),
    [
        ("servfail", (1, 1, 0, 1)),
        ("refused", (1, 1, 0, 0)),
        ("truncated_only", (1, 1, 0, 0)),
        ("silent", (1, 0, 1, 0)),
        ("garbage", (1, 0, 1, 0)),
    ],
)
async def test_the_next_upstream_is_asked_and_the_first_not_again(
    behaviour: str, counts: tuple[int, int, int, int]
) -> None:
    with Misbehaving(behaviour) as first, Misbehaving() as second:
        async with pool_of(first, second) as pool:
            attempt = await begun(pool)
            assert isinstance(attempt, Attempt)
            assert not second.count
            assert data_of(await pool.resolve(WWW, attempt)) == ["192.0.2.7"]
            one, _ = pool.upstreams
            assert (one.asked, one.answered, one.failed, one.servfail) == counts
        assert second.count == 1


@pytest.mark.parametrize("kind", ["tcp", "nobody"])
async def test_where_it_takes_a_task_nothing_is_done_before(kind: str) -> None:
    with Misbehaving() as server:
        async with pool_of(*([f"tcp://{server.address}"] if kind == "tcp" else [])) as pool:
            gone_on: list[Attempt] = []
            pool.begin(WWW, lambda _: pytest.fail("not without a task"), gone_on.append)
            (attempt,) = gone_on
            assert not server.count
            if kind == "tcp":
                assert data_of(await pool.resolve(WWW, attempt)) == ["192.0.2.7"]
            else:
                with pytest.raises(Unresolved, match="no upstreams"):
                    await pool.resolve(WWW, attempt)


@pytest.mark.parametrize("transport", [str, "tcp://{}".format])
async def test_each_question_moves_the_turn_by_one(transport: Callable[[str], str]) -> None:
    with Misbehaving() as first, Misbehaving() as second, Misbehaving() as third:
        servers = [first, second, third]
        texts = [transport(server.address) for server in servers]
        async with pool_of(*texts, policy="round_robin") as pool:
            for number in range(6):
                came = await begun(pool)
                if isinstance(came, Attempt):
                    await pool.resolve(WWW, came)
                assert [server.count for server in servers] == [(number + 3 - at) // 3 for at in range(3)]
