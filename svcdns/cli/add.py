"""`svcdns add`, `remove`, `ready`, `unready`: Services and their Pods in one line each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from svcdns.config.sections import ConfigError
from svcdns.objects.kinds import SERVICE

from . import talking
from .outcome import Refused, say, show

if TYPE_CHECKING:
    from svcdns.client import Added, ApiError, Client
    from svcdns.client.exchange import Object

_CLUSTER_IP, _ANY = "--cluster-ip", "any"
_FORBIDDEN = 403
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A Service's name.", show_default=False)]
AddressesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ADDRESS...", help="Where it runs: IPv4 or IPv6.")
]


class AddCommand(TyperCommand):
    """Takes --cluster-ip with a value behind = and without one, which click does not."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give the flag that is written alone its value."""
        return super().parse_args(ctx, [f"{one}={_ANY}" if one == _CLUSTER_IP else one for one in args])


def add(
    name: NameArgument,
    addresses: AddressesArgument = None,
    port: Annotated[
        list[str] | None,
        typer.Option("--port", "-p", metavar="NAME=NUMBER", help="A port, such as redis=6379; or a number."),
    ] = None,
    cluster_ip: Annotated[
        str | None,
        typer.Option(
            _CLUSTER_IP,
            metavar="[=ADDRESS]",
            help="Give it one address of its own instead of its Pods': any, or this one.",
        ),
    ] = None,
    host_name: Annotated[
        str, typer.Option("--host-name", metavar="NAME", help="A name below the Service's, for one address.")
    ] = "",
    alias: Annotated[
        list[str] | None,
        typer.Option("--alias", metavar="NAME", help="A name of its own, such as nas.home.arpa."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label of its Pods.")
    ] = None,
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Register a Service and where it runs: its name answers with these addresses at once.

    What is there already stays, so it can be said again, by several at once, and with more addresses. A
    namespace that is not there is made.

    Examples:

        svcdns add cache --port redis=6379 10.0.0.5 10.0.0.6

        svcdns add db --host-name db-0 10.0.0.7

        svcdns add web --cluster-ip --port http=80 10.0.0.8

        svcdns add nas --alias nas.home.arpa 192.168.1.20
    """
    from svcdns.client import ApiError
    from svcdns.cluster.reasons import NO_POD_YET

    ports, labels, aliases = ports_of(port or []), labels_of(label or []), alias or []
    with talking.talking(api, data) as client:
        where = talking.namespace_of(client, namespace)
        try:
            added = client.add(
                name,
                addresses or [],
                namespace=where,
                ports=ports,
                cluster_ip=_cluster_ip(cluster_ip),
                labels=labels,
                host_name=host_name,
                aliases=aliases,
            )
        except ApiError as wrong:
            raise _with_holder(client, wrong, cluster_ip) from None
        # The Service comes before its Pods; what it still lacks behind them is among the reasons.
        client.warnings[:] = [one for one in client.warnings if NO_POD_YET not in one]
        for asked in (f"{name}.{where}.svc", *aliases):
            for line in _answers(client, asked, where):
                show(line)
        _warn(client, name, where, added)


def _answers(client: Client, name: str, namespace: str) -> Iterator[str]:
    """Yield what a name answers now, and why not more, as far as who asks may know."""
    from svcdns.client import ApiError

    try:
        found = client.explain(name, namespace)
    except ApiError as wrong:
        if wrong.status != _FORBIDDEN:
            raise
        yield f"{name} is registered (what it answers is shown to readers of all namespaces)"
        return
    yield f"{str(found['name']).rstrip('.')} answers {', '.join(found['answers']) or 'nothing yet'}"
    for reason in found["reasons"]:
        yield f"  {reason}"


def _cluster_ip(given: str | None) -> bool | str:
    """Return whether a cluster IP is wanted, or which."""
    return True if given == _ANY else False if given is None else given


def _with_holder(client: Client, wrong: ApiError, cluster_ip: str | None) -> Exception:
    """Return the refusal of an address, with the Service that has it; another one as it is."""
    from svcdns.client import explanations

    if cluster_ip in (None, _ANY) or wrong.status != 422:
        return wrong
    holder = client.run(explanations.holder(cluster_ip))
    return Refused(f"{_CLUSTER_IP}={cluster_ip}: Service {holder} has this address") if holder else wrong


def _warn(client: Client, name: str, namespace: str, added: Added) -> None:
    """Say what was done and is likely not what was meant."""
    from svcdns.client import explanations

    others = client.run(explanations.elsewhere(SERVICE, name, namespace)) if added.is_new else []
    if others:
        say(f"warning: this Service is new; namespace {others[0]} has one of that name too: -n {others[0]}")
    for pod in added.pods:
        address = pod["status"]["podIP"]
        if holder := client.run(explanations.holder(address)):
            say(f"warning: {address} is the cluster IP of Service {holder}: say where something runs")


def remove(
    name: NameArgument,
    addresses: AddressesArgument = None,
    alias: Annotated[
        list[str] | None, typer.Option("--alias", metavar="NAME", help="Only this name of its own.")
    ] = None,
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Take a Service and what was added to it away, or only some of its addresses or aliases.

    Exit code 1 when there was nothing to take away.

    Examples:

        svcdns remove cache

        svcdns remove cache 10.0.0.5

        svcdns remove nas --alias nas.home.arpa
    """
    with talking.talking(api, data) as client:
        where = talking.namespace_of(client, namespace)
        gone = client.remove(name, addresses or [], where, alias or [])
        if not gone and alias and client.get(SERVICE, name, where) is not None:
            raise Refused(f"{name} in namespace {where} has no alias {', '.join(alias)}")
        if not gone and addresses and client.get(SERVICE, name, where) is not None:
            raise Refused(f"nothing was added to {name} in namespace {where} at {', '.join(addresses)}")
        if not gone:
            raise Refused(talking.not_there(client, SERVICE, name, where))
    for one in gone:
        show(f"{one} removed")


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
    from svcdns.client import registration

    with talking.talking(api, data) as client:
        where = talking.namespace_of(client, namespace)
        pods = client.run(registration.report(name, is_ready, because, namespace=where))
    for pod in pods:
        show(f"pod/{pod['metadata']['name']} {_state(pod, is_ready)}")


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
    ports: dict[str, int] = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        if not (number.isascii() and number.isdigit() and len(number) < 6) or (equals and not name):
            raise ConfigError(f"--port: {text[:80]!r} is no port; allowed: such as redis=6379, or 6379")
        if ports.setdefault(name or f"port-{int(number)}", int(number)) != int(number):
            raise ConfigError(f"--port: {name} is said twice, with {ports[name]} and {int(number)}")
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
