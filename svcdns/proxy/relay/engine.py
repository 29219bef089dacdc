"""The engine `user`, as others see it: called from any thread, it does all work in a thread of its own.

Rules:

* what is asked of it is done between two events of its loop, so a client meets the old rules or the new ones;
* the process has little else to do.  When it does compute (10,000 Services are listed), its thread has to let
  this one go on soon: with Python's 5 ms for a turn, the 99th percentile of a connection was 56 ms then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from svcdns.cluster.traffic_plan import Frontend, Host, Rule
from svcdns.proxy.engine import EngineError
from svcdns.proxy.relay.carrying import Carrying
from svcdns.proxy.relay.frontends import Frontends
from svcdns.proxy.relay.limits import Limits, raise_open_files
from svcdns.proxy.relay.loop import Loop

_TURN_SECONDS = 0.0005

T = TypeVar("T")


class Relay:
    """Carries connections in a thread of its own."""

    name = "user"

    def __init__(self, open_files: int = 0) -> None:
        """Start the thread.  `open_files`: how many it may use; 0: as many as the process may have.

        Raises EngineError.
        """
        try:
            self._loop = Loop()
        except OSError as wrong:
            raise EngineError(f"the relay cannot start: {wrong.strerror}") from None
        self._carrying = Carrying(self._loop, Limits(open_files or raise_open_files()))
        self._frontends = Frontends(self._carrying)
        sys.setswitchinterval(min(sys.getswitchinterval(), _TURN_SECONDS))
        self._loop.start()

    def replace(self, rules: Mapping[Frontend, Rule], host: Host) -> None:
        """Have exactly these rules from now on; connections in flight stay.  Raises EngineError."""
        self._asked(lambda: self._frontends.replace(rules, host))

    def apply(self, changed: Mapping[Frontend, Rule | None], host: Host | None = None) -> None:
        """Change these frontends (None: gone), and the host where it is given.  Raises EngineError."""
        self._asked(lambda: self._frontends.apply(changed, host))

    def held(self) -> Mapping[str, int]:
        """Return how many frontends, endpoints, listeners, connections, flows there are, and `not_bound`."""
        return self._asked(self._frontends.held)

    def not_bound(self) -> Mapping[Frontend, str]:
        """Return why frontends are not served at an address of theirs, a line each, with what helps."""
        return self._asked(self._frontends.not_bound)

    def close(self) -> None:
        """End all listeners and connections, and the thread; twice is fine."""
        with suppress(EngineError):
            self._asked(self._end)
        self._loop.stop()

    def _end(self) -> None:
        self._frontends.close()
        for connection in list(self._carrying.open):
            connection.close()
        self._carrying.pipes.close()

    def _asked(self, work: Callable[[], T]) -> T:
        try:
            return self._loop.call(work)
        except RuntimeError as wrong:
            raise EngineError(str(wrong)) from None
