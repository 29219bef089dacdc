"""The file of the audit log: loaded only where one is named."""

from __future__ import annotations

import logging
from logging.handlers import WatchedFileHandler
from pathlib import Path

_log = logging.getLogger(__name__)


class AuditFile(WatchedFileHandler):
    """Appends to a file, and opens it anew when it was moved away; says once that it can't be written."""

    def __init__(self, file: Path) -> None:
        """Raises OSError where it can't be opened."""
        super().__init__(file, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(message)s"))
        self._fails = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            self.reopenIfNeeded()
            stream = self.stream = self.stream or self._open()
            stream.write(f"{self.format(record)}\n")
            stream.flush()
        except (OSError, ValueError) as wrong:
            if not self._fails:
                _log.error("the audit log %s can't be written: %s", self.baseFilename, wrong)
            self._fails = True
        else:
            self._fails = False
