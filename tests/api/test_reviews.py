"""Reviews: what clients are told about themselves and others is what the authority says."""

from collections.abc import Iterator
from typing import Any

import pytest
from toolbox.running_kubectl import Kubectl, find_kubectl
from toolbox.running_server import RunningServer

from svcdns.api.auth.user import User
from svcdns.api.paths import Action
from svcdns.api.review_kinds import REVIEWS
from svcdns.objects.errors import StatusError

AUTHORIZATION = "/apis/authorization.k8s.io/v1"
AUTHENTICATION = "/apis/authentication.k8s.io/v1"
READ = ("get", "list", "watch")


class Shopkeepers:
    """`ann` may do everything, `bob` may read in the namespace shop, whoever they claim to be by a header."""

    def user(self, request: Any) -> User:
        name = request.headers.get("X-User")
        if not name:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        return User(name, f"uid-of-{name}", ("system:authenticated", "keepers"))

    def allowed(self, user: User, action: Action) -> tuple[bool, str]:
        verb, group, resource, subresource, namespace, name = action
        if user.username == "ann" or "owners" in user.groups:
            return True, "ann owns the shop"
        if group == "authorization.k8s.io" and resource.startswith("self"):
            return True, ""
        where = name if resource == "namespaces" and not namespace else namespace
        allowed = user.username == "bob" and where == "shop" and verb in READ and subresource == ""
        return allowed, "" if allowed else f"{user.username} may not {verb} {resource}"

    def allowed_somewhere(self, user: User, action: Action) -> tuple[bool, str]:
        return self.allowed(user, action._replace(namespace="shop"))


@pytest.fixture
def options() -> dict[str, Any]:
    return {"authority": Shopkeepers()}


async def post(client, path: str, spec: Any = None, user: str = "bob", status: int = 201, **more: Any) -> Any:
    body = more if spec is None else {"spec": spec, **more}
    answer = await client.post(path, json=body, headers={"X-User": user})
    found = await answer.json()
    assert answer.status == status, found
    return found


async def may(client, user: str = "bob", **attributes: str) -> dict[str, Any]:
    path = f"{AUTHORIZATION}/selfsubjectaccessreviews"
    found = await post(client, path, {"resourceAttributes": attributes}, user)
    assert found["kind"] == "SelfSubjectAccessReview"
    assert found["spec"]["resourceAttributes"] == attributes
    status: dict[str, Any] = found["status"]
    return status


async def test_whoami(client) -> None:
    found = await post(client, f"{AUTHENTICATION}/selfsubjectreviews")
    assert found["kind"] == "SelfSubjectReview"
    assert found["status"] == {
        "userInfo": {"username": "bob", "uid": "uid-of-bob", "groups": ["system:authenticated", "keepers"]}
    }


async def test_who_does_not_say_is_refused(client) -> None:
    answer = await client.post(f"{AUTHENTICATION}/selfsubjectreviews", json={})
    assert answer.status == 401


async def test_own_access(client) -> None:
    assert await may(client, verb="get", resource="pods", namespace="shop") == {"allowed": True}
    assert await may(client, verb="create", resource="pods", namespace="shop") == {
        "allowed": False,
        "reason": "bob may not create pods",
    }
    assert not (await may(client, verb="get", resource="pods", namespace="other"))["allowed"]
    assert not (await may(client, verb="get", resource="pods"))["allowed"], "in all namespaces"
    assert not (await may(client, verb="get", resource="pods", subresource="status", namespace="shop"))[
        "allowed"
    ]
    assert (await may(client, "ann", verb="create", resource="pods"))["allowed"]


async def test_cluster_scoped_objects_are_in_no_namespace(client) -> None:
    """kubectl sends the namespace of its context with every question."""
    assert (await may(client, verb="get", resource="namespaces", name="shop", namespace="x"))["allowed"]
    assert not (await may(client, verb="get", resource="namespaces", name="x", namespace="shop"))["allowed"]


async def test_a_star_means_all(client) -> None:
    assert (await may(client, "ann", verb="*", group="*", resource="*"))["allowed"]
    assert not (await may(client, verb="*", resource="pods", namespace="shop"))["allowed"]
    assert (await may(client, verb="get", resource="*", namespace="shop", name="shop"))["allowed"]
    assert not (await may(client, verb="list", group="*", resource="*", namespace="shop"))["allowed"]


async def test_what_does_not_exist_is_for_the_authority_to_say(client) -> None:
    assert (await may(client, "ann", verb="fly", group="apps", resource="kites"))["allowed"]
    assert not (await may(client, verb="fly", group="apps", resource="kites"))["allowed"]


