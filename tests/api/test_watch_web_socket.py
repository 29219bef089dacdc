"""Watches over WebSocket, as fabric8's clients ask for them: the same events; what bad clients can't do."""

import asyncio
import json
import socket
import struct

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from api.web_sockets import CLOSE, PING, PONG, SERVICES, TEXT, WATCH, RawClient, frame, head, put_20_mb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import SERVICE
from svcdns.store import log

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def event(stream: ClientWebSocketResponse):
    """Return the next event, None at a proper end."""
    message = await asyncio.wait_for(stream.receive(), GUARD_SECONDS)
    if message.type is WSMsgType.CLOSE:
        assert message.data == 1000
        return None
    assert message.type is WSMsgType.TEXT, message
    return json.loads(message.data)


async def put(registry, name):
    await registry.put(SERVICE, "shop", service(name, labels={"app": name}))


async def test_the_present_state_then_changes(client, registry):
    async with client.ws_connect(WATCH) as stream:
        first = await event(stream)
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "web")
        await put(registry, "db")
        assert (await event(stream))["object"]["metadata"]["name"] == "db"
        await client.delete(f"{SERVICES}/web")
        assert (await event(stream))["type"] == "DELETED"


async def test_paths_below_watch_and_selectors(client, registry):
    async with client.ws_connect("/api/v1/watch/namespaces/shop/services?labelSelector=app=db") as stream:
        await put(registry, "x")
        await put(registry, "db")
        assert (await event(stream))["object"]["metadata"]["name"] == "db"


async def test_tables_and_the_mark_of_the_initial_events(client):
    url = f"{WATCH}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with client.ws_connect(url, headers={"Accept": TABLE}) as stream:
        assert (await event(stream))["object"]["kind"] == "Table"
        mark = await event(stream)
        assert mark["type"] == "BOOKMARK"
        assert "k8s.io/initial-events-end" in str(mark["object"]["rows"][0]["object"]["metadata"])


async def test_no_extension_is_taken_and_the_first_subprotocol(raw):
    offered = "base64url.bearer.authorization.k8s.io.c2VjcmV0, a.k8s.io, b"
    more = {"Sec_WebSocket_Extensions": "permessage-deflate", "Sec_WebSocket_Protocol": offered}
    stranger = await raw(head(**more))
    status, answer = await stranger.answer()
    assert status == 101 and b"xtensions" not in answer
    assert b"Sec-WebSocket-Protocol: a.k8s.io\r\n" in answer
    stranger.writer.close()


async def test_it_ends_with_close_at_its_timeout(client, registry):
    async with client.ws_connect(f"{WATCH}&timeoutSeconds=1") as stream:
        await event(stream)
        assert await event(stream) is None
    await until(lambda: registry.watchers == 0)


async def test_a_refusal_before_the_upgrade_is_a_status(client, registry, monkeypatch):
    monkeypatch.setattr(log, "KEEP", 3)
    monkeypatch.setattr(log, "_TRIM_SLACK", 0)
    begun = registry.revision
    for number in range(5):
        await put(registry, f"s{number}")
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect(f"{WATCH}&resourceVersion={begun}")
    assert refused.value.status == 410


async def test_a_refusal_in_the_middle_is_an_error_event(client, registry):
    async with client.ws_connect(WATCH) as stream:
        await event(stream)
        registry.fail = StatusError(410, "Expired", "too old resource version: 1 (5)")
        await put(registry, "db")
        await event(stream)
        error = await event(stream)
        assert (error["type"], error["object"]["code"]) == ("ERROR", 410)
        assert await event(stream) is None


async def test_a_client_that_says_close_ends_its_watch_with_close(client, registry):
    stream = await client.ws_connect(WATCH)
    await event(stream)
    assert await stream.close() and stream.close_code == 1000
    await until(lambda: registry.watchers == 0)
    await counted(client, 'code="101"')


async def counted(client, *words):
    """Return when the metrics hold all of these: a request is counted once all of it has ended."""
    text = ""
    while not all(word in text for word in words):
        async with client.get("/metrics") as answer:
            text = await answer.text()


async def test_a_client_that_vanishes_ends_its_watch(raw, registry):
    stranger = await raw(head())
    await stranger.answer()
    await until(lambda: registry.watchers == 1)
    stranger.writer.transport.abort()
    await until(lambda: registry.watchers == 0)


async def test_a_stop_says_close_and_waits_for_nobody(client, server, raw, registry):
    polite, silent = await client.ws_connect(WATCH), await raw(head())
    await event(polite)
    await silent.answer()
    await until(lambda: registry.watchers == 2)
    closing = asyncio.ensure_future(server.runner.cleanup())
    assert await event(polite) is None
    await closing
    while (await silent.frame())[0] == TEXT:
        pass
    assert registry.watchers == 0


async def test_watches_of_both_kinds_are_counted(client, registry):
    stream = await client.ws_connect(f"{WATCH}&timeoutSeconds=1")
    answer = await client.get(WATCH)
    await event(stream)
    assert 'svcdns_api_watches{resource="services"} 2.0' in await (await client.get("/metrics")).text()
    assert await event(stream) is None
    answer.close()
    await until(lambda: registry.watchers == 0)
    await counted(client, 'verb="watch"', 'code="101"')


