"""Objects in etcd of which nothing can be made, as somebody wrote them by hand: each is named once.

They stay there and count as not there.  The log and an Event say why, until they are taken, or changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from svcdns.cluster.event_messages import EventMessage, Subject, left_out

from .keys import Named

logger = logging.getLogger(__name__)

MOST = 1000
"""Objects that are remembered as named."""


class Unreadable(Exception):
    """What stands under the key of an object is not one that svcdns can take."""


class LeftOut:
    """Those that one replica has met; made in its event loop, noted in the thread of its map."""

    def __init__(self) -> None:
        """None was met yet."""
        self._loop = asyncio.get_running_loop()
        self._named: dict[Named, str] = {}
        self._untold: list[EventMessage] = []
        self._tell: Callable[[list[EventMessage]], None] | None = None

    def tell(self, on_messages: Callable[[list[EventMessage]], None]) -> None:
        """Have messages taken from now on, and those that are there already."""
        self._tell = on_messages
        self._pass_on()

    def note(self, named: Named, wrong: Exception) -> None:
        """Name an object, and why it is left out, unless that was said."""
        is_told = isinstance(wrong, Unreadable)
        why = str(wrong) if is_told else f"nothing can be made of it ({wrong!r})"
        if self._named.get(named) == why:
            return
        if len(self._named) >= MOST:
            self._named.clear()
        self._named[named] = why
        where = f"{named.kind.name} {named.namespace}/{named.name}"
        logger.error("%s in etcd is left out: %s", where, why, exc_info=None if is_told else wrong)
        subject = Subject(named.kind.name, named.kind.api_version, named.namespace, named.name, "")
        self._untold.append(left_out(subject, why))
        self._loop.call_soon_threadsafe(self._pass_on)

    def taken(self, named: Named) -> None:
        """Forget what was said of an object: it is as it should be, or gone."""
        if self._named:
            self._named.pop(named, None)

    def _pass_on(self) -> None:
        if self._tell is not None and self._untold:
            untold, self._untold = self._untold, []
            self._tell(untold)
