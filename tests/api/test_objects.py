"""Reading and writing objects over HTTP."""

import asyncio
import json

import pytest
from toolbox.builders import endpoint_slice, pod, service

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, POD, SERVICE

SERVICES = "/api/v1/namespaces/shop/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


async def status_of(answer, code, reason):
    """Assert that an answer is a Status of this code and reason; return it."""
    status = await answer.json()
    assert (answer.status, status["code"], status["reason"]) == (code, code, reason), status
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert answer.content_type == "application/json"
    return status


async def test_an_object_is_read_as_stored(client):
    answer = await client.get(f"{SERVICES}/web")
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert (await answer.json())["spec"]["clusterIP"] == "10.96.0.7"


@pytest.mark.parametrize(
    "path", [f"{SERVICES}/web/", "/api/v1/namespaces/shop/", f"{SERVICES}/", "/version/"]
)
async def test_a_trailing_slash_means_nothing(client, path):
    assert (await client.get(path)).status == 200


async def test_head_is_a_get_without_body(client):
    answer = await client.head(f"{SERVICES}/web")
    assert (answer.status, await answer.read()) == (200, b"")


async def test_a_list_is_the_stored_octets_joined(client, registry):
    await registry.put(SERVICE, "shop", service("api"))
    await registry.put(SERVICE, "other", service("web"))
    found = await (await client.get(SERVICES)).json()
    assert (found["kind"], found["apiVersion"]) == ("ServiceList", "v1")
    assert found["metadata"] == {"resourceVersion": str(registry.revision)}
    assert [item["metadata"]["name"] for item in found["items"]] == ["api", "web"]
    everywhere = await (await client.get("/api/v1/services")).json()
    assert len(everywhere["items"]) == 3


async def test_an_empty_list_has_items(client):
    found = await (await client.get(SLICES.replace("shop", "empty"))).json()
    assert (found["kind"], found["apiVersion"], found["items"]) == (
        "EndpointSliceList",
        "discovery.k8s.io/v1",
        [],
    )


async def test_pages_carry_continue_and_what_remains(client, registry):
    for index in range(3):
        await registry.put(SERVICE, "shop", service(f"a{index}"))
    first = await (await client.get(f"{SERVICES}?limit=3")).json()
    assert (len(first["items"]), first["metadata"]["remainingItemCount"]) == (3, 1)
    last = await (await client.get(f"{SERVICES}?limit=3&continue={first['metadata']['continue']}")).json()
    assert "continue" not in last["metadata"]
    assert [item["metadata"]["name"] for item in last["items"]] == ["web"]


async def test_selectors_reach_the_registry(client, registry):
    await registry.put(SERVICE, "shop", service("db", labels={"app": "db"}))
    found = await (await client.get(f"{SERVICES}?labelSelector=app in (db,x)")).json()
    assert [item["metadata"]["name"] for item in found["items"]] == ["db"]
    found = await (await client.get(f"{SERVICES}?fieldSelector=metadata.name%3Dweb")).json()
    assert [item["metadata"]["name"] for item in found["items"]] == ["web"]


async def test_create_fills_in_what_the_path_says(client, registry):
    answer = await client.post(SERVICES, json=service("db"))
    assert answer.status == 201
    created = await answer.json()
    assert (created["kind"], created["metadata"]["namespace"]) == ("Service", "shop")
    assert registry.stored(SERVICE, "shop", "db")


async def test_a_body_without_content_type_is_json(client):
    body = json.dumps(service("db")).encode()
    answer = await client.post(SERVICES, data=body, skip_auto_headers=["Content-Type"])
    assert answer.status == 201


async def test_a_body_may_be_yaml(client, registry):
    body = "metadata:\n  name: db\n  annotations: {when: 2024-01-01T00:00:00Z}\nspec: {ports: [{port: 80}]}\n"
    answer = await client.post(SERVICES, data=body, headers={"Content-Type": "application/yaml"})
    assert answer.status == 201
    stored = registry.stored(SERVICE, "shop", "db")
    assert stored["metadata"]["annotations"] == {"when": "2024-01-01T00:00:00Z"}
    assert [port["port"] for port in stored["spec"]["ports"]] == [80]


