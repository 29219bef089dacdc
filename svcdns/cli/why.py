"""`svcdns why`: what a name answers, from which objects, and for an empty answer the reason."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from . import talking
from .outcome import OK, REFUSED, show


def why(
    name: Annotated[
        str, typer.Argument(metavar="NAME|POD", help="A name as you would ask for it; or a Pod.")
    ],
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="Text for people, or JSON.")
    ] = "text",
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Say what a name answers, from which objects, and why it answers nothing, or not more.

    Exit code 0 when there is an answer, 1 when there is none.

    Examples:

        svcdns why web

        svcdns why web.shop.svc.cluster.local

        svcdns why cache-10-0-0-5
    """
    with talking.talking(api, data) as client:
        found = client.explain(name, talking.namespace_of(client, namespace))
    if output == "json":
        typer.echo(json.dumps(found, indent=2))
    else:
        show(f"{found['name']}  {', '.join(found['answers']) or 'no answer'}")
        for one in found["objects"]:
            show(f"  from {one}")
        for said in found.get("sources", ()):
            show(f"  {said}")
        for reason in found["reasons"]:
            show(f"  {reason}")
    raise typer.Exit(OK if found["answers"] else REFUSED)
