"""Who may do what over HTTP: 401 and 403 by credentials, role and namespace, and what is told to whom."""

import asyncio
import json

import pytest
from api.users import USERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS

from svcdns.api.auth.authority import ConfiguredAuthority
from svcdns.api.auth.token_file import add
from svcdns.api.auth.token_lines import made, new_token
from svcdns.config.sections import ApiConfig
from svcdns.objects.kinds import SERVICE

SHOP = "/api/v1/namespaces/shop/services"
BANK = "/api/v1/namespaces/bank/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"
CORE_EVENTS = "/api/v1/namespaces/shop/events"
ALL = set(USERS)
HERE = "system:node:here"
WIDE = {"viewer", "proxy", HERE, "editor", "admin"}


@pytest.fixture
def config(tokens):
    return ApiConfig(tokens=tokens[0])


@pytest.fixture
def options(config):
    return {"authority": ConfiguredAuthority(config)}


NEW = service("new")

MATRIX = [
    ("GET", SHOP, ALL),
    ("GET", f"{SHOP}/web", ALL),
    ("HEAD", f"{SHOP}/web", ALL),
    ("GET", f"{SHOP}/web/status", ALL),
    ("GET", "/api/v1/services", WIDE),
    ("GET", f"{BANK}/web", WIDE),
    ("GET", BANK, WIDE),
    ("POST", SHOP, {"editor", "admin", "shop-editor", "shop-admin"}),
    ("PUT", f"{SHOP}/web", {"editor", "admin", "shop-editor", "shop-admin"}),
    ("PATCH", f"{SHOP}/web", {"editor", "admin", "shop-editor", "shop-admin"}),
    ("PATCH", f"{SHOP}/web/status", {"editor", "admin", "shop-editor", "shop-admin"}),
    ("DELETE", f"{SHOP}/web", {"editor", "admin", "shop-editor", "shop-admin"}),
    ("DELETE", SHOP, {"editor", "admin", "shop-editor", "shop-admin"}),
    ("POST", SLICES, {"editor", "admin", "shop-editor", "shop-admin"}),
    ("POST", BANK, {"editor", "admin"}),
    ("DELETE", f"{BANK}/web", {"editor", "admin"}),
    ("GET", "/api/v1/nodes", WIDE),
    ("GET", "/api/v1/nodes/here", WIDE),
    ("POST", "/api/v1/nodes", {"proxy", HERE, "admin"}),
    ("PATCH", "/api/v1/nodes/other/status", {"proxy", "admin"}),
    ("PATCH", "/api/v1/nodes/here/status", {"proxy", HERE, "admin"}),
    ("DELETE", "/api/v1/nodes/here", {"admin"}),
    ("PATCH", "/api/v1/namespaces/kube-node-lease", {"proxy", HERE, "admin"}),
    ("DELETE", "/api/v1/namespaces/kube-node-lease", {"admin"}),
    ("PATCH", "/api/v1/namespaces/other", {"admin"}),
    ("GET", "/apis/networking.k8s.io/v1/servicecidrs", WIDE),
    ("GET", "/apis/networking.k8s.io/v1/ipaddresses/10.96.0.7", WIDE),
    ("GET", LEASES, ALL),
    ("POST", LEASES, {"editor", "admin", "shop-editor", "shop-admin"}),
    ("PUT", f"{LEASES}/leader", {"editor", "admin", "shop-editor", "shop-admin"}),
    ("GET", EVENTS, ALL),
    ("POST", EVENTS, {"proxy", HERE, "editor", "admin", "shop-editor", "shop-admin"}),
    ("POST", CORE_EVENTS, {"proxy", HERE, "editor", "admin", "shop-editor", "shop-admin"}),
    ("PATCH", f"{CORE_EVENTS}/some", {"proxy", HERE, "editor", "admin", "shop-editor", "shop-admin"}),
    ("DELETE", f"{CORE_EVENTS}/some", {"editor", "admin", "shop-editor", "shop-admin"}),
    ("GET", "/api/v1/namespaces", WIDE),
    ("GET", "/api/v1/namespaces/shop", ALL),
    ("GET", "/api/v1/namespaces/bank", WIDE),
    ("GET", "/api/v1/namespaces?fieldSelector=metadata.name%3Dshop", ALL),
    ("GET", "/api/v1/namespaces?fieldSelector=metadata.name%3Dbank", WIDE),
    ("GET", "/api/v1/namespaces?fieldSelector=metadata.name!%3Dshop", WIDE),
    ("GET", "/api/v1/namespaces?fieldSelector=nonsense", WIDE),
    ("POST", "/api/v1/namespaces", {"admin"}),
    ("PATCH", "/api/v1/namespaces/shop", {"admin", "shop-admin"}),
    ("PATCH", "/api/v1/namespaces/shop/status", {"admin", "shop-admin"}),
    ("PATCH", "/api/v1/namespaces/bank", {"admin"}),
    ("DELETE", "/api/v1/namespaces/shop", {"admin", "shop-admin"}),
    ("GET", "/metrics", WIDE),
    ("GET", "/svcdns/v1/explain?name=web", WIDE),
    ("GET", "/svcdns/v1/status", WIDE),
    ("GET", "/svcdns/v1/stats", WIDE),
    ("GET", "/svcdns/v1/queries?follow=1", WIDE),
    ("POST", "/svcdns/v1/proxies/a", {"proxy", "editor", "admin"}),
    ("POST", "/svcdns/v1/proxies/here", {"proxy", HERE, "editor", "admin"}),
    ("GET", "/svcdns/v1/wait", ALL),
    ("DELETE", "/cache", {"admin"}),
    ("DELETE", "/cache/www.example.org", {"admin"}),
    ("GET", "/cache", {"admin"}),
    ("GET", "/version", ALL),
    ("GET", "/resolv.conf", ALL),
    ("GET", "/", ALL),
    ("GET", "/api", ALL),
    ("GET", "/apis/discovery.k8s.io/v1", ALL),
    ("GET", "/openapi/v3", ALL),
    ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", ALL),
]


