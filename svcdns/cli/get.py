"""`svcdns get`: objects as tables for people, or as YAML, JSON and names for programs.

The tables are the server's own, as kubectl prints them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from svcdns.objects.kinds import Kind

from . import talking
from .outcome import Refused

if TYPE_CHECKING:
    from svcdns.client import Client

Output = Literal["table", "wide", "yaml", "json", "name"]
_GAP = "   "


def get(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="Such as services, pods, endpointslices.")
    ] = "services",
    name: Annotated[str, typer.Argument(metavar="NAME", help="One object of the kind.")] = "",
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on with each change; Ctrl-C ends it.")
    ] = False,
    labels: Annotated[
        str, typer.Option("--selector", "-l", metavar="KEY=VALUE", help="Those that have a label.")
    ] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="How they are shown.")] = "table",
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Show what is registered.

    Examples:

        svcdns get

        svcdns get pods -A -o wide

        svcdns get service web -o yaml
    """
    from svcdns.client.calls import kind_of

    with talking.talking(api, data) as client:
        found = kind_of(kind)
        where = "" if all_namespaces or not found.namespaced else talking.namespace_of(client, namespace)
        if output in ("table", "wide"):
            _print_table(client, found, where, name, labels, is_wide=output == "wide", of_all=all_namespaces)
        else:
            _print_objects(client, found, where, name, labels, output)
        if watch:
            for event in client.watch(found, where, name, labels):
                _print_event(event, found)


def _print_table(
    client: Client, kind: Kind, namespace: str, name: str, labels: str, *, is_wide: bool, of_all: bool
) -> None:
    from svcdns.client import calls
    from svcdns.client.exchange import Request

    query = {} if name else {"labelSelector": labels}
    request = Request("GET", calls.path(kind, namespace, name, **query), accept=calls.TABLE)
    table = client.send(request).json()
    if not table["rows"]:
        where = f" in namespace {namespace}" if namespace else ""
        print(f"No {kind.plural}{where}.", file=sys.stderr)
        return
    for line in _lines(table, is_wide=is_wide, of_all=of_all and kind.namespaced):
        typer.echo(line)


def _lines(table: Mapping[str, Any], *, is_wide: bool, of_all: bool) -> Iterator[str]:
    """Lay a table out as kubectl does: each column as wide as it must be."""
    shown = [
        at for at, column in enumerate(table["columnDefinitions"]) if is_wide or not column.get("priority")
    ]
    rows = [[table["columnDefinitions"][at]["name"].upper() for at in shown]]
    rows += [[str(row["cells"][at]) for at in shown] for row in table["rows"]]
    if of_all:
        namespaces = (row["object"]["metadata"]["namespace"] for row in table["rows"])
        rows = [[first, *row] for first, row in zip(["NAMESPACE", *namespaces], rows, strict=True)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _print_objects(
    client: Client, kind: Kind, namespace: str, name: str, labels: str, output: Output
) -> None:
    if name:
        one = client.get(kind, name, namespace)
        if one is None:
            raise Refused(f"{kind.singular}/{name} is not there")
        objects = [one]
    else:
        objects = client.list(kind, namespace, labels=labels)
    typed = [{"apiVersion": kind.api_version, "kind": kind.name, **_readable(one)} for one in objects]
    if output == "name":
        for one in typed:
            typer.echo(f"{kind.singular}/{one['metadata']['name']}")
        return
    shown = typed[0] if name else {"apiVersion": "v1", "kind": "List", "items": typed}
    typer.echo(_as_text(shown, output), nl=output == "json")


def _as_text(value: Any, output: Output) -> str:
    if output == "json":
        return json.dumps(value, indent=2)
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False))


def _readable(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without the record of whose each field is."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _print_event(event: Mapping[str, Any], kind: Kind) -> None:
    obj = event["object"]
    if event["type"] == "ERROR":
        raise Refused(str(obj.get("message")))
    if "metadata" in obj and obj["metadata"].get("name"):
        typer.echo(f"{event['type'].lower():9}{_GAP}{kind.singular}/{obj['metadata']['name']}")
