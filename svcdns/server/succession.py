"""What a supervisor leaves to its successor, the program that it becomes in an upgrade.

    SIGUSR2 -> the new code rehearses (rehearsal.py) -> this process executes the new code (execve)
            -> the new supervisor adopts the children, and replaces them (replacement.py)

The process stays the same, and so does its pid: a service manager notices nothing.  Descriptors are inherited
by number; which is what for stands in a file in memory, as with children (child_setup.py).  Signals wait from
before the exec until the new supervisor listens to them, as they would end it until then.

Standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn

VARIABLE = "SVCDNS_SUCCESSION"
VERSION = 1
"""Of the text in that file; a supervisor that finds another one refuses the upgrade."""
SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2})
"""What a supervisor listens to."""


class UnknownVersion(Exception):
    """The running supervisor is of a version whose legacy this one can't read; the text is one line."""


@dataclass(frozen=True, slots=True)
class Legacy:
    """All that a successor has to know."""

    config: dict[str, Any]
    """The configuration of the children that run (see config.load.spelt_options)."""
    locks: tuple[int, ...]
    lifeline: tuple[int, int]
    counting: int
    """The counters of the children that run."""
    sockets: dict[str, Any]
    """See sockets.Sockets.numbers."""
    pids: tuple[int, ...]
    """Of the writer, the workers and the forwarder, 0 for one that doesn't run now."""
    given_up: tuple[int, ...]
    """Numbers of workers that died too often."""
    upgrades: int
    """How many there have been, this one included."""
    clients: tuple[tuple[str, int, str], ...] = ()
    """Of each client of the API that the server brought along: its name, pid (0: none), and its token."""
    tapping: int = -1
    """The tap of the children that run."""
    successor: dict[str, Any] | None = None
    """The configuration that the new code has read in its rehearsal; None tells it to rehearse."""

    @contextmanager
    def in_memory(self) -> Iterator[int]:
        """Give the descriptor of a file that holds it: a variable takes 128 KiB at most (execve(2))."""
        with open(os.memfd_create("svcdns-legacy"), "w+", encoding="utf-8") as file:
            json.dump({"version": VERSION, **asdict(self)}, file)
            file.seek(0)  # the successor reads on from here
            yield file.fileno()

    def with_successor(self, config: dict[str, Any]) -> Legacy:
        """Return what the successor itself is given."""
        return replace(self, successor=config)


def take(environ: MutableMapping[str, str]) -> Legacy | None:
    """Take the legacy out of the environment; None where this is no upgrade.  Raises UnknownVersion."""
    number = environ.pop(VARIABLE, None)
    if number is None:
        return None
    try:
        with open(int(number), encoding="utf-8") as file:
            found = json.load(file)
        if (version := found.pop("version", None)) != VERSION:
            raise UnknownVersion(f"a server of another version runs (succession {version}): restart it")
        for name in ("locks", "lifeline", "pids", "given_up"):
            found[name] = tuple(found[name])
        found["clients"] = tuple((name, pid, token) for name, pid, token in found.get("clients", ()))
        return Legacy(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UnknownVersion(f"{VARIABLE} is for svcdns itself, and says nothing here") from None


def command() -> list[str]:
    """Return the command that started this process, to be executed again.

    A script is executed itself, as a new one may name another interpreter.
    """
    script = sys.argv[0]
    if sys.orig_argv[1:2] == [script] and os.access(script, os.X_OK):
        return [os.path.abspath(script), *sys.argv[1:]]
    return [sys.executable, *sys.orig_argv[1:]]


def become(
    words: list[str], legacy: Legacy, descriptors: list[int], unread: Callable[[], Iterable[int]]
) -> NoReturn:
    """Execute the new code in this process.  Raises OSError; all is as before then.

    `unread` returns the signals that have come and are yet to be acted on: the new code gets them.
    """
    with legacy.in_memory() as memory:
        for descriptor in (*descriptors, memory):
            os.set_inheritable(descriptor, True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for number in unread():  # now no other can come between
            os.kill(os.getpid(), number)  # it waits while it is blocked, also across the exec
        try:
            os.execve(words[0], words, {**os.environ, VARIABLE: str(memory)})
        finally:  # only where it failed
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
