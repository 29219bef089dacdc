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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.registry import CollectorRegistry

from svcdns.api.auth import audit, session_route
from svcdns.api.auth.access_control import FOR_ANYONE, AccessControl
from svcdns.api.auth.authentication import CHALLENGE
from svcdns.api.auth.authority import Authority, Everyone
from svcdns.config.sections import Config
from svcdns.objects.errors import StatusError, bad_request

from . import (
    bodies,
    body_limits,
    cache_route,
    connections,
    console_paths,
    console_route,
    containers_route,
    explain_route,
    health,
    heartbeats_route,
    paths,
    proxies_route,
    resolv_conf_route,
    review_kinds,
    seeing_route,
    status_route,
    stream_route,
)
from .access_log import AccessLogger, server_log
from .documents import Documents
from .explained_answer import ExplainedAnswers, Surroundings
from .health import Health, Metrics, ServerHealth
from .http_server import Runner
from .metrics import ApiMetrics
from .parameters import boolean
from .proxies import Proxies
from .responses import Clock, method_not_allowed, no_such_path, status_answer
from .reviews import Reviews
from .routes import Resources
from .watches import Watches

if TYPE_CHECKING:
    from svcdns.registry.registry import Registry
    from svcdns.tap.viewer import Viewer

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
    flush: cache_route.Flush | None = None,
    overview: status_route.Overview = dict,
    containers: containers_route.Containers = containers_route.none,
    viewer: Viewer | None = None,
    around: Surroundings | None = None,
    clock: Clock = time.time,
    bookmark_interval: float = 60.0,
    limits: connections.Connections | None = None,
    bodies_limits: body_limits.BodyLimits | None = None,
) -> web.Application:
    """Return the application; run it with `create_runner`.

    `health` returns the reasons why the server is not ready, `warnings` what is not as it should be although
    it is, `metrics` the octets of /metrics and their Content-Type; all are called in the event loop and must
    be quick.  `version` is svcdns' own.
    `authority` admits requests and is asked by reviews (None: there is no authentication, everyone may do
    everything); `names` are the host names under which the API may be addressed (None: any).
    `config` says what stands in /resolv.conf (None: of the defaults).
    `counters` counts the requests (None: in a registry nobody reads).  `flush` has cached answers forgotten
    (None: there is no cache); `viewer` shows what is asked (None: nobody may see), `around` what else an
    answer comes from than the registry.  `bookmark_interval` is in
    seconds, between two bookmarks of a watch.  `overview` and `containers` return their pages.  `limits` and
    `bodies_limits` bound what clients take of the server (None: as the defaults say).
    """
    counted = counters or ApiMetrics(CollectorRegistry())
    watches = Watches(registry, counted, bookmark_interval=bookmark_interval)
    access = AccessControl(authority, names)
    resources = Resources(registry, watches, clock, access.check_created)
    reviews = Reviews(authority or Everyone())
    documents = Documents(version)
    status = ServerHealth(health, warnings)
    front = _Front(
        access,
        resources,
        reviews,
        documents,
        status,
        metrics,
        config or Config(),
        counted,
        flush,
        registry.explain,
        overview,
        containers,
        registry.heartbeats.beat_each,
        proxies := Proxies(registry.last_change),
        seeing := seeing_route.Seeing(viewer),
        streams := stream_route.Streams(registry, access.check_again),
        console_route.Console(registry, access, (config or Config()).console.enabled),
        ExplainedAnswers(registry.store, config or Config(), around or Surroundings()),
    )
    app = web.Application(client_max_size=bodies.MAX_BODY, middlewares=[_refusals_of_aiohttp])
    app[connections.KEY] = limits or connections.Connections()
    app[body_limits.KEY] = of_bodies = bodies_limits or body_limits.BodyLimits()
    app.router.add_route("*", "/{path:.*}", front.answer, expect_handler=_expected)

    async def end(_: web.Application) -> None:
        watches.close()
        proxies.end()
        seeing.end()
        streams.end()
        of_bodies.end_unfinished()
        of_bodies.close()

    app.on_shutdown.append(end)
    return app