@pytest.mark.parametrize(("method", "path", "may"), MATRIX)
async def test_what_each_role_may_do(client, tokens, registry, method, path, may):
    for user in [*USERS, None]:
        token = tokens[1].get(user)
        headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        registry.calls.clear()
        async with client.request(method, path, data=b"{}", headers=headers) as answer:
            text = await answer.text()
            if user is None:
                assert answer.status == 401, text
            elif user in may:
                assert answer.status not in (401, 403), (user, text)
            else:
                assert answer.status == 403, (user, text)
            if answer.status in (401, 403):
                assert not registry.calls


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/livez/"])
async def test_probes_need_no_credentials(client, path):
    assert (await client.get(path)).status == 200


@pytest.mark.parametrize(
    ("user", "method", "path", "message"),
    [
        (
            "shop-viewer",
            "DELETE",
            f"{BANK}/x",
            'services "x" is forbidden: User "shop-viewer" cannot delete resource "services" '
            'in API group "" in the namespace "bank"',
        ),
        (
            "shop-viewer",
            "POST",
            SLICES,
            'endpointslices.discovery.k8s.io is forbidden: User "shop-viewer" cannot create resource '
            '"endpointslices" in API group "discovery.k8s.io" in the namespace "shop"',
        ),
        (
            "shop-viewer",
            "GET",
            "/api/v1/pods?watch=1",
            'pods is forbidden: User "shop-viewer" cannot watch resource "pods" '
            'in API group "" at the cluster scope',
        ),
        (
            "viewer",
            "PATCH",
            f"{SHOP}/web/status",
            'services "web" is forbidden: User "viewer" cannot patch resource "services/status" '
            'in API group "" in the namespace "shop"',
        ),
        (
            "shop-editor",
            "DELETE",
            "/api/v1/namespaces/shop",
            'namespaces "shop" is forbidden: User "shop-editor" cannot delete resource "namespaces" '
            'in API group "" at the cluster scope',
        ),
        ("shop-viewer", "GET", "/metrics", 'forbidden: User "shop-viewer" cannot get path "/metrics"'),
        ("shop-admin", "DELETE", "/cache/x", 'forbidden: User "shop-admin" cannot delete path "/cache/x"'),
    ],
)
async def test_a_refusal_is_in_kubernetes_words(ask, user, method, path, message):
    code, status = await ask(user, method, path)
    assert (code, status["reason"], status["message"]) == (403, "Forbidden", message)


