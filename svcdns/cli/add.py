"""`svcdns add`, `remove`, `ready`, `unready`: Services and their Pods in one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svcdns.client import registration
from svcdns.client.exchange import Object
from svcdns.config.sections import ConfigError

from . import talking
from .outcome import Refused

_MOST_PORT = 65535
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A Service's name.", show_default=False)]
AddressesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ADDRESS...", help="Where it runs: IPv4 or IPv6.")
]


def add(
    name: NameArgument,
    addresses: AddressesArgument = None,
    port: Annotated[
        list[str] | None,
        typer.Option("--port", "-p", metavar="NAME=NUMBER", help="A port, such as redis=6379; or a number."),
    ] = None,
    cluster_ip: Annotated[
        bool, typer.Option("--cluster-ip", help="Give it one address of its own instead of its Pods'.")
    ] = False,
    host_name: Annotated[
        str, typer.Option("--host-name", metavar="NAME", help="A name below the Service's, for one address.")
    ] = "",
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label of its Pods.")
    ] = None,
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Register a Service and where it runs: its name answers with these addresses at once.

    What is there already stays, so it can be said again, and with more addresses. A namespace that is
    not there is made.

    Examples:

        svcdns add cache --port redis=6379 10.0.0.5 10.0.0.6

        svcdns add db --host-name db-0 10.0.0.7

        svcdns add web --cluster-ip --port http=80 10.0.0.8
    """
    ports, labels = ports_of(port or []), labels_of(label or [])
    with talking.talking(api, data) as client:
        where = talking.namespace_of(client, namespace)
        client.add(
            name,
            addresses or [],
            namespace=where,
            ports=ports,
            cluster_ip=cluster_ip,
            labels=labels,
            host_name=host_name,
        )
        found = client.explain(f"{name}.{where}.svc", where)
    answers = ", ".join(found["answers"]) or "nothing yet"
    typer.echo(f"{str(found['name']).rstrip('.')} answers {answers}")
    for reason in found["reasons"]:
        typer.echo(f"  {reason}")


def remove(
    name: NameArgument,
    addresses: AddressesArgument = None,
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Take a Service and what was added to it away, or only some of its addresses.

    Exit code 1 when there was nothing to take away.

    Examples:

        svcdns remove cache

        svcdns remove cache 10.0.0.5
    """
    with talking.talking(api, data) as client:
        where = talking.namespace_of(client, namespace)
        gone = client.remove(name, addresses or [], where)
    if not gone:
        raise Refused(f"namespace {where} has nothing of that: see svcdns get services,pods -A")
    for one in gone:
        typer.echo(f"{one} removed")


def ready(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A Pod, or a Service: all of its Pods.")],
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Say that a Pod, or all Pods of a Service, are ready: their addresses are answered.

    Example:

        svcdns ready cache-10-0-0-5
    """
    _set_ready(name, True, "", namespace, api, data)


def unready(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A Pod, or a Service: all of its Pods.")],
    because: Annotated[
        str, typer.Option("--because", metavar="TEXT", help="Why: `svcdns why` and kubectl show it.")
    ] = "",
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Say that a Pod, or all Pods of a Service, are not ready: their addresses are not answered.

    Example:

        svcdns unready cache-10-0-0-5 --because "disk is being changed"
    """
    _set_ready(name, False, because, namespace, api, data)


def _set_ready(name: str, is_ready: bool, because: str, namespace: str, api: str, data: Path | None) -> None:
    with talking.talking(api, data) as client:
        where = talking.namespace_of(client, namespace)
        pods = client.run(registration.report(name, is_ready, because, namespace=where))
    for pod in pods:
        typer.echo(f"pod/{pod['metadata']['name']} {_state(pod, is_ready)}")


def _state(pod: Object, said: bool) -> str:
    """Return what became of a Pod that was said to be ready or not: there are other sources."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready: Object = next((one for one in conditions if one["type"] == "Ready"), {})
    if (ready.get("status") == "True") == said:
        return "is ready" if said else "is not ready"
    held = f"{ready.get('reason', '')}: {ready.get('message', '')}".strip(": ")
    name = pod["metadata"]["name"]
    return f"is reported as {'ready' if said else 'not ready'}, but {held}; see: svcdns why {name}"


def ports_of(given: list[str]) -> dict[str, int]:
    """Return ports by name; one without a name is called by its number.  Raises ConfigError."""
    ports = {}
    for text in given:
        name, _, number = text.rpartition("=")
        if not (number.isascii() and number.isdigit() and 0 < int(number) <= _MOST_PORT):
            raise ConfigError(f"--port: {text[:80]!r} is no port; allowed: such as redis=6379, or 6379")
        ports[name or f"port-{int(number)}"] = int(number)
    return ports


def labels_of(given: list[str]) -> dict[str, str]:
    """Return labels as they are written on the command line.  Raises ConfigError."""
    labels = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"--label: {text[:80]!r} is no label; allowed: such as tier=backend")
        labels[key] = value
    return labels
