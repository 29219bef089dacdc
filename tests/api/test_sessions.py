"""Logging in at the console: a cookie that only looks, and ends with its token."""

import asyncio
import json
import logging

import pytest
from toolbox.builders import service

from svcdns.api.auth.authority import ConfiguredAuthority
from svcdns.api.auth.sessions import LONGEST, TRIES, Sessions
from svcdns.api.auth.token_file import remove
from svcdns.config.sections import ApiConfig
from svcdns.config.seeing import ConsoleConfig
from svcdns.objects.errors import StatusError

SESSION = "/console/session"
CONSOLE = {"X-Svcdns-Console": "1"}
SERVICES = "/api/v1/namespaces/shop/services"


@pytest.fixture
def options(tokens):
    return {"authority": ConfiguredAuthority(ApiConfig(tokens=tokens[0]), console=ConsoleConfig())}


@pytest.fixture
def log_in(client, tokens):
    """Return a function: the cookie of one of USERS."""

    async def send(user):
        answer = await client.post(SESSION, json={"token": tokens[1][user]})
        assert answer.status == 200, await answer.text()
        assert await answer.json() == {"user": user, "session": True}
        client.session.cookie_jar.clear()
        return answer.headers["Set-Cookie"]

    return send


def cookie(header):
    return {"Cookie": header.partition(";")[0]}


async def test_the_cookie_is_no_token_and_kept_from_scripts_and_other_sites(log_in, tokens):
    said = await log_in("viewer")
    attributes = {word.strip().lower() for word in said.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={int(LONGEST)}"} <= attributes
    assert not any(token in said for token in tokens[1].values())
    assert said != await log_in("viewer")


async def test_it_looks_as_its_token_would(client, log_in):
    viewer, bound = cookie(await log_in("viewer")), cookie(await log_in("shop-viewer"))
    assert (await client.get(SERVICES, headers=CONSOLE | viewer)).status == 200
    assert (await client.get("/svcdns/v1/explain?name=web.shop", headers=CONSOLE | viewer)).status == 200
    assert (await client.get(SERVICES, headers=CONSOLE | bound)).status == 200
    refused = await client.get("/api/v1/services", headers=CONSOLE | bound)
    assert refused.status == 403 and 'User "shop-viewer"' in (await refused.json())["message"]


@pytest.mark.parametrize("path", [SERVICES, "/svcdns/v1/status", "/metrics", "/apis"])
async def test_without_the_header_that_only_its_page_sends_it_is_nobody(client, log_in, path):
    assert (await client.get(path, headers=cookie(await log_in("admin")))).status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", SERVICES),
        ("PUT", f"{SERVICES}/web"),
        ("PATCH", f"{SERVICES}/web"),
        ("DELETE", f"{SERVICES}/web"),
        ("DELETE", "/cache"),
        ("POST", "/svcdns/v1/heartbeats"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ],
)
async def test_it_never_writes(client, log_in, registry, method, path):
    headers = CONSOLE | cookie(await log_in("admin"))
    assert (await client.request(method, path, headers=headers, json=service("x"))).status == 401
    assert registry.calls == []


async def test_it_opens_no_web_socket(client, log_in):
    headers = CONSOLE | cookie(await log_in("admin")) | {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert (await client.get(f"{SERVICES}?watch=1", headers=headers)).status == 401


async def test_a_token_beside_it_counts_instead(client, log_in):
    headers = CONSOLE | cookie(await log_in("admin")) | {"Authorization": "Bearer wrong"}
    assert (await client.get(SERVICES, headers=headers)).status == 401


async def test_a_revoked_token_ends_its_sessions_and_streams(client, log_in, tokens):
    headers = CONSOLE | cookie(await log_in("viewer"))
    stream = await client.get("/svcdns/v1/stream?kinds=services", headers=headers)
    assert json.loads(await stream.content.readline())["type"] == "ADDED"
    remove(tokens[0], "viewer")
    assert (await client.get(SERVICES, headers=headers)).status == 401
    async with asyncio.timeout(60):
        lines = (await stream.content.read()).splitlines()
    last = json.loads(lines[-1])
    assert (last["type"], last["object"]["code"]) == ("ERROR", 401)


async def test_who_logs_out_is_nobody(client, log_in):
    headers = CONSOLE | cookie(await log_in("viewer"))
    left = await client.delete(SESSION, headers=headers)
    assert left.status == 200 and "max-age=0" in left.headers["Set-Cookie"].lower()
    assert (await client.get(SERVICES, headers=headers)).status == 401
    assert (await client.get(SESSION, headers=headers)).status == 401


async def test_it_says_who_that_is(client, log_in, tokens):
    headers = cookie(await log_in("viewer"))
    assert await (await client.get(SESSION, headers=headers)).json() == {"user": "viewer", "session": True}
    bearer = {"Authorization": f"Bearer {tokens[1]['editor']}"}
    assert await (await client.get(SESSION, headers=bearer)).json() == {"user": "editor", "session": False}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"token": 1}', 400),
        (b'{"token": ""}', 401),
        (b'{"token": "svcdns-wrong"}', 401),
        (b'{"token": "%b"}' % (b"x" * 1000), 401),
        (b'{"token": "%b"}' % (b"x" * 10_000), 413),
        (b'{"token": "\xff"}', 400),
    ],
)
async def test_what_is_no_token_gets_no_cookie(client, body, code):
    answer = await client.post(SESSION, data=body, headers={"Content-Type": "application/json"})
    assert answer.status == code
    assert "Set-Cookie" not in answer.headers


