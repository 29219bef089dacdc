"""How a command ends, and what it writes: its exit code, results on stdout, messages on stderr.

What stands in objects, or in what somebody typed, never reaches a terminal as it is: letters that move the
cursor, change colours or turn the writing around are shown as escapes, in pipes too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any

from svcdns.config.sections import ConfigError

OK, REFUSED, MISTAKE = 0, 1, 2
"""Exit codes."""
INTERRUPTED, PIPE_CLOSED = 130, 141
"""As a shell says that SIGINT or SIGPIPE ended a program."""


class Refused(Exception):
    """What a command raises when the machine, not the command line, is at fault: one line, exit code 1."""


def plain(text: str) -> str:
    """Return a text as one line that does nothing to a terminal: ESC is \\x1b, a line's end is \\n."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # an octet of the command line that is no UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def show(line: str) -> None:
    """Write a line of the result to stdout."""
    print(plain(line), flush=True)


def say(text: str) -> None:
    """Write a line for the user to stderr."""
    print(f"svcdns: {plain(' '.join(text.split()))}", file=sys.stderr, flush=True)


def write_any_letter() -> None:
    """Have stdout and stderr show as escapes what the locale has no letters for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def code_of(run: Callable[[], Any]) -> Any:
    """Return the exit code of a command, having said what is wrong where it is a mistake or refused."""
    try:
        return run()
    except ConfigError as wrong:
        for line in wrong.lines:
            say(line)
        return MISTAKE
    except Refused as refused:
        say(str(refused))
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
