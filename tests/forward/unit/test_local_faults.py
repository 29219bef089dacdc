"""What stands in the way on this host is not the upstream's fault; TCP that fails isn't its death either."""

import asyncio
import errno
import logging
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import HOST, Certificates
from toolbox.waiting import until

from svcdns.config.upstream_spec import parse
from svcdns.forward.health import Health
from svcdns.forward.pool import TRY_SECONDS, Pool, Unresolved
from svcdns.forward.upstreams import stream
from svcdns.forward.upstreams.factory import make
from svcdns.forward.upstreams.upstream import LocalFault, NoReply, no_reply
from svcdns.wire import codes
from svcdns.wire.key import key_of, wire_of
from svcdns.wire.query import Query

HANG = 30.0
WWW = Query(key_of("www.example.org"), codes.A, name=wire_of("www.example.org"))


@contextmanager
def no_descriptors() -> Iterator[None]:
    """What is open goes on, nothing more can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("kind", ["udp", "tcp", "tls", "https"])
async def test_without_descriptors_no_upstream_goes_down(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(tmp_path)
    with Misbehaving(certificates=certificates if kind == "tls" else None) as server:
        text = {
            "udp": server.address,
            "tcp": f"tcp://{server.address}",
            "tls": f"tls://{server.address}",
            "https": f"https://{server.address}/dns-query",
        }[kind]
        health = Health(make(parse(text), certificates.ca))
        with no_descriptors():
            for _ in range(10):
                with pytest.raises(LocalFault, match="Too many open files"):
                    await health.ask(WWW, HANG)
        assert health.up
        assert health.failed == 0
        if kind != "https":
            assert (await health.ask(WWW, HANG)).rcode == codes.NOERROR
        await health.close()
    (told,) = [record for record in caplog.records if record.name.startswith("svcdns")]
    assert told.levelno == logging.WARNING
    assert "from this host: Too many open files" in told.getMessage()


async def test_clients_hear_that_it_is_this_server() -> None:
    with Misbehaving() as server:
        health = Health(make(parse(server.address)))
        pool = Pool(".", [health])
        with no_descriptors(), pytest.raises(Unresolved, match="this server lacks descriptors") as caught:
            await pool.resolve(WWW)
        assert caught.value.ede == codes.EDE_NETWORK_ERROR
        assert not pool.is_down
        assert (await pool.resolve(WWW)).rcode == codes.NOERROR
        await health.close()


async def test_an_upstream_that_is_down_is_not_said_to_be_so_for_our_lack_of_descriptors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Misbehaving() as gone:
        gone.stop()
        health = Health(make(parse(gone.address)))
        for _ in range(2):
            with pytest.raises(NoReply):
                await health.ask(WWW, HANG)
        with no_descriptors():  # before its first probe
            assert not health.up
            await until(lambda: "from this host" in caplog.text, "the log", HANG)
            assert "is down" not in caplog.text
        await asyncio.to_thread(gone.start)
        await until(lambda: health.up, "the upstream to be up", HANG)
        await health.close()


async def test_more_queries_than_a_connection_takes_are_our_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "QUERIES", 2)
    monkeypatch.setattr(stream, "CONNECTIONS", 1)
    with Misbehaving("slow", seconds=0.2) as slow:
        health = Health(make(parse(f"tcp://{slow.address}")))
        replies = await asyncio.gather(*(health.ask(WWW, HANG) for _ in range(20)), return_exceptions=True)
        assert sum(isinstance(reply, LocalFault) for reply in replies) == 18
        assert health.up
        assert (health.answered, health.failed) == (2, 0)
        await health.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
def test_errors_of_this_host(number: int) -> None:
    assert isinstance(no_reply(OSError(number, "x")), LocalFault)


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, None])
def test_errors_of_the_way_there(number: int | None) -> None:
    assert not isinstance(no_reply(OSError(number, "x")), LocalFault)


@pytest.mark.parametrize("kind", ["tls", "https"])
async def test_a_bad_certificate_is_the_upstreams_own_fault(kind: str, tmp_path: Path) -> None:
    """TLS numbers its errors anew: its 1 is not EPERM."""
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
    theirs, ours = Certificates(tmp_path / "theirs"), Certificates(tmp_path / "ours")
    with Misbehaving(certificates=theirs) as server:
        path = "/dns-query" if kind == "https" else ""
        health = Health(make(parse(f"{kind}://{HOST}:{server.port}{path}"), ours.ca))
        for _ in range(2):
            with pytest.raises(NoReply, match="certificate"):
                await health.ask(WWW, HANG)
        assert not health.up
        await health.close()


# Truncated, and no TCP


@pytest.mark.parametrize("behaviour", ["truncated_only", "dribble"])
async def test_who_answers_over_udp_alone_is_not_dead(behaviour: str) -> None:
    with Misbehaving(behaviour) as server:
        health = Health(make(parse(server.address)))
        for _ in range(3):
            received = await health.ask(WWW, 0.3)
            assert received.truncated
            assert received.lifetime is None, "it is not kept"
        assert health.up
        assert (health.answered, health.failed) == (3, 0)
        await health.close()


@pytest.mark.parametrize(
    ("other", "truncated"), [("truncated", False), ("truncated_only", True), ("servfail", True)]
)
async def test_a_whole_answer_goes_before_a_truncated_one(other: str, truncated: bool) -> None:
    with Misbehaving("truncated_only") as first, Misbehaving(other) as second:
        healths = [Health(make(parse(server.address))) for server in (first, second)]
        received = await Pool(".", healths).resolve(WWW)
        assert received.truncated == truncated
        assert received.rcode == codes.NOERROR
        assert all(health.up for health in healths)
        for health in healths:
            await health.close()


async def test_a_truncated_answer_does_not_wait_for_those_that_are_down() -> None:
    with Misbehaving("truncated_only") as first, Misbehaving("silent") as silent:
        healths = [Health(make(parse(server.address)), interval=HANG) for server in (first, silent)]
        for _ in range(2):
            with pytest.raises(NoReply):
                await healths[1].ask(WWW, 0.05)
        begun = time.monotonic()
        assert (await Pool(".", healths).resolve(WWW)).truncated
        assert time.monotonic() - begun < TRY_SECONDS
        for health in healths:
            await health.close()
