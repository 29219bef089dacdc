"""healthCheckNodePort: load balancers outside ask whether a node has endpoints of a Service.

    GET http://NODE:PORT/    200 where there is a ready endpoint here, else 503; the body says how many

Rules:

* a port is listened on at the addresses that offer node ports, for as long as a Service has it;
* a port that can't be had is tried again, and keeps no other one away;
* a Service that is gone is answered with 503 on connections that are still open.

https://kubernetes.io/docs/tasks/access-application-cluster/create-external-load-balancer/
pkg/proxy/healthcheck/service_health.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address

from aiohttp import web

from svcdns.cluster.traffic_plan import HealthCheck
from svcdns.system.port_owner import program_at

RETRY_SECONDS = 5.0
_WEIGHT = "X-Load-Balancing-Endpoint-Weight"

log = logging.getLogger(__name__)


class HealthChecks:
    """The listeners of all health checks."""

    def __init__(self, is_healthy: Callable[[], bool]) -> None:
        """`is_healthy` says whether the proxy itself does its work."""
        self._is_healthy = is_healthy
        self._wanted: dict[int, HealthCheck] = {}
        self._addresses: tuple[str, ...] = ()
        self._open: dict[tuple[str, int], web.TCPSite] = {}
        self._refused: set[tuple[str, int]] = set()
        self._runners: dict[int, web.AppRunner] = {}
        self._wake = asyncio.Event()

    def change(self, changed: Mapping[int, HealthCheck | None]) -> None:
        """Take health checks by port; None: gone."""
        for port, check in changed.items():
            if check is None:
                self._wanted.pop(port, None)
            else:
                self._wanted[port] = check
        self._wake.set()

    def listen_at(self, addresses: Sequence[bytes]) -> None:
        """Take the addresses that offer node ports."""
        self._addresses = tuple(str(ip_address(one)) for one in addresses)
        self._wake.set()

    @property
    def listening(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return sorted(self._open)

    async def run(self) -> None:
        """Keep the listeners as they are wanted until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self._set_up()
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS if self._refused else None):
                        await self._wake.wait()
        finally:
            for runner in self._runners.values():
                await runner.cleanup()

    async def _set_up(self) -> None:
        wanted = {(host, port) for port in self._wanted for host in self._addresses}
        for place in self._open.keys() - wanted:
            await self._open.pop(place).stop()
        for port in self._runners.keys() - {port for _, port in self._open.keys() | wanted}:
            await self._runners.pop(port).cleanup()
        self._refused &= wanted
        for host, port in sorted(wanted - self._open.keys()):
            await self._listen(host, port)

    async def _listen(self, host: str, port: int) -> None:
        if (runner := self._runners.get(port)) is None:
            runner = web.AppRunner(self._app(port), access_log=None, shutdown_timeout=1.0)
            self._runners[port] = runner
            await runner.setup()
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as refused:
            if (host, port) not in self._refused:
                self._refused.add((host, port))
                owner = program_at("tcp", port)
                why = f"{owner} has it" if owner else (refused.strerror or str(refused)).lower()
                log.error("healthCheckNodePort %d can't be listened on at %s: %s", port, host, why)
            with suppress(RuntimeError):
                await site.stop()
        else:
            self._refused.discard((host, port))
            self._open[host, port] = site

    def _app(self, port: int) -> web.Application:
        async def answer(request: web.Request) -> web.Response:
            return self._answer(port)

        app = web.Application(client_max_size=1024)
        app.router.add_get("/{rest:.*}", answer)
        return app

    def _answer(self, port: int) -> web.Response:
        check, healthy = self._wanted.get(port), self._is_healthy()
        namespace, _, name = (check.service if check else "/").partition("/")
        count = check.local_endpoints if check else 0
        body = {
            "service": {"namespace": namespace, "name": name},
            "localEndpoints": count,
            "serviceProxyHealthy": healthy,
        }
        status = 200 if count and healthy else 503
        headers = {_WEIGHT: str(count), "X-Content-Type-Options": "nosniff"}
        return web.json_response(body, status=status, headers=headers)