async def test_options_of_a_write_reach_the_registry(client, registry):
    query = "?dryRun=All&fieldValidation=Strict&fieldManager=kubectl-create"
    assert (await client.post(SERVICES + query, json=service("db"))).status == 201
    *_, options = registry.calls[-1]
    assert (options.dry_run, options.field_validation, options.field_manager) == (
        True,
        "Strict",
        "kubectl-create",
    )
    assert not registry.stored(SERVICE, "shop", "db")


async def test_warnings_become_headers(client, registry):
    registry.warnings = ('unknown field "spec.x"', "back\\slash\nnewline")
    answer = await client.post(SERVICES, json=service("db"))
    assert answer.headers.getall("Warning") == [
        '299 - "unknown field \\"spec.x\\""',
        '299 - "back\\\\slash newline"',
    ]


async def test_replace_and_its_conflict(client, registry):
    web = await (await client.get(f"{SERVICES}/web")).json()
    web["spec"]["ports"] = [{"port": 81}]
    answer = await client.put(f"{SERVICES}/web", json=web)
    assert (answer.status, [port["port"] for port in (await answer.json())["spec"]["ports"]]) == (200, [81])
    status = await status_of(await client.put(f"{SERVICES}/web", json=web), 409, "Conflict")
    assert status["details"] == {"name": "web", "kind": "services"}


@pytest.mark.parametrize("kind", ["merge", "strategic", "json"])
async def test_patches(client, registry, kind):
    document = [{"op": "add", "path": "/spec/x", "value": 1}] if kind == "json" else {"spec": {}}
    content_type = {
        "merge": "application/merge-patch+json",
        "strategic": "application/strategic-merge-patch+json; charset=utf-8",
        "json": "application/json-patch+json",
    }[kind]
    answer = await client.patch(f"{SERVICES}/web", json=document, headers={"Content-Type": content_type})
    assert answer.status == 200
    _, _, _, _, patch, _, subresource = registry.calls[-1]
    assert (patch.type, patch.document, subresource) == (kind, document, "")


@pytest.mark.parametrize("path", ["/api/v1/namespaces/shop", f"{SERVICES}/web"])
async def test_the_status_subresource(client, registry, path):
    assert (await client.get(f"{path}/status")).status == 200
    assert (await client.put(f"{path}/status", json={"status": {}})).status == 200
    assert registry.calls[-1][-1] == "status"
    headers = {"Content-Type": "application/merge-patch+json"}
    assert (await client.patch(f"{path}/status", json={"status": {}}, headers=headers)).status == 200
    assert registry.calls[-1][-1] == "status"
    await status_of(await client.delete(f"{path}/status"), 405, "MethodNotAllowed")


async def test_deleting_a_service_or_pod_answers_with_the_object(client, registry):
    await registry.put(POD, "shop", pod("p"))
    for path, kind in ((f"{SERVICES}/web", "Service"), ("/api/v1/namespaces/shop/pods/p", "Pod")):
        answer = await client.delete(path)
        assert (answer.status, (await answer.json())["kind"]) == (200, kind)


async def test_deleting_other_kinds_answers_with_a_status(client, registry):
    slice_ = await registry.put(ENDPOINTSLICE, "shop", endpoint_slice("s", "web"))
    answer = await client.delete(f"{SLICES}/s")
    status = await answer.json()
    assert (answer.status, status["status"]) == (200, "Success")
    assert status["details"] == {
        "name": "s",
        "group": "discovery.k8s.io",
        "kind": "endpointslices",
        "uid": slice_["metadata"]["uid"],
    }
    namespace = await (await client.delete("/api/v1/namespaces/shop")).json()
    assert (namespace["kind"], namespace["status"]["phase"]) == ("Namespace", "Terminating")


