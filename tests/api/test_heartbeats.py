"""POST .../pods/NAME/heartbeat and /svcdns/v1/heartbeats: what is counted, refused, and for whom."""

import logging

import pytest
from api.users import USERS
from toolbox.builders import pod

from svcdns.api.auth.authority import ConfiguredAuthority
from svcdns.api.auth.token_file import add
from svcdns.api.auth.token_lines import made, new_token
from svcdns.config.sections import ApiConfig
from svcdns.objects.kinds import POD

PODS = "/api/v1/namespaces/shop/pods"
LIST = "/svcdns/v1/heartbeats"


def beating(name="web-1"):
    found = pod(name, "10.1.0.1")
    found["metadata"]["annotations"] = {"svcdns.io/heartbeat": "30s"}
    return found


@pytest.fixture
def options():
    return {}


async def test_one(client, registry):
    await registry.put(POD, "shop", beating())
    await registry.put(POD, "shop", pod("plain", "10.1.0.2"))
    for body in (b"", b"anything"):
        async with client.post(f"{PODS}/web-1/heartbeat", data=body) as answer:
            assert (answer.status, await answer.read()) == (204, b"")
    async with client.post(f"{PODS}/nobody/heartbeat") as answer:
        assert answer.status == 404, "register it again"
        assert (await answer.json())["reason"] == "NotFound"
    async with client.post(f"{PODS}/plain/heartbeat") as answer:
        assert answer.status == 409
        assert "svcdns.io/heartbeat" in (await answer.json())["message"]
    async with client.get(f"{PODS}/web-1/heartbeat") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_many(client, registry):
    await registry.put(POD, "shop", beating())
    await registry.put(POD, "shop", pod("plain", "10.1.0.2"))
    names = ["web-1", "nobody", "plain", "web-1"]
    async with client.post(LIST, json=[{"namespace": "shop", "name": name} for name in names]) as answer:
        found = await answer.json()
        assert (answer.status, found["counted"]) == (200, 1)
        assert [(one["name"], one["code"]) for one in found["refused"]] == [("nobody", 404), ("plain", 409)]
    async with client.post(LIST, json=[]) as answer:
        assert await answer.json() == {"counted": 0, "refused": []}
    async with client.get(LIST) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b"[1]", 400),
        (b'[{"name": 1}]', 400),
        (b'[{"namespace": "shop"}]', 400),
        (b'[{"name": "a"', 400),
        (b'[{"name": "\xff"}]', 400),
        (b"[" * 100_000, 400),
        (b"[" + b",".join([b'{"name": "a"}'] * 10_001) + b"]", 413),
        (b'[{"name": "' + b"a" * 4000 + b'"}]', 200),
        (b'[{"name": "a\\u0000b"}]', 200),
        (b'[{"name": ""}]', 200),
    ],
)
async def test_a_list_that_is_none(client, body, status):
    async with client.post(LIST, data=body) as answer:
        assert answer.status == status, await answer.text()
        if status == 200:
            assert [one["code"] for one in (await answer.json())["refused"]] == [404]


class TestRights:
    @pytest.fixture
    def options(self, tokens):
        for name, places in (("beater", ("shop",)), ("wide-beater", ())):
            token = new_token()
            add(tokens[0], made(token, name, "heartbeat", places))
            tokens[1][name] = token
        return {"authority": ConfiguredAuthority(ApiConfig(tokens=tokens[0]))}

    async def test_who_may(self, client, registry, tokens, caplog):
        await registry.put(POD, "shop", beating())
        await registry.put(POD, "bank", beating())
        caplog.set_level(logging.INFO, "svcdns.audit")
        for user in (*USERS, "beater", "wide-beater"):
            headers = {"Authorization": f"Bearer {tokens[1][user]}"}
            may = user in ("editor", "admin", "shop-editor", "shop-admin", "beater", "wide-beater")
            wide = user in ("editor", "admin", "wide-beater")
            async with client.post(f"{PODS}/web-1/heartbeat", headers=headers) as answer:
                assert answer.status == (204 if may else 403), user
            for places, allowed in ((["shop"], may), (["shop", "bank"], wide)):
                listed = [{"namespace": place, "name": "web-1"} for place in places]
                async with client.post(LIST, json=listed, headers=headers) as answer:
                    assert answer.status == (200 if allowed else 403), (user, places)
            review = {
                "spec": {
                    "resourceAttributes": {
                        "verb": "update",
                        "resource": "pods",
                        "subresource": "heartbeat",
                        "namespace": "shop",
                    }
                }
            }
            path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            async with client.post(path, json=review, headers=headers) as answer:
                assert (await answer.json())["status"]["allowed"] is may, user
            review = {"spec": {"nonResourceAttributes": {"verb": "post", "path": LIST}}}
            async with client.post(path, json=review, headers=headers) as answer:
                assert (await answer.json())["status"]["allowed"] is may, user
            for place, allowed in (("shop", may), ("bank", wide)):
                at_paths = await self.rules(client, place, headers)
                assert ({"verbs": ["post"], "nonResourceURLs": [LIST]} in at_paths) is allowed, (user, place)
        lines = [record.getMessage() for record in caplog.records if record.name == "svcdns.audit"]
        assert lines and all('"code":403' in line for line in lines), "who counted leaves no line"

    async def rules(self, client, namespace, headers):
        """Return what a user is told of paths without objects."""
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        async with client.post(path, json={"spec": {"namespace": namespace}}, headers=headers) as answer:
            return (await answer.json())["status"]["nonResourceRules"]

    async def test_a_token_for_heartbeats_does_nothing_else(self, client, registry, tokens):
        await registry.put(POD, "shop", beating())
        headers = {"Authorization": f"Bearer {tokens[1]['beater']}"}
        for method, path in (
            ("GET", f"{PODS}/web-1"),
            ("GET", PODS),
            ("PUT", f"{PODS}/web-1"),
            ("PATCH", f"{PODS}/web-1/status"),
            ("DELETE", f"{PODS}/web-1"),
            ("POST", f"{PODS}/web-1/eviction"),
            ("POST", PODS),
            ("GET", "/metrics"),
        ):
            async with client.request(method, path, headers=headers) as answer:
                assert answer.status == 403, (method, path)
