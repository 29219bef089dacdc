"""Keys that stand twice in a body: refused with Strict, told with Warn, on every path that writes."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.api import repeated_keys

SERVICES = "/api/v1/namespaces/shop/services"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
JSON = '{"metadata":{"name":"NAME","labels":{"a":"1","a":"2"}},"spec":{"ports":[{"port":80}]}}'
YAML = "metadata:\n  name: NAME\n  labels:\n    a: '1'\n    a: '2'\nspec: {ports: [{port: 80}]}\n"
FLOW = '{"metadata": {name: NAME, labels: {a: "1", a: "2"}}, spec: {ports: [{port: 80}]}}'  # yet no JSON
IN_JSON = 'duplicate field "metadata.labels.a"'
IN_YAML = 'line 5: key "a" already set in map'
IN_FLOW = 'line 1: key "a" already set in map'
OPERATIONS = '[{"op":"add","path":"/metadata/labels","value":{"a":"1","a":"2"},"op":"add"}]'

TWICE = '{"spec":{"resourceAttributes":{"verb":"get"}},"spec":{"resourceAttributes":{"verb":"get"}}}'
WEB, APPLY = f"{SERVICES}/web", f"{SERVICES}/web?fieldManager=x"

WRITES = [
    ("POST", SERVICES, "json", JSON, [IN_JSON]),
    ("POST", SERVICES, "yaml", YAML, [IN_YAML]),
    ("PUT", WEB, "json", JSON, [IN_JSON]),
    ("PUT", WEB, "yaml", YAML, [IN_YAML]),
    ("PUT", f"{WEB}/status", "json", JSON, [IN_JSON]),
    ("PATCH", WEB, "merge-patch+json", JSON, [IN_JSON]),
    ("PATCH", WEB, "strategic-merge-patch+json", JSON, [IN_JSON]),
    (
        "PATCH",
        WEB,
        "json-patch+json",
        OPERATIONS,
        [f'duplicate field "[0].{at}"' for at in ("op", "value.a")],
    ),
    ("PATCH", APPLY, "apply-patch+yaml", JSON, [IN_JSON]),
    ("PATCH", APPLY, "apply-patch+yaml", YAML, [IN_YAML]),
    ("PATCH", APPLY, "apply-patch+yaml", FLOW, [IN_FLOW]),
    ("POST", REVIEWS, "json", TWICE, ['duplicate field "spec"']),
]


def told(answer):
    return [
        value.removeprefix('299 - "').removesuffix('"').replace('\\"', '"')
        for value in answer.headers.getall("Warning", [])
    ]


async def sent(client, method, path, content_type, body, validation):
    path += ("&" if "?" in path else "?") + f"fieldValidation={validation}" if validation else ""
    text = body.replace("NAME", "db" if method == "POST" else "web")
    headers = {"Content-Type": f"application/{content_type}"}
    return await client.request(method, path, data=text, headers=headers)


@pytest.mark.parametrize(("method", "path", "content_type", "body", "words"), WRITES)
class TestEveryWrite:
    async def test_strict_refuses(self, client, registry, method, path, content_type, body, words):
        answer = await sent(client, method, path, content_type, body, "Strict")
        status = await answer.json()
        assert (answer.status, status["reason"]) == (400, "BadRequest"), status
        assert status["message"] == f"strict decoding error: {', '.join(words)}"
        assert not registry.calls

    @pytest.mark.parametrize("validation", ["Warn", ""])
    async def test_warn_tells(self, client, method, path, content_type, body, words, validation):
        answer = await sent(client, method, path, content_type, body, validation)
        assert answer.status in (200, 201), await answer.text()
        assert told(answer)[: len(words)] == words

    async def test_ignore_says_nothing(self, client, method, path, content_type, body, words):
        answer = await sent(client, method, path, content_type, body, "Ignore")
        assert answer.status in (200, 201)
        assert not told(answer)


async def test_the_last_one_counts(client, registry):
    answer = await sent(client, "POST", SERVICES, "json", JSON, "")
    assert (await answer.json())["metadata"]["labels"] == {"a": "2"}


def in_json(text: str) -> list[str]:
    octets = text.encode()
    return repeated_keys.in_json(octets, msgspec.json.decode(octets))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}', []),
        ('{"a:a":":","b":"\\":\\"","c\\"":"\\\\","d":"{\\"a\\":1,\\"a\\":2}"}', []),
        ('{"a":1,"a":1}', ["a"]),
        ('{"a":1,"\\u0061":2}', ["a"]),
        ('{"a":{"b":1},"a":{"c":1,"c":2}}', ["a", "a.c"]),
        ('[{"x":[0,{"y":1,"y":2}]}]', ["[0].x[1].y"]),
        ('{"a":1,"a":2,"a":3}', ["a", "a"]),
        ('{"m":{"app.example/x":1,"app.example/x":2}}', ["m[app.example/x]"]),
        (' \n{ "a" : 1 , "a" : 2 }\t', ["a"]),
        ("1", []),
        ('"a:b"', []),
        ("[]", []),
    ],
)
def test_keys_are_found_where_they_stand(text, found):
    assert in_json(text) == [f'duplicate field "{path}"' for path in found]


_value = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(':"\\{}[],ab\n\u00e9', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(':"\\ab', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(_value, st.sampled_from([None, 2]), st.booleans())
def test_a_key_that_stands_once_is_never_told(value, indent, ascii_only):
    assert in_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only)) == []


@given(_value, st.text(':"\\ab', max_size=3), _value)
def test_a_key_that_stands_twice_always_is(value, key, inner):
    name, one, other = json.dumps(key), json.dumps(inner), json.dumps(value)
    assert in_json(f'[{other},{{{name}:{one},"x y":{other},{name}:{other}}}]')


def test_many_are_bounded_and_quick():
    text = "{" + ",".join('"a":1' for _ in range(400_000)) + "}"
    began = time.process_time()
    found = in_json(text)
    assert time.process_time() - began < 5
    assert len(found) == repeated_keys.MOST + 1
    assert len(repeated_keys.warnings_of(found, "Warn")) == repeated_keys.MOST
