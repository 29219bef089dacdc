"""`svcdns containers`: which containers are registered, and why others are not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer

from . import talking
from .outcome import OK, REFUSED, say, show


def containers(
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="Text for people, or JSON.")
    ] = "text",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Show which containers of Docker and Podman are registered, and why others are not.

    Exit code 1 when an engine does not answer, or none is configured (svcdns serve --containers).

    Examples:

        svcdns containers

        svcdns containers -o json
    """
    from svcdns.client.exchange import Request, answer

    with talking.talking(api, data) as client:
        found = client.run(answer(Request("GET", "/svcdns/v1/containers"), "engines", "containers"))
    if output == "json":
        typer.echo(json.dumps(found, indent=2))
    else:
        for line in _lines(found):
            show(line)
    if not found["engines"]:
        say("no engine is configured; start the server with --containers unix:///run/docker.sock")
    raise typer.Exit(OK if found["engines"] and all(one["up"] for one in found["engines"]) else REFUSED)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for one in found["engines"]:
        state = f"answers, {one['registered']} registered" if one["up"] else f"away: {one['why']}"
        yield f"engine {one['engine']}  {one['endpoint']}  {state}"
    rows = [_row(one) for one in found["containers"]]
    if not rows:
        return
    titles = ("CONTAINER", "STATE", "POD", "SERVICES", "WHY NOT")
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for cells in (titles, *rows):
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    services = ",".join(one["services"]) or "-"
    words = "; ".join(one["remarks"])
    why = f"{one['reason']}: {words}" if one["reason"] else words
    return one["container"], one["state"] or "-", one["pod"] or "-", services, why
