"""Work that may end the process that does it, done in a child.

Reading a damaged map is not an error but a signal (SIGSEGV, SIGBUS).  And what a child has read is in no
memory here.  The child is a fork: no thread may run yet, and nothing that must not be shared may be open.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_MOST_LETTERS = 1 << 20


def outcome(work: Callable[[], str]) -> str:
    """Return what the work returns (a million letters at most), or which signal has ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_exit(work, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        octets = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"reading it ends the process ({signal.Signals(os.WTERMSIG(status)).name})"
    return octets.decode(errors="surrogatepass")


def _work_and_exit(work: Callable[[], str], writing: int) -> None:
    try:
        text = work()
    except BaseException as failed:
        text = f"{type(failed).__name__}: {failed}"
    try:
        with open(writing, "wb") as pipe:
            pipe.write(text[:_MOST_LETTERS].encode(errors="surrogatepass"))
    finally:
        os._exit(0)
