"""How the commands that talk to a running server find it, and what they say when that fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svcdns.config.sections import ConfigError

from .outcome import Refused, say

if TYPE_CHECKING:
    from svcdns.client import ApiError, Client, Connection

ApiFlag = Annotated[
    str,
    typer.Option(
        "--api",
        metavar="URL",
        help="Where the server's API is; else SVCDNS_API, KUBECONFIG, or a server on this machine.",
    ),
]
DataFlag = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="SVCDNS_DATA", help="The data folder of a server here."),
]
NamespaceFlag = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NS", help="The namespace; `default` where left out.")
]


def connection(api: str, data: Path | None) -> Connection:
    """Return which server is meant.  Raises ConfigError."""
    from svcdns.client import NoServer, find
    from svcdns.client.connection import DATA_FOLDERS

    try:
        return find(api, os.environ, [data] if data is not None else DATA_FOLDERS)
    except NoServer as none:
        raise ConfigError(str(none)) from None


@contextmanager
def talking(api: str, data: Path | None) -> Iterator[Client]:
    """Give a client; say the server's warnings at the end.  Raises ConfigError and Refused."""
    from svcdns.client import ApiError, Client, Mistake, NoServer, Unreachable
    from svcdns.client.calls import UnknownKind

    try:
        with Client(connection(api, data)) as client:
            yield client
            for warning in dict.fromkeys(client.warnings):
                say(f"warning: {warning}")
    except (Mistake, NoServer, UnknownKind) as wrong:
        raise ConfigError(str(wrong)) from None
    except Unreachable as wrong:
        raise Refused(str(wrong)) from None
    except ApiError as wrong:
        raise Refused(_with_remedy(wrong)) from None


def _with_remedy(wrong: ApiError) -> str:
    if wrong.status == 401:
        return f"{wrong}; show who you are: SVCDNS_TOKEN=..., or KUBECONFIG=... (svcdns kubeconfig)"
    return str(wrong)


def namespace_of(client: Client, namespace: str) -> str:
    """Return the namespace that is meant: as said, that of the kubeconfig, `default`."""
    return namespace or client.connection.namespace or "default"
