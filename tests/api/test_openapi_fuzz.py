"""Whatever is sent, the running API answers with an object or with a Status: no 500, no hang, nothing else.

Objects and patches are made from the official schema, right and wrong; requests from all that a request can
be made of.  What was accepted must read back, and be accepted again unchanged.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.running_server import Reply, RunningServer
from toolbox.schema_values import NAMES, anything, fragments_of, json_patches, objects_of, texts

from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, NEWER_EVENT, NODE, POD, SERVICE, Kind

KINDS = [SERVICE, POD, ENDPOINTSLICE, NAMESPACE, NODE, NEWER_EVENT]
PATCHES = {
    "application/merge-patch+json": fragments_of,
    "application/strategic-merge-patch+json": fragments_of,
    "application/apply-patch+yaml": objects_of,
    "application/json-patch+json": lambda kind: json_patches(),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        assert running.post("/api/v1/namespaces", {"metadata": {"name": "fuzz"}}).status == 201
        yield running
        assert running.get("/livez").status == 200
        assert "Traceback" not in running.log()


def checked(reply: Reply, kind: Kind, *wanted: str) -> Reply:
    """Assert that an answer is one: a Status of its code, or what was asked for."""
    assert reply.status < 500 or reply.status == 504, reply.text[:2000]
    answer = reply.json
    if reply.status >= 400:
        assert (answer["kind"], answer["status"], answer["code"]) == ("Status", "Failure", reply.status)
        assert answer["message"] and answer["reason"], answer
    else:
        assert answer["kind"] in (kind.name, *wanted), answer["kind"]
    return reply


def collection(kind: Kind) -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{root}/namespaces/fuzz/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"


def raw(body: Any) -> bytes:
    """JSON as Python writes it; half a surrogate pair stays as an escape."""
    return json.dumps(body).encode()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_objects_and_patches(server: RunningServer, kind: Kind) -> None:
    content_types = st.sampled_from(sorted(PATCHES))
    patches = content_types.flatmap(lambda name: st.tuples(st.just(name), PATCHES[name](kind)))

    @settings(max_examples=60)
    @given(objects_of(kind), st.lists(patches, max_size=3), st.sampled_from(["", "Strict", "Ignore"]))
    def one(obj: Any, changes: list[tuple[str, Any]], validation: str) -> None:
        query = f"?fieldManager=fuzz&fieldValidation={validation}" if validation else ""
        made = checked(server.request("POST", collection(kind) + query, raw(obj)), kind)
        name = made.json["metadata"]["name"] if made.status == 201 else "web"
        path = f"{collection(kind)}/{name}"
        if made.status == 201:
            _stays_as_it_is(server, kind, path, made.json)
        for content_type, change in changes:
            for where in (path, f"{path}/status") if kind.has_status else (path,):
                reply = server.request("PATCH", where + query, raw(change), content_type=content_type)
                checked(reply, kind)
        put = checked(server.request("PUT", path, raw(obj)), kind)
        assert put.status != 404 or made.status != 201
        checked(server.delete(path, {"gracePeriodSeconds": 0}), kind, "Status")

    one()


def _stays_as_it_is(server: RunningServer, kind: Kind, path: str, made: dict[str, Any]) -> None:
    """What was stored reads back, and is no change when it is sent again."""
    read = checked(server.get(path), kind).json
    assert read == made
    again = checked(server.put(path, read), kind)
    assert again.status == 200, again.text
    assert again.json["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"], (
        made,
        again.json,
    )


PARAMETERS = (
    *("labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch"),
    *("dryRun", "fieldValidation", "fieldManager", "force", "pretty", "gracePeriodSeconds", "nope"),
    *("propagationPolicy", "sendInitialEvents", "allowWatchBookmarks", "includeObject", "timeoutSeconds"),
)
VALUES = (
    *("0", "-1", "true", "All", "Exact", "NotOlderThan", "a=b", "a in (", "!", "metadata.name=x", "1.5"),
    *("99999999999999999999", "Strict", "Background", "None", "Object", "a" * 200),
)
QUERIES = st.dictionaries(st.sampled_from(PARAMETERS), texts | st.sampled_from(VALUES), max_size=3)
SEGMENTS = st.sampled_from(
    (
        *("api", "apis", "v1", "v2", "v3", "namespaces", "fuzz", "services", "pods", "endpoints", "status"),
        *("discovery.k8s.io", "endpointslices", "authentication.k8s.io", "selfsubjectreviews", "events"),
        *("networking.k8s.io", "ipaddresses", "servicecidrs", "events.k8s.io", "nodes", "10.96.0.1"),
        *("openapi", "version", "healthz", "metrics", "nope", "web", "%2e%2e", "%00", "%ff", ""),
    )
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
CONTENT_TYPES = (
    *PATCHES,
    *(
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "text/plain",
        "",
        ";;",
        "a/b",
    ),
)
ACCEPTS = (
    *("", "*/*", "text/html", "application/vnd.kubernetes.protobuf", ";=,", "a" * 500),
    *("application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v9;g=meta.k8s.io"),
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda octets: b"k8s\0" + octets),
    anything.map(raw),
    st.sampled_from([b"", b"{", b"[]", b"null", b'"\\ud800"', b"[" * 5000, b"a: &a [*a]", b"{}{}", b"\xff"]),
)


def test_requests_of_any_sort(server: RunningServer) -> None:
    paths = st.lists(SEGMENTS, max_size=7).map(lambda parts: "/" + "/".join(parts)) | st.sampled_from(
        [collection(kind) for kind in KINDS] + [f"{collection(kind)}/web" for kind in KINDS]
    )

    @settings(max_examples=60)
    @given(
        paths,
        QUERIES,
        st.sampled_from(METHODS),
        st.sampled_from(CONTENT_TYPES),
        st.sampled_from(ACCEPTS),
        BODIES,
    )
    def one(
        path: str, query: dict[str, str], method: str, content_type: str, accept: str, body: bytes
    ) -> None:
        reply = server.request(
            method,
            f"{path}?{urlencode(query, errors='replace')}" if query else path,
            body,
            content_type=content_type,
            headers={"Accept": accept},
        )
        assert reply.status < 500 or reply.status in (504, 507), (reply.status, reply.text[:2000])
        if reply.status >= 400 and method != "HEAD":
            answer = reply.json
            assert (answer["kind"], answer["code"]) == ("Status", reply.status), answer
        assert "Traceback" not in reply.text

    one()


@pytest.mark.parametrize("plural", ["services", "pods"])
def test_watches_with_any_parameters_end(server: RunningServer, plural: str) -> None:
    @settings(max_examples=5)
    @given(QUERIES, st.sampled_from(NAMES))
    def one(query: dict[str, str], value: str) -> None:
        told = {**query, "watch": "1", "timeoutSeconds": "1"}
        if "sendInitialEvents" in told:
            told["sendInitialEvents"] = value
        reply = server.get(f"/api/v1/namespaces/fuzz/{plural}?{urlencode(told, errors='replace')}")
        assert reply.status in (200, 400, 410, 422), reply.text[:2000]
        for line in reply.text.splitlines() if reply.status == 200 else ():
            assert json.loads(line)["type"] in ("ADDED", "BOOKMARK", "ERROR")

    one()
