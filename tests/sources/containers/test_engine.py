"""The client of an engine: what it says when the engine can't be asked, and what it takes of answers."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest
from sources.containers.fake_engine import FakeEngine
from toolbox.upstreams import Certificates

from svcdns.cli import certificates
from svcdns.config.container_engines import ContainerEngine
from svcdns.sources.containers.engine import Engine, EngineAway

NOBODY = 65534


async def why_away(endpoint: str, **options: str) -> str:
    with pytest.raises(EngineAway) as away:
        engine = Engine(ContainerEngine(endpoint, **options))  # type: ignore[arg-type]
        try:
            await engine.greet()
        finally:
            await engine.close()
    return str(away.value)


async def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    assert "is not there; is the engine running" in await why_away(f"unix://{tmp_path}/none.sock")


async def test_a_socket_of_an_engine_that_has_ended(tmp_path: Path) -> None:
    """traefik#5833: a mounted file stays the old socket."""
    engine = FakeEngine(tmp_path / "engine.sock")
    async with engine:
        (tmp_path / "kept.sock").hardlink_to(engine.socket)
    assert "mount its folder" in await why_away(f"unix://{tmp_path}/kept.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody who may not read it takes root")
async def test_a_socket_that_may_not_be_read_is_told_with_the_remedy(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "engine.sock") as engine:
        engine.socket.chmod(0o660)
        os.seteuid(NOBODY)
        try:
            found = await why_away(f"unix://{engine.socket}")
        finally:
            os.seteuid(0)
    assert "usermod -aG docker" in found
    assert "\n" not in found


async def test_an_engine_that_answers_with_errors_is_told_in_its_words(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "engine.sock", broken=503) as engine:
        assert "HTTP status 503: the engine is starting" in await why_away(f"unix://{engine.socket}")
        engine.broken = 403
        assert "a socket proxy has to allow GET" in await why_away(f"unix://{engine.socket}")


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b""])
async def test_what_is_no_engine_is_told(answer: bytes) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert f"tcp://127.0.0.1:{port}: " in await why_away(f"tcp://127.0.0.1:{port}")


async def test_a_line_of_events_without_end_is_given_up(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "engine.sock") as fake:
        engine = Engine(ContainerEngine(f"unix://{fake.socket}"))
        try:
            await engine.greet()

            async def listen() -> None:
                async for _ in engine.events(0):
                    pass

            task = asyncio.create_task(listen())
            while not fake.streams:
                await asyncio.sleep(0)
            for _ in range(20):
                fake.send(b"x" * (1 << 16))
            with pytest.raises(EngineAway, match="a line of /events"):
                await task
        finally:
            await engine.close()


async def test_over_tls_both_sides_show_who_they_are(tmp_path: Path) -> None:
    """Docker's own way (--tlsverify): the engine asks for a certificate of its CA."""
    authority = certificates.make_ca()
    files = {}
    for word, pair in (
        ("server", certificates.make_server(authority, ("127.0.0.1",))),
        ("client", certificates.make_client(authority, "svcdns", ())),
    ):
        files[word] = (tmp_path / f"{word}.crt", tmp_path / f"{word}.key")
        files[word][0].write_bytes(pair.certificate_pem)
        files[word][1].write_bytes(pair.key_pem)
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.certificate_pem)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(*files["server"])
    cert, key = map(str, files["client"])
    (tmp_path / "other").mkdir()
    other = str(Certificates(tmp_path / "other").ca)
    async with FakeEngine(tmp_path / "engine.sock", tls=tls) as fake:
        fake.start("a")
        endpoint = f"tcp://127.0.0.1:{fake.port}"
        engine = Engine(ContainerEngine(endpoint, tls_ca=str(ca), tls_cert=cert, tls_key=key))
        try:
            assert (await engine.greet()).api == "1.41"
            assert [one.name for one in await engine.containers()] == ["a"]
        finally:
            await engine.close()
        assert "certificate" in await why_away(endpoint, tls_ca=other)
        assert endpoint in await why_away(endpoint, tls_ca=str(ca))  # and no certificate to show
        assert "can't be used" in await why_away(endpoint, tls_ca=key)