async def test_a_form_leads_to_the_plain_page(client, tokens):
    form = {"token": tokens[1]["viewer"]}
    answer = await client.post(SESSION, data=form, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "plain")
    client.session.cookie_jar.clear()
    headers = cookie(answer.headers["Set-Cookie"])
    assert "web" in await (await client.get("/console/plain", headers=headers)).text()
    nobody = await client.get("/console/plain")
    assert nobody.status == 401 and 'name="token"' in await nobody.text()


async def test_who_tries_too_often_waits(client):
    for _ in range(TRIES):
        assert (await client.post(SESSION, json={"token": "wrong"})).status == 401
    refused = await client.post(SESSION, json={"token": "wrong"})
    assert refused.status == 429 and 0 < int(refused.headers["Retry-After"]) <= 60


async def test_a_page_of_elsewhere_neither_logs_in_nor_looks_around(client, tokens, log_in):
    elsewhere = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    login = await client.post(SESSION, json={"token": tokens[1]["viewer"]}, headers=elsewhere)
    assert login.status == 403 and "Set-Cookie" not in login.headers
    headers = CONSOLE | cookie(await log_in("viewer")) | elsewhere
    for path in ("/svcdns/v1/status", "/svcdns/v1/explain?name=web", "/svcdns/v1/stream?kinds=pods"):
        assert (await client.get(path, headers=headers)).status == 403


async def test_logging_in_and_out_leaves_a_line(client, log_in, caplog):
    caplog.set_level(logging.INFO, "svcdns.audit")
    headers = cookie(await log_in("viewer"))
    await client.post(SESSION, json={"token": "wrong"})
    await client.delete(SESSION, headers=headers)
    lines = [json.loads(one.getMessage()) for one in caplog.records if one.name == "svcdns.audit"]
    said = [(line["user"], line["verb"], line["resource"], line["code"]) for line in lines]
    assert said == [
        ("viewer", "create", "session", 200),
        ("", "create", "session", 401),
        ("", "delete", "session", 200),
    ]


class TestOpenApi:
    """Where nobody is asked who they are."""

    @pytest.fixture
    def options(self):
        return {}

    async def test_there_is_no_login(self, client):
        answer = await client.post(SESSION, json={"token": "x"})
        assert await answer.json() == {"user": "system:anonymous", "session": False}
        assert "Set-Cookie" not in answer.headers


def test_a_session_ends_when_nobody_looks_and_in_any_case_after_a_month():
    now = [0]
    sessions = Sessions(100, lambda: now[0])
    said = sessions.begin(b"token")
    for now[0] in (100, 200, 300):
        assert sessions.find(said) == b"token"
    now[0] = 401
    assert sessions.find(said) is None
    said = sessions.begin(b"token")
    while now[0] <= 401 + LONGEST:
        assert sessions.find(said) == b"token"
        now[0] += 100
    assert sessions.find(said) is None


def test_memory_is_bounded_whoever_tries():
    sessions = Sessions(100)
    first, *_ = [sessions.begin(b"token") for _ in range(2000)]
    for number in range(10_000):
        sessions.check_try(f"2001:db8::{number:x}")
    assert sessions.find(first) is None
    assert len(sessions._sessions) <= 1024 and len(sessions._tries) <= 4096
    with pytest.raises(StatusError):
        for _ in range(TRIES + 1):
            sessions.check_try("192.0.2.1")
