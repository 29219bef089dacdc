"""The engines by name."""

from __future__ import annotations

import logging

from .choice import NFT, choose
from .engine import Engine

log = logging.getLogger(__name__)


def made(wanted: str) -> Engine:
    """Return the engine that is wanted (`auto`, `nft`, `user`).  Raises EngineError where it can't be had."""
    choice = choose(wanted)
    if choice.engine == NFT:
        from .kernel import KernelEngine

        return KernelEngine()
    if wanted != choice.engine:
        log.warning("connections are carried by sockets (engine user): for nft, %s", choice.missing)
    from .relay import Relay

    return Relay()
