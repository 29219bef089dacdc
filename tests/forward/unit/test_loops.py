"""Forwarding loops: found, reported, and over when they are."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from forward.unit.routes_harness import HANG, answer, ask_for, running
from hypothesis import given
from hypothesis import strategies as st
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import HOST, Knot, Unbound, free_port
from toolbox.waiting import until

from svcdns.config.sections import ForwardConfig, ForwardZone
from svcdns.forward.loops import LoopWatch, probe
from svcdns.forward.pool import Unresolved
from svcdns.forward.routes import Routes
from svcdns.wire import codes
from svcdns.wire.key import key_of, key_of_wire
from svcdns.wire.name import MAX_NAME_OCTETS
from svcdns.wire.query import Query


class Front:
    """One of our listeners: refuses loop probes that come in, forwards all other questions."""

    def __init__(self) -> None:
        self.port = free_port()
        self.probes = 0
        self.routes: Routes | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self, routes: Routes) -> AsyncIterator[None]:
        self.routes = routes
        front = self

        class Datagrams(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.DatagramTransport, transport)

            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                task = asyncio.ensure_future(front.reply(data, addr, self.transport))
                front._tasks.add(task)
                task.add_done_callback(front._tasks.discard)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(HOST, self.port))
        try:
            yield
        finally:
            transport.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reply(self, data: bytes, addr: tuple[str, int], to: asyncio.DatagramTransport) -> None:
        assert self.routes is not None
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query, recursion_available=True)
        asked = query.question[0]
        key = key_of_wire(asked.name.to_wire())
        pool = self.routes.pool(key)
        if asked.rdtype == codes.HINFO and self.routes.is_probe(key):
            self.probes += 1
            reply.set_rcode(dns.rcode.REFUSED)
        elif pool is None:
            reply.set_rcode(dns.rcode.REFUSED)
        else:
            try:
                received = await pool.resolve(Query(key, int(asked.rdtype), name=asked.name.to_wire()))
                to.sendto(data[:2] + received.wire[2:], addr)
                return
            except Unresolved:
                reply.set_rcode(dns.rcode.SERVFAIL)
        to.sendto(reply.to_wire(), addr)


@pytest.fixture
def front(need: Callable[[str], str]) -> Front:
    need("unbound")
    return Front()


class ForwardingUnbound(Unbound):
    """unbound that has no zone of its own: it asks another server for everything."""

    def __init__(self, port: int) -> None:
        self.there = port
        super().__init__("", tls=False, https=False)

    def _configure(self) -> list[str]:
        arguments = super()._configure()
        file = self.folder / "unbound.conf"
        text = file.read_text().partition("auth-zone:")[0]
        file.write_text(f'{text}forward-zone:\n  name: "."\n  forward-addr: {HOST}@{self.there}\n')
        return arguments

    def forward_to(self, port: int) -> None:
        """Be started again, on the same port, as one that asks there."""
        self.stop()
        file = self.folder / "unbound.conf"
        file.write_text(file.read_text().replace(f"@{self.there}\n", f"@{port}\n"))
        self.there = port
        self.start()


def quick() -> LoopWatch:
    return LoopWatch(interval=10 * HANG, again=0.2, comes=0.5)


@contextlib.asynccontextmanager
async def watched(front: Front, *upstreams: Unbound | Knot) -> AsyncIterator[Routes]:
    """Forward from this listener to these upstreams, and look for loops."""
    config = ForwardConfig(tuple(one.address for one in upstreams))
    async with running(Routes(config, [], loops=quick())) as routes, front.listening(routes):
        yield routes


def looped(routes: Routes) -> dict[str, bool]:
    return {one["upstream"]: one["looped"] for one in routes.status()}


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize("hops", [1, 2])
async def test_an_upstream_that_forwards_back_is_out_of_use(
    hops: int, front: Front, knot: Knot, caplog: pytest.LogCaptureFixture
) -> None:

    with contextlib.ExitStack() as servers:
        port = front.port
        for _ in range(hops):
            hop = servers.enter_context(ForwardingUnbound(port))
            port = hop.port
        # The looped one comes first: each question would be lost in it.
        async with watched(front, hop, knot) as routes:
            await until(lambda: looped(routes)[hop.address], "the loop to be found")
            asked = routes.status()[0]["asked"]
            begun = time.monotonic()
            assert await answer(routes, "web.example.org") == "192.0.2.2"
            assert time.monotonic() - begun < 1.0, "without a try at the looped one"
            assert routes.status()[0]["asked"] == asked
            pool = routes.pool(b"")
            assert pool is not None
            assert not pool.is_down
            probes = front.probes
            await until(lambda: front.probes > probes + 1, "more probes")
            assert looped(routes) == {hop.address: True, knot.address: False}
    (told,) = errors(caplog)
    assert f"upstream {hop.address} " in told
    assert "loop" in told
    assert "take it out of [forward] upstreams" in told


async def test_a_loop_with_no_other_upstream_says_so(front: Front) -> None:
    with ForwardingUnbound(front.port) as hop:
        async with watched(front, hop) as routes:
            await until(lambda: looped(routes)[hop.address], "the loop to be found")
            pool = routes.pool(b"")
            assert pool is not None
            assert pool.is_down, "stale answers may be given at once"
            with pytest.raises(Unresolved, match="loop"):
                await pool.resolve(ask_for("web.example.org"))


async def test_it_is_back_in_use_when_the_loop_is_gone(
    front: Front, knot: Knot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "svcdns.forward.loops")
    front = Front()
    with ForwardingUnbound(front.port) as hop:
        async with watched(front, hop) as routes:
            await until(lambda: looped(routes)[hop.address], "the loop to be found")
            await asyncio.to_thread(hop.forward_to, knot.port)
            await until(lambda: not looped(routes)[hop.address], "the upstream to be used again")
            assert await answer(routes, "web.example.org") == "192.0.2.2"
    assert f"upstream {hop.address} is in use again" in caplog.text


async def test_a_loop_that_begins_later_is_found_when_the_upstream_comes_back(
    front: Front, knot: Knot
) -> None:
    with ForwardingUnbound(knot.port) as hop:
        async with watched(front, hop, knot) as routes:
            assert await answer(routes, "web.example.org") == "192.0.2.2"
            await asyncio.to_thread(hop.stop)
            await answer(routes, "web.example.org")
            await answer(routes, "web.example.org")
            assert not routes.status()[0]["up"]
            await asyncio.to_thread(hop.forward_to, front.port)
            await until(lambda: looped(routes)[hop.address], "the loop to be found")


async def test_a_loop_of_one_zone(front: Front, knot: Knot, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "svcdns.forward.loops")
    front = Front()
    with ForwardingUnbound(front.port) as hop:
        zone = ForwardZone("corp.example", (hop.address,))
        config = ForwardConfig((knot.address,), zone=(zone,))
        async with running(Routes(config, [], loops=quick())) as routes, front.listening(routes):
            await until(lambda: looped(routes)[hop.address], "the loop to be found")
            assert not looped(routes)[knot.address]
            assert await answer(routes, "web.example.org") == "192.0.2.2"
            await asyncio.to_thread(hop.forward_to, knot.port)
            await until(lambda: not looped(routes)[hop.address], "the upstream to be used again")
    (found, gone) = (record.getMessage() for record in caplog.records)
    assert found.startswith(f"upstream {hop.address} for corp.example. sends our own questions back")
    assert gone.startswith(f"upstream {hop.address} for corp.example. is in use again")


async def test_probes_of_honest_upstreams_change_nothing() -> None:
    """Whatever it answers, and if it answers nothing: only a probe that comes in makes a loop."""
    with Misbehaving("answers") as good, Misbehaving("silent") as silent, Misbehaving("refused") as refusing:
        watch = LoopWatch(interval=0.1, again=0.1, comes=0.2)
        config = ForwardConfig((good.address, silent.address, refusing.address))
        async with running(Routes(config, [], loops=watch)) as routes:
            for server in (good, silent, refusing):
                await until(lambda server=server: server.count >= 3, "three probes")
            assert not any(looped(routes).values())
            questions = [one.question[0] for one in good.asked]
            assert len({one.name for one in questions}) == len(questions), "no name twice"
            assert all(len(one.name) == 3 and one.rdtype == codes.HINFO for one in questions)
            assert not routes.is_probe(key_of("0123456789abcdef.0123456789abcdef"))


async def test_a_probe_that_comes_in_late_still_tells() -> None:
    with Misbehaving("answers") as server:
        watch = LoopWatch(interval=HANG, again=0.3, comes=0.1)
        async with running(Routes(ForwardConfig((server.address,)), [], loops=watch)) as routes:
            await until(lambda: server.count, "the probe")
            sent = key_of_wire(server.asked[0].question[0].name.to_wire())
            await asyncio.sleep(0.3)
            assert routes.is_probe(sent)
            assert looped(routes) == {server.address: True}
            await until(lambda: not looped(routes)[server.address], "a probe that doesn't come in")
            assert not routes.is_probe(sent), "an old probe is no news"


@given(st.integers(1, 255))
def test_a_probe_fits_below_any_zone(octets: int) -> None:
    wire = b""
    while len(wire) < octets - 1:
        size = min(63, octets - len(wire) - 2)
        if size < 1:
            break
        wire += bytes((size,)) + b"a" * size
    made = probe(key_of_wire(wire + b"\0"))
    if made is None:
        assert len(wire) > MAX_NAME_OCTETS - 20
    else:
        assert len(made.name) <= MAX_NAME_OCTETS
        assert made.key.startswith(key_of_wire(wire + b"\0"))
        assert len(made.key) > len(wire)
