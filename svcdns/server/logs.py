"""How every process logs: standard logging, one line an event, to stderr.

Standard library only.
"""

from __future__ import annotations

import logging
import sys
import time

READY = "svcdns.ready"
"""The logger of the one line that says the server is ready: it comes out at every level."""


class _OneLine(logging.Formatter):
    """Time in UTC, level, logger and text; whatever has several lines is folded into one."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


def set_up(level: str) -> None:
    """Log to stderr from `level` ("debug", "info", "warning" or "error") on."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(level.upper())
    logging.getLogger(READY).setLevel(logging.INFO)
