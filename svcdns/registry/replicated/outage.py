"""Since when etcd can't be used, and why: what writes are refused with, and what `/readyz?verbose` says."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from svcdns.objects.errors import StatusError

from ..transaction import TIME_FORMAT

logger = logging.getLogger(__name__)

RETRY_AFTER = 2
"""Seconds."""


class Outage:
    """Whether there is one; belongs to one event loop."""

    def __init__(self) -> None:
        """There is none."""
        self.reason = ""
        self._began = ""
        self._since = 0.0
        self._told: list[Callable[[], None]] = []

    def tell(self, of_end: Callable[[], None]) -> None:
        """Have something called whenever one has ended."""
        self._told.append(of_end)

    def __bool__(self) -> bool:
        return bool(self.reason)

    @property
    def text(self) -> str:
        """In words, "" where there is none."""
        return f"etcd can't be used since {self._began}: {self.reason}" if self.reason else ""

    @property
    def seconds(self) -> float:
        """How long it has lasted, 0 where there is none."""
        return time.monotonic() - self._since if self.reason else 0.0

    def begin(self, reason: str) -> None:
        """Note that etcd can't be used, or why it still can't."""
        if not self.reason:
            self._since = time.monotonic()
            self._began = datetime.now(UTC).strftime(TIME_FORMAT)
            logger.error("etcd can't be used: %s; writes are refused, DNS and reads go on", reason)
        self.reason = reason

    def end(self) -> None:
        """Note that it can be used, and that the map has caught up."""
        if not self.reason:
            return
        logger.warning("etcd can be used again, after %.0f s", self.seconds)
        self.reason = ""
        for call in self._told:
            call()


def refused(text: str) -> StatusError:
    """503: nothing was changed; `text` says why."""
    message = f"{text}; nothing was changed"
    return StatusError(503, "ServiceUnavailable", message, retry_after=RETRY_AFTER)


def undecided() -> StatusError:
    """504: whether it was changed is not known yet, as in Kubernetes."""
    text = "etcd has not answered in time: the write may have been carried out, or may be yet"
    return StatusError(504, "Timeout", text)


def not_shown(revision: int) -> StatusError:
    """504: it was carried out, but this replica has not seen so yet."""
    text = f"the write was carried out (revision {revision} of etcd), but this replica does not show it yet"
    return StatusError(504, "Timeout", text)
