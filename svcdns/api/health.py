"""/livez, /readyz, /healthz and /metrics: for probes and for Prometheus.

/livez says that the event loop turns; /readyz and /healthz say whether the server does what it is there for.
https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

Health = Callable[[], list[str]]
"""Returns the reasons why the server is not ready, [] when it is."""
Metrics = Callable[[], tuple[bytes, str]]
"""Returns the metrics in Prometheus' text format, and its Content-Type."""

QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Paths that are asked for every few seconds and leave no line in the access log."""


def health_answer(request: web.Request, path: str, health: Health) -> web.Response:
    """Return 200 "ok", or 503 with the reasons; `?verbose` spells both out."""
    reasons = [] if path == "/livez" else health()
    check = path.strip("/")
    if reasons:
        lines = [f"[-]{reason}" for reason in reasons]
        text = "\n".join([*lines, f"{check} check failed", ""])
    elif "verbose" in request.query:
        text = f"[+]ping ok\n{check} check passed\n"
    else:
        text = "ok"
    return web.Response(text=text, status=503 if reasons else 200, headers={"Cache-Control": "no-cache"})


def metrics_answer(metrics: Metrics) -> web.Response:
    """Return the metrics."""
    octets, content_type = metrics()
    return web.Response(body=octets, headers={"Content-Type": content_type})
