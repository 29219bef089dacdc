"""The API of a server that can't serve it: one reason for all that is asked, and liveness as ever."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from svcdns.objects.errors import StatusError

from .auth.access_control import FOR_ANYONE
from .health import ServerHealth, health_answer
from .responses import status_answer


def create_refusing_app(reason: Callable[[], str]) -> web.Application:
    """Return an application that answers 503, in /readyz too, with the reason as it is at that time.

    Run it with `create_runner`.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path.rstrip("/")
        if path in FOR_ANYONE:
            return health_answer(request, path, ServerHealth(lambda: [reason()], list))
        return status_answer(request, StatusError(503, "ServiceUnavailable", reason()))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app