async def test_delete_options_from_query_and_body(client, registry):
    made = (await registry.put(POD, "shop", pod("p")))["metadata"]
    body = {
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": made["uid"], "resourceVersion": made["resourceVersion"]},
        "dryRun": ["All"],
    }
    query = "?gracePeriodSeconds=30&propagationPolicy=Background"
    assert (await client.delete(f"/api/v1/namespaces/shop/pods/p{query}", json=body)).status == 200
    options = registry.calls[-1][-1]
    assert options.grace_period_seconds == 0
    assert (options.uid, options.resource_version) == (made["uid"], made["resourceVersion"])
    assert options.dry_run is True


async def test_deleting_a_collection_answers_with_the_list(client, registry):
    await registry.put(SERVICE, "shop", service("db", labels={"app": "db"}))
    answer = await client.delete(f"{SERVICES}?labelSelector=app=db")
    found = await answer.json()
    assert (found["kind"], len(found["items"])) == ("ServiceList", 1)
    assert registry.stored(SERVICE, "shop", "web")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/services", "GET, HEAD"),
        ("DELETE", "/api/v1/services", "GET, HEAD"),
        ("DELETE", "/api/v1/namespaces", "GET, HEAD, POST"),
        ("POST", f"{SERVICES}/web", "GET, HEAD, PUT, PATCH, DELETE"),
        ("PUT", SERVICES, "GET, HEAD, POST, DELETE"),
        ("PUT", "/api/v1/namespaces/shop/endpoints", "GET, HEAD, POST, DELETE"),
        ("DELETE", "/api/v1/endpoints", "GET, HEAD"),
        ("OPTIONS", SERVICES, "GET, HEAD, POST, DELETE"),
        ("TRACE", SERVICES, "GET, HEAD, POST, DELETE"),
        ("POST", "/version", "GET, HEAD"),
        ("POST", "/livez", "GET, HEAD"),
    ],
)
async def test_methods_that_mean_nothing(client, method, path, allowed):
    answer = await client.request(method, path)
    await status_of(answer, 405, "MethodNotAllowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api/v2/services",
        "/api/v1/services/web",
        "/api/v1/namespaces/shop/deployments",
        "/api/v1/namespaces//services",
        "/api/v1/namespaces/shop/namespaces",
        "/api/v1/namespaces/shop/services/web/proxy",
        "/api/v1/namespaces/shop/services/web/status/x",
        "/apis/discovery.k8s.io/v1/services",
        "/apis/discovery.k8s.io/v1beta1/endpointslices",
        "/apis//v1/services",
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/x/status",
    ],
)
async def test_unknown_paths(client, path):
    status = await status_of(await client.get(path), 404, "NotFound")
    assert status["message"].startswith("the server could not find the requested resource")


async def test_a_missing_object(client):
    status = await status_of(await client.get(f"{SERVICES}/nope"), 404, "NotFound")
    assert status["message"] == 'services "nope" not found'
    assert status["details"] == {"name": "nope", "kind": "services"}


@pytest.mark.parametrize("name", ["a%00b", "x" * 254, "%0a", "%FF%FE%00"])
async def test_names_that_no_object_can_have_never_reach_the_registry(client, registry, name):
    registry.fail = RuntimeError("the registry was asked")
    await status_of(await client.get(f"{SERVICES}/{name}"), 404, "NotFound")
    await status_of(await client.get(f"/api/v1/namespaces/{name}/services"), 404, "NotFound")


async def test_what_the_registry_refuses_passes_through(client, registry):
    registry.fail = StatusError(507, "InsufficientStorage", "the disk is full", retry_after=7)
    answer = await client.post(SERVICES, json=service("db"))
    status = await status_of(answer, 507, "InsufficientStorage")
    assert status["details"] == {"retryAfterSeconds": 7}
    assert answer.headers["Retry-After"] == "7"


async def test_a_failure_of_ours_leaks_nothing_and_is_logged(client, registry, caplog):
    registry.fail = ZeroDivisionError("secret detail")
    status = await status_of(await client.get(f"{SERVICES}/web"), 500, "InternalError")
    assert "secret" not in str(status)
    assert "secret detail" in caplog.text


