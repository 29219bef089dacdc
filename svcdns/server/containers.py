"""The process that registers containers: asks engines (Docker, Podman), and writes through this server's API.

Run by the supervisor as `python -m svcdns.server.containers` where `[[containers]]` names an engine.  When it
dies, what is registered stays, and the next one goes on from a complete list.
"""

from __future__ import annotations

import asyncio
import logging

from svcdns.client import Connection
from svcdns.config.sections import Config
from svcdns.sources.containers import process
from svcdns.system.log_on_change import LogOnChange

from . import data_folder
from .child_process import run
from .child_setup import Handoff

log = logging.getLogger(__name__)


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Register containers until stopped."""
    connection = Connection(handoff.api_url, "this server", handoff.api_token, verify=False)
    trouble = LogOnChange("")

    def publish(engines: str | None, containers: str | None) -> None:
        try:
            for name, text in ((data_folder.ENGINES, engines), (data_folder.CONTAINERS, containers)):
                if text is not None:
                    data_folder.publish(config.data, name, text)
            trouble.is_new("")
        except OSError as failed:
            if trouble.is_new(str(failed)):
                log.warning("what became of containers can't be shown: %s", failed.strerror or failed)

    is_shared = bool(config.store.etcd)
    await process.serve(config.containers, connection, stop, publish, is_shared=is_shared)


if __name__ == "__main__":
    run(serve)