class TestWhatClientsSend:
    async def opened(self, raw, registry) -> RawClient:
        stranger = await raw(head())
        assert (await stranger.answer())[0] == 101
        await until(lambda: registry.watchers == 1)
        assert (await stranger.frame())[0] == TEXT
        return stranger

    async def test_pings_have_pongs_and_messages_are_dropped(self, raw, registry):
        stranger = await self.opened(raw, registry)
        stranger.writer.write(frame(TEXT, b"hello") + frame(PONG) + frame(PING, b"there?"))
        assert await stranger.frame() == (PONG, b"there?")
        await put(registry, "db")
        assert (await stranger.frame())[0] == TEXT
        stranger.writer.write(frame(CLOSE, b"\x03\xe8"))
        assert await stranger.frame() == (CLOSE, b"\x03\xe8")
        await until(lambda: registry.watchers == 0)

    @pytest.mark.parametrize(
        ("octets", "code"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", 1002),
            (b"\xff" * 50, 1002),
            (frame(0, b"the rest of nothing"), 1002),
            (frame(PING, b"", fin=False), 1002),
            (frame(PING, b"x" * 126), 1002),
            (frame(TEXT, b"\xff\xff"), 1007),
            (frame(TEXT, b"x" * 5000), 1009),
            (frame(TEXT, length=2**62), 1009),
            (frame(TEXT, b"x" * 4000, fin=False) + frame(0, b"x" * 4000), 1009),
            (frame(PING) * 5000, 1008),
            (frame(TEXT, b"x") * 5000, 1008),
        ],
        ids=["http", "ones", "continuation", "split ping", "large ping", "no utf-8", "large", "huge", "parts",
             "pings", "messages"],
    )  # fmt: skip
    async def test_what_is_not_allowed_ends_the_stream(self, raw, registry, octets, code):
        stranger = await self.opened(raw, registry)
        stranger.writer.write(octets)
        while (said := await stranger.frame())[0] != CLOSE:
            assert said[0] in (TEXT, PONG)
        assert struct.unpack("!H", said[1][:2]) == (code,)
        await until(lambda: registry.watchers == 0)
        stranger.writer.close()

    async def test_half_a_frame_holds_up_nothing(self, raw, registry):
        stranger = await self.opened(raw, registry)
        stranger.writer.write(frame(TEXT, b"x" * 100)[:-50])
        await put(registry, "db")
        assert (await stranger.frame())[0] == TEXT
        stranger.writer.close()
        await until(lambda: registry.watchers == 0)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            frame,
            st.integers(0, 15),
            st.binary(max_size=200),
            fin=st.booleans(),
            masked=st.booleans(),
            length=st.sampled_from([-1, -1, -1, 0, 1, 125, 126, 65536, 2**63, 2**64 - 1]),
        )
        | st.binary(max_size=50),
        max_size=8,
    )
)
def test_whatever_a_client_sends_its_watch_ends_with_it(loop, raw, registry, caplog, frames):
    async def send():
        stranger = await raw(head() + b"".join(frames))
        assert (await stranger.answer())[0] == 101
        stranger.writer.write_eof()
        await asyncio.wait_for(stranger.reader.read(), GUARD_SECONDS)  # to the end
        stranger.writer.close()
        await until(lambda: registry.watchers == 0)

    loop.run_until_complete(send())
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


class TestSlowReaders:
    @pytest.fixture
    def slow(self, server, registry):
        """Return a function: a client that opens a watch, sends something and reads nothing of 20 MB."""

        async def connect(query: str = "", sends: bytes = b"") -> socket.socket:
            await put_20_mb(registry)
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.setblocking(False)
            await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", server.port))
            made.sendall(head(WATCH + query) + sends)
            await until(lambda: registry.watchers == 1)
            return made

        return connect

    @pytest.mark.parametrize(
        ("query", "sends"),
        [("&timeoutSeconds=1", b""), ("&timeoutSeconds=1", frame(PING, b"x" * 100) * 90)],
        ids=["silent", "pings"],
    )
    async def test_are_cut_off_when_their_time_is_up(self, client, server, registry, slow, query, sends):
        with await slow(query, sends):
            await until(lambda: not registry.watchers)
            text = await (await client.get("/metrics")).text()
            assert "svcdns_api_watches_cut_total 1.0" in text
            await until(lambda: len(server.runner.server.connections) == 1)  # that of `client`

    async def test_who_says_close_and_does_not_read_leaves_nothing(self, server, registry, slow):
        with await slow() as stranger:
            stranger.sendall(frame(CLOSE, b"\x03\xe8"))
            await until(lambda: not registry.watchers and not server.runner.server.connections)

    async def test_nor_does_one_that_has_all_but_a_little(self, server, registry, slow):
        """What waits is too little for sending to be held up."""
        with await slow("&sendInitialEvents=false&resourceVersionMatch=NotOlderThan") as stranger:
            (connection,) = server.runner.server.connections
            number = 0
            while not connection.transport.get_write_buffer_size():
                number += 1
                more = service(f"n{number}")
                more["metadata"]["annotations"] = {"x": "x" * 20_000}
                await registry.put(SERVICE, "shop", more)
                await asyncio.sleep(0)
            stranger.sendall(frame(CLOSE, b"\x03\xe8"))
            await until(lambda: not registry.watchers and not server.runner.server.connections)
