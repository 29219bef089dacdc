"""Watches over TLS, by HTTP and by WebSocket: they end properly, and who does not read leaves nothing."""

import asyncio
import ssl

import pytest
from aiohttp import WSMsgType
from api.web_sockets import CLOSE, TEXT, WATCH, RawClient, frame, head, put_20_mb
from toolbox.waiting import until

from svcdns.cli.certificates import make_ca, make_server

BOTH_WAYS = pytest.mark.parametrize("upgrade", ["websocket", None], ids=["websocket", "http"])


@pytest.fixture
def tls(tmp_path):
    pair = make_server(make_ca(), ["127.0.0.1"])
    (tmp_path / "pair").write_bytes(pair.certificate_pem + pair.key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "pair")
    return context


@pytest.fixture(autouse=True)
def nothing_goes_wrong(caplog):
    yield
    assert not [record for record in caplog.get_records("call") if record.levelname in ("ERROR", "CRITICAL")]


async def opened(server) -> RawClient:
    """Return a client that reads little before it is asked to."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return RawClient(*await asyncio.open_connection("127.0.0.1", server.port, ssl=context, limit=1024))


async def test_a_web_socket_ends_with_close(client, server, registry):
    for query, leaves in (("&timeoutSeconds=1", False), ("", True)):
        async with client.ws_connect(WATCH + query, ssl=False) as stream:
            assert (await stream.receive(20)).type is WSMsgType.TEXT
            if leaves:
                await stream.close()
            else:
                assert (await stream.receive(20)).data == 1000
        await until(lambda: not registry.watchers and not server.runner.server.connections)


async def test_a_client_may_end_tls_with_its_close(server, registry):
    stranger = await opened(server)
    stranger.writer.write(head(f"{WATCH}&timeoutSeconds=1"))
    await stranger.answer()
    while (said := await stranger.frame())[0] != CLOSE:
        assert said[0] == TEXT
    stranger.writer.write(frame(CLOSE, said[1]))
    stranger.writer.close()
    await until(lambda: not registry.watchers and not server.runner.server.connections)


async def test_who_says_nothing_is_not_waited_for(server, registry):
    stranger = await opened(server)
    stranger.writer.transport.pause_reading()
    stranger.writer.write(head(f"{WATCH}&timeoutSeconds=1"))
    await until(lambda: registry.watchers == 1)
    async with asyncio.timeout(20):  # asyncio alone waits for half a minute until TLS is ended by both
        await until(lambda: not registry.watchers and not server.runner.server.connections)
    stranger.writer.transport.abort()


@BOTH_WAYS
async def test_who_does_not_read_is_cut_off_when_its_time_is_up(client, server, registry, upgrade):
    await put_20_mb(registry)
    stranger = await opened(server)
    stranger.writer.write(head(f"{WATCH}&timeoutSeconds=1", Upgrade=upgrade))
    await until(lambda: registry.watchers == 1)
    await until(lambda: not registry.watchers and not server.runner.server.connections)
    text = await (await client.get("/metrics", ssl=False)).text()
    assert "svcdns_api_watches_cut_total 1.0" in text
    stranger.writer.transport.abort()
