"""Who may do what without a token: by a client certificate, and where nobody is asked who they are."""

import asyncio

import pytest
from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS

from svcdns.api.auth.authority import ConfiguredAuthority
from svcdns.config.sections import ApiConfig, Grant
from svcdns.objects.kinds import SERVICE

SHOP = "/api/v1/namespaces/shop/services"
NEW = service("new")


@pytest.fixture
def config(tokens):
    return ApiConfig(tokens=tokens[0])


@pytest.fixture
def options(config):
    return {"authority": ConfiguredAuthority(config)}


def peer(client, monkeypatch, **subject):
    """Let every request come with a certificate of this subject; how it gets there is a test of TLS."""
    names = {"CN": "commonName", "O": "organizationName", "OU": "organizationalUnitName"}
    pairs = [(names[key], value) for key, values in subject.items() for value in values]
    certificate = {"subject": tuple((pair,) for pair in pairs)}
    whole = asyncio.Transport.get_extra_info

    def get_extra_info(self, name, default=None):
        return certificate if name == "peercert" else whole(self, name, default)

    import asyncio.selector_events as events

    monkeypatch.setattr(events._SelectorSocketTransport, "get_extra_info", get_extra_info)


GRANTS = (
    Grant(user="alice", role="edit", namespaces=("shop",)),
    Grant(group="watchers", role="view"),
    Grant(group="system:authenticated", role="view", namespaces=("lobby",)),
)


@pytest.mark.parametrize(
    ("subject", "reads_shop", "writes_shop", "reads_all"),
    [
        ({"CN": ["alice"]}, 200, 201, 403),
        ({"CN": ["bob"]}, 403, 403, 403),
        ({"CN": ["bob"], "O": ["watchers"]}, 200, 403, 200),
        ({"CN": ["alice"], "O": ["x", "watchers"]}, 200, 201, 200),
        ({"CN": ["bob"], "O": ["alice"]}, 403, 403, 403),
        ({"CN": ["watchers"]}, 403, 403, 403),
        ({"CN": ["bob"], "O": ["svcdns:admins"]}, 200, 201, 200),
        ({"CN": ["svcdns:admins"]}, 403, 403, 403),
        ({"CN": ["bob"], "OU": ["svcdns:admins"]}, 403, 403, 403),
        ({"CN": ["Alice"]}, 403, 403, 403),
        ({"O": ["svcdns:admins"]}, 401, 401, 401),
        ({"CN": [""], "O": ["svcdns:admins"]}, 401, 401, 401),
        ({}, 401, 401, 401),
    ],
)
class TestCertificates:
    @pytest.fixture
    def config(self, tokens, tmp_path):
        return ApiConfig(tokens=tokens[0], client_ca=tmp_path / "ca.crt", grant=GRANTS)

    async def test_its_subject_says_who_it_is(
        self, client, monkeypatch, subject, reads_shop, writes_shop, reads_all
    ):
        peer(client, monkeypatch, **subject)
        assert (await client.get(SHOP)).status == reads_shop
        assert (await client.post(SHOP, json=NEW)).status == writes_shop
        assert (await client.get("/api/v1/services")).status == reads_all
        lobby = (await client.get("/api/v1/namespaces/lobby/pods")).status
        assert lobby == (401 if reads_all == 401 else 200)

    async def test_a_token_beside_it_says_it_instead(
        self, client, monkeypatch, tokens, subject, reads_shop, writes_shop, reads_all
    ):
        peer(client, monkeypatch, **subject)
        headers = {"Authorization": f"Bearer {tokens[1]['viewer']}"}
        assert (await client.get("/api/v1/services", headers=headers)).status == 200
        assert (await client.post(SHOP, json=NEW, headers=headers)).status == 403
        headers = {"Authorization": "Bearer wrong"}
        assert (await client.get(SHOP, headers=headers)).status == 401


class TestCertificatesThatNobodyAskedFor:
    async def test_they_do_not_count(self, client, monkeypatch):
        peer(client, monkeypatch, CN=["x"], O=["svcdns:admins"])
        assert (await client.get(SHOP)).status == 401


class TestTokensThatNobodyAskedFor:
    @pytest.fixture
    def config(self, tmp_path):
        return ApiConfig(client_ca=tmp_path / "ca.crt")

    async def test_they_do_not_count(self, ask):
        assert (await ask("admin", "GET", SHOP))[0] == 401


# An API that asks nobody who they are


class TestWithoutAuthentication:
    @pytest.fixture
    def options(self):
        return {"names": frozenset({"svcdns.example.org"})}

    @pytest.mark.parametrize(
        ("host", "code"),
        [
            ("127.0.0.1", 200),
            ("127.0.0.1:8053", 200),
            ("[::1]:8053", 200),
            ("[::1]", 200),
            ("192.0.2.7:80", 200),
            ("localhost", 200),
            ("LOCALHOST:8053", 200),
            ("localhost.", 200),
            ("svcdns.example.org:8053", 200),
            ("SVCDNS.example.org.", 200),
            ("evil.example", 403),
            ("evil.example:8053", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example:8053", 403),
            ("x.svcdns.example.org", 403),
            ("127.1:8053", 403),
            ("", 403),
            (":8053", 403),
            ("evil.example:127.0.0.1", 403),
            ("localhost@evil.example", 403),
        ],
    )
    async def test_it_answers_to_its_own_names_only(self, server, host, code):
        for request in (f"GET {SHOP}", f"DELETE {SHOP}/web", "GET /metrics"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.read(), GUARD_SECONDS)
            writer.close()
            assert int(answer.split()[1]) == code, answer
            if code == 403:
                assert b"use an IP address or localhost, or set names in the [api] section" in answer

    async def test_a_client_without_host_header_is_no_browser(self, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET {SHOP} HTTP/1.0\r\n\r\n".encode())
        assert b" 200 " in await asyncio.wait_for(reader.readline(), GUARD_SECONDS)
        writer.close()

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            ("GET /version\r\n\r\n", 505),
            ("GET /version HTTP/0.9\r\n\r\n", 505),
            ("GET /version HTTP/1.1\r\n\r\n", 400),
            ("DELETE /api/v1/namespaces/shop/services/web HTTP/1.1\r\n\r\n", 400),
        ],
    )
    async def test_what_http_does_not_allow(self, server, registry, request_, code):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request_.encode())
        answer = await asyncio.wait_for(reader.readline(), GUARD_SECONDS)
        writer.close()
        assert int(answer.split()[1]) == code, answer
        assert registry.stored(SERVICE, "shop", "web") is not None

    async def test_its_user_is_anonymous(self, client, audited):
        assert (await client.post(SHOP, json=NEW)).status == 201
        assert [entry["user"] for entry in audited()] == ["system:anonymous"]
