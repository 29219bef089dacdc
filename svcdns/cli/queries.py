"""`svcdns queries`: what is asked, the last questions or those that come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import typer

from . import talking
from .outcome import say, show

_PATH = "/svcdns/v1/queries"


def queries(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show questions as they come.")] = False,
    last: Annotated[int, typer.Option("--last", metavar="N", help="Without -f: the last so many.")] = 100,
    name: Annotated[str, typer.Option("--name", metavar="ZONE", help="Names in this zone.")] = "",
    client: Annotated[str, typer.Option("--client", metavar="NETWORK", help="Clients in this network.")] = "",
    rcode: Annotated[str, typer.Option("--rcode", help="What the reply says, such as nxdomain.")] = "",
    source: Annotated[str, typer.Option("--source", help="own, zone, cache, forward or none.")] = "",
    rrtype: Annotated[str, typer.Option("--type", help="The type, such as AAAA.")] = "",
    slow: Annotated[
        str, typer.Option("--slow", metavar="TIME", help="Answered no faster, such as 50ms.")
    ] = "",
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="Text for people, or lines of JSON.")
    ] = "text",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Show the last questions that were recorded, or with -f those that come.

    A server records nothing until somebody looks, unless its configuration says else; then it records one
    question of so many (docs/seeing.md).

    Examples:

        svcdns queries

        svcdns queries --rcode nxdomain --name svc.cluster.local -o json
    """
    from svcdns.client.exchange import Request, answer

    words = {"name": name, "client": client, "rcode": rcode, "source": source, "type": rrtype, "slow": slow}
    asked = {key: value for key, value in words.items() if value}
    with talking.talking(api, data) as there:
        if follow:
            _show(there.lines(Request("GET", f"{_PATH}?{urlencode({**asked, 'follow': 1})}")), output)
            return
        path = f"{_PATH}?{urlencode({**asked, 'last': last})}"
        found = there.run(answer(Request("GET", path), "queries", "sample"))
    _show(found["queries"], output)
    if found["began"]:
        say("questions are recorded from now on, while somebody looks: ask again, or follow them with -f")
    elif found["sample"] > 1:
        say(f"one question of {found['sample']} is recorded")


def _show(found: Iterable[Mapping[str, Any]], output: str) -> None:
    for one in found:
        if output == "json":
            typer.echo(json.dumps(one))
        elif "lost" in one:
            say(f"{one['lost']} questions came too fast to be shown")
        else:
            show(" ".join(_words(one)))


def _words(one: Mapping[str, Any]) -> Iterator[str]:
    yield str(one["ts"])
    yield f"{one['client_ip'] or '-':<15}"
    yield str(one["proto"])
    yield f"{one['qtype'] or '-':<5}"
    yield str(one["qname"] or "-")
    answers, milliseconds = one["answers"], 1000 * one["duration_seconds"]
    yield str(one["rcode"]) if answers or one["rcode"] != "NOERROR" else "NODATA"
    if one.get("pod"):
        yield f"pod={one['namespace']}/{one['pod']}"
    yield f"{one['source']} {answers} answer{'' if answers == 1 else 's'} {milliseconds:.2f}ms"