@pytest.mark.parametrize(
    ("path", "verb", "user", "allowed"),
    [
        ("/healthz", "get", "bob", True),
        ("/apis/discovery.k8s.io", "get", "bob", True),
        ("/metrics", "get", "bob", False),
        ("/metrics", "get", "ann", True),
        ("/svcdns/v1/explain", "get", "bob", False),
        ("/svcdns/v1/explain", "get", "ann", True),
        ("/healthz", "post", "ann", False),
        ("/nope", "get", "ann", False),
        ("/cache", "delete", "ann", True),
        ("/cache/example.com", "delete", "ann", True),
        ("/cache", "delete", "bob", False),
        ("/cache", "get", "ann", False),
        ("/resolv.conf", "get", "bob", True),
        ("/svcdns/v1/wait", "head", "bob", True),
        ("/svcdns/v1/heartbeats", "post", "ann", True),
        ("/svcdns/v1/heartbeats", "get", "ann", False),
        ("/svcdns/v1/heartbeats", "post", "bob", False),
        ("/svcdns/v1/proxies/here", "post", "ann", True),
        ("/svcdns/v1/proxies/here", "post", "bob", False),
        ("/svcdns/v1/proxies/here", "get", "ann", False),
    ],
)
async def test_paths_without_objects(client, path: str, verb: str, user: str, allowed: bool) -> None:
    spec = {"nonResourceAttributes": {"path": path, "verb": verb}}
    found = await post(client, f"{AUTHORIZATION}/selfsubjectaccessreviews", spec, user)
    assert found["status"]["allowed"] is allowed


async def test_own_rules(client) -> None:
    found = await post(client, f"{AUTHORIZATION}/selfsubjectrulesreviews", {"namespace": "shop"})
    rules = {
        (rule["apiGroups"][0], resource): rule["verbs"]
        for rule in found["status"]["resourceRules"]
        for resource in rule["resources"]
    }
    assert rules["", "pods"] == list(READ)
    assert rules["discovery.k8s.io", "endpointslices"] == list(READ)
    assert ("", "pods/status") not in rules
    assert ("", "namespaces") not in rules, "bob may see one of them, not list them"
    assert found["status"]["incomplete"] is False
    (paths,) = found["status"]["nonResourceRules"]
    assert paths["verbs"] == ["get"]
    assert "/healthz" in paths["nonResourceURLs"]
    assert "/metrics" not in paths["nonResourceURLs"]


async def test_rules_need_a_namespace(client) -> None:
    found = await post(client, f"{AUTHORIZATION}/selfsubjectrulesreviews", {}, status=400)
    assert "spec.namespace" in found["message"]


async def test_access_of_others(client) -> None:
    path = f"{AUTHORIZATION}/subjectaccessreviews"
    spec = {"user": "bob", "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "shop"}}
    assert (await post(client, path, spec, "ann"))["status"]["allowed"]
    spec["user"] = "eve"
    assert not (await post(client, path, spec, "ann"))["status"]["allowed"]
    spec = {**spec, "user": "", "groups": ["owners"]}
    assert (await post(client, path, spec, "ann"))["status"]["allowed"]


async def test_access_of_others_is_not_everybodys_business(client) -> None:
    spec = {"user": "ann", "resourceAttributes": {"verb": "list", "resource": "pods"}}
    found = await post(client, f"{AUTHORIZATION}/subjectaccessreviews", spec, "bob", 403)
    assert found["reason"] == "Forbidden"
    assert "subjectaccessreviews.authorization.k8s.io is forbidden" in found["message"]


@pytest.mark.parametrize(
    ("resource", "spec", "field"),
    [
        ("selfsubjectaccessreviews", {}, "spec.resourceAttributes"),
        (
            "selfsubjectaccessreviews",
            {"resourceAttributes": {}, "nonResourceAttributes": {}},
            "spec.resourceAttributes",
        ),
        ("subjectaccessreviews", {"resourceAttributes": {}}, "spec.user"),
        ("selfsubjectaccessreviews", None, "spec"),
        ("selfsubjectrulesreviews", None, "spec"),
    ],
)
async def test_what_means_nothing_is_invalid(client, resource: str, spec: Any, field: str) -> None:
    found = await post(client, f"{AUTHORIZATION}/{resource}", spec, "ann", 422)
    assert [cause["field"] for cause in found["details"]["causes"]] == [field]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"spec": "x"}, 'spec: "x" is not of type "object"'),
        ({"spec": {"resourceAttributes": {"verb": 1}}}, "spec.resourceAttributes.verb"),
        ({"kind": "Pod"}, "Pod"),
        ([], "an object is expected"),
    ],
)
async def test_wrong_types_are_told(client, body: Any, text: str) -> None:
    answer = await client.post(
        f"{AUTHORIZATION}/selfsubjectaccessreviews", json=body, headers={"X-User": "bob"}
    )
    assert answer.status == 400
    assert text in (await answer.json())["message"]


