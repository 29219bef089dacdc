"""A user who is one node writes the Node and the Lease of its own name, whatever way is tried."""

import pytest

from svcdns.api.auth.authority import ConfiguredAuthority
from svcdns.config.sections import ApiConfig

NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
HERE = "system:node:here"
EVENTS = "/api/v1/namespaces/default/events"
MERGE = {"Content-Type": "application/merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}


def named(name: str, **more: object) -> dict[str, object]:
    return {"metadata": {"name": name}, **more}


@pytest.fixture
def options(tokens):
    return {"authority": ConfiguredAuthority(ApiConfig(tokens=tokens[0]))}


@pytest.fixture
def in_namespace(loop, ask):
    async def make() -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node-lease"}}
        path = "/api/v1/namespaces/kube-node-lease?fieldManager=test"
        assert (await ask(HERE, "PATCH", path, body, **APPLY))[0] == 201

    loop.run_until_complete(make())


async def test_its_own_are_made_and_changed(ask, in_namespace) -> None:
    for path in (NODES, LEASES):
        assert (await ask(HERE, "POST", path, named("here")))[0] == 201
        assert (await ask(HERE, "PATCH", f"{path}/here", {"metadata": {"labels": {"a": "b"}}}, **MERGE))[
            0
        ] == 200
    status = {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}
    assert (await ask(HERE, "PATCH", f"{NODES}/here/status", status, **MERGE))[0] == 200
    event = {"involvedObject": {"kind": "Service", "name": "web", "namespace": "default"}}
    assert (await ask(HERE, "POST", EVENTS, named("web.1", **event)))[0] == 201


@pytest.mark.parametrize("path", [NODES, LEASES])
async def test_anothers_are_not(ask, in_namespace, path: str) -> None:
    assert (await ask("admin", "POST", path, named("other")))[0] == 201
    tries = [
        ("POST", path, named("third"), {}),
        ("POST", path, {"metadata": {"generateName": "here"}}, {}),
        ("POST", path, {"metadata": {}}, {}),
        ("POST", path, {"metadata": "here"}, {}),
        ("POST", path, {"metadata": {"name": ["here"]}}, {}),
        ("POST", path, {}, {}),
        ("POST", f"{path}?dryRun=All", named("third"), {}),
        ("PUT", f"{path}/other", named("other"), {}),
        ("PATCH", f"{path}/other", {"metadata": {"labels": {"a": "b"}}}, MERGE),
        ("PATCH", f"{path}/third?fieldManager=x", named("third"), APPLY),
        ("DELETE", f"{path}/here", None, {}),
    ]
    for method, at, body, headers in tries:
        status, answer = await ask(HERE, method, at, body, **headers)
        assert (status, answer.get("reason")) == (403, "Forbidden"), (method, at, body)
    for user in ("proxy", "admin"):  # a name that is no node's: as ever
        assert (await ask(user, "PATCH", f"{path}/other", {"metadata": {"labels": {"a": user}}}, **MERGE))[
            0
        ] == 200


async def test_the_status_of_another_node_is_not(ask) -> None:
    await ask("admin", "POST", NODES, named("other"))
    status, answer = await ask(HERE, "PATCH", f"{NODES}/other/status", {"status": {}}, **MERGE)
    assert status == 403
    assert 'nodes "other" is forbidden: User "system:node:here" cannot patch' in answer["message"]


async def test_a_name_in_the_body_that_is_not_the_paths_does_not_help(ask) -> None:
    status, _ = await ask(HERE, "PUT", f"{NODES}/other", named("here"))
    assert status == 403


@pytest.mark.parametrize(("user", "here", "other"), [(HERE, True, False), ("proxy", True, True)])
async def test_reviews_say_the_same(ask, user: str, here: bool, other: bool) -> None:
    for name, may in (("here", here), ("other", other)):
        for asked in (
            {"nonResourceAttributes": {"path": f"/svcdns/v1/proxies/{name}", "verb": "post"}},
            {"resourceAttributes": {"verb": "patch", "resource": "nodes", "name": name}},
        ):
            path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            _, answer = await ask(user, "POST", path, {"spec": asked})
            assert answer["status"]["allowed"] is may, (name, asked)
