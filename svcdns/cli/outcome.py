"""How a command ends: its exit code, and the one line on stderr that says why."""

from __future__ import annotations

import sys

OK, REFUSED, MISTAKE = 0, 1, 2
"""Exit codes."""


class Refused(Exception):
    """What a command raises when the machine, not the command line, is at fault: one line, exit code 1."""


def say(text: str) -> None:
    """Write a line for the user to stderr."""
    print(f"svcdns: {' '.join(text.split())}", file=sys.stderr)
