"""Who may open a watch over WebSocket, and what of a handshake is no good."""

import asyncio

import pytest
from aiohttp import WSServerHandshakeError
from api.web_sockets import SERVICES, WATCH, head, protocol_of
from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS

from svcdns.api.auth.authority import ConfiguredAuthority
from svcdns.config.sections import ApiConfig


class TestHandshakes:
    @pytest.mark.parametrize(
        "changed",
        [
            {"Sec_WebSocket_Version": "12"},
            {"Sec_WebSocket_Version": None},
            {"Sec_WebSocket_Key": None},
            {"Sec_WebSocket_Key": "short"},
            {"Sec_WebSocket_Key": "=" * 24},
        ],
    )
    async def test_bad_ones_are_a_status(self, raw, registry, changed):
        stranger = await raw(head(**changed))
        status, _ = await stranger.answer()
        body = await asyncio.wait_for(stranger.reader.readuntil(b"}"), GUARD_SECONDS)
        assert (status, b'"kind":"Status"' in body) == (400, True)
        assert registry.watchers == 0
        stranger.writer.close()

    @pytest.mark.parametrize(
        "changed", [{"Upgrade": "h2c"}, {"Upgrade": "tcp"}, {"Upgrade": None}, {"Connection": "keep-alive"}]
    )
    async def test_what_asks_for_no_web_socket_gets_lines(self, raw, changed):
        stranger = await raw(head(f"{WATCH}&timeoutSeconds=1", **changed))
        status, answer = await stranger.answer()
        assert status == 200 and b"chunked" in answer
        stranger.writer.close()

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            (SERVICES, 200),
            (f"{SERVICES}/web", 200),
            (f"{SERVICES}/nope", 404),
            ("/version", 200),
            ("/nope", 404),
        ],
    )
    async def test_elsewhere_the_answer_is_plain_and_the_connection_stays(self, raw, path, status):
        stranger = await raw(head(path) + head("/livez", Upgrade=None))
        assert (await stranger.answer())[0] == status
        rest = await asyncio.wait_for(stranger.reader.readuntil(b"\r\n\r\nok"), GUARD_SECONDS)
        assert b"HTTP/1.1 200 OK" in rest
        stranger.writer.close()

    async def test_other_methods_are_answered_plainly(self, client):
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        answer = await client.post(SERVICES, json=service("db"), headers=upgrade)
        assert answer.status == 201


class TestOrigins:
    """A browser shows a page of elsewhere what a WebSocket says: it is refused (RFC 6455, section 10.2)."""

    @pytest.mark.parametrize(
        "origin",
        [
            "http://evil.example",
            "null",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1:1",
            "http://[",
            "x",
        ],
    )
    async def test_a_page_of_elsewhere_opens_none(self, client, registry, origin):
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect(WATCH, origin=origin)
        assert refused.value.status == 403
        assert registry.watchers == 0

    async def test_one_of_two_origins_is_enough_to_be_refused(self, raw, server):
        own = f"127.0.0.1:{server.port}"
        twice = head(Host=own, Origin=f"http://{own}\r\nOrigin: http://evil.example")
        stranger = await raw(twice)
        assert (await stranger.answer())[0] == 403
        stranger.writer.close()

    @pytest.mark.parametrize(
        ("host", "origin"),
        [("127.0.0.1:{}", "http://127.0.0.1:{}"), ("Localhost:{}", "http://localhost:{}"),
         ("[::1]", "http://[::1]"), ("localhost", "https://localhost:443"), ("localhost:80", "http://localhost")],
    )  # fmt: skip
    async def test_the_server_itself_does(self, raw, server, host, origin):
        stranger = await raw(head(Host=host.format(server.port), Origin=origin.format(server.port)))
        assert (await stranger.answer())[0] == 101
        stranger.writer.close()


class TestAccess:
    @pytest.fixture
    def options(self, tokens):
        return {"authority": ConfiguredAuthority(ApiConfig(tokens=tokens[0]))}

    async def test_a_web_socket_is_a_watch_like_any_other(self, client, tokens):
        of_bank = "/api/v1/namespaces/bank/services?watch=1"
        for user, status in ((None, 401), ("shop-viewer", 403), ("viewer", 101)):
            headers = {"Authorization": f"Bearer {tokens[1][user]}"} if user else {}
            try:
                stream = await client.ws_connect(of_bank, headers=headers)
                await stream.close()
                seen = 101
            except WSServerHandshakeError as refused:
                seen = refused.status
            assert seen == status, user

    async def test_a_token_may_be_a_subprotocol_beside_another(self, client, tokens):
        good, other = (protocol_of(token) for token in (tokens[1]["viewer"], "stranger"))
        stream = await client.ws_connect(WATCH, protocols=(good, "v1"))
        assert stream.protocol == "v1"
        await stream.close()
        for offered in (
            (good,),
            (other, "v1"),
            (good, good, "v1"),
            (f"{good}!", "v1"),
            (protocol_of("\xff"), "v1"),
        ):
            with pytest.raises(WSServerHandshakeError) as refused:
                await client.ws_connect(WATCH, protocols=offered)
            assert refused.value.status == 401, offered
        answer = await client.get(SERVICES, headers={"Sec-WebSocket-Protocol": f"{good}, v1"})
        assert answer.status == 401, "only a WebSocket's"
