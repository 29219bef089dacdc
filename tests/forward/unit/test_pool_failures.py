"""What clients hear when no upstream has an answer, and how soon while all of them are down."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Any

import dns.message
import pytest
from dns import edns, rcode
from forward.unit.pool_harness import ROOM, failed, pool_of
from forward.unit.routes_harness import HANG, ask_for
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import free_port
from toolbox.waiting import until

from svcdns.forward.pool import TOTAL_SECONDS, TRY_SECONDS, Unresolved
from svcdns.wire import codes
from svcdns.wire.response import Response


class Failing(Misbehaving):
    """SERVFAIL (or another rcode) with an Extended DNS Error."""

    def __init__(self, ede: int | None, code: rcode.Rcode = rcode.SERVFAIL) -> None:
        super().__init__()
        self.ede = ede
        self.code = code

    async def replies(self, wire: bytes, *, over_tcp: bool) -> AsyncIterator[bytes]:
        query = dns.message.from_wire(wire)
        self.asked.append(query)
        reply = dns.message.make_response(query)
        reply.set_rcode(self.code)
        if self.ede is not None:
            reply.use_edns(0, options=[edns.EDEOption(self.ede, "text of theirs")])  # type: ignore[arg-type]
        yield reply.to_wire()


class NoProbes(Misbehaving):
    """Answers questions, but none of ours."""

    async def replies(self, wire: bytes, *, over_tcp: bool) -> AsyncIterator[bytes]:
        if dns.message.from_wire(wire).question[0].name.to_text() != ".":
            async for reply in super().replies(wire, over_tcp=over_tcp):
                yield reply


@contextmanager
def all_of(*servers: Misbehaving) -> Any:
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()


async def failure(*servers: Misbehaving, and_gone: int = 0) -> Unresolved:
    with all_of(*servers):
        async with pool_of(*servers, *(f"127.0.0.1:{free_port()}" for _ in range(and_gone))) as pool:
            return (await failed(pool))[0]


# What clients hear


@pytest.mark.parametrize(
    ("servers", "and_gone", "text"),
    [
        ([Failing(None)], 0, "the upstream said SERVFAIL"),
        ([Failing(None), Failing(9)], 1, "2 of 3 upstreams said SERVFAIL, 1 did not answer"),
        (
            [Failing(None, rcode.REFUSED), Failing(None), Failing(None, rcode.REFUSED)],
            0,
            "2 of 3 upstreams said REFUSED, 1 SERVFAIL",
        ),
        ([], 1, "no upstream answered within 3 s"),
    ],
)
async def test_clients_hear_how_many_said_what(servers: list[Failing], and_gone: int, text: str) -> None:
    assert str(await failure(*servers, and_gone=and_gone)) == text


HOP_BY_HOP = [
    (rcode.YXRRSET, "YXRRSET"),
    (rcode.NOTAUTH, "NOTAUTH"),
    (rcode.BADVERS, "BADVERS"),
    (rcode.BADCOOKIE, "BADCOOKIE"),
    (rcode.Rcode.make(12), "RCODE12"),
    (rcode.Rcode.make(24), "RCODE24"),
    (rcode.Rcode.make(4095), "RCODE4095"),
]
"""Rcodes between us and an upstream, or none that anybody knows: they say nothing about the name."""


@pytest.mark.parametrize(("code", "text"), HOP_BY_HOP)
async def test_what_is_between_us_and_an_upstream_is_no_answer(code: rcode.Rcode, text: str) -> None:
    server = Failing(None, code)
    why = await failure(server)
    assert (why.ede, str(why)) == (codes.EDE_NO_REACHABLE_UPSTREAM, f"the upstream said {text}")
    assert server.count == 1, "it is not asked again"


@pytest.mark.parametrize("code", [code for code, _ in HOP_BY_HOP])
async def test_then_the_next_one_is_asked(code: rcode.Rcode) -> None:
    with all_of(Failing(None, code), Misbehaving()) as (bad, good):
        async with pool_of(bad, good) as pool:
            received = await pool.resolve(ask_for("www.example.org"))
            assert (received.rcode, received.counts[0]) == (codes.NOERROR, 1)
            assert (bad.count, good.count) == (1, 1)
            assert pool.upstreams[0].up, "who answers is there, whatever it says"


@pytest.mark.parametrize("code", [rcode.NXDOMAIN, rcode.YXDOMAIN])
async def test_what_is_said_about_the_name_is_an_answer(code: rcode.Rcode) -> None:
    with all_of(Failing(None, code), Misbehaving()) as (first, other):
        async with pool_of(first, other) as pool:
            assert (await pool.resolve(ask_for("www.example.org"))).rcode == code
            assert other.count == 0


async def test_a_loop_is_counted_too() -> None:
    with Failing(None) as server:
        async with pool_of(server, f"127.0.0.1:{free_port()}") as pool:
            pool.upstreams[1].looped = True
            assert str((await failed(pool))[0]) == "1 of 2 upstreams said SERVFAIL, 1 out of use"


async def test_the_secrets_of_a_url_are_for_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "svcdns.forward.pool")
    secret = f"https://127.0.0.1:{free_port()}/secret-of-an-account"
    with Failing(9) as server:
        async with pool_of(server, secret) as pool:
            why, _ = await failed(pool)
            assert "secret" not in str(why) and "127.0.0.1" not in str(why)
    (told,) = [record for record in caplog.records if record.name.endswith(".pool")]
    assert told.levelno == logging.DEBUG
    assert "www.example.org" in told.getMessage()
    assert f"{server.address}: SERVFAIL (EDE 9), {secret}: " in told.getMessage()


@pytest.mark.parametrize(
    ("servers", "and_gone", "code"),
    [
        ([Failing(6)], 0, 6),
        ([Failing(9), Failing(9)], 1, 9),
        ([Failing(9), Failing(6)], 0, 22),
        ([Failing(9), Failing(None)], 0, 22),
        ([Failing(15, rcode.REFUSED)], 0, 22),
        *(([Failing(code)], 0, 22) for code in (3, 4, 19, 29, 49152, 65535)),
    ],
)
async def test_the_upstreams_own_reason_is_passed_on_where_they_agree(
    servers: list[Failing], and_gone: int, code: int
) -> None:
    assert (await failure(*servers, and_gone=and_gone)).ede == code


# All are down


@pytest.mark.parametrize("number", [1, 3])
async def test_while_all_are_down_a_question_fails_after_one_try(number: int) -> None:
    with all_of(*(Misbehaving("silent") for _ in range(number))) as silent:
        async with pool_of(*silent, down=True) as pool:
            for count in range(3):
                why, seconds = await failed(pool, f"n{count}.example.org")
                assert str(why) == "no upstream answered within 1 s: all are known to be down"
                assert why.ede == codes.EDE_NO_REACHABLE_UPSTREAM
                assert seconds < TRY_SECONDS + ROOM
            assert sum(health.asked for health in pool.upstreams) == 3


@pytest.mark.alone
async def test_refused_connections_wait_for_the_upstream_to_come_back() -> None:
    """One that restarts on this host refuses for a moment: that moment is waited for."""
    with Misbehaving() as server:
        server.stop()
        async with pool_of(server, interval=0.1, down=True) as pool:
            under_way = asyncio.ensure_future(pool.resolve(ask_for("www.example.org")))
            await asyncio.sleep(0.1)
            assert not under_way.done()
            await asyncio.to_thread(server.start)
            begun = time.monotonic()
            assert isinstance(await under_way, Response)
            assert time.monotonic() - begun < TRY_SECONDS + ROOM


async def test_whichever_comes_back_is_found_within_about_a_second() -> None:
    with all_of(*(Misbehaving("silent") for _ in range(3))) as servers:
        async with pool_of(*servers, down=True) as pool:
            await failed(pool)
            servers[1].behaviour = "answers"
            begun = time.monotonic()
            received = await pool.resolve(ask_for("www.example.org"))
            assert received.rcode == codes.NOERROR
            assert time.monotonic() - begun < TRY_SECONDS + ROOM
            assert [health.up for health in pool.upstreams] == [False, True, False]


async def test_one_that_answers_questions_but_no_probes_comes_back() -> None:
    with Misbehaving("silent") as silent, NoProbes() as odd:
        async with pool_of(silent, odd, down=True) as pool:
            for count in range(2):
                try:
                    await pool.resolve(ask_for(f"n{count}.example.org"))
                except Unresolved:
                    continue
            assert [health.up for health in pool.upstreams] == [False, True]


async def test_one_that_comes_back_in_mid_question_has_the_time_of_any_other() -> None:
    """A second, silent again, and a second more: as if it had been up from the beginning."""
    with Misbehaving("silent") as server:
        async with pool_of(server, interval=HANG, down=True) as pool:
            under_way = asyncio.ensure_future(failed(pool))
            await until(lambda: server.count, "the question")
            pool.upstreams[0]._lives(time.monotonic())
            why, seconds = await under_way
            assert str(why) == "no upstream answered within 3 s"
            assert seconds < TOTAL_SECONDS + ROOM
