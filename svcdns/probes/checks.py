"""Which check runs a probe; what HTTP takes is loaded when the first such probe is there."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from importlib import import_module
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Self

from . import tcp_check
from .specs import Check, Grpc, HttpGet, NotRun, TcpSocket
from .verdicts import Outcome

if TYPE_CHECKING:
    from .http_check import HttpChecker


class Checks:
    """Runs probes of every kind; made and used in one event loop."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._http: HttpChecker | None = None
        self._grpc: ModuleType | None = None
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def load(self, check: Check) -> None:
        """Load what a probe takes, beside the event loop: that is no time of the Pod's, nor of others'."""
        if isinstance(check, HttpGet) and self._http is None:
            module = await asyncio.to_thread(import_module, f"{__package__}.http_check")
            if self._http is None:
                self._http = await self._open.enter_async_context(module.HttpChecker())
        elif isinstance(check, Grpc) and self._grpc is None:
            self._grpc = await asyncio.to_thread(import_module, f"{__package__}.grpc_check")

    async def run(self, check: Check, address: str) -> Outcome:
        """Run one probe; the caller bounds the time, from when `load` has been called on."""
        if isinstance(check, TcpSocket):
            return await tcp_check.check(check, address)
        if isinstance(check, NotRun):
            return Outcome(False, check.why)
        await self.load(check)
        if isinstance(check, HttpGet):
            assert self._http is not None
            return await self._http.check(check, address)
        assert self._grpc is not None
        outcome: Outcome = await self._grpc.check(check, address)
        return outcome
