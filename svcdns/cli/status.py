"""`svcdns status`: what a running server is and holds, on one screen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer

from svcdns.objects.kinds import KINDS

from . import talking
from .outcome import OK, REFUSED, show

_WIDTH = 11


def status(
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="Text for people, or JSON.")
    ] = "text",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Show what a running server is and holds: where it listens, its data, zones, Services, upstreams.

    Exit code 1 when something is not as it should be: it stands behind "warning".

    Examples:

        svcdns status

        svcdns status --api https://dns.example.org:8053 -o json
    """
    from svcdns.client.exchange import Request, answer

    with talking.talking(api, data) as client:
        found = client.run(answer(Request("GET", "/svcdns/v1/status"), "version", "dns", "data"))
    if output == "json":
        typer.echo(json.dumps(found, indent=2))
    else:
        for name, text in _lines(found):
            show(f"{name:{_WIDTH}}{text}")
    raise typer.Exit(REFUSED if found["warnings"] else OK)


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "svcdns", found["version"]
    yield "dns", ", ".join(found["dns"])
    yield "api", found["api"]
    yield "data", found["data"]
    for zone in found["zones"]:
        yield "zone", f"{zone['origin']} ({zone['kind']})"
    one = {kind.plural: kind.singular for kind in KINDS}
    objects = found["objects"].items()
    counted = (f"{count} {one.get(word, word) if count == 1 else word}" for word, count in objects if count)
    yield "objects", ", ".join(counted) or "none"
    endpoints = found["endpoints"]
    not_ready = max(0, endpoints["all"] - endpoints["ready"])
    yield "endpoints", f"{endpoints['ready']} ready, {not_ready} not ready"
    if services := endpoints.get("services_without_ready", 0):  # a server of before says none
        who = f"{services} Service{'s answer' if services > 1 else ' answers'}"
        yield "none ready", f"{who} {endpoints['answered_not_ready']} not ready (when-none-ready)"
    for one in found["upstreams"]:
        yield "upstream", f"{one['upstream']} for {one['zone']}{'' if one['up'] else ': does not answer'}"
    for one in found.get("proxies", ()):
        yield "proxy", f"{one['node']}: {_proxy(one)}"
    up = [one["name"] for one in found["processes"] if one["up"]]
    yield "processes", f"{', '.join(up)} {'answer' if len(up) != 1 else 'answers'}"
    for one in found["processes"]:
        if not one["up"]:
            yield "warning", f"{one['name']} does not answer"
    for warning in found["warnings"]:
        yield "warning", warning


def _proxy(one: Mapping[str, Any]) -> str:
    """Say how a proxy is; one before this version says nothing of its engine."""
    if one["state"] != "ready":
        return {"late": "late: it does not say that it is there", "ended": "has ended"}[one["state"]]
    services = one["services"]
    carried = f", {services} {'Service' if services == 1 else 'Services'}" if services is not None else ""
    engine = f", engine {one['engine']}" if one["engine"] else ""
    behind = f"{one['behind']} revisions behind" if one["behind"] else "up to date"
    return f"ready{engine}{carried}, {behind}"
