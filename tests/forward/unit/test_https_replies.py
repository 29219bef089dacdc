"""What an HTTPS upstream may answer beside a DNS message, and what becomes of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rrset
import pytest
from aiohttp import web
from toolbox.upstreams import HOST, Certificates

from svcdns.config.upstream_spec import parse
from svcdns.forward.upstreams.factory import make
from svcdns.forward.upstreams.upstream import NoReply
from svcdns.wire.key import key_of_wire, wire_of
from svcdns.wire.query import Query
from svcdns.wire.response import Response

HANG = 30.0
SOON = 10.0
NAME = wire_of("www.example.org.")
WWW = Query(key_of_wire(NAME), 1, name=NAME)
TYPE = "application/dns-message"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def exchange(folder: Path, handler: Handler, seconds: float = HANG) -> Response:
    """Ask a server of aiohttp (HTTP/1.1 over TLS) whose one page is the handler."""
    certificates = Certificates(folder)
    app = web.Application()
    app.router.add_post("/q", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, ssl_context=certificates.context())
    await site.start()
    port = runner.addresses[0][1]
    upstream = make(parse(f"https://dns.example:{port}/q#{HOST}"), certificates.ca)
    try:
        return await upstream.exchange(WWW, seconds)
    finally:
        await upstream.close()
        await runner.cleanup()


async def answer(request: web.Request) -> bytes:
    query = dns.message.from_wire(await request.read())
    reply = dns.message.make_response(query)
    reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", "192.0.2.7"))
    return reply.to_wire()


async def test_the_request_is_as_rfc_8484_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{HOST}:1")
    seen: list[tuple[dict[str, str], dns.message.Message]] = []

    async def look(request: web.Request) -> web.Response:
        query = dns.message.from_wire(await request.read())
        seen.append((dict(request.headers), query))
        return web.Response(body=await answer(request), content_type=TYPE)

    assert (await exchange(tmp_path, look)).lifetime == 300
    headers, query = seen[0]
    assert query.id == 0 and query.flags == dns.flags.RD
    assert headers["Host"].startswith("dns.example:")
    assert headers["Content-Type"] == headers["Accept"] == TYPE
    assert not {"User-Agent", "Cookie"} & headers.keys()
    assert int(headers["Content-Length"]) % 128 == 0, "RFC 8467 section 4.1"
    assert [option.otype for option in query.options] == [dns.edns.OptionType.PADDING]


@pytest.mark.parametrize(
    ("status", "content_type", "body", "why"),
    [
        (503, TYPE, None, "HTTP status 503"),
        (302, TYPE, None, "HTTP status 302"),
        (200, "text/html", None, "of type 'text/html'"),
        (200, TYPE, b"", "garbage"),
        (200, TYPE, b"x" * 65535, "garbage"),
        (200, TYPE, b"x" * 65536, "more than 65535 octets"),
        (200, TYPE, b"x" * 3_000_000, "more than 65535 octets"),
    ],
)
async def test_what_is_no_reply(
    tmp_path: Path, status: int, content_type: str, body: bytes | None, why: str
) -> None:
    async def other(request: web.Request) -> web.Response:
        octets = await answer(request) if body is None else body
        headers = {"Location": "/q", "Content-Type": content_type}
        return web.Response(status=status, body=octets, headers=headers)

    with pytest.raises(NoReply, match=why):
        await exchange(tmp_path, other)


async def test_a_body_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": TYPE})
        await response.prepare(request)
        while True:
            await response.write(b"x" * 10_000)

    with pytest.raises(NoReply, match="more than 65535 octets"):
        await exchange(tmp_path, endless)


async def test_a_dribbled_body_ends_with_the_time(tmp_path: Path) -> None:
    async def dribble(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": TYPE})
        await response.prepare(request)
        for octet in await answer(request):
            await response.write(bytes((octet,)))
            await asyncio.sleep(1)
        return response

    start = time.monotonic()
    with pytest.raises(NoReply, match="no reply in time"):
        await exchange(tmp_path, dribble, seconds=0.5)
    assert time.monotonic() - start < SOON


@pytest.mark.parametrize(
    ("age", "left"),
    [("100", 200), ("300", 0), ("999999", 0), ("0", 300), ("-5", 300), ("x", 300), ("²", 300)],
)
async def test_what_an_http_cache_has_kept_has_aged(tmp_path: Path, age: str, left: int) -> None:
    async def aged(request: web.Request) -> web.Response:
        return web.Response(body=await answer(request), headers={"Content-Type": TYPE, "Age": age})

    found = await exchange(tmp_path, aged)
    assert found.lifetime == left
    assert dns.message.from_wire(found.wire).answer[0].ttl == left
