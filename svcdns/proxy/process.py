"""The work of a proxy's process, however it was started: engine, machine and agent, until told to end."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from contextlib import ExitStack

from svcdns.client import AsyncClient, Connection
from svcdns.config.sections import Config

from . import engines, host_lock, kernel
from .agent import Agent
from .choice import NFT
from .engine import Engine, EngineError
from .host_settings import LOCALHOST
from .machine import KernelMachine

log = logging.getLogger(__name__)


def node_name(config: Config) -> str:
    """Return the name of this node: as it is set, else the host's."""
    return config.proxy.node or socket.gethostname().lower()


def _leave_what_lasts_alone() -> None:
    """Have the garbage collector look at newer objects only: at those of 10,000 Services it takes 0.1 s."""
    gc.collect()
    gc.freeze()


async def serve(config: Config, connection: Connection, stop: asyncio.Event) -> None:
    """Carry traffic until `stop` is set.

    Raises NodeTaken where another machine's proxy has the name of this node.
    Raises EngineError, also where another proxy has the packet rules of this machine: they would take turns
    at its routes.  Raises OSError for a machine that isn't known.
    """
    proxy = config.proxy
    engine = engines.made(proxy.engine, loopback_ports=LOCALHOST in proxy.node_port_addresses)
    try:
        await _carry(config, connection, engine, stop)
    finally:
        engine.close()
        if engine.name == NFT:
            log.info("the kernel's rules stay in effect; `svcdns proxy --cleanup` takes them back")


async def _carry(config: Config, connection: Connection, engine: Engine, stop: asyncio.Event) -> None:
    with ExitStack() as held:
        if engine.name == NFT:
            held.enter_context(host_lock.held())
            if kernel.is_owned():
                raise EngineError("another svcdns proxy carries traffic on this machine: end it first")
        machine = KernelMachine(config, sets_up=engine.name != "user")
        node = node_name(config)
        log.info(
            "node %s, engine %s, API %s", node, engine.name, ", ".join((connection.url, *connection.others))
        )
        async with AsyncClient(connection) as client:
            agent = Agent(config, node, client, engine, machine)
            agent.sync.replaced = _leave_what_lasts_alone
            await agent.run(stop)
