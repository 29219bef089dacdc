"""`svcdns why`: what a name answers, from which objects, and for an empty answer the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

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
    rrtype: Annotated[str, typer.Option("--type", help="The type that is asked for, such as AAAA.")] = "A",
    client: Annotated[
        str, typer.Option("--client", metavar="ADDRESS", help="Who asks; this machine where left out.")
    ] = "",
    search: Annotated[
        bool, typer.Option("--search", help="Walk the search list, as a Pod of the namespace does.")
    ] = False,
    forward: Annotated[
        bool, typer.Option("--forward", help="Have upstreams asked where the name is theirs.")
    ] = False,
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Say what a name answers, from which objects, and why it answers nothing, or not more.

    With --type, --client, --search or --forward also the reply that this client gets, as dig prints it, and
    where it comes from. Exit code 0 when there is an answer, 1 when there is none.

    Examples:

        svcdns why web

        svcdns why web.shop.svc.cluster.local

        svcdns why cache-10-0-0-5

        svcdns why web --client 10.0.0.9
    """
    asks_more = rrtype != "A" or client or search or forward
    with talking.talking(api, data) as there:
        where = talking.namespace_of(there, namespace)
        found = there.explain(name, where, type=rrtype, client=client, search=search, forward=forward)
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
        if asks_more:
            for line in _reply(found):
                show(line)
    raise typer.Exit(OK if _has_answer(found, bool(asks_more)) else REFUSED)


def _has_answer(found: Mapping[str, Any], asks_more: bool) -> bool:
    """Return whether there is one: in the reply, where one was asked for."""
    if not asks_more:
        return bool(found["answers"])
    return found.get("rcode") == "NOERROR" and ";; ANSWER SECTION:" in (found["response"] or "")


def _reply(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the reply, and where it comes from."""
    for step in found.get("search", ()):
        yield f"  asks for {step['name']}  {step['rcode'] or 'upstreams know'}"
    origin = found.get("origin") or {}
    if origin.get("source"):
        yield f"  {_origin(origin)}"
    if ended := origin.get("ended"):
        yield f"  {ended}"
    if found.get("response"):
        yield ""
        yield from found["response"].splitlines()


def _origin(origin: Mapping[str, Any]) -> str:
    source, zone = origin["source"], origin.get("zone", "")
    if source == "cache":
        return f"out of the cache: {origin['age']} s old, for {origin['ttl']} s more"
    if source == "forward":
        return f"upstreams are asked: {', '.join(origin.get('upstreams', ())) or 'none'}"
    if source == "zone":
        line = f":{origin['line']}" if origin.get("line") else ""
        return f"out of zone {zone}, {origin.get('file', '')}{line}"
    return f"out of the registry, zone {zone}" if source == "own" and zone else f"source: {source}"