async def test_a_refusal_reads_the_same_for_what_is_there_and_what_is_not(ask, registry):
    await registry.put(SERVICE, "bank", service("there"))
    answers = [await ask("shop-editor", "GET", f"{BANK}/{name}") for name in ("there", "gone")]
    texts = [json.dumps(answer).replace("there", "NAME").replace("gone", "NAME") for answer in answers]
    assert texts[0] == texts[1]


async def test_nobody_learns_which_paths_there_are(ask):
    answers = [await ask(None, "GET", path) for path in (SHOP, "/api", "/nosuch", "/metrics", f"{SHOP}/gone")]
    assert {code for code, _ in answers} == {401}
    assert len({json.dumps(status) for _, status in answers}) == 1


BAD_HEADERS = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    "bearer svcdns_" + "A" * 43,
    "Basic YWRtaW46YWRtaW4=",
    "Digest username=x",
    "Bearer a b",
    "Bearer ünïcode",
    "Bearer " + "x" * 4000,
    "Negotiate " + "x" * 4000,
]


@pytest.mark.parametrize("header", BAD_HEADERS)
async def test_what_is_no_good_token_is_refused(server, header):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {SHOP} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), GUARD_SECONDS)
    writer.close()
    assert head.startswith(b"HTTP/1.1 401 "), head
    assert b'WWW-Authenticate: Bearer realm="svcdns"' in head


async def test_a_good_token_is_good_in_any_usual_spelling(client, tokens):
    token = tokens[1]["viewer"]
    for header in (f"Bearer {token}", f"bearer {token}", f"BEARER   {token} "):
        assert (await client.get(SHOP, headers={"Authorization": header})).status == 200
    for header in (
        f"Bearer {token}x",
        f"Bearer {token[:-1]}",
        f"Bearer  {token} x",
        token,
        f"Bearer {token.upper()}",
    ):
        assert (await client.get(SHOP, headers={"Authorization": header})).status == 401


async def test_two_authorization_headers_are_refused(client, tokens):
    headers = [("Authorization", f"Bearer {tokens[1][user]}") for user in ("viewer", "admin")]
    assert (await client.get(SHOP, headers=headers)).status == 401


async def test_a_huge_header_is_refused_without_harm(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"x" * 100_000 + b"\r\n\r\n")
    assert b" 400 " in await asyncio.wait_for(reader.readline(), GUARD_SECONDS)
    writer.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    header=st.binary(max_size=80)
    | st.tuples(st.sampled_from([b"Bearer ", b"bearer\t", b"Basic "]), st.binary(max_size=80)).map(b"".join),
    path=st.sampled_from(
        [SHOP, "/", "/metrics", "/nosuch", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]
    ),
    method=st.sampled_from(["GET", "POST", "PATCH", "OPTIONS", "TRACE"]),
)
def test_no_authorization_header_lets_anybody_in_or_breaks_the_server(loop, server, header, path, method):
    async def send():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ".encode()
        writer.write(head + header + b"\r\n\r\n")
        line = await asyncio.wait_for(reader.readline(), GUARD_SECONDS)
        writer.close()
        return int(line.split()[1])

    assert loop.run_until_complete(send()) in (400, 401)


