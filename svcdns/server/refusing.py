"""What the API says while the writer can't serve it: 503 for all, and in /readyz why, and how far it is.

Where the start takes its usual moment, nothing of this is seen: connections wait until they are served.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from svcdns.api.app import create_runner
from svcdns.api.refusing import create_refusing_app
from svcdns.registry.registry import Registry

from .api_site import ApiSite, serving
from .child_setup import Handoff
from .preflight import api_mistakes

PATIENCE_SECONDS = 1.0
"""A start that takes longer is spoken of."""


def refusing(handoff: Handoff, reason: Callable[[], str]) -> AbstractAsyncContextManager[ApiSite]:
    """Answer on the API's socket, while the body runs, with what is the reason then."""
    runner = create_runner(create_refusing_app(reason))
    return serving(runner, socket.socket(fileno=os.dup(handoff.api)), handoff.config.api)


async def say_how_far(handoff: Handoff, registry: Registry) -> None:
    """Say, until cancelled, how far a registry is that starts."""

    def how_far() -> str:
        return (registry.sharing.listing if registry.sharing is not None else "") or "the registry is read"

    await asyncio.sleep(PATIENCE_SECONDS)
    if not list(api_mistakes(handoff.config.api)):  # those are said when it has started
        async with refusing(handoff, how_far):
            await asyncio.Event().wait()
