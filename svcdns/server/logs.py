"""How every process logs: standard logging, one line an event, to stderr.

Standard library only.
"""

from __future__ import annotations

import logging
import sys
import time

from svcdns.system.timestamps import with_milliseconds

READY = "svcdns.ready"
"""The logger of the one line that says the server is ready: it comes out at every level."""


class _OneLine(logging.Formatter):
    """Time in UTC, level, logger and text; whatever has several lines is folded into one."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return with_milliseconds(int(record.created * 1000))

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


class _OnceAMinute(logging.Filter):
    """Of asyncio's lines about descriptors that have run out, thousands a second, one a minute stays."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith("socket.accept() out of system resource"):
            return True
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + 60
        wrong = record.exc_info[1] if record.exc_info else None
        record.msg, record.args = "no descriptors are left for new connections: %s", (wrong,)
        record.exc_info, record.exc_text = None, None
        return True


_once_a_minute = _OnceAMinute()


def set_up(level: str) -> None:
    """Log to stderr from `level` ("debug", "info", "warning" or "error") on."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(level.upper())
    logging.getLogger(READY).setLevel(logging.INFO)
    logging.getLogger("asyncio").addFilter(_once_a_minute)
    _leave_out_what_no_line_says()


def _leave_out_what_no_line_says() -> None:
    """Spare each line its caller, thread and process.

    https://docs.python.org/3/howto/logging.html#optimization
    """
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False
