"""The work of a proxy's process, however it was started: engine, machine and agent, until told to end."""

from __future__ import annotations

import asyncio
import logging
import socket

from svcdns.client import AsyncClient, Connection
from svcdns.config.sections import Config

from . import engines
from .agent import Agent
from .machine import KernelMachine

log = logging.getLogger(__name__)


def node_name(config: Config) -> str:
    """Return the name of this node: as it is set, else the host's."""
    return config.proxy.node or socket.gethostname().lower()


async def serve(config: Config, connection: Connection, stop: asyncio.Event) -> None:
    """Carry traffic until `stop` is set.  Raises EngineError, and OSError for a machine that isn't known."""
    engine = engines.made(config.proxy.engine)
    try:
        machine = KernelMachine(config, sets_up=engine.name != "user")
        node = node_name(config)
        log.info("node %s, engine %s, API %s", node, engine.name, connection.url)
        async with AsyncClient(connection) as client:
            await Agent(config, node, client, engine, machine).run(stop)
    finally:
        engine.close()
