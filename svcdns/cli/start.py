"""Where the command line begins: a plain `svcdns serve` by itself, all else with typer (see main.py)."""

from __future__ import annotations

import sys

from .outcome import code_of, write_any_letter
from .serving import plain_flags, serve


def main() -> None:
    """Run the command line of this process; always ends in SystemExit."""
    words = sys.argv[1:]
    plain = plain_flags(words[1:]) if words[:1] == ["serve"] else None
    if plain is None:
        from .main import main as run_any_command

        run_any_command()
    else:
        write_any_letter()
        sys.exit(code_of(lambda: serve(*plain)))
