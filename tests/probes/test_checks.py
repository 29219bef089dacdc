"""Single probes against real servers: HTTP and HTTPS by aiohttp, TCP, gRPC by grpclib."""

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, contextmanager

import pytest
from aiohttp import web
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hypothesis import given
from hypothesis import strategies as st

from svcdns.cli import certificates
from svcdns.probes import grpc_check, tcp_check
from svcdns.probes.http_check import HttpChecker
from svcdns.probes.specs import Grpc, HttpGet, TcpSocket

HERE = "127.0.0.1"


@asynccontextmanager
async def serving(handler, *, address=HERE, tls=None):
    """Serve HTTP; give the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, address, 0, ssl_context=tls)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1]
    finally:
        await runner.cleanup()


def asked(probe, address=HERE):
    """Return the outcome of one HTTP probe."""

    async def ask():
        async with HttpChecker() as checker:
            return await checker.check(probe, address)

    return ask()


@contextmanager
def closed_port():
    """Give a port that refuses connections: it is taken, so that nobody else listens there meanwhile."""
    with socket.socket() as one:
        one.bind((HERE, 0))
        yield one.getsockname()[1]


@pytest.mark.parametrize(
    ("status", "success"),
    [
        (200, True),
        (204, True),
        (302, True),
        (399, True),
        (400, False),
        (404, False),
        (500, False),
        (503, False),
    ],
)
async def test_which_statuses_are_success(status, success) -> None:
    async def handler(request):
        return web.Response(status=status)

    async with serving(handler) as port:
        found = await asked(HttpGet(port, "/ready"))
    assert found.success is success
    assert found.text == f"HTTP status {status} from http://127.0.0.1:{port}/ready"


async def test_what_the_server_sees() -> None:
    seen = []

    async def handler(request):
        seen.append((request.method, request.path_qs, list(request.headers.items())))
        return web.Response()

    probe = {"headers": (("X-Who", "a"), ("X-Who", "b"), ("Accept", "text/plain"))}
    async with serving(handler) as port:
        assert (await asked(HttpGet(port, "/a b?c=d&e=%20", **probe))).success
        assert (await asked(HttpGet(port, host="web.example"))).success
    (method, path, headers), (_, _, others) = seen
    assert (method, path) == ("GET", "/a%20b?c=d&e=%20")
    assert [value for name, value in headers if name == "X-Who"] == ["a", "b"]
    named = dict(headers)
    assert named["User-Agent"].startswith("kube-probe/")
    assert (named["Host"], named["Accept"], named["Connection"]) == (f"{HERE}:{port}", "text/plain", "close")
    assert dict(others)["Host"] == "web.example"


async def test_an_empty_header_leaves_ours_out() -> None:
    seen = []

    async def handler(request):
        seen.append(dict(request.headers))
        return web.Response()

    async with serving(handler) as port:
        await asked(HttpGet(port, headers=(("User-Agent", ""), ("Accept", ""))))
    assert "User-Agent" not in seen[0]
    assert "Accept" not in seen[0]


async def test_redirects_on_the_same_host_are_followed_and_no_others() -> None:
    elsewhere = []

    async def other(request):
        elsewhere.append(request.path)
        return web.Response(status=500)

    async def handler(request):
        if request.path == "/":
            raise web.HTTPFound("/login")
        if request.path == "/away":
            raise web.HTTPFound(f"http://127.0.0.2:{second}/")
        if request.path == "/named":
            raise web.HTTPFound(f"http://localhost:{second}/")
        if request.path == "/loop":
            raise web.HTTPFound("/loop")
        if request.path == "/file":
            raise web.HTTPFound("file:///etc/passwd")
        return web.Response(status=503)

    async with serving(other, address="127.0.0.2") as second, serving(handler) as port:
        found = await asked(HttpGet(port))
        assert (found.success, found.text) == (False, f"HTTP status 503 from http://127.0.0.1:{port}/login")
        for path in ("/away", "/named", "/file"):
            found = await asked(HttpGet(port, path))
            assert found.success, "as with the kubelet: it has answered"
            assert "which is not followed" in found.text
        found = await asked(HttpGet(port, "/loop"))
        assert not found.success
        assert "stopped after 10 redirects" in found.text
    assert elsewhere == []


async def test_certificates_are_not_verified(tmp_path) -> None:
    async def handler(request):
        return web.Response()

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    pair = certificates.make_server(certificates.make_ca(), ["elsewhere.example"])
    (tmp_path / "both.pem").write_bytes(pair.certificate_pem + pair.key_pem)
    tls.load_cert_chain(tmp_path / "both.pem")
    async with serving(handler, tls=tls) as port:
        assert (await asked(HttpGet(port, scheme="https"))).success
        assert not (await asked(HttpGet(port))).success, "plain HTTP is no HTTPS"


async def test_ipv6() -> None:
    async def handler(request):
        return web.Response(text=request.host)

    async with serving(handler, address="::1") as port:
        found = await asked(HttpGet(port, "/x"), "::1")
        assert (found.success, found.text) == (True, f"HTTP status 200 from http://[::1]:{port}/x")
        assert (await tcp_check.check(TcpSocket(port), "::1")).success


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"\0" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10**5,
    ],
    ids=["nothing", "nonsense", "no number", "octets", "headers without end"],
)
async def test_a_server_that_speaks_no_http_has_failed(octets) -> None:
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(octets)
        writer.close()

    server = await asyncio.start_server(answer, HERE, 0)
    async with server:
        found = await asked(HttpGet(server.sockets[0].getsockname()[1]))
    assert not found.success
    assert found.text


async def test_a_body_without_end_is_not_read() -> None:
    async def handler(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 65536)
        except ConnectionError:
            return answer

    async with serving(handler) as port:
        assert (await asyncio.wait_for(asked(HttpGet(port)), 60)).success


async def test_nobody_there() -> None:
    with closed_port() as port:
        found = await asked(HttpGet(port))
        assert not found.success
        assert "connection refused" in found.text or "connect call failed" in found.text
        found = await tcp_check.check(TcpSocket(port), HERE)
        assert (found.success, found.text) == (False, f"tcp 127.0.0.1 port {port}: connection refused")
        found = await grpc_check.check(Grpc(port), HERE)
        assert not found.success


async def test_a_port_that_accepts() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), HERE, 0)
    async with server:
        assert (await tcp_check.check(TcpSocket(server.sockets[0].getsockname()[1]), HERE)).success


async def test_header_injection_is_a_failure_and_not_a_request() -> None:
    seen = []

    async def handler(request):
        seen.append(request.path)
        return web.Response()

    async with serving(handler) as port:
        found = await asked(HttpGet(port, headers=(("X", "a\r\nEvil: 1"),)))
    assert (found.success, seen) == (False, [])


class Health:
    """A gRPC server that has one method and its answers by service."""

    def __init__(self, answers) -> None:
        self.answers = answers

    def __mapping__(self):
        from grpclib.const import Cardinality, Handler

        return {"/grpc.health.v1.Health/Check": Handler(self.check, Cardinality.UNARY_UNARY, bytes, bytes)}

    async def check(self, stream):
        answer = self.answers[await stream.recv_message()]
        if isinstance(answer, GRPCError):
            raise answer
        await stream.send_message(answer)


@asynccontextmanager
async def grpc(answers):
    from grpclib.server import Server

    server = Server([Health(answers)], codec=grpc_check._octets())
    await server.start(HERE, 0)
    try:
        yield server._server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "success", "text"),
    [
        (b"\x08\x01", True, "SERVING"),
        (b"\x08\x02", False, "NOT_SERVING"),
        (b"\x08\x03", False, "SERVICE_UNKNOWN"),
        (b"", False, "UNKNOWN"),
        (b"\x08\x7f", False, "127"),
        (b"\x0a\x01x", False, "healthcheckresponse"),
        (GRPCError(Status.NOT_FOUND, "no such service"), False, "NOT_FOUND: no such service"),
        (GRPCError(Status.UNIMPLEMENTED), False, "UNIMPLEMENTED"),
    ],
)
async def test_grpc(answer, success, text) -> None:
    async with grpc({b"\x0a\x03web": answer}) as port:
        found = await grpc_check.check(Grpc(port, "web"), HERE)
    assert found.success is success
    assert found.text.endswith(text) or text in found.text


async def test_grpc_of_the_server_as_a_whole() -> None:
    async with grpc({b"": b"\x08\x01"}) as port:
        assert (await grpc_check.check(Grpc(port), HERE)).success


async def test_a_server_that_speaks_no_grpc() -> None:
    async def handler(request):
        return web.Response()

    async with serving(handler) as port:
        async with asyncio.timeout(60):
            assert not (await grpc_check.check(Grpc(port), HERE)).success


async def test_grpc_without_its_library(monkeypatch) -> None:
    monkeypatch.setattr(grpc_check, "AVAILABLE", False)
    found = await grpc_check.check(Grpc(1), HERE)
    assert found == (False, "gRPC probes take the extra [grpc] (grpclib), which is not installed")


@given(st.binary(max_size=20))
def test_any_octets_are_a_status_or_none(octets) -> None:
    try:
        assert grpc_check.status_of(octets) >= 0
    except ValueError as wrong:
        assert "HealthCheckResponse" in str(wrong)


@given(st.text(max_size=300))
def test_the_request_holds_the_name(service) -> None:
    octets = grpc_check.request(service)
    name = service.encode()
    assert octets == b"" if not name else octets.endswith(name)
    if name:
        length = octets[1] if len(name) < 128 else (octets[1] & 0x7F) | octets[2] << 7
        assert length == len(name)
