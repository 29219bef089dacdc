"""`svcdns query`: one question to one server."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from .outcome import OK, REFUSED, say


def query(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A domain name; an address asks for its name.")],
    type: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="A, AAAA, SRV, PTR, TXT ...; A where left out.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", metavar="HOST:PORT", help="Whom to ask; a svcdns on this machine where left out."
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.01, max=3600.0, help="For each of UDP and TCP."),
    ] = 5.0,
) -> None:
    """Ask a DNS server: a dig for places that have none.

    Asks over UDP, and over TCP where the answer was cut. Exit code 0 when there is an answer, 1 when
    there is none, 2 for a mistake in the question. Where nothing is said, it asks at SVCDNS_DNS_LISTEN,
    else the server that runs on a data folder of this machine, else 127.0.0.1:1053.

    Examples:

        svcdns query web.default.svc.cluster.local

        svcdns query _http._tcp.web.default.svc.cluster.local SRV

        svcdns query 10.96.0.1

        svcdns query dns-version.cluster.local TXT --server 127.0.0.1:1053
    """
    from .question import ask

    text, answered, hint = ask(name, type, server, timeout, os.environ)
    typer.echo(text)
    if hint:
        say(hint)
    raise typer.Exit(OK if answered else REFUSED)
