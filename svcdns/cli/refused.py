"""What a command raises when the machine, not the command line, is at fault: one line, exit code 1."""

from __future__ import annotations


class Refused(Exception):
    """The text is one line for the user."""