async def test_a_revoked_token_is_refused_at_once_and_a_new_one_is_good_at_once(client, tokens):
    path, texts = tokens
    headers = {"Authorization": f"Bearer {texts['viewer']}"}
    assert (await client.get(SHOP, headers=headers)).status == 200
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if " viewer " not in line))
    assert (await client.get(SHOP, headers=headers)).status == 401
    token = new_token()
    add(path, made(token, "viewer", "view", ["bank"]))
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.get(SHOP, headers=headers)).status == 403
    assert (await client.get(BANK, headers=headers)).status == 200


async def test_methods_that_mean_nothing_are_405_for_those_who_are_somebody(ask):
    assert (await ask("viewer", "TRACE", SHOP))[0] == 405
    assert (await ask(None, "TRACE", SHOP))[0] == 401


async def test_nobody_acts_in_the_name_of_another(ask):
    code, status = await ask("admin", "GET", SHOP, **{"Impersonate-User": "ci"})
    assert code == 403
    expected = (
        'users "ci" is forbidden: User "admin" cannot impersonate resource "users" in API group "" at the'
    )
    assert status["message"].startswith(expected)


async def test_reviews_tell_what_admission_does(ask):
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    async def can(user, **attributes):
        _, review = await ask(user, "POST", path, {"spec": {"resourceAttributes": attributes}})
        return review["status"]["allowed"]

    assert await can("shop-editor", verb="create", resource="services", namespace="shop")
    assert not await can("shop-editor", verb="create", resource="services", namespace="bank")
    assert not await can("shop-editor", verb="list", resource="services")
    assert await can("shop-editor", verb="get", resource="namespaces", name="shop")
    assert not await can("shop-editor", verb="delete", resource="namespaces", name="shop")
    assert await can("admin", verb="*", resource="*", group="*")
    assert not await can("editor", verb="*", resource="*", group="*")
    assert not await can("editor", verb="create", resource="secrets", namespace="shop")


async def test_only_who_may_do_everything_asks_about_others(ask):
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    asked = {"verb": "create", "resource": "pods", "namespace": "shop"}
    spec = {"spec": {"user": "shop-editor", "resourceAttributes": asked}}
    code, review = await ask("admin", "POST", path, spec)
    assert (code, review["status"]["allowed"]) == (201, True)
    for user in ALL - {"admin"}:
        assert (await ask(user, "POST", path, spec))[0] == 403


# The audit log


async def test_each_write_is_one_line(ask, audited, caplog, tokens):
    await ask("editor", "POST", SHOP, NEW)
    await ask("editor", "DELETE", f"{SHOP}/new")
    await ask("shop-viewer", "DELETE", f"{SHOP}/web")
    await ask("shop-editor", "POST", f"{SHOP}?dryRun=All", NEW)
    await ask(None, "PUT", f"{SHOP}/web/status", NEW)
    entries = audited()
    assert all(entry.pop("time").endswith("Z") and entry.pop("client") == "127.0.0.1" for entry in entries)
    in_shop = {"namespace": "shop", "resource": "services"}
    assert entries == [
        {"user": "editor", "verb": "create", "name": "new", "code": 201, **in_shop},
        {"user": "editor", "verb": "delete", "name": "new", "code": 200, **in_shop},
        {"user": "shop-viewer", "verb": "delete", "name": "web", "code": 403, **in_shop},
        {"user": "shop-editor", "verb": "create", "name": "new", "code": 201, "dryRun": True, **in_shop},
        {"user": "", "verb": "update", "name": "web", "code": 401, **in_shop, "resource": "services/status"},
    ]
    assert not any(token in caplog.text for token in tokens[1].values())


async def test_what_writes_nothing_leaves_no_line(ask, audited):
    await ask("editor", "GET", SHOP)
    await ask("editor", "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    await ask("editor", "POST", "/nosuch", {})
    assert not audited()


async def test_no_name_breaks_the_line(ask, audited):
    await ask("editor", "DELETE", f"{SHOP}/a%7B%22user%22:%22x%22%7D%5C%C2%85")
    await ask("editor", "DELETE", f"{SHOP}/{'n' * 2000}")
    first, second = audited()
    assert first["name"] == 'a{"user":"x"}\\\x85'
    assert second["name"] == "n" * 300
