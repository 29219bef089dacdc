"""A socket proxy, with the GETs of examples/containers/proxy.yaml: TCP 2375 to an engine's socket."""

import re

from aiohttp import ClientSession, ClientTimeout, UnixConnector, web

SOCKET = "/var/run/docker.sock"
LET_THROUGH = re.compile(r"(/v[\d.]+)?/(version|_ping|info|events|containers/json|containers/[^/]+/json)")


async def hand_on(request: web.Request) -> web.StreamResponse:
    if request.method != "GET" or not LET_THROUGH.fullmatch(request.path):
        return web.Response(status=403, text="<html>403 Forbidden</html>")
    async with (
        ClientSession(connector=UnixConnector(SOCKET), timeout=ClientTimeout(total=None)) as session,
        session.get(f"http://engine{request.raw_path}", allow_redirects=False) as answer,
    ):
        response = web.StreamResponse(status=answer.status)
        response.headers["Date"] = answer.headers.get("Date", "")
        await response.prepare(request)
        async for octets in answer.content.iter_any():
            await response.write(octets)
        return response


app = web.Application()
app.router.add_route("*", "/{any:.*}", hand_on)
web.run_app(app, port=2375, print=None)
