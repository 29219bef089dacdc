"""Pools: who is asked, in which order, how long that takes, and how upstreams go down and come back."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import dns.message
import pytest
from forward.unit.pool_harness import ROOM, failed, pool_of
from forward.unit.routes_harness import HANG, ask_for
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import Knot, Unbound
from toolbox.waiting import until, wait_for

from svcdns.config.sections import POLICIES
from svcdns.config.upstream_spec import parse
from svcdns.forward.health import Health
from svcdns.forward.pool import TOTAL_SECONDS, TRY_SECONDS, Pool, Unresolved
from svcdns.forward.upstreams.factory import make
from svcdns.wire import codes
from svcdns.wire.key import key_of
from svcdns.wire.response import Response


def addresses(received: Response) -> list[str]:
    message = dns.message.from_wire(received.wire)
    return sorted(rdata.to_text() for rrset in message.answer for rdata in rrset)


async def timed(work: Awaitable[Response]) -> tuple[Response | Unresolved, float]:
    """Return what came of it, and after how many seconds."""
    begun = time.monotonic()
    try:
        result: Response | Unresolved = await work
    except Unresolved as failed:
        result = failed
    return result, time.monotonic() - begun


# Policies


@pytest.mark.parametrize("policy", POLICIES)
async def test_policy(policy: str, need: Callable[[str], str]) -> None:
    need("unbound")
    with (
        Unbound("", tls=False, https=False) as one,
        Unbound("", tls=False, https=False) as other,
    ):
        async with pool_of(one, other, policy=policy) as pool:
            for number in range(40):
                received = await pool.resolve(ask_for(f"n{number}.example.org"))
                assert received.rcode == codes.NXDOMAIN
        wait_for(lambda: one.queries() + other.queries() == 40, "all queries to be logged")
        if policy == "sequential":
            assert one.queries() == 40
        elif policy == "round_robin":
            assert one.queries() == 20
        else:
            assert 5 <= one.queries() <= 35


# Failover


@pytest.mark.parametrize("behaviour", ["servfail", "refused", "formerr_on_edns", "notimp_on_edns"])
async def test_the_next_one_is_asked_after_a_refusal(behaviour: str, unbound: Unbound) -> None:
    with Misbehaving(behaviour) as bad:
        async with pool_of(bad, unbound) as pool:
            received, seconds = await timed(pool.resolve(ask_for("web.example.org")))
            assert isinstance(received, Response)
            if behaviour in ("servfail", "refused"):
                assert addresses(received) == ["192.0.2.1"]
                assert bad.count == 1
            else:  # asked again without EDNS, it knows
                assert addresses(received) == ["192.0.2.7"]
            assert seconds < TRY_SECONDS
            assert pool.upstreams[0].up, "who answers is there, whatever it says"


@pytest.mark.parametrize("behaviour", ["silent", "garbage", "wrong_id", "wrong_question"])
async def test_one_without_a_reply_costs_one_try_and_later_nothing(behaviour: str, unbound: Unbound) -> None:
    with Misbehaving(behaviour) as bad:
        async with pool_of(bad, unbound, interval=HANG) as pool:
            for number in range(3):
                received, seconds = await timed(pool.resolve(ask_for("web.example.org")))
                assert isinstance(received, Response)
                assert addresses(received) == ["192.0.2.1"]
                if number < 2:
                    assert TRY_SECONDS - 0.1 <= seconds < TRY_SECONDS + ROOM
                else:
                    assert seconds < ROOM, "by now it is known to be down"
            assert [health.up for health in pool.upstreams] == [False, True]
            assert not pool.is_down
            assert pool.upstreams[0].failed == 2
            assert (pool.upstreams[0].garbage > 0) == (behaviour != "silent")


async def test_two_dead_and_one_alive_answer_within_two_tries(unbound: Unbound) -> None:
    with Misbehaving("silent") as one, Misbehaving("silent") as other:
        async with pool_of(one, other, unbound) as pool:
            received, seconds = await timed(pool.resolve(ask_for("web.example.org")))
            assert isinstance(received, Response)
            assert addresses(received) == ["192.0.2.1"]
            assert seconds < 2 * TRY_SECONDS + ROOM


@pytest.mark.parametrize("number", [1, 5])
async def test_all_dead_fail_in_time(number: int) -> None:
    dead = [Misbehaving("silent") for _ in range(number)]
    for one in dead:
        one.start()
    try:
        async with pool_of(*dead) as pool:
            why, seconds = await failed(pool)
            assert why.ede == codes.EDE_NO_REACHABLE_UPSTREAM
            assert str(why) == "no upstream answered within 3 s"
            assert seconds < TOTAL_SECONDS + 0.5
            assert sum(health.asked for health in pool.upstreams) == 3
    finally:
        for one in dead:
            one.stop()


async def test_connections_that_lead_nowhere_fail_in_time() -> None:
    """TCP that dribbles, TCP that closes, and TLS to one that never speaks it."""
    with (
        Misbehaving("dribble") as dribbles,
        Misbehaving("truncated_only") as closes,
        Misbehaving("silent") as silent,
    ):
        texts = (
            f"tcp://{dribbles.address}",
            f"tcp://{closes.address}",
            f"tls://{silent.address}",
            f"tcp://{silent.address}",
        )
        healths = [Health(make(parse(text))) for text in texts]
        _, seconds = await failed(Pool(".", healths))
        assert seconds < TOTAL_SECONDS + 0.5
        for health in healths:
            await health.close()


async def test_nothing_listens_anywhere() -> None:
    """Refused connections come back at once: it is tried again, but not without a pause."""
    with Misbehaving("answers") as gone:
        gone.stop()
        async with pool_of(gone) as pool:
            _, seconds = await failed(pool)
            assert seconds < TOTAL_SECONDS + 0.5
            assert pool.upstreams[0].asked <= 3
            assert pool.is_down


async def test_a_lost_packet_costs_a_try_and_not_the_answer() -> None:
    with Misbehaving("silent") as lossy:
        async with pool_of(lossy) as pool:
            under_way = asyncio.ensure_future(timed(pool.resolve(ask_for("web.example.org"))))
            await until(lambda: lossy.count == 1, "the packet that is lost")
            lossy.behaviour = "answers"
            received, seconds = await under_way
            assert isinstance(received, Response)
            assert addresses(received) == ["192.0.2.7"]
            assert seconds < TRY_SECONDS + ROOM
            assert pool.upstreams[0].up


async def test_all_refuse_and_each_is_asked_once() -> None:
    with Misbehaving("servfail") as one, Misbehaving("refused") as other:
        async with pool_of(one, other) as pool:
            why, seconds = await failed(pool)
            assert why.ede == codes.EDE_NO_REACHABLE_UPSTREAM
            assert str(why) == "1 of 2 upstreams said SERVFAIL, 1 REFUSED"
            assert seconds < TRY_SECONDS
            assert (one.count, other.count) == (1, 1)
            assert not pool.is_down
            assert [health.servfail for health in pool.upstreams] == [1, 0]


async def test_one_refuses_and_one_is_silent() -> None:
    with Misbehaving("servfail") as one, Misbehaving("silent") as other:
        async with pool_of(one, other) as pool:
            why, seconds = await failed(pool)
            assert str(why) == "1 of 2 upstreams said SERVFAIL, 1 did not answer"
            assert seconds < TOTAL_SECONDS + 0.5
            assert one.count == 1


async def test_what_many_said_is_short() -> None:
    with Misbehaving("servfail") as bad:
        async with pool_of(*[bad] * 16) as pool:
            why, _ = await failed(pool)
            assert len(str(why)) <= 100
            assert bad.address not in str(why), "clients need not know whom we ask"


async def test_no_upstreams_at_all() -> None:
    async with pool_of() as pool:
        assert pool.is_down
        why, seconds = await failed(pool)
        assert why.ede == codes.EDE_NO_REACHABLE_UPSTREAM
        assert str(why).startswith("no upstreams: ")
        assert seconds < ROOM


async def test_an_upstream_that_comes_into_the_pool_meanwhile_is_asked(unbound: Unbound) -> None:
    with Misbehaving("silent") as dead:
        async with pool_of(dead) as pool, pool_of(unbound) as other:
            under_way = asyncio.ensure_future(timed(pool.resolve(ask_for("web.example.org"))))
            await until(lambda: dead.count == 1, "the first try")
            before, pool.upstreams = pool.upstreams, other.upstreams
            received, seconds = await under_way
            pool.upstreams = before
            assert isinstance(received, Response)
            assert seconds < TRY_SECONDS + ROOM


# Down and back


async def test_a_killed_upstream_comes_back_without_a_restart(
    knot: Knot, need: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    need("unbound")
    caplog.set_level(logging.INFO, "svcdns.forward.health")
    with Unbound("web.example.org. 300 IN A 192.0.2.1", tls=False, https=False) as killed:
        async with pool_of(killed, knot) as pool:
            first = pool.upstreams[0]
            for expected in ("192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2"):
                if expected == "192.0.2.2" and first.up:
                    killed.stop()
                assert addresses(await pool.resolve(ask_for("web.example.org"))) == [expected]
            assert not first.up
            asked = first.asked
            assert addresses(await pool.resolve(ask_for("web.example.org"))) == ["192.0.2.2"]
            assert first.asked == asked, "one that is down is left alone while others answer"
            await until(lambda: "is down" in caplog.text, "the line that says so")
            await asyncio.to_thread(killed.start)
            await until(lambda: first.up, "the upstream to be back")
            assert addresses(await pool.resolve(ask_for("web.example.org"))) == ["192.0.2.1"]
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in told] == ["WARNING", "INFO"]
    assert all(killed.address in text for _, text in told)
    assert "answers again" in told[1][1]


async def test_probes_are_a_second_apart() -> None:
    with Misbehaving("silent") as silent:
        async with pool_of(silent, interval=0.5) as pool:
            await timed(pool.resolve(ask_for("web.example.org")))
            assert pool.is_down
            probes = lambda: sum(query.question[0].name.to_text() == "." for query in silent.asked)  # noqa: E731
            await until(lambda: probes() >= 3, "three probes")
            (question,) = silent.asked[-1].question
            assert (question.name.to_text(), question.rdtype) == (".", codes.NS)
            silent.behaviour = "servfail"
            await until(lambda: not pool.is_down, "any reply to do")
            assert probes() < 12
            await until(lambda: len(asyncio.all_tasks()) == 1, "the end of probing")


async def test_upstreams_of_a_zone_are_probed_for_its_soa() -> None:
    with Misbehaving("silent") as silent:
        health = Health(make(parse(silent.address)), key_of("corp.example"))
        await timed(Pool("corp.example", [health]).resolve(ask_for("web.corp.example")))
        await until(lambda: silent.asked[-1].question[0].rdtype == codes.SOA, "a probe")
        assert silent.asked[-1].question[0].name.to_text() == "corp.example."
        await health.close()


async def test_all_are_down_but_still_asked() -> None:
    with Misbehaving("silent") as silent:
        async with pool_of(silent, interval=HANG) as pool:
            await timed(pool.resolve(ask_for("web.example.org")))
            probe = lambda: silent.asked[-1].question[0].rdtype == codes.NS  # noqa: E731
            await until(probe, "the one probe for a long time")
            assert pool.is_down
            silent.behaviour = "answers"
            received, seconds = await timed(pool.resolve(ask_for("web.example.org")))
            assert isinstance(received, Response)
            assert seconds < TRY_SECONDS + ROOM
            assert not pool.is_down


class SilentForSome(Misbehaving):
    """Answers, but never for names that begin with `slow`."""

    async def replies(self, wire: bytes, *, over_tcp: bool) -> AsyncIterator[bytes]:
        async for reply in super().replies(wire, over_tcp=over_tcp):
            if b"\4slow" not in wire:
                yield reply


async def test_slow_names_do_not_take_an_upstream_down(caplog: pytest.LogCaptureFixture) -> None:
    came_back: list[Health] = []
    with SilentForSome("answers") as server:
        health = Health(make(parse(server.address)), came_back=came_back.append)
        pool = Pool(".", [health])
        slow = [asyncio.ensure_future(timed(pool.resolve(ask_for(f"slow.n{n}")))) for n in range(20)]
        while not all(one.done() for one in slow):
            assert isinstance(await pool.resolve(ask_for("web.example.org")), Response)
            await asyncio.sleep(0.01)
        assert health.failed >= 60, "and perhaps one of the others, where nobody had time for it"
        assert not came_back, "it was never down"
        # With nothing else to go by, it is asked whether it is there, and says so.
        await asyncio.gather(*(timed(pool.resolve(ask_for(f"slow.m{n}"))) for n in range(20)))
        await until(lambda: not pool.is_down, "the probe")
        assert came_back
        await health.close()
    assert not caplog.records, "nothing to tell of: it was there all the time"


async def test_servfail_for_names_does_not_take_an_upstream_down() -> None:
    with Misbehaving("servfail") as server:
        async with pool_of(server) as pool:
            for number in range(20):
                await failed(pool, f"n{number}.example.org")
            (health,) = pool.upstreams
            assert health.up
            assert (health.asked, health.answered, health.failed, health.servfail) == (20, 20, 0, 20)
            assert 0 < health.seconds < ROOM


async def test_many_at_once_while_one_upstream_is_dead(unbound: Unbound) -> None:
    with Misbehaving("silent") as dead:
        async with pool_of(dead, unbound) as pool:
            work = (timed(pool.resolve(ask_for("web.example.org"))) for _ in range(300))
            for received, seconds in await asyncio.gather(*work):
                assert isinstance(received, Response)
                assert seconds < 2 * TRY_SECONDS + 2 * ROOM


async def test_closing_in_mid_flight_ends_every_question() -> None:
    with Misbehaving("silent") as dead:
        async with pool_of(dead, dead) as pool:
            work = [asyncio.ensure_future(timed(pool.resolve(ask_for(f"n{n}")))) for n in range(10)]
            await until(lambda: dead.count == 10, "the first tries")
        for failed, _ in await asyncio.gather(*work):
            assert isinstance(failed, Unresolved)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, "no probe goes on after close"
