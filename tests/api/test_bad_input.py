"""What clients get wrong: always a Status that says what, never a 500."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS

from svcdns.api import bodies, parameters
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import POD, SERVICE

SERVICES = "/api/v1/namespaces/shop/services"
MIB = 1024 * 1024


async def refused(answer, code, *words):
    status = await answer.json()
    assert (answer.status, status["kind"], status["code"]) == (code, "Status", code), status
    for word in words:
        assert word in status["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["no body"]),
        (b" \n", ["no body"]),
        (b"{", ["JSON", "byte 1"]),
        (b'{"a":}', ["JSON", "byte 5"]),
        (b"{} {}", ["JSON", "trailing characters"]),
        (b'{"a":"\xff"}', ["JSON", "UTF-8"]),
        (b'{"a":NaN}', ["JSON"]),
        (b"[1]", ["a list", "an object is expected"]),
        (b'"x"', ["a string"]),
        (b"null", ["null"]),
        (b"17", ["a number"]),
        (b"true", ["a boolean"]),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", ["nested too deeply"]),
        (b"[" * 500_000, ["nested too deeply"]),
        (b'{"a":[' + b"[" * 500_000, ["nested too deeply"]),
        (b'{"a":{"b":123456789012345678901}}', ["a.b", "64 bits"]),
        (b'{"metadata":[]}', ["metadata", "an object is expected"]),
        (b'{"metadata":{"namespace":"other","name":"x"}}', ["namespace", "other", "shop"]),
        (b'{"metadata":{"namespace":5,"name":"x"}}', ["namespace"]),
        (b'{"kind":"Pod"}', ["kind", "Pod", "Service"]),
        (b'{"kind":7}', ["kind"]),
        (b'{"apiVersion":"v2"}', ["apiVersion", "v2"]),
    ],
)
async def test_bodies_that_are_refused(client, registry, body, words):
    answer = await client.post(SERVICES, data=body, headers={"Content-Type": "application/json"})
    await refused(answer, 400, *words)
    assert not registry.calls


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"a: [1", ["YAML", "line 2"]),
        (b"a: 1\nb: c: d", ["YAML", "line 2, column 5"]),
        (b"a: &x [1]\nb: *x", ["aliases", "line 2"]),
        (b"a: 1\n---\nb: 2\n", ["YAML"]),
        (b"- a\n", ["a list"]),
        (b"[" * 200_000, ["nested too deeply"]),
        (b"- " * 100_000, ["nested too deeply"]),
        (b"a: .nan", ["no JSON number"]),
        (b"? [1]\n: 2", ["YAML"]),
        (b"a: !!python/object:os.system {}", ["YAML"]),
        (b"a: !!set {b}", ["YAML"]),
        (b"a: !!int x", ["YAML"]),
        (b"a: \xff", ["YAML"]),
        (b"a: 99999999999999999999", ["64 bits"]),
    ],
)
async def test_yaml_that_is_refused(client, registry, body, words):
    answer = await client.post(SERVICES, data=body, headers={"Content-Type": "application/yaml"})
    await refused(answer, 400, *words)
    assert not registry.calls


def test_yaml_keys_and_values_are_read_as_json():
    text = b"80: http\ntrue: 1\nnone: ~\nday: 2024-01-01\nblob: !!binary aGk=\nmode: 0o7\n"
    assert bodies.decode_yaml(text) == {
        "80": "http",
        "true": 1,
        "none": None,
        "day": "2024-01-01",
        "blob": "hi",
        "mode": 7,
    }


async def test_duplicate_keys_are_tolerated(client, registry):
    body = b'{"metadata":{"name":"a","name":"b"},"spec":{"ports":[{"port":80}]}}'
    answer = await client.post(SERVICES, data=body, headers={"Content-Type": "application/json"})
    assert (await answer.json())["metadata"]["name"] == "b"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "x"],
)
async def test_other_content_types_are_refused_with_what_is_allowed(client, content_type):
    answer = await client.post(SERVICES, data=b"{}", headers={"Content-Type": content_type})
    await refused(answer, 415, content_type, "application/json", "application/yaml")


async def test_patch_types(client, registry):
    answer = await client.patch(f"{SERVICES}/web", data=b"{}", headers={"Content-Type": "application/json"})
    await refused(answer, 415, "application/json-patch+json", "application/merge-patch+json")
    headers = {"Content-Type": "application/apply-patch+yaml"}
    await refused(await client.patch(f"{SERVICES}/web", data=b"{}", headers=headers), 422, "fieldManager")


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("json-patch", b"{}", ["a list of operations"]),
        ("json-patch", b"[1]", ["operation 0"]),
        ("merge-patch", b"[]", ["an object"]),
        ("strategic-merge-patch", b"null", ["null"]),
        ("merge-patch", b"", ["no body"]),
        ("merge-patch", b"{", ["JSON"]),
    ],
)
async def test_patches_that_are_refused(client, kind, body, words):
    headers = {"Content-Type": f"application/{kind}+json"}
    await refused(await client.patch(f"{SERVICES}/web", data=body, headers=headers), 400, *words)


async def test_a_json_patch_has_a_bound(client):
    body = json.dumps([{"op": "test", "path": "", "value": 1}] * 10_001).encode()
    headers = {"Content-Type": "application/json-patch+json"}
    await refused(await client.patch(f"{SERVICES}/web", data=body, headers=headers), 413, "10000")


async def test_a_body_over_3_mib(client):
    body = b'{"metadata":{"name":"%b"}}' % (b"x" * (3 * MIB))
    headers = {"Content-Type": "application/json"}
    await refused(await client.post(SERVICES, data=body, headers=headers), 413, "3145728")


async def test_a_body_over_3_mib_without_a_length(client):
    async def chunks():
        for _ in range(4):
            yield b" " * MIB

    headers = {"Content-Type": "application/json"}
    await refused(await client.post(SERVICES, data=chunks(), headers=headers), 413)


async def test_a_length_over_3_mib_is_refused_before_the_body_comes(client, server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST {SERVICES} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {4 * MIB}\r\n\r\n".encode())
    assert b" 413 " in await asyncio.wait_for(reader.readline(), GUARD_SECONDS)
    writer.close()


async def test_a_body_that_is_too_large_need_not_be_sent(client, server):
    body = b" " * (4 * MIB)
    answer = await client.post(SERVICES, data=body, expect100=True)
    await refused(answer, 413)


async def test_expect_100_continue(client):
    answer = await client.post(SERVICES, json=service("db"), expect100=True)
    assert answer.status == 201
    answer = await client.post(SERVICES, data=b"{}", headers={"Expect": "miracles"})
    await refused(answer, 417)


async def test_the_name_in_the_body_is_that_of_the_path(client, registry):
    answer = await client.put(f"{SERVICES}/web", json={"metadata": {"name": "db"}})
    await refused(answer, 400, "db", "web", "does not match the name on the URL")
    assert not registry.calls


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("watch=maybe", 400, ["watch"]),
        ("limit=x", 400, ["limit"]),
        ("limit=99999999999999999999", 400, ["limit"]),
        ("resourceVersion=abc", 400, ["resourceVersion"]),
        ("resourceVersion=-1", 400, ["resourceVersion"]),
        ("labelSelector=a in (", 400, ["character"]),
        ("fieldSelector=spec.x=1", 400, ["spec.x"]),
        ("timeoutSeconds=soon&watch=1", 400, ["timeoutSeconds"]),
        ("resourceVersionMatch=Exact", 422, ["resourceVersion"]),
        ("resourceVersionMatch=Best&resourceVersion=1", 422, ["Best"]),
        ("resourceVersionMatch=Exact&resourceVersion=0", 422, ["exact"]),
        ("sendInitialEvents=true", 422, ["sendInitialEvents"]),
        ("watch=1&sendInitialEvents=true", 422, ["resourceVersionMatch"]),
        ("watch=1&resourceVersionMatch=NotOlderThan", 422, ["sendInitialEvents"]),
        ("continue=1&resourceVersion=5", 400, ["continue"]),
        ("continue=nonsense", 400, ["continue"]),
    ],
)
async def test_query_parameters_of_lists(client, query, code, words):
    await refused(await client.get(f"{SERVICES}?{query}"), code, *words)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("dryRun=Some", ["dryRun", "All"]),
        ("dryRun=", ["dryRun"]),
        ("fieldValidation=Loose", ["fieldValidation", "Ignore, Warn, Strict"]),
        ("fieldManager=" + "x" * 129, ["fieldManager"]),
    ],
)
async def test_query_parameters_of_writes(client, registry, query, words):
    answer = await client.post(f"{SERVICES}?{query}", json={"metadata": {"name": "db"}})
    await refused(answer, 400, *words)
    assert not registry.calls


@pytest.mark.parametrize(
    ("query", "body", "words"),
    [
        ("gracePeriodSeconds=-5", {}, ["gracePeriodSeconds"]),
        ("gracePeriodSeconds=x", {}, ["gracePeriodSeconds"]),
        ("propagationPolicy=Never", {}, ["propagationPolicy", "Background"]),
        ("", {"gracePeriodSeconds": "5"}, ["gracePeriodSeconds", "whole number"]),
        ("", {"gracePeriodSeconds": True}, ["gracePeriodSeconds"]),
        ("", {"preconditions": []}, ["preconditions"]),
        ("", {"preconditions": {"uid": 1}}, ["preconditions.uid"]),
        ("", {"dryRun": "All"}, ["dryRun", "a list"]),
        ("", {"dryRun": ["All", "x"]}, ["dryRun"]),
        ("", {"kind": "Service"}, ["DeleteOptions"]),
    ],
)
async def test_delete_options_that_are_refused(client, registry, query, body, words):
    await refused(await client.delete(f"{SERVICES}/web?{query}", json=body), 400, *words)
    assert not registry.calls


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_bodies = (
    st.binary(max_size=200)
    | _json.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {}, optional={"metadata": _json, "kind": _json, "apiVersion": _json, "spec": _json}
    ).map(lambda value: json.dumps(value).encode())
)
_content_types = st.sampled_from(["application/json", "application/yaml", *bodies.PATCH_TYPES, "text/plain"])
_paths = st.sampled_from(
    [
        SERVICES,
        f"{SERVICES}/web",
        f"{SERVICES}/web/status",
        "/api/v1/namespaces",
        "/api/v1/namespaces/shop/pods/p",
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
        "/api/v1/namespaces/shop/endpoints/web",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]),
    path=_paths,
    body=_bodies,
    content_type=_content_types,
)
def test_any_body_gets_an_object_or_a_status(loop, client, method, path, body, content_type):
    async def ask():
        async with client.request(method, path, data=body, headers={"Content-Type": content_type}) as answer:
            return answer.status, await answer.json()

    code, answer = loop.run_until_complete(ask())
    assert code < 500, answer
    assert code < 400 or answer["kind"] == "Status"


_PARAMETERS = [
    "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch",
    "sendInitialEvents", "dryRun", "fieldValidation", "fieldManager", "pretty", "includeObject",
    "gracePeriodSeconds", "propagationPolicy", "allowWatchBookmarks",
]  # fmt: skip
_values = st.text(max_size=30) | st.sampled_from(["true", "0", "1", "All", "Strict", "a=b", "5", "-1"])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    path=_paths,
    query=st.dictionaries(st.sampled_from(_PARAMETERS), _values, max_size=5),
)
def test_any_query_gets_an_object_or_a_status(loop, client, method, path, query):
    async def ask():
        async with client.request(method, path, params=query, json={"metadata": {"name": "x"}}) as answer:
            return answer.status, await answer.json()

    code, answer = loop.run_until_complete(ask())
    assert code < 500 or (code, answer["reason"]) == (504, "Timeout"), answer
    assert code < 400 or answer["kind"] == "Status"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), max_size=60))
def test_any_path_gets_an_answer(loop, client, path):
    from yarl import URL

    async def ask():
        url = client.make_url("/").with_path("/api/v1/namespaces/" + path)
        async with client.session.get(URL(str(url), encoded=True)) as answer:
            return answer.status, await answer.json()

    code, answer = loop.run_until_complete(ask())
    assert code in (200, 404), answer


@given(octets=st.binary(max_size=300))
def test_decoders_raise_status_errors_only(octets):
    for decode in bodies.DECODERS.values():
        try:
            value = decode(octets)
        except StatusError as error:
            assert error.code == 400
        else:
            json.dumps(value, allow_nan=False)


@given(
    query=st.dictionaries(st.sampled_from([*_PARAMETERS, "watch", "timeoutSeconds"]), st.text(max_size=20))
)
def test_parsers_of_parameters_raise_status_errors_only(query):
    for parse in (
        lambda: parameters.list_options(query, SERVICE),
        lambda: parameters.list_options(query, POD),
        lambda: parameters.write_options(query),
        lambda: parameters.delete_options(query, None),
    ):
        try:
            parse()
        except StatusError as error:
            assert error.code in (400, 422)


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n", "HTTP"),
        (b"GET /api/v1/pods?labelSelector=a=\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"),
        (b"GET /version HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", "HTTP"),
        (b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: secret\r\n\r\n", "HTTP"),
        (b"GET /api/v1/pods?labelSelector=" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "8190"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"secret" * 2000 + b"\r\n\r\n", "8190"),
    ],
    ids=["tls", "octets in a query", "no header", "no length", "long line", "long header"],
)
async def test_what_is_no_http_gets_a_status_that_repeats_nothing(server, octets, words):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(octets)
    # To the end: nothing else is read of this client.
    answer = await asyncio.wait_for(reader.read(), GUARD_SECONDS)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = json.loads(body)
    assert b" 400 " in head.partition(b"\r\n")[0] and b"application/json" in head
    assert (status["kind"], status["code"]) == ("Status", 400)
    assert words in status["message"] and "secret" not in status["message"]
