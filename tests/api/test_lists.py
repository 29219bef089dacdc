"""Large lists, which are sent in pieces, are what small ones are in every form."""

import asyncio
import gzip
import json
from contextlib import suppress

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from toolbox.builders import pod
from toolbox.waiting import GUARD_SECONDS

from svcdns.api import sending
from svcdns.api.encodings import SMALLEST
from svcdns.objects.kinds import POD
from svcdns.registry import listing
from svcdns.registry.requests import Selection

PODS = "/api/v1/namespaces/shop/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
COUNT = 40


@pytest.fixture
def many(loop, registry):
    """Give some Pods, of which a list is three times as large as what is sent as a whole."""

    async def make():
        for number in range(COUNT):
            made = pod(f"p{number:02}", "10.0.0.1")
            made["metadata"] |= {"labels": {"n": str(number % 2)}, "annotations": {"padding": "x\n" * 5000}}
            await registry.put(POD, "shop", made)

    loop.run_until_complete(make())


async def got(client, query="", accept="application/json", encoding="identity", method="GET"):
    """Return an answer and its octets."""
    headers = {"Accept": accept, "Accept-Encoding": encoding}
    async with client.request(method, f"{PODS}?{query}", headers=headers) as answer:
        assert answer.status == 200
        return answer, await answer.read()


def names(listed):
    rows = listed["rows"] if listed["kind"] == "Table" else listed["items"]
    return [row.get("object", row)["metadata"]["name"] for row in rows]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("application/json", "PodList"), (TABLE, "Table"), (METADATA, "PartialObjectMetadataList")],
)
async def test_each_form(client, registry, many, accept, kind):
    answer, octets = await got(client, "includeObject=Object", accept)
    found = json.loads(octets)
    small = json.loads((await got(client, "includeObject=Object&limit=1", accept))[1])
    rows = "rows" if kind == "Table" else "items"
    assert (found["kind"], names(found)) == (kind, [f"p{number:02}" for number in range(COUNT)])
    assert found[rows][0] == small[rows][0]
    assert found["metadata"] == {"resourceVersion": small["metadata"]["resourceVersion"]}
    assert found.keys() == small.keys()
    assert answer.headers["Transfer-Encoding"] == "chunked", "it was sent as it was read"


async def test_the_octets_are_those_of_the_store(client, registry, many):
    _, octets = await got(client)
    page = registry.page(POD, "shop", Selection())
    head = (
        b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"%d"},"items":[' % page.revision
    )
    assert octets == head + b",".join(page.items) + b"]}"


@pytest.mark.parametrize("accept", ["application/json", TABLE, METADATA])
@pytest.mark.parametrize("query", ["limit=39", "limit=1", "labelSelector=n%3D5", ""])
async def test_indented(client, many, accept, query):
    _, octets = await got(client, f"pretty=true&{query}", accept)
    compact = json.loads((await got(client, query, accept))[1])
    assert octets == msgspec.json.format(msgspec.json.encode(compact), indent=2) + b"\n"


async def test_pages_end_with_what_only_their_end_knows(client, many):
    _, octets = await got(client, "limit=30")
    assert len(octets) > SMALLEST
    first = json.loads(octets)
    assert first["metadata"]["remainingItemCount"] == COUNT - 30
    rest = json.loads((await got(client, f"limit=30&continue={first['metadata']['continue']}"))[1])
    assert names(first) + names(rest) == [f"p{number:02}" for number in range(COUNT)]
    assert "continue" not in rest["metadata"]


async def test_selected(client, many):
    found = json.loads((await got(client, "labelSelector=n%3D1"))[1])
    assert names(found) == [f"p{number:02}" for number in range(1, COUNT, 2)]
    found = json.loads((await got(client, "labelSelector=n%3D5"))[1])
    assert found["items"] == []


async def test_gzip(client, many):
    client.session._auto_decompress = False
    answer, octets = await got(client, encoding="gzip")
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(octets) == (await got(client))[1]


async def test_yaml(client, many):
    answer, octets = await got(client, accept="application/yaml")
    assert answer.headers["Content-Type"] == "application/yaml"
    assert names(yaml.load(octets, yaml.CSafeLoader)) == [f"p{number:02}" for number in range(COUNT)]


async def test_a_head_has_no_body(client, many):
    answer, octets = await got(client, method="HEAD")
    assert (answer.headers["Content-Type"], octets) == ("application/json", b"")
    assert names(json.loads((await got(client))[1])), "the connection can be used on"


async def test_http_1_0_gets_no_chunks(client, server, many):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {PODS} HTTP/1.0\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), GUARD_SECONDS)).partition(b"\r\n\r\n")
    writer.close()
    assert b"chunked" not in head
    assert len(names(json.loads(body))) == COUNT


async def test_what_fails_in_the_middle_has_no_proper_end(client, server, registry, many, monkeypatch):
    read = listing.read_piece
    count = 0

    def failing(*given):
        nonlocal count
        count += 1
        if count == 3:
            raise ZeroDivisionError("secret")
        return read(*given)

    monkeypatch.setattr(listing, "read_piece", failing)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    text = b""
    with suppress(ConnectionResetError):
        while octets := await asyncio.wait_for(reader.read(1 << 20), GUARD_SECONDS):
            text += octets
    writer.close()
    assert text.startswith(b"HTTP/1.1 200") and b"secret" not in text
    assert not text.endswith(b"0\r\n\r\n"), "it ended as if all had been sent"


@given(st.lists(st.integers(0, 200), max_size=60).map(lambda sizes: [b"x" * size + b"\n" for size in sizes]))
def test_what_is_sent_in_slices_never_ends_within_a_line(lines):
    octets = b"".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "SLICE", 64)
        parts = [octets[start:end] for start, end in sending._slices(octets, b"\n")]
    assert b"".join(parts) == octets
    assert all(part.endswith(b"\n") for part in parts)
    assert all(len(part) <= 64 or part.count(b"\n") == 1 for part in parts)
