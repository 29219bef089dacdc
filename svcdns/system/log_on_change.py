"""Logging a state when it changes, and not each time it is seen."""

from __future__ import annotations


class LogOnChange:
    """Remembers the state that was logged last."""

    def __init__(self, state: object = "") -> None:
        """`state` is the one that needs no line: all is well, or nothing is known."""
        self._state = state

    def is_new(self, state: object) -> bool:
        """Return whether to log this state, which is remembered."""
        before, self._state = self._state, state
        return state != before
