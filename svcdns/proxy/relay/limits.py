"""How much the relay carries at once, bounded by the descriptors that this process may have.

Rules:

* some are kept for pipes and all else of the process; of the others half may be listeners, an eighth UDP
  flows, and connections take the rest, two each;
* when no connection may be added, listeners are left alone until one ends: clients wait in the kernel's
  backlog, and one line says so.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable
from contextlib import suppress

from svcdns.system.log_on_change import LogOnChange

_OTHERS = 300
"""Descriptors for pipes (2 each) and for all else of the process."""

log = logging.getLogger(__name__)


def raise_open_files() -> int:
    """Allow this process as many open files as it may have, and return how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


class Limits:
    """Counts what is open."""

    def __init__(self, open_files: int) -> None:
        """Share out that many descriptors.  Fewer than a thousand leave little."""
        usable = max(8, open_files - min(_OTHERS, open_files // 2))
        self.most_listeners = usable // 2
        self.most_flows = max(1, usable // 8)
        self.most_connections = max(1, (usable - self.most_listeners - self.most_flows) // 2)
        self.connections = 0
        self._waiting: list[Callable[[], None]] = []
        self._full = LogOnChange(False)

    def take(self) -> bool:
        """Count a connection; False where there are too many."""
        if self.connections >= self.most_connections:
            return False
        self.connections += 1
        return True

    def give_back(self) -> None:
        """Count a connection that ended, and let the listeners that wait go on."""
        self.connections -= 1
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for resume in waiting:
                resume()

    def wait(self, resume: Callable[[], None]) -> None:
        """Call this when a connection has ended."""
        self._waiting.append(resume)
        if self._full.is_new(True):
            log.warning(
                "the relay carries %d connections, as many as the open files of its process allow; more have "
                "to wait (LimitNOFILE)",
                self.connections,
            )
