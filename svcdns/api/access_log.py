"""The access log: one line a request, at level INFO of the logger `aiohttp.access`; probes leave none."""

from __future__ import annotations

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from .health import QUIET


class AccessLogger(AbstractAccessLogger):
    """Client, method, path, status, octets, milliseconds, user agent."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line; `time` is in seconds."""
        if request.path.rstrip("/") in QUIET:
            return
        # repr() keeps a client from writing lines of its own into the log.
        agent = request.headers.get("User-Agent", "")[:200]
        self.logger.info(
            "%s %s %s %d %d %.1fms %r",
            request.remote or "-",
            request.method,
            request.rel_url.raw_path_qs[:500],
            response.status,
            response.body_length,
            time * 1000,
            agent,
        )