async def test_a_client_that_leaves_does_not_undo_its_write(client, registry):
    registry.gate = asyncio.Event()
    request = asyncio.ensure_future(client.post(SERVICES, json=service("db")))
    while not registry.calls:
        await asyncio.sleep(0)
    request.cancel()
    await asyncio.wait([request])
    async with client.get("/livez"):  # the server has had its turn to notice
        registry.gate.set()
    while not registry.stored(SERVICE, "shop", "db"):
        await asyncio.sleep(0)


async def test_web_pages_of_other_origins_may_not_write(client, registry):
    body = b'{"metadata":{"name":"db"}}'
    answer = await client.post(SERVICES, data=body, headers={"Origin": "http://evil.example"})
    await status_of(answer, 403, "Forbidden")
    assert not registry.calls
    own = f"http://{client.host}:{client.port}"
    answer = await client.post(SERVICES, json=service("db"), headers={"Origin": own})
    assert answer.status == 201


@pytest.mark.parametrize(
    ("site", "code"), [("cross-site", 403), ("same-site", 403), ("same-origin", 201), ("none", 201)]
)
async def test_a_browser_says_whose_page_would_write(client, registry, site, code):
    """Fetch Metadata, without an Origin."""
    headers = {"Sec-Fetch-Site": site}
    assert (await client.post(SERVICES, json=service("db"), headers=headers)).status == code
    assert (registry.stored(SERVICE, "shop", "db") is not None) == (code == 201)
    assert (await client.get(SERVICES, headers=headers)).status == 200, "nothing can be read of it there"


async def test_who_shows_a_token_passes_on_requests_of_its_own_pages(client):
    """No page can send this header elsewhere without being allowed to, and nobody is allowed here."""
    headers = {"Origin": "http://headlamp.example", "Sec-Fetch-Site": "same-origin"}
    answer = await client.post(SERVICES, json=service("db"), headers={**headers, "Authorization": "Bearer x"})
    assert answer.status == 201
    for other in ("Basic eDp4", "Negotiate x", "Bearer"):  # what browsers add by themselves is no such thing
        answer = await client.post(SERVICES, json=service("c"), headers={**headers, "Authorization": other})
        assert answer.status == 403
    asks = {
        **headers,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = await client.options(SERVICES, headers=asks)
    assert preflight.status >= 400
    assert not [name for name in preflight.headers if name.lower().startswith("access-control-")]


async def test_lists_of_revisions(client, registry):
    now = registry.revision
    assert (await client.get(f"{SERVICES}?resourceVersion=0")).status == 200
    newer = f"{SERVICES}?resourceVersionMatch=NotOlderThan&resourceVersion="
    assert (await client.get(f"{newer}{now}")).status == 200
    answer = await client.get(f"{newer}{now + 1}")
    await status_of(answer, 504, "Timeout")
    exact = f"{SERVICES}?resourceVersionMatch=Exact&resourceVersion={now - 1}"
    await status_of(await client.get(exact), 410, "Expired")


async def test_people_get_indented_json_and_programs_do_not(client):
    plain = await (await client.get(f"{SERVICES}/web")).text()
    assert "\n" not in plain
    for headers, query in (({"User-Agent": "curl/8.0"}, ""), ({}, "?pretty=true")):
        text = await (await client.get(f"{SERVICES}/web{query}", headers=headers)).text()
        assert text.count("\n") > 10 and text.endswith("}\n")
    text = await (await client.get(f"{SERVICES}/web?pretty=0", headers={"User-Agent": "curl/8"})).text()
    assert "\n" not in text


async def test_namespaces_are_created_and_listed(client, registry):
    assert (await client.post("/api/v1/namespaces", json={"metadata": {"name": "x"}})).status == 201
    assert registry.stored(NAMESPACE, "", "x")
    found = (await (await client.get("/api/v1/namespaces")).json())["items"]
    names = [item["metadata"]["name"] for item in found]
    assert names == ["bank", "default", "kube-system", "other", "shop", "x"]
