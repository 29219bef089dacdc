"""Pipes through which octets go from socket to socket without being copied (splice(2)).

Rules:

* a pipe is lent for as long as it holds octets, so few are needed for many connections;
* together they have at most 48 MiB: the kernel gives a user 64 MiB of pipes (pipe(7),
  pipe-user-pages-soft), and pipes of two pages from there on.  Who gets none copies.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass

PIPE_OCTETS = 512 << 10
MOST_PIPES = 96


@dataclass(slots=True)
class Pipe:
    """Both ends of one."""

    reader: int
    writer: int

    def close(self) -> None:
        """Close both ends, with what is in it."""
        os.close(self.reader)
        os.close(self.writer)


class Pipes:
    """Those that hold nothing at the moment, made when they are needed."""

    def __init__(self, most: int = MOST_PIPES) -> None:
        """At most so many are open at once."""
        self._most, self._open = most, 0
        self._free: list[Pipe] = []

    def lend(self) -> Pipe | None:
        """Return an empty one; None where there are too many, or no descriptors are left."""
        if self._free:
            return self._free.pop()
        if self._open >= self._most:
            return None
        try:
            pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            return None
        with suppress(OSError):  # the kernel's limit for this user: then as small as it is
            fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, PIPE_OCTETS)
        self._open += 1
        return pipe

    def give_back(self, pipe: Pipe, *, empty: bool) -> None:
        """Take one back; one that holds octets is closed with them."""
        if empty:
            self._free.append(pipe)
        else:
            pipe.close()
            self._open -= 1

    def close(self) -> None:
        """Close those that nobody has."""
        self._open -= len(self._free)
        while self._free:
            self._free.pop().close()
