"""DELETE /cache over HTTP: what is forgotten, what is no name, and what is said where it can't be done."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.objects.errors import StatusError
from svcdns.wire.key import BadName
from svcdns.wire.presentation import key_of_text


class Cache:
    """What is flushed; `error` is raised instead."""

    def __init__(self):
        self.flushed = []
        self.error = None

    async def flush(self, prefix):
        if self.error:
            raise self.error
        self.flushed.append(prefix)
        return 12


@pytest.fixture
def cache():
    return Cache()


@pytest.fixture
def options(cache):
    return {"flush": cache.flush}


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/cache", b""),
        ("/cache/", b""),
        ("/cache/%2E", b""),
        ("/cache/WWW.Example.com.", b"com\0example\0www\0"),
        ("/cache/www.example.com", b"com\0example\0www\0"),
        ("/cache/a%5C.b.example", b"example\0a.b\0"),
        ("/cache/0%2F25.2.0.192.in-addr.arpa", b"arpa\0in-addr\x00192\x000\x002\x000/25\0"),
    ],
)
async def test_a_name_and_everything(client, cache, path, prefix):
    async with client.delete(_raw(path)) as answer:
        assert (answer.status, await answer.json()) == (200, {"flushed": 12})
    assert cache.flushed == [prefix]


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/cache/@", 400, "'@' is no domain name; allowed: such as example.com, or . for all names"),
        ("/cache/a..b", 400, "'a..b' is no domain name: "),
        ("/cache/" + "a" * 64, 400, " is no domain name: "),
        ("/cache/" + "a." * 130, 400, " is no domain name: "),
        ("/cache/%FF", 400, " is no domain name: "),
        ("/cache/a/b", 404, "could not find the requested resource"),
        ("/caches", 404, "could not find the requested resource"),
    ],
)
async def test_what_means_nothing_flushes_nothing(client, cache, path, code, text):
    async with client.delete(_raw(path)) as answer:
        status = await answer.json()
    assert (answer.status, status["kind"], status["code"]) == (code, "Status", code)
    if path != "/cache/%FF":
        assert text in status["message"]
    assert cache.flushed == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
@pytest.mark.parametrize("path", ["/cache", "/cache/example.com"])
async def test_other_methods_mean_nothing(client, cache, method, path):
    async with client.request(method, path, data=b"{}") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "DELETE")
    assert cache.flushed == []


async def test_where_it_cannot_be_done_the_reason_is_told(client, cache):
    cache.error = StatusError(503, "ServiceUnavailable", "the cache can't be flushed: because")
    async with client.delete("/cache") as answer:
        status = await answer.json()
    assert (answer.status, status["reason"]) == (503, "ServiceUnavailable")
    assert status["message"] == "the cache can't be flushed: because"


async def test_it_leaves_an_audit_line(client, caplog):
    caplog.set_level(logging.INFO, "svcdns.audit")
    async with client.delete("/cache/example.com"):
        pass
    (line,) = (record.getMessage() for record in caplog.records if record.name == "svcdns.audit")
    assert '"verb":"delete","resource":"cache","namespace":"","name":"example.com","code":200' in line


@given(st.text(max_size=300))
def test_no_name_does_more_than_be_refused(text):
    try:
        key = key_of_text(text)
    except BadName as wrong:
        assert len(str(wrong).splitlines()) == 1
    else:
        assert not key or key.endswith(b"\0")


def _raw(path):
    """Return a URL whose percent-encoding stays as it is."""
    from yarl import URL

    return URL(path, encoded=True)
