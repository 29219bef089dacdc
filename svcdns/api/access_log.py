"""The access log, where it is wanted: a line a request, INFO of the logger `aiohttp.access`; none of probes.

What can't be read as HTTP leaves a line at level INFO of `svcdns.api.http`, which does not repeat what was
sent: a token may be part of it.
"""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

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


class _Unreadable(logging.Filter):
    """Makes a quiet line of each request that aiohttp could not parse and would log with all its octets."""

    def filter(self, record: logging.LogRecord) -> bool:
        wrong = record.exc_info[1] if record.exc_info else None  # args: the client's address
        if isinstance(wrong, HttpProcessingError):
            record.exc_info, record.exc_text = None, None
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg = f"%s sent what is no HTTP: {type(wrong).__name__}"
            return server_log.isEnabledFor(logging.INFO)
        return True


server_log = logging.getLogger("svcdns.api.http")
server_log.addFilter(_Unreadable())
