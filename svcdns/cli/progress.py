"""How far a long command is, on stderr: not before it takes long, once a second from then on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

_FIRST_SECONDS, _BETWEEN_SECONDS = 2.0, 1.0


class Progress:
    """To be called with what is done and what there is to do; `said` makes a line of both."""

    def __init__(self, said: Callable[[int, int], str]) -> None:
        self._said = said
        self._next = time.monotonic() + _FIRST_SECONDS

    def __call__(self, done: int, total: int) -> None:
        """Say it, if it is time to."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _BETWEEN_SECONDS
            with suppress(OSError):
                print(self._said(done, total), file=sys.stderr)
