"""`svcdns version`."""

from __future__ import annotations

import typer


def version() -> None:
    """Print the version.

    Example:

        svcdns version
    """
    from svcdns import __version__

    typer.echo(f"svcdns {__version__}")
