"""The API as an aiohttp application: which part answers a path, and what becomes of errors.

Every refusal is answered with a Kubernetes Status object, and every request is counted, whatever
happens to it.  A request whose path is that of an object goes to `routes`; the few others are
answered here.  What a client may do is decided by `auth.access_control`, before anything is read of the body,
and what it wrote is recorded by `auth.audit`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry

from svcdns.api.auth import audit
from svcdns.api.auth.access_control import AccessControl
from svcdns.api.auth.authentication import CHALLENGE
from svcdns.config.sections import Config
from svcdns.objects.errors import StatusError, bad_request

from . import bodies, health, paths, resolv_conf_route, review_kinds
from .access_log import AccessLogger, server_log
from .documents import Documents
from .health import Health, Metrics, ServerHealth
from .metrics import ApiMetrics
from .parameters import boolean
from .responses import Clock, method_not_allowed, no_such_path, status_answer
from .reviews import Authority, Everyone, Reviews
from .routes import Resources
from .watches import Watches

if TYPE_CHECKING:
    from svcdns.registry.registry import Registry

_log = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT = 2.0
"""Seconds that requests under way get at a shutdown, less than the supervisor gives this process."""
LINGERING_SECONDS = 0.5
"""For so long the rest of a body that nobody wants is read and thrown away, so that the client finds the
answer and not a reset connection.  As Go's net/http does it (rstAvoidanceDelay)."""


def create_app(
    registry: Registry,
    *,
    health: Health,
    metrics: Metrics,
    version: str,
    warnings: Health = list,
    authority: Authority | None = None,
    names: frozenset[str] | None = None,
    config: Config | None = None,
    counters: ApiMetrics | None = None,
    clock: Clock = time.time,
    bookmark_interval: float = 60.0,
    send_timeout: float = 10.0,
) -> web.Application:
    """Return the application; run it with `create_runner`.

    `health` returns the reasons why the server is not ready, `warnings` what is not as it should be although
    it is, `metrics` the octets of /metrics and their Content-Type; all are called in the event loop and must
    be quick.  `version` is svcdns' own.
    `authority` admits requests and is asked by reviews (None: there is no authentication, everyone may do
    everything); `names` are the host names under which the API may be addressed (None: any).
    `config` says what /resolv.conf tells of (None: of the defaults).
    `counters` counts the requests (None: in a registry nobody reads).  Times are in seconds: between two
    bookmarks of a watch, and until a watcher that does not read is cut off.
    """
    counted = counters or ApiMetrics(CollectorRegistry())
    watches = Watches(registry, counted, bookmark_interval=bookmark_interval, send_timeout=send_timeout)
    resources, reviews = Resources(registry, watches, clock), Reviews(authority or Everyone())
    access = AccessControl(authority, names)
    documents = Documents(version)
    front = _Front(
        access,
        resources,
        reviews,
        documents,
        ServerHealth(health, warnings),
        metrics,
        config or Config(),
        counted,
    )
    app = web.Application(client_max_size=bodies.MAX_BODY, middlewares=[_refusals_of_aiohttp])
    app.router.add_route("*", "/{path:.*}", front.answer, expect_handler=_expected)

    app[bodies.UNFINISHED] = unfinished = bodies.Unfinished()

    async def wait_for_nobody(_: web.Application) -> None:
        watches.close()
        unfinished.end()

    app.on_shutdown.append(wait_for_nobody)
    return app


def create_runner(app: web.Application) -> web.AppRunner:
    """Return the runner: a client that leaves ends its watch, probes leave no access log line."""
    return web.AppRunner(
        app,
        handler_cancellation=True,
        access_log_class=AccessLogger,
        logger=server_log,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        lingering_time=LINGERING_SECONDS,
    )


@web.middleware
async def _refusals_of_aiohttp(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what aiohttp's own router refuses (a path such as "*") with a Status too."""
    try:
        return await handler(request)
    except web.HTTPException:
        return status_answer(request, no_such_path())


async def _expected(request: web.Request) -> web.StreamResponse | None:
    """Answer `Expect: 100-continue`: a body that is too large needn't be sent at all."""
    if request.headers["Expect"].lower() != "100-continue":
        error = StatusError(417, "BadRequest", "Expect: the only value understood is 100-continue")
        return status_answer(request, error)
    if (request.content_length or 0) > bodies.MAX_BODY:
        answer = status_answer(request, bodies.too_large())
        answer.force_close()
        return answer
    if request.version < (1, 1):
        return None
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # so that the headers of the answer are still to be sent
    return None


class _Front:
    """Finds who answers, turns errors into answers, counts."""

    def __init__(
        self,
        access: AccessControl,
        resources: Resources,
        reviews: Reviews,
        documents: Documents,
        health: ServerHealth,
        metrics: Metrics,
        config: Config,
        counters: ApiMetrics,
    ) -> None:
        self._access = access
        self._resources = resources
        self._reviews = reviews
        self._documents = documents
        self._health = health
        self._metrics = metrics
        self._config = config
        self._counters = counters

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        begun = time.monotonic()
        target = paths.parse(request.rel_url.raw_path)
        verb = paths.verb_of(target, request.method, _is_watch(request))
        code, answer = 499, None
        try:
            answer = await self._answer_or_refuse(request, target, verb)
            code = answer.status
            return answer
        finally:
            resource = target.resource if target else ""
            self._counters.answered(verb, resource, code, time.monotonic() - begun)
            audit.record(request, target, verb, code, answer)

    async def _answer_or_refuse(
        self, request: web.Request, target: paths.Target | None, verb: str
    ) -> web.StreamResponse:
        try:
            self._access.check(request, target, verb)
            return await self._answer(request, target)
        except StatusError as error:
            return _refusal(request, target, error)
        except RecursionError:
            return status_answer(request, bad_request("the body is nested too deeply"))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            _log.exception("%s %s failed", request.method, request.rel_url.raw_path[:500])
            text = "Internal error occurred: the server's log says more"
            return status_answer(request, StatusError(500, "InternalError", text))

    async def _answer(self, request: web.Request, target: paths.Target | None) -> web.StreamResponse:
        if target is not None:
            if request.method not in paths.allowed_methods(target):
                raise method_not_allowed()
            return await self._resources.answer(request, target)
        path = request.rel_url.raw_path.rstrip("/") or "/"
        if (review := review_kinds.by_path(path)) is not None:
            return await self._reviews.answer(request, review)
        document = self._documents.find(request, path)
        if document is None and path != resolv_conf_route.PATH and path not in health.QUIET:
            raise no_such_path()
        if request.method not in paths.READ:
            raise method_not_allowed()
        if document is not None:
            return document.answer(request)
        if path == resolv_conf_route.PATH:
            return resolv_conf_route.answer(request, self._config)
        if path == "/metrics":
            return health.metrics_answer(self._metrics)
        return health.health_answer(request, path, self._health)


def _is_watch(request: web.Request) -> bool:
    try:
        return request.method == "GET" and bool(boolean(request.query, "watch"))
    except StatusError:
        return False


def _refusal(request: web.Request, target: paths.Target | None, error: StatusError) -> web.Response:
    answer = status_answer(request, error)
    if error.code == 401:
        answer.headers["WWW-Authenticate"] = CHALLENGE
    if error.code == 405:
        methods = paths.READ if target is None else paths.allowed_methods(target)
        answer.headers["Allow"] = ", ".join(methods)
    return answer
