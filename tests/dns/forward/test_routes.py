"""Routes: which pool a name goes to, files of nameservers that change, and forwarding loops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstreams import HOST, Knot, Misbehaving, Unbound, free_port

from svcdns.config import Endpoint, ForwardConfig, ForwardZone
from svcdns.dns import codes
from svcdns.dns.forward.ask import Ask, Received, Unresolved
from svcdns.dns.forward.loops import LoopWatch, probe
from svcdns.dns.forward.routes import Routes
from svcdns.names.key import MAX_NAME_OCTETS, key_of, key_of_wire, wire_of

HANG = 30.0
LOOK = 0.02
"""Seconds between looks at files: what takes a second takes less here."""


def ask_for(name: str, rrtype: int = codes.A) -> Ask:
    return Ask(key_of(name), rrtype, name=wire_of(name))


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(routes: Routes) -> AsyncIterator[Routes]:
    await routes.start()
    try:
        yield routes
    finally:
        await routes.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing goes on after stop"


def upstreams(routes: Routes, zone: str = ".") -> list[str]:
    return [one["upstream"] for one in routes.status() if one["zone"] == zone]


async def answer(routes: Routes, name: str) -> str:
    """Return the one address that a name has."""
    pool = routes.pool(key_of(name))
    assert pool is not None
    received = await pool.resolve(ask_for(name))
    (rrset,) = dns.message.from_wire(received.wire).answer
    return str(rrset[0].to_text())


@pytest.fixture(scope="module")
def unbound(need: Callable[[str], str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound("web.example.org. 300 IN A 192.0.2.1", tls=False, https=False) as server:
        yield server


@pytest.fixture(scope="module")
def knot(need: Callable[[str], str]) -> Iterator[Knot]:
    need("knotd")
    with Knot("web.example.org. 300 IN A 192.0.2.2\nweb.corp.example. 300 IN A 192.0.2.3") as server:
        yield server


# Zones


def test_nothing_is_configured() -> None:
    routes = Routes(ForwardConfig(upstreams=()), [])
    assert routes.pool(key_of("web.example.org")) is None
    assert routes.pool(b"") is None


def test_the_longest_zone_decides() -> None:
    zones = tuple(
        ForwardZone(name, ("192.0.2.1",)) for name in ("example", "corp.example", "a.corp.example", "arpa")
    )
    for default in ((), ("192.0.2.9",)):
        routes = Routes(ForwardConfig(upstreams=default, zone=zones), [])

        def zone_of(name: str, routes: Routes = routes) -> str | None:
            pool = routes.pool(key_of(name))
            return pool and pool.zone

        otherwise = "." if default else None
        assert zone_of("corp.example") == "corp.example"
        assert zone_of("WEB.Corp.Example.") == "corp.example"
        assert zone_of("x.y.a.corp.example") == "a.corp.example"
        assert zone_of("b.corp.example") == "corp.example"
        assert zone_of("notcorp.example") == "example"
        assert zone_of("corp.example.org") == otherwise
        assert zone_of(".") == otherwise
        assert zone_of("1.2.0.192.in-addr.arpa") == "arpa"


@given(
    st.lists(st.sampled_from(["a", "b", "ab"]), max_size=5),
    st.sets(st.sampled_from(["a", "a.b", "b.a.b", "ab"])),
)
def test_zones_against_their_definition(labels: list[str], zones: set[str]) -> None:
    name = ".".join(labels)
    holding = [zone for zone in zones if f".{name}".endswith(f".{zone}")]
    expected = max(holding, key=len) if holding else "."
    config = ForwardConfig(("192.0.2.9",), zone=tuple(ForwardZone(zone, ("192.0.2.1",)) for zone in zones))
    pool = Routes(config, []).pool(key_of(name))
    assert pool is not None
    assert pool.zone == expected


def test_each_zone_has_its_upstreams(unbound: Unbound, knot: Knot) -> None:
    async def run() -> None:
        config = ForwardConfig((unbound.address,), zone=(ForwardZone("corp.example", (knot.address,)),))
        async with running(Routes(config, [])) as routes:
            assert await answer(routes, "web.example.org") == "192.0.2.1"
            assert await answer(routes, "web.corp.example") == "192.0.2.3"
            assert {(one["zone"], one["upstream"], one["asked"]) for one in routes.status()} == {
                ("corp.example", knot.address, 1),
                (".", unbound.address, 1),
            }
        assert routes.status() == []

    asyncio.run(run())
    assert unbound.queries("web.corp.example.") == 0, "a name of that zone goes nowhere else"


def test_status_says_how_each_upstream_does() -> None:
    async def run() -> None:
        async with running(Routes(ForwardConfig((bad.address, good.address)), [])) as routes:
            for _ in range(3):
                await answer(routes, "web.example.org")
            first, second = routes.status()
            assert first == {
                "zone": ".",
                "upstream": bad.address,
                "up": True,
                "looped": False,
                "asked": 3,
                "answered": 3,
                "failed": 0,
                "servfail": 3,
                "garbage": 0,
                "seconds": pytest.approx(0.5, abs=0.5),
            }
            assert second["answered"] == 3
            assert second["seconds"] > 0

    with Misbehaving("servfail") as bad, Misbehaving("answers") as good:
        asyncio.run(run())


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    names = ("svcdns.dns.forward.routes", "svcdns.dns.forward.resolv_conf")
    return [record.getMessage() for record in caplog.records if record.name in names]


def test_the_log_says_whom_each_pool_asks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.1\n")

    async def run() -> None:
        zone = ForwardZone("corp.example", (str(file), "tls://192.0.2.3"))
        config = ForwardConfig(("192.0.2.9", "tcp://192.0.2.9"), zone=(zone,))
        async with running(Routes(config, [], interval=LOOK)) as routes:
            file.write_text("nameserver 192.0.2.2\n")
            await until(lambda: upstreams(routes, "corp.example")[0] == "192.0.2.2", "the change")

    asyncio.run(run())
    assert told(caplog) == [
        f"{file}: the nameservers to ask are 192.0.2.1",
        "names in corp.example are asked for at 192.0.2.1, tls://192.0.2.3",
        "all other names are asked for at 192.0.2.9, tcp://192.0.2.9",
        f"{file}: the nameservers to ask are 192.0.2.2",
        "names in corp.example are asked for at 192.0.2.2, tls://192.0.2.3",
    ]


def test_the_log_says_for_which_names_there_is_nobody_to_ask(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> None:
        zone = ForwardZone("corp.example", (str(tmp_path / "none"),))
        async with running(Routes(ForwardConfig((), zone=(zone,)), [], interval=LOOK)):
            pass

    asyncio.run(run())
    first, *others = told(caplog)
    assert "no name that is to be asked for there is answered until it lists a nameserver" in first
    assert others == [
        "names in corp.example are not answered: there is no upstream for them",
        "nothing else is forwarded: upstreams in [forward] is empty",
    ]


# Upstreams that can't be


def test_our_own_listener_is_no_upstream(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        config = ForwardConfig((good.address, "127.0.0.1:1053", "tcp://127.0.0.1:1053", "[::1]:1053"))
        own = [Endpoint("127.0.0.1", 1053), Endpoint("::", 1053)]
        async with running(Routes(config, own)) as routes:
            assert upstreams(routes) == [good.address]
            assert await answer(routes, "web.example.org") == "192.0.2.7"

    with Misbehaving("answers") as good:
        asyncio.run(run())
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 3
    assert all("is this server itself" in text for text in told)


def test_certificates_that_can_not_be_read_leave_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        config = ForwardConfig(("tls://127.0.0.1:853", good.address), ca=tmp_path / "missing.pem")
        async with running(Routes(config, [])) as routes:
            assert upstreams(routes) == [good.address]

    with Misbehaving("answers") as good:
        asyncio.run(run())
    assert "tls://127.0.0.1 is left out" in caplog.text


# Files


def file_routes(file: Path, port: int = 53, *more: str) -> Routes:
    return Routes(ForwardConfig((str(file), *more)), [], interval=LOOK, port=port)


def test_a_resolv_conf_that_is_rewritten(tmp_path: Path, unbound: Unbound) -> None:
    """From a server that doesn't answer to one that does, without a restart."""
    file = tmp_path / "resolv.conf"

    async def run() -> None:
        file.write_text("nameserver 127.0.0.9\n")
        async with running(file_routes(file, unbound.port)) as routes:
            assert upstreams(routes) == [f"127.0.0.9:{unbound.port}"]
            pool = routes.pool(key_of("web.example.org"))
            assert pool is not None
            with pytest.raises(Unresolved):
                await pool.resolve(ask_for("web.example.org"))
            file.write_text("nameserver 127.0.0.1\noptions timeout:1\n")
            await until(lambda: upstreams(routes) == [unbound.address], "the change")
            assert await answer(routes, "web.example.org") == "192.0.2.1"
            file.with_name("new").write_text("nameserver 127.0.0.1\nnameserver 127.0.0.8\n")
            file.with_name("new").replace(file)
            await until(lambda: len(upstreams(routes)) == 2, "the file that took its place")
            assert routes.status()[0]["asked"] == 1, "the one that stays is the same as before"

    asyncio.run(run())


