"""Routes: which pool a name goes to, and files of nameservers that change."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from forward.unit.routes_harness import LOOK, answer, ask_for, running, upstreams
from hypothesis import given
from hypothesis import strategies as st
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import Knot, Unbound
from toolbox.waiting import until

from svcdns.config.sections import Endpoint, ForwardConfig, ForwardZone
from svcdns.forward.pool import Unresolved
from svcdns.forward.routes import Routes
from svcdns.wire import codes
from svcdns.wire.key import key_of
from svcdns.wire.response import Response

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


async def test_each_zone_has_its_upstreams(unbound: Unbound, knot: Knot) -> None:
    config = ForwardConfig((unbound.address,), zone=(ForwardZone("corp.example", (knot.address,)),))
    async with running(Routes(config, [])) as routes:
        assert await answer(routes, "web.example.org") == "192.0.2.1"
        assert await answer(routes, "web.corp.example") == "192.0.2.3"
        assert {(one["zone"], one["upstream"], one["asked"]) for one in routes.status()} == {
            ("corp.example", knot.address, 1),
            (".", unbound.address, 1),
        }
    assert routes.status() == []
    assert unbound.queries("web.corp.example.") == 0, "a name of that zone goes nowhere else"


async def test_status_says_how_each_upstream_does() -> None:
    with Misbehaving("servfail") as bad, Misbehaving("answers") as good:
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


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    names = ("svcdns.forward.routes", "svcdns.forward.system_nameservers")
    return [record.getMessage() for record in caplog.records if record.name in names]


async def test_the_log_says_whom_each_pool_asks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.1\n")
    zone = ForwardZone("corp.example", (str(file), "tls://192.0.2.3"))
    config = ForwardConfig(("192.0.2.9", "tcp://192.0.2.9"), zone=(zone,))
    async with running(Routes(config, [], interval=LOOK)) as routes:
        file.write_text("nameserver 192.0.2.2\n")
        await until(lambda: upstreams(routes, "corp.example")[0] == "192.0.2.2", "the change")
    assert told(caplog) == [
        f"{file}: the nameservers to ask are 192.0.2.1",
        "names in corp.example are asked for at 192.0.2.1, tls://192.0.2.3",
        "all other names are asked for at 192.0.2.9, tcp://192.0.2.9",
        f"{file}: the nameservers to ask are 192.0.2.2",
        "names in corp.example are asked for at 192.0.2.2, tls://192.0.2.3",
    ]


async def test_the_log_says_for_which_names_there_is_nobody_to_ask(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    zone = ForwardZone("corp.example", (str(tmp_path / "none"),))
    async with running(Routes(ForwardConfig((), zone=(zone,)), [], interval=LOOK)):
        pass
    first, *others = told(caplog)
    assert "no name that is to be asked for there is answered until it lists a nameserver" in first
    assert others == [
        "names in corp.example are not answered: there is no upstream for them",
        "nothing else is forwarded: upstreams in [forward] is empty",
    ]


# Upstreams that can't be


async def test_our_own_listener_is_no_upstream(caplog: pytest.LogCaptureFixture) -> None:
    with Misbehaving("answers") as good:
        config = ForwardConfig((good.address, "127.0.0.1:1053", "tcp://127.0.0.1:1053", "[::1]:1053"))
        own = [Endpoint("127.0.0.1", 1053), Endpoint("::", 1053)]
        async with running(Routes(config, own)) as routes:
            assert upstreams(routes) == [good.address]
            assert await answer(routes, "web.example.org") == "192.0.2.7"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 3
    assert all("is this server itself" in text for text in told)


async def test_certificates_that_can_not_be_read_leave_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Misbehaving("answers") as good:
        config = ForwardConfig(("tls://127.0.0.1:853", good.address), ca=tmp_path / "missing.pem")
        async with running(Routes(config, [])) as routes:
            assert upstreams(routes) == [good.address]
    assert "tls://127.0.0.1 is left out" in caplog.text


# Files


def file_routes(file: Path, port: int = 53, *more: str) -> Routes:
    return Routes(ForwardConfig((str(file), *more)), [], interval=LOOK, port=port)


async def test_a_resolv_conf_that_is_rewritten(tmp_path: Path, unbound: Unbound) -> None:
    """From a server that doesn't answer to one that does, without a restart."""
    file = tmp_path / "resolv.conf"
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


async def test_a_resolv_conf_that_goes_and_comes(tmp_path: Path, unbound: Unbound) -> None:
    file = tmp_path / "resolv.conf"
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


async def test_a_question_under_way_outlives_its_upstream(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    with Misbehaving("slow", seconds=0.5) as slow:
        file.write_text("nameserver 127.0.0.1\n")
        async with running(file_routes(file, slow.port)) as routes:
            under_way = asyncio.ensure_future(answer(routes, "web.example.org"))
            await until(lambda: any(one.question[0].rdtype == codes.A for one in slow.asked), "the query")
            file.write_text("nameserver 127.0.0.8\n")
            await until(lambda: upstreams(routes) == [f"127.0.0.8:{slow.port}"], "the change")
            assert await under_way == "192.0.2.7"


async def test_a_file_beside_addresses_and_one_upstream_twice(tmp_path: Path) -> None:
    file, other = tmp_path / "resolv.conf", tmp_path / "other"
    file.write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\n" * 200)
    other.write_text("nameserver 192.0.2.2\nnameserver 192.0.2.3\n")
    config = ForwardConfig(("192.0.2.2", str(file), str(other), "192.0.2.1:53"))
    async with running(Routes(config, [], interval=LOOK)) as routes:
        assert upstreams(routes) == ["192.0.2.2", "192.0.2.1", "192.0.2.3"]


async def test_one_file_for_two_zones(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.1\n")
    config = ForwardConfig((str(file),), zone=(ForwardZone("corp.example", (str(file),)),))
    async with running(Routes(config, [], interval=LOOK)) as routes:
        file.write_text("nameserver 192.0.2.2\n")
        for zone in (".", "corp.example"):
            await until(lambda zone=zone: upstreams(routes, zone) == ["192.0.2.2"], f"the change in {zone}")


# The end


async def test_stop_with_questions_under_way() -> None:
    with Misbehaving("silent") as silent:
        routes = Routes(ForwardConfig((silent.address,)), [])
        await routes.start()
        pool = routes.pool(b"")
        assert pool is not None
        work = [asyncio.ensure_future(pool.resolve(ask_for(f"n{n}"))) for n in range(5)]
        await until(lambda: silent.count >= 5, "the queries")
        await routes.stop()
        results: list[Response | BaseException] = await asyncio.gather(*work, return_exceptions=True)
        assert all(isinstance(one, Unresolved) for one in results)
        assert asyncio.all_tasks() == {asyncio.current_task()}
