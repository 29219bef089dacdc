"""Discovery, version and OpenAPI."""

import pytest

DISCOVERY = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
GROUPS = [
    "authentication.k8s.io",
    "authorization.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "networking.k8s.io",
]
ALL = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


async def json_of(client, path, **headers):
    answer = await client.get(path, headers=headers)
    assert answer.status == 200, path
    return await answer.json()


async def test_version(client):
    found = await json_of(client, "/version")
    assert found["gitVersion"].startswith(f"v{found['major']}.{found['minor']}.")
    assert found["gitVersion"].endswith("+svcdns-1.2.3")
    assert all(isinstance(value, str) for value in found.values())


async def test_legacy_core(client):
    assert (await json_of(client, "/api"))["versions"] == ["v1"]
    found = await json_of(client, "/api/v1")
    assert (found["kind"], found["groupVersion"]) == ("APIResourceList", "v1")
    by_name = {entry["name"]: entry for entry in found["resources"]}
    assert sorted(by_name) == [
        "endpoints", "events", "namespaces", "namespaces/finalize", "namespaces/status", "nodes",
        "nodes/status", "pods", "pods/eviction", "pods/heartbeat", "pods/status", "services",
        "services/status",
    ]  # fmt: skip
    assert by_name["services"] == {
        "name": "services",
        "singularName": "service",
        "namespaced": True,
        "kind": "Service",
        "verbs": ALL,
        "shortNames": ["svc"],
        "categories": ["all"],
    }
    assert by_name["namespaces"]["verbs"] == [verb for verb in ALL if verb != "deletecollection"]
    assert by_name["endpoints"]["verbs"] == ALL
    assert by_name["pods/status"]["verbs"] == ["get", "patch", "update"]


async def test_legacy_groups(client):
    groups = (await json_of(client, "/apis"))["groups"]
    assert sorted(group["name"] for group in groups) == GROUPS
    group = await json_of(client, "/apis/discovery.k8s.io/")
    assert group["preferredVersion"] == {"groupVersion": "discovery.k8s.io/v1", "version": "v1"}
    found = await json_of(client, "/apis/discovery.k8s.io/v1")
    assert [entry["kind"] for entry in found["resources"]] == ["EndpointSlice"]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api", ["endpoints", "events", "namespaces", "nodes", "pods", "services"]),
        ("/apis", ["endpointslices"]),
    ],
)
async def test_aggregated(client, path, names):
    answer = await client.get(path, headers={"Accept": DISCOVERY})
    assert answer.headers["Content-Type"] == (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    )
    found = await answer.json()
    assert (found["kind"], found["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    by_group = {group["metadata"].get("name", ""): group for group in found["items"]}
    assert sorted(by_group) == ([""] if path == "/api" else GROUPS)
    [version] = by_group["" if path == "/api" else "discovery.k8s.io"]["versions"]
    assert [resource["resource"] for resource in version["resources"]] == names
    resource = version["resources"][-1]
    assert resource["scope"] == "Namespaced"
    assert resource["verbs"] == ALL
    if path == "/api":
        assert resource["subresources"][0]["subresource"] == "status"


async def test_aggregated_v2beta1(client):
    accept = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    answer = await client.get("/apis", headers={"Accept": accept})
    assert "v=v2beta1" in answer.headers["Content-Type"]
    assert (await answer.json())["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


async def test_openapi_says_that_the_server_validates(client):
    index = (await json_of(client, "/openapi/v3"))["paths"]
    assert sorted(index) == ["api/v1", *(f"apis/{group}/v1" for group in GROUPS)]
    for short, kind in (
        ("api/v1", "Service"),
        ("api/v1", "Endpoints"),
        ("apis/discovery.k8s.io/v1", "EndpointSlice"),
    ):
        url = index[short]["serverRelativeURL"]
        assert url.startswith(f"/openapi/v3/{short}?hash=")
        found = await json_of(client, url)
        patches = {
            path["patch"]["x-kubernetes-group-version-kind"]["kind"]: path["patch"]["parameters"]
            for path in found["paths"].values()
            if "patch" in path
        }
        assert {"dryRun", "fieldValidation"} <= {parameter["name"] for parameter in patches[kind]}


async def test_views_can_only_be_read(client):
    found = await json_of(client, "/apis/networking.k8s.io/v1")
    verbs = {entry["name"]: entry["verbs"] for entry in found["resources"]}
    assert verbs == {name: ["get", "list", "watch"] for name in ("ipaddresses", "servicecidrs")}


@pytest.mark.parametrize("path", ["api/v1", *(f"apis/{group}/v1" for group in GROUPS)])
async def test_openapi_is_whole(client, path):
    found = await json_of(client, f"/openapi/v3/{path}")
    schemas = found["components"]["schemas"]
    text = str(found)
    referred = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= set(schemas)


async def test_unchanged_documents_are_not_sent_again(client):
    first = await client.get("/openapi/v3")
    again = await client.get("/openapi/v3", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


async def test_the_root_lists_the_paths(client):
    paths = (await json_of(client, "/"))["paths"]
    assert {"/api/v1", "/apis", "/livez", "/metrics", "/openapi/v3", "/version"} <= set(paths)
    for path in paths:
        assert (await client.get(path)).status == 200, path


@pytest.mark.parametrize("sign", ["@", "."])
async def test_openapi_v2_is_empty_in_protobuf(client, sign):
    """What kubectl reads before it sends a List: octets of a message Document without definitions."""
    accept = f"application/com.github.proto-openapi.spec.v2{sign}v1.0+protobuf"
    answer = await client.get("/openapi/v2?timeout=32s", headers={"Accept": accept, "User-Agent": "curl/8"})
    assert answer.status == 200
    assert answer.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    octets = await answer.read()
    assert octets.startswith(b"\x0a\x032.0\x12")
    assert octets[6] == len(octets) - 7


async def test_openapi_v2_is_empty_in_json(client):
    answer = await client.get("/openapi/v2")
    told = await answer.json()
    assert (told["swagger"], told["paths"]) == ("2.0", {})