async def test_unknown_fields(client) -> None:
    path = f"{AUTHORIZATION}/selfsubjectaccessreviews"
    spec = {"resourceAttributes": {"verb": "get", "resource": "pods", "colour": "red"}}
    found = await post(client, path + "?fieldValidation=Strict", spec, status=400)
    assert 'unknown field "spec.resourceAttributes.colour"' in found["message"]
    answer = await client.post(path, json={"spec": spec}, headers={"X-User": "bob"})
    assert answer.status == 201
    assert "colour" in answer.headers["Warning"]
    assert "colour" not in (await answer.json())["spec"]["resourceAttributes"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("kind", REVIEWS, ids=lambda kind: kind.name)
async def test_reviews_can_only_be_created(client, method: str, kind: Any) -> None:
    path = f"/apis/{kind.api_version}/{kind.plural}"
    answer = await client.request(method, path, headers={"X-User": "ann"})
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_discovery_in_both_forms(client) -> None:
    headers = {"X-User": "bob"}
    groups = (await (await client.get("/apis", headers=headers)).json())["groups"]
    assert {"authentication.k8s.io", "authorization.k8s.io"} <= {group["name"] for group in groups}
    found = await (await client.get(AUTHORIZATION, headers=headers)).json()
    by_name = {entry["name"]: entry for entry in found["resources"]}
    assert by_name["selfsubjectaccessreviews"] == {
        "name": "selfsubjectaccessreviews",
        "singularName": "selfsubjectaccessreview",
        "namespaced": False,
        "kind": "SelfSubjectAccessReview",
        "verbs": ["create"],
    }
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    answer = await client.get("/apis", headers={**headers, "Accept": accept})
    items = {item["metadata"]["name"]: item for item in (await answer.json())["items"]}
    resources = items["authentication.k8s.io"]["versions"][0]["resources"]
    assert [(entry["resource"], entry["verbs"]) for entry in resources] == [
        ("selfsubjectreviews", ["create"])
    ]


async def test_schema_is_published(client) -> None:
    answer = await client.get(f"/openapi/v3{AUTHORIZATION}", headers={"X-User": "bob"})
    document = await answer.json()
    assert list(document["paths"][f"{AUTHORIZATION}/subjectaccessreviews"]) == ["post"]
    assert "io.k8s.api.authorization.v1.SubjectAccessReview" in document["components"]["schemas"]


# The real kubectl, which sends reviews as protobuf


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory, need: Any) -> Iterator[Kubectl]:
    if not find_kubectl():
        need("kubectl of the dev extra")
    with RunningServer(workers=1) as running:
        yield Kubectl(running.api, tmp_path_factory.mktemp("kubectl"))


def test_kubectl_auth_whoami(kubectl: Kubectl) -> None:
    lines = kubectl("auth", "whoami").splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["ATTRIBUTE", "VALUE"],
        ["Username", "system:anonymous"],
        ["Groups", "[system:unauthenticated]"],
    ]


def test_kubectl_auth_can_i(kubectl: Kubectl) -> None:
    for question in (
        ("post", "/svcdns/v1/heartbeats"),
        ("create", "pods"),
        ("get", "/healthz"),
        ("*", "*"),
        ("patch", "pods", "--subresource=status"),
    ):
        assert kubectl("auth", "can-i", *question) == "yes\n"
    ended = kubectl.run("auth", "can-i", "get", "/nope")
    assert (ended.returncode, ended.stdout.split()[0]) == (1, "no")


def test_kubectl_auth_can_i_list(kubectl: Kubectl) -> None:
    lines = kubectl("auth", "can-i", "--list").splitlines()
    assert lines[0].split("  ")[0] == "Resources"
    rules = {line.split()[0]: line[line.rindex("[") :] for line in lines[1:] if line[0] != " "}
    assert rules["pods"] == "[create delete deletecollection get list patch update watch]"
    assert rules["endpoints"] == rules["pods"]
    assert rules["services/status"] == "[get patch update]"
    assert rules["selfsubjectreviews.authentication.k8s.io"] == "[create]"
