"""`svcdns proxy`: traffic to the addresses of Services, on this host; and what a running one shows."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import typer

from svcdns.config import readers
from svcdns.config.listening import reachable
from svcdns.config.sections import Config, ConfigError

from . import api_access, help_pages
from .api_access import Credentials
from .flags import ConfigFlag, flag_value, loaded
from .outcome import OK, REFUSED, Refused

if TYPE_CHECKING:
    from svcdns.client import Connection

_SECONDS = 10.0
_WIDTH = 11

app = typer.Typer()


def proxy(
    context: typer.Context,
    config: ConfigFlag = None,
    server: Annotated[
        list[str] | None,
        typer.Option("--server", metavar="URL", help="Where the API is; may be repeated for replicas."),
    ] = None,
    ca: api_access.CaFlag = None,
    token: api_access.TokenFlag = "",
    client_cert: api_access.ClientCertFlag = None,
    client_key: api_access.ClientKeyFlag = None,
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", metavar="FILE", help="Says all about the server at once.")
    ] = None,
    node: Annotated[
        str, typer.Option("--node", metavar="NAME", help="The name of this node; else the host's.")
    ] = "",
    node_address: Annotated[
        list[str] | None,
        typer.Option("--node-address", metavar="ADDRESS", help="The node's own; may be repeated."),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="ENGINE", help="auto, nft or user; see docs/config.md.")
    ] = "",
    print_rules: Annotated[
        bool, typer.Option("--print", help="Print the kernel's rules as `nft -f` reads them, and end.")
    ] = False,
    cleanup: Annotated[
        bool, typer.Option("--cleanup", help="Take back all that a proxy changed of this machine, and end.")
    ] = False,
) -> None:
    """Carry traffic to cluster IPs, node ports and load balancer addresses, until told to end.

    It follows a server's API, here or elsewhere, and keeps packet rules of the kernel (or, without
    rights, sockets of its own) at what is registered. What the kernel holds goes on when it ends.
    `svcdns serve --proxy` does the same beside a server. --cleanup takes its rules, routes and settings
    back; it needs no server and no configuration (but --config where that names a data folder that is
    nowhere usual), and exit code 0 says that nothing is left.

    Examples:

        svcdns proxy

        svcdns proxy --server https://dns.example.org:8053 --ca ca.crt --token -

        svcdns proxy --server http://10.0.0.53:8053 --server http://10.0.0.54:8053

        svcdns proxy --cleanup
    """
    if context.invoked_subcommand is not None:
        return
    if cleanup:
        _clean_up([loaded(config, {}).data] if config else [])
    resolved = _with_flags(loaded(config, {}), node, node_address or [], engine)
    credentials = Credentials.given(None, ca, token, client_cert, client_key)
    connection = _connection(resolved, server or [], kubeconfig, credentials)
    if print_rules:
        typer.echo(_rules(resolved, connection), nl=False)
    else:
        _run(resolved, connection)


app.callback(invoke_without_command=True, help=help_pages.page(proxy))(proxy)


@app.command()
def check(
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="Text for people, or JSON.")
    ] = "text",
    config: ConfigFlag = None,
) -> None:
    """Say what this machine can do for traffic to Services, and what stands in the way; change nothing.

    What is wrong comes first, each with the command that mends it. Exit code 1 when something is.

    Examples:

        svcdns proxy check

        svcdns proxy check --config /etc/svcdns/svcdns.toml -o json
    """
    from svcdns.proxy.check import check_config

    report = check_config(loaded(config, {}))
    if output == "json":
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        for line in report.lines():
            typer.echo(line)
    raise typer.Exit(report.code)


@app.command()
def status(
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", help="NAME or NAMESPACE/NAME; all where left out.")
    ] = "",
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="Text for people, or JSON.")
    ] = "text",
    config: ConfigFlag = None,
) -> None:
    """Show what the proxy on this machine carries, where it leads, and what stands in the way.

    Exit code 1 when it doesn't do its work, or the Service has no frontend.

    Examples:

        svcdns proxy status

        svcdns proxy status shop/web -o json
    """
    if service and "/" not in service:
        service = f"default/{service}"
    found = _asked(loaded(config, {}), service)
    if output == "json":
        typer.echo(json.dumps(found, indent=2))
    else:
        for name, text in _lines(found, service):
            typer.echo(f"{name:{_WIDTH}}{text}")
    raise typer.Exit(OK if found["healthy"] and (found["frontends"] or not service) else REFUSED)


def _clean_up(data: list[Path]) -> None:
    """Take everything back, a line each; `data` are folders to look in besides.  Raises Refused, Exit."""
    from svcdns.config.listening import DATA_FOLDERS
    from svcdns.proxy.changes_made import DEFAULT_FOLDER
    from svcdns.proxy.cleanup import cleanup

    try:
        restored = cleanup([DEFAULT_FOLDER, *data, *DATA_FOLDERS])
    except OSError as failed:
        raise Refused(f"the kernel can't be asked: {failed.strerror or failed}") from None
    for one in restored:
        typer.echo(one.text)
    raise typer.Exit(OK if all(one.is_done for one in restored) else REFUSED)


def _with_flags(config: Config, node: str, addresses: list[str], engine: str) -> Config:
    """Return the configuration with what these flags say in its place.  Raises ConfigError."""
    given: dict[str, Any] = {}
    if node:
        given["node"] = flag_value("--node", readers.node_name, node)
    if addresses:
        given["node_addresses"] = flag_value("--node-address", readers.each(readers.address), addresses)
    if engine:
        given["engine"] = flag_value("--engine", readers.one_of("auto", "nft", "user"), engine)
    return replace(config, proxy=replace(config.proxy, **given))


def _connection(
    config: Config, servers: list[str], kubeconfig: Path | None, credentials: Credentials
) -> Connection:
    """Return which server is followed: as said, else as other commands find it.  Raises ConfigError."""
    from svcdns.client import Connection, NoServer, find
    from svcdns.config.listening import DATA_FOLDERS

    if servers and kubeconfig:
        raise ConfigError("--server and --kubeconfig exclude each other; allowed: one of them")
    try:
        if servers:
            url, *others = dict.fromkeys(api_access.checked(one, credentials)[0] for one in servers)
            if len({one.partition(":")[0] for one in (url, *others)}) > 1:
                raise ConfigError("--server: http and https are mixed; allowed: one of them for all")
            found = Connection(url, "--server", others=tuple(others))
        elif kubeconfig:
            found = find(environ={"KUBECONFIG": str(kubeconfig)})
        else:
            found = find("", os.environ, [config.data, *DATA_FOLDERS])
    except NoServer as none:
        raise ConfigError(str(none).replace("--api URL", "--server URL")) from None
    given: dict[str, Any] = {"token": credentials.token} if credentials.token else {}
    for word, file in (
        ("ca", credentials.ca),
        ("certificate", credentials.client_cert),
        ("key", credentials.client_key),
    ):
        if file is not None:
            given[word] = _read(file)
    found = replace(found, **given)
    try:
        found.tls()
    except NoServer as wrong:
        raise ConfigError(str(wrong)) from None
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as failed:
        raise ConfigError(f"{file}: can't be read: {(failed.strerror or str(failed)).lower()}") from None


def _run(config: Config, connection: Connection) -> None:
    import asyncio

    from svcdns.proxy import process
    from svcdns.proxy.engine import EngineError
    from svcdns.proxy.node_holder import NodeTaken
    from svcdns.server import logs

    async def until_told() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await process.serve(config, connection, stop)

    logs.set_up(config.log)
    try:
        asyncio.run(until_told())
    except (EngineError, NodeTaken) as refused:
        raise Refused(str(refused)) from None
    except OSError as failed:
        raise Refused(failed.strerror or str(failed)) from None


def _rules(config: Config, connection: Connection) -> str:
    """Return the rules for what is registered now.  Raises Refused."""
    import asyncio

    from svcdns.client import Unreachable
    from svcdns.proxy.machine import KernelMachine
    from svcdns.proxy.preview import rules_text
    from svcdns.proxy.process import node_name
    from svcdns.server import logs

    logs.set_up("error")
    try:
        machine = KernelMachine(config, sets_up=False)
        return asyncio.run(rules_text(config, node_name(config), connection, machine))
    except Unreachable as away:
        raise Refused(str(away)) from None
    except OSError as failed:
        raise Refused(failed.strerror or str(failed)) from None


def _asked(config: Config, service: str) -> dict[str, Any]:
    """Return what the proxy here says of itself.  Raises Refused."""
    from http.client import HTTPConnection, HTTPException

    listen = reachable(config.proxy.healthz)
    connection = HTTPConnection(listen.host, listen.port, timeout=_SECONDS)
    try:
        connection.request("GET", f"/status?service={quote(service, safe='')}")
        answer = connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
    except (OSError, HTTPException, ValueError):
        text = f"no proxy answers at {listen} (healthz in [proxy]); start one: svcdns proxy"
        raise Refused(text) from None
    finally:
        connection.close()
    return found


def _lines(found: Mapping[str, Any], service: str) -> Iterator[tuple[str, str]]:
    yield "svcdns", found["version"]
    yield "node", ", ".join((found["node"], *found["nodeAddresses"]))
    yield "engine", found["engine"]
    api = found["api"]
    yield "api", f"followed, revision {api['revision']}" if api["connected"] else f"away: {api['reason']}"
    yield "holds", ", ".join(f"{count} {word}" for word, count in found["held"].items())
    if found["reason"]:
        yield "warning", found["reason"]
    for text in found["machine"]:
        yield "warning", text
    for one in found["problems"]:
        yield "warning", f"{one['service']}: {one['message']}"
    for one in found["announced"]:
        who = f"by {one['node']}" if one["node"] else "by no node now"
        yield "announced", f"{one['address']}  {', '.join(one['services'])}  {who}"
    for one in found["frontends"]:
        yield "frontend", f"{one['frontend']}  {'' if service else one['service'] + '  '}{_where(one)}"
    if found["moreFrontends"]:
        yield "frontend", f"and {found['moreFrontends']} more: name a Service"


def _where(one: Mapping[str, Any]) -> str:
    inside = _destination(one["inside"])
    outside = one.get("outside")
    text = f"{inside}; from elsewhere {_destination(outside)}" if outside else inside
    if "sourceRanges" in one:
        text += f"; only for {', '.join(one['sourceRanges']) or 'nobody'}"
    return text


def _destination(where: Mapping[str, Any]) -> str:
    endpoints = where["endpoints"]
    if not endpoints:
        return {"refuse": "refused, no endpoint is ready", "drop": "dropped, no endpoint here is ready"}[
            where["whenEmpty"]
        ]
    more = f" and {len(endpoints) - 3} more" if len(endpoints) > 3 else ""
    return f"-> {', '.join(endpoints[:3])}{more}"
