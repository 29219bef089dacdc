"""Telling the server how far the traffic follows, where somebody waits for it (`Svcdns-Wait: proxies`).

Rules:

* a request is held open by the server until somebody wants more than is in effect: as long as nobody waits,
  this is one request in twenty seconds;
* only what the engine has done counts, and nothing before it was told of all once;
* a server that knows no such path is asked again after a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from svcdns.client import ApiError, AsyncClient, NoServer, Unreachable, waiting
from svcdns.client.exchange import Call

from .engine_sync import EngineSync

_REACHED_SECONDS = 1.0
"""What is wanted is told of as far as it goes after so long."""
_AWAY_SECONDS, _UNKNOWN_SECONDS = 1.0, 60.0
_UNKNOWN = (401, 403, 404, 405)


class Progress:
    """Says how far one proxy is."""

    def __init__(self, client: AsyncClient, node: str, sync: EngineSync) -> None:
        """`node` is the name of this one."""
        self._client = client
        self._node = node
        self._sync = sync

    async def run(self) -> None:
        """Say so again and again until cancelled."""
        await self._sync.until(lambda: self._sync.is_synced)
        while True:
            try:
                wanted = await self._client.run(self._report())
            except ApiError as refused:
                await asyncio.sleep(_UNKNOWN_SECONDS if refused.status in _UNKNOWN else _AWAY_SECONDS)
            except (Unreachable, NoServer):
                await asyncio.sleep(_AWAY_SECONDS)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_REACHED_SECONDS):
                        await self._sync.until(lambda wanted=wanted: self._has(wanted))  # type: ignore[misc]

    def _report(self) -> Call[dict[str, int]]:
        sync = self._sync
        return waiting.report(self._node, sync.revisions, sync.engine.name, len(sync.traffic.services))

    def _has(self, wanted: Mapping[str, int]) -> bool:
        return all(self._sync.revisions.get(kind, 0) >= revision for kind, revision in wanted.items())
