"""How the commands that talk to a running server find it, and what they say when that fails.

A message that may have to do with the wrong server being asked names the server.
"""

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
    from svcdns.objects.kinds import Kind

_SAYS_ALL = (409, 422)
"""HTTP statuses of refusals that have to do with what was sent, whoever was asked."""

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
    from svcdns.config.listening import DATA_FOLDERS

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
        with Client(there := connection(api, data)) as client:
            if there.passed_over:
                here = f"unset {there.found}, or say --api {there.passed_over}"
                say(f"asking {there.url} ({there.found}); for the server on this machine {here}")
            yield client
            for warning in dict.fromkeys(client.warnings):
                say(f"warning: {warning}")
    except (Mistake, NoServer, UnknownKind) as wrong:
        raise ConfigError(str(wrong)) from None
    except Unreachable as wrong:
        raise Refused(str(wrong)) from None
    except ApiError as wrong:
        if wrong.status == 400:  # a selector, a name: what was typed
            raise ConfigError(str(wrong)) from None
        raise Refused(_with_remedy(wrong, there)) from None


def _with_remedy(wrong: ApiError, there: Connection) -> str:
    """Return what is said of a refusal; the server is named where another one might not refuse."""
    if wrong.status == 401:
        shown = "the token is not one of the server's" if there.token else "it asks who you are"
        remedy = "SVCDNS_TOKEN=... (svcdns token create), or KUBECONFIG=... (svcdns kubeconfig)"
        return f"{wrong}: {asked(there)}: {shown}; show it with {remedy}"
    return str(wrong) if wrong.status in _SAYS_ALL else f"{wrong} ({asked(there)})"


def asked(there: Connection) -> str:
    """Return which server was asked, and what named it, for messages."""
    return f"asked {there.url}, {there.found}" if there.found else f"asked {there.url}"


def not_there(client: Client, kind: Kind, name: str, namespace: str) -> str:
    """Return what is said of an object that is not there: where there is one, if there is."""
    from svcdns.client import explanations

    if not kind.namespaced:
        return f"{kind.singular}/{name} is not there ({asked(client.connection)})"
    text = f"{kind.singular}/{name} is not there in namespace {namespace}"
    others = client.run(explanations.elsewhere(kind, name, namespace))
    return (
        f"{text}; there is one in {others[0]}: -n {others[0]}"
        if others
        else f"{text} ({asked(client.connection)})"
    )


def namespace_of(client: Client, namespace: str) -> str:
    """Return the namespace that is meant: as said, that of the kubeconfig, `default`."""
    return namespace or client.connection.namespace or "default"
