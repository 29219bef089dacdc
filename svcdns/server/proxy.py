"""The proxy process of a server: `svcdns proxy` beside it, which follows this server's own API.

Run by the supervisor as `python -m svcdns.server.proxy`, with the rights that packet rules take (see
capabilities).  The API is asked where the supervisor listens for it, so nobody else can answer there; TLS
needs no proof of that.  Where clients have to say who they are, it shows a token that only the writer and
this process have, in memory.
"""

from __future__ import annotations

import asyncio

from svcdns.client import Connection
from svcdns.config.sections import Config
from svcdns.proxy import process
from svcdns.proxy.engine import EngineError
from svcdns.proxy.node_holder import NodeTaken

from .child_process import NotNow, run
from .child_setup import Handoff


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Carry traffic until stopped.  Raises NotNow for what another start may cure."""
    connection = Connection(handoff.api_url, "this server", handoff.api_token, verify=False)
    try:
        await process.serve(config, connection, stop)
    except (EngineError, NodeTaken) as refused:
        raise NotNow(f"no traffic is carried to Services: {refused}") from None
    except OSError as failed:
        raise NotNow(f"no traffic is carried to Services: {failed.strerror or failed}") from None


if __name__ == "__main__":
    run(serve)
