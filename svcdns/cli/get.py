"""`svcdns get`: objects as tables for people, or as YAML, JSON and names for programs.

The tables are the server's own, laid out as kubectl does: columns are as wide as they must be, nothing is
cut, and a terminal that is narrower breaks the lines.  Width counts cells, as letters may take two or none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from svcdns.config.sections import ConfigError
from svcdns.objects.kinds import Kind

from . import talking
from .outcome import Refused, plain, say, show

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
    output: Annotated[
        Output,
        typer.Option("--output", "-o", metavar="FORMAT", help="table, wide, yaml, json or name."),
    ] = "table",
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Show what is registered.

    Exit code 1 when the one object that is named is not there; nothing to list is no error.

    Examples:

        svcdns get

        svcdns get pods -A -o wide

        svcdns get service web -o yaml
    """
    from svcdns.client.calls import kind_of

    with talking.talking(api, data) as client:
        found = kind_of(kind)
        where = "" if all_namespaces or not found.namespaced else talking.namespace_of(client, namespace)
        wanted = _Wanted(found, where, name, labels)
        _check(wanted, all_namespaces)
        if output in ("table", "wide"):
            since = _print_table(client, wanted, is_wide=output == "wide")
        else:
            since = _print_objects(client, wanted, output)
        if watch:
            for event in client.watch(found, where, name, labels, since):
                _print_event(event, found, output)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for; `namespace` is "" for all, `name` for all objects."""

    kind: Kind
    namespace: str
    name: str
    labels: str


def _check(wanted: _Wanted, all_namespaces: bool) -> None:
    """Raise ConfigError for what can't be asked for together."""
    if wanted.name and wanted.labels:
        raise ConfigError("NAME and --selector exclude each other; allowed: one of them")
    if wanted.name and all_namespaces and wanted.kind.namespaced:
        raise ConfigError("NAME and --all-namespaces exclude each other; say --namespace NS")


def _print_table(client: Client, wanted: _Wanted, *, is_wide: bool) -> str:
    """Print the table; return the resourceVersion that it shows."""
    from svcdns.client import ApiError, calls
    from svcdns.client.exchange import Request

    kind, namespace, name = wanted.kind, wanted.namespace, wanted.name
    path = calls.path(kind, namespace, labelSelector=wanted.labels)
    if name:
        path = calls.path_of_one(kind, namespace, name)
    try:
        table = client.send(Request("GET", path, accept=calls.TABLE)).json("rows", "columnDefinitions")
    except ApiError as wrong:
        if name and wrong.status == 404:
            raise Refused(talking.not_there(client, kind, name, namespace)) from None
        raise
    if not table["rows"]:
        _say_nothing_there(client, wanted)
    for line in _lines(table, is_wide=is_wide, of_all=kind.namespaced and not namespace):
        show(line)
    return str(table["metadata"].get("resourceVersion", ""))


def _say_nothing_there(client: Client, wanted: _Wanted) -> None:
    """Say that a list is empty, and where else there would be something."""
    from svcdns.client import explanations

    kind, namespace = wanted.kind, wanted.namespace
    if not namespace:
        say(f"no {kind.plural}")
        return
    which = "" if client.run(explanations.has_namespace(namespace)) else ", which is not there"
    there = client.run(explanations.anywhere(kind, wanted.labels))
    hint = f"; there are some in {there}: -n {there}" if there else ""
    say(f"no {kind.plural} in namespace {namespace}{which}{hint}")


def _lines(table: Mapping[str, Any], *, is_wide: bool, of_all: bool) -> Iterator[str]:
    """Lay a table out: each column as wide as it must be; nothing for a table without rows."""
    from rich.cells import cell_len

    if not table["rows"]:
        return
    shown = [
        at for at, column in enumerate(table["columnDefinitions"]) if is_wide or not column.get("priority")
    ]
    rows = [[table["columnDefinitions"][at]["name"].upper() for at in shown]]
    rows += [[plain(str(row["cells"][at])) for at in shown] for row in table["rows"]]
    if of_all:
        namespaces = (row["object"]["metadata"]["namespace"] for row in table["rows"])
        rows = [[first, *row] for first, row in zip(["NAMESPACE", *namespaces], rows, strict=True)]
    sizes = [[cell_len(cell) for cell in row] for row in rows]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    for row, size in zip(rows, sizes, strict=True):
        padded = (cell + " " * (width - has) for cell, has, width in zip(row, size, widths, strict=True))
        yield _GAP.join(padded).rstrip()


def _print_objects(client: Client, wanted: _Wanted, output: Output) -> str:
    """Print objects whole, or their names; return the resourceVersion that a watch begins from."""
    from svcdns.client.calls import list_objects_at

    kind, name = wanted.kind, wanted.name
    if name:
        one = client.get(kind, name, wanted.namespace)
        if one is None:
            raise Refused(talking.not_there(client, kind, name, wanted.namespace))
        objects, since = [one], str(one["metadata"].get("resourceVersion", ""))
    else:
        objects, since = client.run(list_objects_at(kind, wanted.namespace, wanted.labels))
    if output == "name":
        for one in objects:
            show(_name(one, kind))
        return since
    typed = [_readable(one, kind) for one in objects]
    _print_whole(typed[0] if name else {"apiVersion": "v1", "kind": "List", "items": typed}, output)
    return since


def _print_whole(value: Any, output: Output) -> None:
    """Print a value as JSON or YAML, which escape what would do something to a terminal."""
    if output == "json":
        typer.echo(json.dumps(value, indent=2))
        return
    import yaml

    typer.echo(yaml.safe_dump(value, sort_keys=False), nl=False)


def _name(obj: Mapping[str, Any], kind: Kind) -> str:
    return f"{kind.singular}/{obj['metadata']['name']}"


def _readable(obj: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Return an object with its kind, and without the record of whose each field is."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {"apiVersion": kind.api_version, "kind": kind.name, **obj, "metadata": metadata}


def _print_event(event: Mapping[str, Any], kind: Kind, output: Output) -> None:
    """Print a change as the list before it was: a line, a name, or one JSON or YAML document."""
    obj = event["object"]
    if event["type"] == "ERROR":
        raise Refused(str(obj.get("message")))
    if event["type"] == "BOOKMARK":
        return
    if output in ("json", "yaml"):
        if output == "yaml":
            typer.echo("---")
        _print_whole(_readable(obj, kind), output)
    elif output == "name":
        show(_name(obj, kind))
    else:
        show(f"{event['type'].lower():9}{_GAP}{_name(obj, kind)}")