def create_runner(
    app: web.Application, *, shutdown_timeout: float = SHUTDOWN_TIMEOUT, access_log: bool = False
) -> web.AppRunner:
    """Return the runner: a client that leaves ends its watch; `access_log`: each request leaves a line."""
    if connections.KEY not in app:
        app[connections.KEY] = connections.Connections()
    return Runner(
        app,
        handler_cancellation=True,
        access_log=logging.getLogger("aiohttp.access") if access_log else None,
        access_log_class=AccessLogger,
        auto_decompress=False,  # not for those either whose bodies nobody reads (see bodies.check_head)
        logger=server_log,
        shutdown_timeout=shutdown_timeout,
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
    """Answer `Expect: 100-continue`: a body that is too large or compressed needn't be sent at all."""
    if request.headers["Expect"].lower() != "100-continue":
        error = StatusError(417, "BadRequest", "Expect: the only value understood is 100-continue")
        return status_answer(request, error)
    try:
        bodies.check_head(request)
    except StatusError as refused:
        answer = status_answer(request, refused)
        answer.force_close()
        return answer
    if request.version < (1, 1):
        return None
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # so that the headers of the answer are still to be sent
    return None


@dataclass(frozen=True, slots=True)
class _Front:
    """Finds who answers, turns errors into answers, counts."""

    access: AccessControl
    resources: Resources
    reviews: Reviews
    documents: Documents
    health: ServerHealth
    metrics: Metrics
    config: Config
    counters: ApiMetrics
    flush: cache_route.Flush | None
    explain: explain_route.Explain
    overview: status_route.Overview
    containers: containers_route.Containers
    beat_each: heartbeats_route.BeatEach
    proxies: Proxies
    seeing: seeing_route.Seeing
    streams: stream_route.Streams
    console: console_route.Console
    answers: ExplainedAnswers

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        begun = time.monotonic()
        connection = request.app[connections.KEY].of(request)
        if connection is not None:
            connection.begin()
        target = paths.parse(request.rel_url.raw_path)
        verb = paths.verb_of(target, request.method, _is_watch(request))
        code, answer = 499, None
        try:
            refusal = connection.refusal if connection is not None else None
            answer = await self._answer_or_refuse(request, target, verb, refusal)
            code = answer.status
            if refusal is not None:
                answer.force_close()  # there is no room for it to stay
            return answer
        finally:
            bodies.give_back(request)
            if connection is not None:
                connection.finish()
            resource = target.resource if target else ""
            self.counters.answered(verb, resource, code, time.monotonic() - begun)
            audit.record(request, target, verb, code, answer)

    async def _answer_or_refuse(
        self,
        request: web.Request,
        target: paths.Target | None,
        verb: str,
        refusal: StatusError | None,
    ) -> web.StreamResponse:
        try:
            if refusal is not None and request.rel_url.raw_path.rstrip("/") not in FOR_ANYONE:
                raise refusal
            self.access.check(request, target, verb)
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
                raise method_not_allowed(paths.instead(target, request.method))
            return await self._of_object(request, target)
        path = request.rel_url.raw_path.rstrip("/") or "/"
        if (review := review_kinds.by_path(path)) is not None:
            return await self.reviews.answer(request, review)
        if cache_route.is_at(path):
            return await cache_route.answer(request, path, self.flush)
        if proxies_route.is_report(path):
            return await proxies_route.report(request, path, self.proxies)
        if path == proxies_route.WAIT and request.method in paths.READ:
            return await proxies_route.wait(request, self.proxies)
        if path == explain_route.PATH and request.method in paths.READ:
            return await explain_route.answer(request, self.explain, self.answers)
        if path == status_route.PATH and request.method in paths.READ:
            return await status_route.answer(request, self.overview, self.proxies)
        if path == containers_route.PATH and request.method in paths.READ:
            return await containers_route.answer(request, self.containers)
        if path in seeing_route.PATHS and request.method in paths.READ:
            return await self.seeing.answer(request, path)
        if path == stream_route.PATH and request.method in paths.READ:
            return await self.streams.answer(request)
        if self.console.answers(request, path):
            return await self.console.answer(request, path)
        if path == heartbeats_route.PATH:
            return await heartbeats_route.answer(request, self.beat_each, self.access.check_action)
        document = self.documents.find(request, path)
        if document is None and path not in (*_OTHER_PATHS, *health.QUIET):
            raise no_such_path(paths.meant(path))
        if request.method not in paths.READ:
            raise method_not_allowed()
        if document is not None:
            return document.answer(request)
        if path == resolv_conf_route.PATH:
            return resolv_conf_route.answer(request, self.config)
        if path == "/metrics":
            return health.metrics_answer(self.metrics)
        return health.health_answer(request, path, self.health)

    async def _of_object(self, request: web.Request, target: paths.Target) -> web.StreamResponse:
        seconds = proxies_route.asked(request)
        answer = await self.resources.answer(request, target)
        if seconds is not None:
            await proxies_route.wait_beside(answer, self.proxies, seconds)
        return answer


_OTHER_PATHS = (
    *(
        resolv_conf_route.PATH,
        explain_route.PATH,
        status_route.PATH,
        containers_route.PATH,
        proxies_route.WAIT,
        stream_route.PATH,
    ),
    *seeing_route.PATHS,
)
"""Paths without objects that take a moment, or are nobody's probe."""


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
        methods = _methods(request.rel_url.raw_path) if target is None else paths.allowed_methods(target)
        answer.headers["Allow"] = ", ".join(methods)
    return answer


def _methods(path: str) -> tuple[str, ...]:
    """Return the methods of a path without objects."""
    if proxies_route.is_report(path):
        return proxies_route.METHODS
    if path.rstrip("/") == heartbeats_route.PATH:
        return heartbeats_route.METHODS
    if console_paths.is_session(path):
        return session_route.METHODS
    return cache_route.METHODS if cache_route.is_at(path) else paths.READ