def test_a_resolv_conf_that_goes_and_comes(tmp_path: Path, unbound: Unbound) -> None:
    file = tmp_path / "resolv.conf"

    async def run() -> None:
        async with running(file_routes(file, unbound.port)) as routes:
            pool = routes.pool(key_of("web.example.org"))
            assert pool is not None, "there will be upstreams once the file is there"
            assert pool.is_down
            with pytest.raises(Unresolved, match="no upstreams"):
                await pool.resolve(ask_for("web.example.org"))
            file.write_text("nameserver 127.0.0.1\n")
            await until(lambda: upstreams(routes), "the file to be read")
            spoils: list[Callable[[], object]] = [
                file.unlink,
                file.mkdir,
                lambda: (shutil.rmtree(file), file.write_bytes(b"\0" * 4096)),
                lambda: file.write_text(""),
            ]
            for spoil in spoils:
                spoil()
                await asyncio.sleep(5 * LOOK)
                assert upstreams(routes) == [unbound.address]
                assert await answer(routes, "web.example.org") == "192.0.2.1"
            file.write_text("nameserver 127.0.0.8\n")
            await until(lambda: upstreams(routes) == [f"127.0.0.8:{unbound.port}"], "the mended file")

    asyncio.run(run())


def test_a_question_under_way_outlives_its_upstream(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"

    async def run() -> None:
        file.write_text("nameserver 127.0.0.1\n")
        async with running(file_routes(file, slow.port)) as routes:
            under_way = asyncio.ensure_future(answer(routes, "web.example.org"))
            await until(lambda: any(one.question[0].rdtype == codes.A for one in slow.asked), "the query")
            file.write_text("nameserver 127.0.0.8\n")
            await until(lambda: upstreams(routes) == [f"127.0.0.8:{slow.port}"], "the change")
            assert await under_way == "192.0.2.7"

    with Misbehaving("slow", seconds=0.5) as slow:
        asyncio.run(run())


def test_a_file_beside_addresses_and_one_upstream_twice(tmp_path: Path) -> None:
    file, other = tmp_path / "resolv.conf", tmp_path / "other"
    file.write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\n" * 200)
    other.write_text("nameserver 192.0.2.2\nnameserver 192.0.2.3\n")

    async def run() -> None:
        config = ForwardConfig(("192.0.2.2", str(file), str(other), "192.0.2.1:53"))
        async with running(Routes(config, [], interval=LOOK)) as routes:
            assert upstreams(routes) == ["192.0.2.2", "192.0.2.1", "192.0.2.3"]

    asyncio.run(run())


def test_one_file_for_two_zones(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.1\n")

    async def run() -> None:
        config = ForwardConfig((str(file),), zone=(ForwardZone("corp.example", (str(file),)),))
        async with running(Routes(config, [], interval=LOOK)) as routes:
            file.write_text("nameserver 192.0.2.2\n")
            for zone in (".", "corp.example"):
                await until(
                    lambda zone=zone: upstreams(routes, zone) == ["192.0.2.2"], f"the change in {zone}"
                )

    asyncio.run(run())


# Loops


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
                received = await pool.resolve(Ask(key, int(asked.rdtype), name=asked.name.to_wire()))
                to.sendto(data[:2] + received.wire[2:], addr)
                return
            except Unresolved:
                reply.set_rcode(dns.rcode.SERVFAIL)
        to.sendto(reply.to_wire(), addr)


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


def looped(routes: Routes) -> dict[str, bool]:
    return {one["upstream"]: one["looped"] for one in routes.status()}


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize("hops", [1, 2])
def test_an_upstream_that_forwards_back_is_out_of_use(
    hops: int, knot: Knot, need: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    need("unbound")
    front = Front()

    async def run(first: Unbound) -> None:
        # The looped one comes first: each question would be lost in it.
        async with (
            running(Routes(ForwardConfig((first.address, knot.address)), [], loops=quick())) as routes,
            front.listening(routes),
        ):
            await until(lambda: looped(routes)[first.address], "the loop to be found")
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
            assert looped(routes) == {first.address: True, knot.address: False}

    with contextlib.ExitStack() as servers:
        port = front.port
        for _ in range(hops):
            hop = servers.enter_context(ForwardingUnbound(port))
            port = hop.port
        asyncio.run(run(hop))
    (told,) = errors(caplog)
    assert f"upstream {hop.address} " in told
    assert "loop" in told
    assert "take it out of [forward] upstreams" in told


def test_a_loop_with_no_other_upstream_says_so(need: Callable[[str], str]) -> None:
    need("unbound")
    front = Front()

    async def run() -> None:
        async with (
            running(Routes(ForwardConfig((hop.address,)), [], loops=quick())) as routes,
            front.listening(routes),
        ):
            await until(lambda: looped(routes)[hop.address], "the loop to be found")
            pool = routes.pool(b"")
            assert pool is not None
            assert pool.is_down, "stale answers may be given at once"
            with pytest.raises(Unresolved, match="loop"):
                await pool.resolve(ask_for("web.example.org"))

    with ForwardingUnbound(front.port) as hop:
        asyncio.run(run())


def test_it_is_back_in_use_when_the_loop_is_gone(
    knot: Knot, need: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    need("unbound")
    caplog.set_level(logging.INFO, "svcdns.dns.forward.loops")
    front = Front()

    async def run() -> None:
        async with (
            running(Routes(ForwardConfig((hop.address,)), [], loops=quick())) as routes,
            front.listening(routes),
        ):
            await until(lambda: looped(routes)[hop.address], "the loop to be found")
            await asyncio.to_thread(hop.forward_to, knot.port)
            await until(lambda: not looped(routes)[hop.address], "the upstream to be used again")
            assert await answer(routes, "web.example.org") == "192.0.2.2"

    with ForwardingUnbound(front.port) as hop:
        asyncio.run(run())
    assert f"upstream {hop.address} is in use again" in caplog.text


def test_a_loop_that_begins_later_is_found_when_the_upstream_comes_back(
    knot: Knot, need: Callable[[str], str]
) -> None:
    need("unbound")
    front = Front()

    async def run() -> None:
        async with (
            running(Routes(ForwardConfig((hop.address, knot.address)), [], loops=quick())) as routes,
            front.listening(routes),
        ):
            assert await answer(routes, "web.example.org") == "192.0.2.2"
            await asyncio.to_thread(hop.stop)
            await answer(routes, "web.example.org")
            await answer(routes, "web.example.org")
            assert not routes.status()[0]["up"]
            await asyncio.to_thread(hop.forward_to, front.port)
            await until(lambda: looped(routes)[hop.address], "the loop to be found")

    with ForwardingUnbound(knot.port) as hop:
        asyncio.run(run())


def test_a_loop_of_one_zone(knot: Knot, need: Callable[[str], str], caplog: pytest.LogCaptureFixture) -> None:
    need("unbound")
    caplog.set_level(logging.INFO, "svcdns.dns.forward.loops")
    front = Front()

    async def run() -> None:
        zone = ForwardZone("corp.example", (hop.address,))
        config = ForwardConfig((knot.address,), zone=(zone,))
        async with running(Routes(config, [], loops=quick())) as routes, front.listening(routes):
            await until(lambda: looped(routes)[hop.address], "the loop to be found")
            assert not looped(routes)[knot.address]
            assert await answer(routes, "web.example.org") == "192.0.2.2"
            await asyncio.to_thread(hop.forward_to, knot.port)
            await until(lambda: not looped(routes)[hop.address], "the upstream to be used again")

    with ForwardingUnbound(front.port) as hop:
        asyncio.run(run())
    (found, gone) = (record.getMessage() for record in caplog.records)
    assert found.startswith(f"upstream {hop.address} for corp.example. sends our own questions back")
    assert gone.startswith(f"upstream {hop.address} for corp.example. is in use again")


def test_probes_of_honest_upstreams_change_nothing() -> None:
    """Whatever it answers, and if it answers nothing: only a probe that comes in makes a loop."""

    async def run() -> None:
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

    with Misbehaving("answers") as good, Misbehaving("silent") as silent, Misbehaving("refused") as refusing:
        asyncio.run(run())


def test_a_probe_that_comes_in_late_still_tells() -> None:
    async def run() -> None:
        watch = LoopWatch(interval=HANG, again=0.3, comes=0.1)
        async with running(Routes(ForwardConfig((server.address,)), [], loops=watch)) as routes:
            await until(lambda: server.count, "the probe")
            sent = key_of_wire(server.asked[0].question[0].name.to_wire())
            await asyncio.sleep(0.3)
            assert routes.is_probe(sent)
            assert looped(routes) == {server.address: True}
            await until(lambda: not looped(routes)[server.address], "a probe that doesn't come in")
            assert not routes.is_probe(sent), "an old probe is no news"

    with Misbehaving("answers") as server:
        asyncio.run(run())


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


def test_stop_with_questions_under_way() -> None:
    async def run() -> None:
        routes = Routes(ForwardConfig((silent.address,)), [])
        await routes.start()
        pool = routes.pool(b"")
        assert pool is not None
        work = [asyncio.ensure_future(pool.resolve(ask_for(f"n{n}"))) for n in range(5)]
        await until(lambda: silent.count >= 5, "the queries")
        await routes.stop()
        results: list[Received | BaseException] = await asyncio.gather(*work, return_exceptions=True)
        assert all(isinstance(one, Unresolved) for one in results)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with Misbehaving("silent") as silent:
        asyncio.run(run())
