"""What the children have in common: how they start, their loop, and how they end."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from svcdns.config.sections import Config

from . import logs
from .child_setup import FATAL, Handoff, take

log = logging.getLogger(__name__)

OPEN_FILES = 65_536
"""Most files we ask for: each watch and each TCP client holds one; the usual soft limit is 1,024."""

Main = Callable[[Handoff, Config, asyncio.Event], Coroutine[Any, Any, None]]
"""A process' work: is given the handoff, its configuration, and an event that is set when it is to end."""


class Fatal(Exception):
    """A mistake in configuration or data that starting again can't cure; each argument is one line."""


class NotNow(Exception):
    """What may be cured by the time of the next start, such as a full disk; the text is one line."""


def run(main: Main, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> NoReturn:
    """Run a child process of the supervisor to its end; always ends in SystemExit."""
    try:
        handoff = take(os.environ)
    except KeyError:
        sys.exit("svcdns: this process is started by `svcdns serve`, not by hand")
    logs.set_up(handoff.config.log)
    _raise_limit_of_open_files()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_until_stopped(main, handoff))
    except Fatal as fatal:
        for line in fatal.args:
            print(f"svcdns: {line}", file=sys.stderr)
        sys.stderr.flush()
        sys.exit(FATAL)
    except NotNow as trouble:
        log.error("%s", trouble)
        sys.exit(1)
    sys.exit(0)


def _raise_limit_of_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _until_stopped(main: Main, handoff: Handoff) -> None:
    """Run `main` with an event that SIGTERM, or the end of the supervisor, sets."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(handoff.lifeline, _lifeline_ended, handoff.lifeline, stop)
    await main(handoff, handoff.config, stop)


def _lifeline_ended(lifeline: int, stop: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(lifeline)  # at EOF it stays readable
    stop.set()
