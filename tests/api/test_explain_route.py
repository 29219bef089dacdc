"""GET /svcdns/v1/explain over HTTP: any name is explained, or is a 400 that says why; never a 500."""

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from svcdns.api.explain_route import PATH

LABEL = "a" * 63


async def explained(client, **query):
    """Return status and JSON of an explanation; texts become octets as surrogateescape says."""
    text = "&".join(
        f"{key}={quote(value, safe='', errors='surrogateescape')}" for key, value in query.items()
    )
    answer = await client.get(URL(f"{PATH}?{text}", encoded=True))
    return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "must be a domain name"),
        ({"name": ""}, "must be a domain name"),
        ({"name": "."}, "must be a domain name"),
        ({"name": " . "}, "must be a domain name"),
        ({"name": "a" * 64}, "is longer than 63 octets"),
        ({"name": f"{'a' * 64}.default.svc"}, "is longer than 63 octets"),
        ({"name": "a" * 254}, "must be a domain name"),
        ({"name": f"{LABEL}.{LABEL}.{LABEL}.{LABEL}"}, "must be a domain name"),
        ({"name": f"_{LABEL[1:]}.{LABEL}.{LABEL}", "namespace": LABEL}, "255 octets"),
        ({"name": "a..b"}, "has an empty label"),
        ({"name": ".web"}, "has an empty label"),
        ({"name": "w\u00e9b"}, "must be a domain name"),
        ({"name": "web\udcff"}, "must be a domain name"),
        ({"name": "web", "namespace": "n" * 64}, "namespace must be the name of a namespace"),
        ({"name": "web", "namespace": "sh\u00f6p"}, "namespace must be the name of a namespace"),
        ({"name": "we\0b"}, "must be a domain name"),
        ({"name": "web\0"}, "must be a domain name"),
        ({"name": "\x1b[31m"}, "must be a domain name"),
        ({"name": "web\n"}, "must be a domain name"),
        ({"name": "web", "namespace": "sh\0op"}, "namespace must be the name of a namespace"),
    ],
)
async def test_what_is_no_name_is_refused(client, query, expected):
    status, body = await explained(client, **query)
    assert (status, body["kind"], body["reason"]) == (400, "Status", "BadRequest")
    assert expected in body["message"]


@pytest.mark.parametrize(
    "name",
    [
        LABEL,
        f"{LABEL}.shop.svc.cluster.local",
        "web.shop.svc.cluster.local.",
        "*.web.shop",
        "_http._tcp.web.shop",
        "a b",
        "a/b",
        "svc",
        "svc.cluster.local",
        "cluster.local",
        "7.0.96.10.in-addr.arpa",
        "10-0-0-1.shop.pod.cluster.local",
    ],
)
async def test_what_could_be_a_name_is_explained(client, name):
    status, body = await explained(client, name=name)
    assert status == 200, body
    assert set(body) >= {"name", "answers", "objects", "reasons", "sources", "rcode", "response", "origin"}


LETTERS = st.one_of(
    st.text("abc.-_*0 \\\0\"'\x1b", max_size=300),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=70),
    st.lists(
        st.sampled_from(
            ["web", "shop", "svc", "pod", "dns", "cluster", "local", "", "_tcp", LABEL, "a" * 64, "\0"]
        ),
        max_size=9,
    ).map(".".join),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=LETTERS, namespace=LETTERS)
def test_no_name_is_the_server_s_fault(loop, client, name, namespace):
    status, body = loop.run_until_complete(explained(client, name=name, namespace=namespace))
    assert status in (200, 400), body
    assert body.get("message") or body["name"]
