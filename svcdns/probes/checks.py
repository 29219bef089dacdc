"""Which check runs a probe; what HTTP takes is loaded when the first such probe is there."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from . import tcp_check
from .specs import Check, Grpc, HttpGet, TcpSocket
from .verdicts import Outcome

if TYPE_CHECKING:
    from .http_check import HttpChecker


class Checks:
    """Runs probes of every kind; made and used in one event loop."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._http: HttpChecker | None = None
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def run(self, check: Check, address: str) -> Outcome:
        """Run one probe; the caller bounds the time."""
        if isinstance(check, TcpSocket):
            return await tcp_check.check(check, address)
        if isinstance(check, HttpGet):
            if self._http is None:
                from .http_check import HttpChecker

                self._http = await self._open.enter_async_context(HttpChecker())
            return await self._http.check(check, address)
        if isinstance(check, Grpc):
            from . import grpc_check

            return await grpc_check.check(check, address)
        return Outcome(False, check.why)
