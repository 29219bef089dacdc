"""Work that may end the process that does it, done in a child.

Reading a damaged map is not an error but a signal (SIGSEGV, SIGBUS).  The child is a fork: no thread may run
yet, and nothing that must not be shared may be open.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_MOST_OCTETS = 4000


def outcome(work: Callable[[], str]) -> str:
    """Return what the work returns (at most some thousand octets), or which signal has ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_exit(work, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"reading it ends the process ({signal.Signals(os.WTERMSIG(status)).name})"
    return text


def _work_and_exit(work: Callable[[], str], writing: int) -> None:
    try:
        text = work()
    except BaseException as failed:
        text = f"{type(failed).__name__}: {failed}"
    try:
        os.write(writing, text.encode(errors="replace")[:_MOST_OCTETS])
    finally:
        os._exit(0)
