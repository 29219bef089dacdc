"""The file, or stderr, that lines of the query log are appended to.

* Lines are written in one go, a batch at a time, and nothing waits for the disk.
* A file that was moved away is opened anew, as it is when asked (`reopen`).
* What can't be written (a full disk, a pipe that nobody reads) is counted and thrown away; the log says so
once, and
  once when it works again.  A line that the disk took a part of is ended before the next one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
from collections.abc import Sequence

from svcdns.config.seeing import STDERR
from svcdns.system.log_on_change import LogOnChange
from svcdns.system.watched_file import MISSING, Signature, signature_of

_PIPE_OCTETS = 4096
"""A pipe that is said to take octets takes so many without making anybody wait (pipe(7))."""

log = logging.getLogger(__name__)


class LineFile:
    """Where lines go."""

    def __init__(self, path: str) -> None:
        """`path` is a file, or "stderr"; it is opened with the first lines."""
        self._path = path
        self._descriptor = -1
        self._opened: Signature = MISSING
        self._cut = False
        self._trouble = LogOnChange()

    def write(self, lines: Sequence[str]) -> int:
        """Append lines; return how many of them have been written."""
        if not lines:
            return 0
        try:
            written = self._to_stderr(lines) if self._path == STDERR else self._to_file(lines)
        except OSError as failed:
            if self._trouble.is_new(text := failed.strerror or str(failed)):
                log.error(
                    "the query log %s can't be written: %s; lines are lost until it can", self._path, text
                )
            self.close()
            return 0
        if written == len(lines) and self._trouble.is_new(""):
            log.info("the query log %s can be written again", self._path)
        return written

    def reopen(self) -> None:
        """Open the file anew with the next lines."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0 and self._path != STDERR:
            os.close(self._descriptor)
        self._descriptor = -1

    def _to_file(self, lines: Sequence[str]) -> int:
        if self._descriptor >= 0 and not self._is_there():
            self.close()
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._descriptor = os.open(self._path, flags, 0o640)
            self._opened = signature_of(os.fstat(self._descriptor))
        return self._append(lines)

    def _is_there(self) -> bool:
        """Say whether what is open is what the path leads to."""
        with contextlib.suppress(OSError):
            now = os.stat(self._path)
            return (now.st_dev, now.st_ino) == self._opened[:2]
        return False

    def _to_stderr(self, lines: Sequence[str]) -> int:
        """Write as much as takes no waiting; the rest of the server writes there too, and must not wait."""
        self._descriptor = sys.stderr.fileno()
        poll, written = select.poll(), 0
        poll.register(self._descriptor, select.POLLOUT)
        for line in lines:
            if not poll.poll(0):
                raise BlockingIOError(0, "nobody reads it")
            written += self._append([line[: _PIPE_OCTETS - 2]])
        return written

    def _append(self, lines: Sequence[str]) -> int:
        """Write lines; return how many are whole.  Raises OSError where none is."""
        ends_one = int(self._cut)
        octets = b"\n" * ends_one + "".join(f"{line}\n" for line in lines).encode()
        taken = os.write(self._descriptor, octets)
        self._cut = taken < len(octets) and octets[taken - 1 : taken] != b"\n"
        if taken == len(octets):
            return len(lines)
        if self._trouble.is_new("cut short"):
            log.error("the query log %s takes no more octets; lines are lost until it does", self._path)
        return max(0, octets[:taken].count(b"\n") - ends_one)
