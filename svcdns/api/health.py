"""/livez, /readyz, /healthz and /metrics: for probes and for Prometheus.

/livez says that the event loop turns; /readyz and /healthz say whether the server does what it is there for:
to answer questions.  So a server that answers but can't take writes is ready, and says so in words: who asks
would otherwise take it out of service, and DNS with it.
https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

Health = Callable[[], list[str]]
"""Returns the reasons why the server is not ready, [] when it is."""
Metrics = Callable[[], tuple[bytes, str]]
"""Returns the metrics in Prometheus' text format, and its Content-Type."""

QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Paths that are asked for every few seconds and leave no line in the access log."""


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """Both kinds of trouble."""

    reasons: Health
    warnings: Health
    """Returns what is not as it should be although the server is ready."""


def health_answer(request: web.Request, path: str, health: ServerHealth) -> web.Response:
    """Return 200 "ok", with warnings if there are any, or 503 with the reasons; `?verbose` spells all out."""
    reasons, warnings = ([], []) if path == "/livez" else (health.reasons(), health.warnings())
    check = path.strip("/")
    if reasons:
        lines = [f"[-]{reason}" for reason in reasons] + [f"[!]{warning}" for warning in warnings]
        text = "\n".join([*lines, f"{check} check failed", ""])
    elif "verbose" in request.query:
        lines = ["[+]ping ok", *(f"[!]{warning}" for warning in warnings)]
        text = "\n".join([*lines, f"{check} check passed", ""])
    else:
        text = "; ".join(["ok", *warnings])
    return web.Response(text=text, status=503 if reasons else 200, headers={"Cache-Control": "no-cache"})


def metrics_answer(metrics: Metrics) -> web.Response:
    """Return the metrics."""
    octets, content_type = metrics()
    return web.Response(body=octets, headers={"Content-Type": content_type})
