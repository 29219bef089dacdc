"""Bodies are never inflated: one octet of a compressed body can stand for a thousand.

What is compressed is refused (415) before it is read, with a token and without.
"""

import gzip
import zlib

import pytest
from aiohttp import http_parser

from svcdns.objects.errors import StatusError

SERVICES = "/api/v1/namespaces/shop/services"
BODY = b'{"metadata":{"name":"db"},"spec":{"ports":[{"port":80}]}}'
SWELLING = b" " * (8 * 1024 * 1024)


@pytest.fixture(autouse=True)
def inflated(monkeypatch):
    """Return the octets that aiohttp was given to inflate."""
    given = []
    feed = http_parser.DeflateBuffer.feed_data

    def feed_data(buffer, chunk, *rest):
        given.append(bytes(chunk))
        return feed(buffer, chunk, *rest)

    monkeypatch.setattr(http_parser.DeflateBuffer, "feed_data", feed_data)
    return given


def compressed(coding, octets):
    return {"gzip": gzip.compress, "deflate": zlib.compress}.get(coding, bytes)(octets)


@pytest.mark.parametrize(
    "coding", ["gzip", "deflate", "br", "zstd", "x-gzip", "identity, gzip", "GZIP", "nonsense"]
)
@pytest.mark.parametrize("octets", [BODY, SWELLING], ids=["small", "swelling"])
async def test_a_compressed_body_is_refused(client, registry, inflated, coding, octets):
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await client.post(SERVICES, data=compressed(coding.lower(), octets)[:30_000], headers=headers)
    status = await answer.json()
    assert (answer.status, status["code"], status["reason"]) == (415, 415, "UnsupportedMediaType"), status
    assert "Content-Encoding" in status["message"] and "identity" in status["message"]
    assert not registry.calls and not inflated


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("PUT", f"{SERVICES}/web", "application/json"),
        ("PUT", f"{SERVICES}/web", "application/yaml"),
        ("PATCH", f"{SERVICES}/web", "application/merge-patch+json"),
        ("PATCH", f"{SERVICES}/web?fieldManager=x", "application/apply-patch+yaml"),
        ("DELETE", f"{SERVICES}/web", "application/json"),
        ("DELETE", SERVICES, "application/json"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/json"),
    ],
)
async def test_whatever_reads_a_body(client, registry, inflated, method, path, content_type):
    headers = {"Content-Type": content_type, "Content-Encoding": "gzip"}
    answer = await client.request(method, path, data=gzip.compress(BODY), headers=headers)
    assert answer.status == 415, await answer.text()
    assert not registry.calls and not inflated


@pytest.mark.parametrize("path", ["/livez", "/api", "/nowhere", SERVICES, "/metrics"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
async def test_nobody_inflates_what_nobody_reads(client, inflated, method, path):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    await client.request(method, path, data=gzip.compress(SWELLING), headers=headers)
    assert not inflated


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
async def test_identity_is_no_coding(client, coding):
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    assert (await client.post(SERVICES, data=BODY, headers=headers)).status == 201


async def test_a_body_that_is_asked_about_first_is_not_sent(client, inflated):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await client.post(SERVICES, data=gzip.compress(BODY), headers=headers, expect100=True)
    assert answer.status == 415
    assert not inflated


class Nobody:
    """An authority that lets nobody in."""

    def user(self, request):
        raise StatusError(401, "Unauthorized", "Unauthorized")

    def allowed(self, *question):
        return False, ""


class TestWithoutAToken:
    @pytest.fixture
    def options(self):
        return {"authority": Nobody()}

    @pytest.mark.parametrize("coding", ["gzip", "deflate"])
    async def test_it_is_not_inflated_either(self, client, inflated, coding):
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        answer = await client.post(SERVICES, data=compressed(coding, SWELLING), headers=headers)
        assert answer.status == 401
        assert not inflated
