"""The proxy's own port: /healthz, /metrics and, for this machine only, /status.

Rules:

* /healthz is 503 only where traffic is not carried as the registry says; while the API is away, the last
  state is carried on, and the answer says so;
* /status names Services and addresses, so only clients on this machine are told, and no page of a browser
  that came here under another name.
"""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import web

from svcdns.config.readers import Endpoint

from .status import Metrics, Status

STATUS_PATH = "/status"


async def serve(listen: Endpoint, status: Status, metrics: Metrics) -> web.AppRunner:
    """Begin to answer; the runner's `cleanup` ends it.  Raises OSError where the port can't be had."""

    async def healthz(request: web.Request) -> web.Response:
        found = status.health()
        return web.json_response(found, status=200 if found["healthy"] else 503)

    async def metrics_page(request: web.Request) -> web.Response:
        text, content_type = metrics.render()
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def status_page(request: web.Request) -> web.Response:
        if not _is_from_here(request):
            raise web.HTTPForbidden(text="only for clients on this machine\n")
        return web.json_response(status.page(request.query.get("service", "")))

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics_page)
    app.router.add_get(STATUS_PATH, status_page)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, listen.host, listen.port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def _is_from_here(request: web.Request) -> bool:
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    host = request.headers.get("Host", "").rpartition(":")[0].strip("[]") or request.headers.get("Host", "")
    return bool(peer and ip_address(peer[0].partition("%")[0]).is_loopback) and _is_address(host)


def _is_address(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
