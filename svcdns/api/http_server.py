"""aiohttp's server, with a Status for what it can't read as HTTP, as for all else.

aiohttp answers such requests itself, before any application sees them, in plain text that repeats all of it.
"""

from __future__ import annotations

from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from svcdns.objects.errors import StatusError

from .responses import status_answer


class _Connection(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Log an error and return the answer to it; the connection ends with it."""
        plain = super().handle_error(request, status, exc, message)
        if status == 500:
            return plain
        answer = status_answer(cast(web.Request, request), StatusError(status, "BadRequest", _text(exc)))
        answer.force_close()
        return answer


def _text(error: BaseException | None) -> str:
    """Say what is wrong, without what was sent: a token may be part of it."""
    if isinstance(error, LineTooLong):
        return f"a line of the request's head is too long: at most {_LONGEST_LINE} octets are allowed"
    return f"the request can't be read as HTTP: {type(error).__name__}"


_LONGEST_LINE = 8190
"""aiohttp's bound."""


class _Server(web.Server):
    """Makes connections."""

    def __init__(self, made: web.Server, options: dict[str, Any]) -> None:
        """`made` is aiohttp's own server of an application, `options` are those of its connections."""
        super().__init__(made.request_handler, request_factory=made.request_factory, **options)
        self._options = {name: value for name, value in options.items() if name != "handler_cancellation"}

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return _Connection(self, loop=self._loop, **self._options)


class Runner(web.AppRunner):
    """Runs an application; its options are those of aiohttp's AppRunner."""

    __slots__ = ("_options",)

    def __init__(self, app: web.Application, *, shutdown_timeout: float, **options: Any) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout, **options)
        self._options = options

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._options)
