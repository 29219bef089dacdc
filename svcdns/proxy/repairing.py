"""Packet rules that somebody took away come back, on kernels whose tables have no owners (before Linux 6.9).

`nft flush ruleset` there, and so `systemctl reload nftables`, takes our tables with all others.  Polled, as
a listener would have the kernel report every change of our own too.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, runtime_checkable

from svcdns.system.log_on_change import LogOnChange

from .engine import Engine, EngineError

LOOK_SECONDS = 2.0

log = logging.getLogger(__name__)


@runtime_checkable
class Repairs(Protocol):
    """An engine whose work others can undo."""

    @property
    def owns(self) -> bool:
        """Whether nobody can, here."""

    def repair(self) -> bool:
        """Do again what was undone; say whether there was something.  Raises EngineError."""


async def keep(engine: Engine, seconds: float = LOOK_SECONDS) -> None:
    """Look again and again until cancelled; an engine that nobody can undo needs none of it."""
    if not isinstance(engine, Repairs) or engine.owns:
        return
    said = LogOnChange()
    while True:
        await asyncio.sleep(seconds)
        try:
            if engine.repair():
                log.warning("somebody took our packet rules away (nft flush ruleset?): they are there again")
            said.is_new("")
        except EngineError as refused:
            if said.is_new(str(refused)):
                log.error("packet rules can't be looked at or repaired: %s", refused)
