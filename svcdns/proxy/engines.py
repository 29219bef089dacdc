"""The engines by name."""

from __future__ import annotations

import logging

from .choice import NFT, choose
from .engine import Engine

log = logging.getLogger(__name__)


def made(wanted: str, *, loopback_ports: bool = False) -> Engine:
    """Return the engine that is wanted (`auto`, `nft`, `user`).  Raises EngineError where it can't be had.

    `loopback_ports`: whether node ports are offered on loopback addresses too; `user` does in any case.
    """
    choice = choose(wanted)
    if choice.engine == NFT:
        from .kernel import KernelEngine

        if loopback_ports:
            from .loopback_ports import WithLoopbackPorts
            from .relay import Relay

            return WithLoopbackPorts(KernelEngine(), Relay())
        return KernelEngine()
    if wanted != choice.engine:
        log.warning("connections are carried by sockets (engine user): for nft, %s", choice.missing)
    from .relay import Relay

    return Relay()
