"""Keys of a terminal, one at a time and without an echo, while a command shows something that changes."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Any, Self

END = ""
"""In place of a key: there is no terminal any more."""
_MOST = 64
"""Octets that are read at once: a key, or what was pasted."""


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


class Keys:
    """The keys of standard input; a context manager that leaves the terminal as it was, on SIGTERM too.

    Where standard input is no terminal there are none.
    """

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else -1
        self._before: list[Any] = []
        self._handler: Any = signal.SIG_DFL

    def __enter__(self) -> Self:
        if self._descriptor >= 0:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
            self._handler = signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            signal.signal(signal.SIGTERM, self._handler)
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def wait(self, seconds: float) -> list[str]:
        """Return what was pressed within so many seconds, at the first key; [] for nothing, END at the end.

        What a terminal sends for other keys (arrows, function keys) is one of them: it begins with ESC.
        """
        if self._descriptor < 0:
            time.sleep(seconds)
            return []
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return []
        try:
            text = os.read(self._descriptor, _MOST).decode(errors="replace")
        except OSError:
            return [END]
        if not text:
            return [END]
        return [text] if text[0] == "\x1b" else list(text)
