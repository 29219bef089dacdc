"""`svcdns version`."""

from __future__ import annotations

import typer


def version() -> None:
    """Print the version, and by which path plain questions are answered: compiled, or in Python.

    Example:

        svcdns version
    """
    from svcdns import __version__
    from svcdns.dns.path_choice import in_use

    typer.echo(f"svcdns {__version__} ({in_use()} path)")
