"""`svcdns register`: a process in the registry for as long as it runs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svcdns.config.sections import ConfigError

from . import talking
from .add import labels_of, ports_of
from .outcome import say

if TYPE_CHECKING:
    from svcdns.client.keeping import Connect
    from svcdns.client.own_pod import OwnPod


def register(
    service: Annotated[
        str, typer.Option("--service", "-s", metavar="NAME", help="The Service it belongs to.")
    ],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- CMD ...", help="What to run.", show_default=False)
    ] = None,
    port: Annotated[
        list[str] | None,
        typer.Option("--port", "-p", metavar="NAME=NUMBER", help="A port it listens on; or a number."),
    ] = None,
    address: Annotated[
        str,
        typer.Option("--address", metavar="ADDRESS", help="Its address; else the one towards the server."),
    ] = "",
    name: Annotated[
        str, typer.Option("--name", metavar="POD", help="What its Pod is called; else SERVICE-HOST-PORT.")
    ] = "",
    cluster_ip: Annotated[
        bool, typer.Option("--cluster-ip", help="A Service that is made gets one address of its own.")
    ] = False,
    probe: Annotated[
        str,
        typer.Option("--probe", metavar="PROBE", help="http:/healthz, http:8081/, tcp, tcp:5432, grpc:5000."),
    ] = "",
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label of its Pod.")
    ] = None,
    heartbeat: Annotated[
        int, typer.Option("--heartbeat", metavar="SECONDS", min=1, max=3600, help="It is late after three.")
    ] = 10,
    drain: Annotated[
        float,
        typer.Option(
            "--drain", metavar="SECONDS", min=0, max=3600, help="Between leaving the registry and the signal."
        ),
    ] = 0.0,
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Run a command, and have its address answered for as long as it runs.

    It registers this machine's address as a Pod, and a headless Service where there is none of that name;
    sends heartbeats; passes signals on; and takes the Pod away when the command ends, or is told to. The
    exit code is the command's. A server that can't be reached is tried again and again, the command runs
    all the same. Without a command it stays until it is ended.

    Examples:

        svcdns register --service web --port 8080 -- python3 -m http.server 8080

        svcdns register -s web -p 8080 --probe http:/healthz --drain 5 -- ./server
    """
    import asyncio

    from svcdns.client.keeping import keep
    from svcdns.client.own_pod import OwnPod

    from .running import CanNotRun, run

    said = OwnPod(
        service,
        _address(address),
        ports_of(port or []),
        namespace,
        name,
        labels_of(label or []),
        cluster_ip,
        _probe(probe, bool(port)),
        heartbeat,
    )
    connect = _connecting(said, api, data)
    try:
        code = asyncio.run(run(command or [], lambda leave: keep(connect, say, leave), drain))
    except CanNotRun as why:
        say(str(why))
        code = why.code
    raise typer.Exit(code)


def _connecting(said: OwnPod, api: str, data: Path | None) -> Connect:
    """Return what finds the server, and completes what is said to it by what is known then."""
    from svcdns.client import Connection, find
    from svcdns.client.own_pod import own_address
    from svcdns.config.listening import DATA_FOLDERS

    folders = [data] if data is not None else DATA_FOLDERS

    def connect() -> tuple[Connection, OwnPod]:
        there = find(api, os.environ, folders)
        namespace = said.namespace or there.namespace or "default"
        return there, replace(said, address=said.address or own_address(there.url), namespace=namespace)

    return connect


def _address(given: str) -> str:
    from ipaddress import ip_address

    try:
        return str(ip_address(given)) if given else ""
    except ValueError:
        raise ConfigError(f"--address: {given!r} is no address; allowed: such as 10.0.0.5") from None


def _probe(given: str, has_port: bool) -> dict[str, object] | None:
    """Return the probe that is meant.  Raises ConfigError."""
    from svcdns.client import Mistake
    from svcdns.client.own_pod import probe_of

    if not given:
        return None
    try:
        found = probe_of(given)
    except Mistake as wrong:
        raise ConfigError(f"--probe: {wrong}") from None
    if not has_port and any(isinstance(asked, dict) and asked["port"] == "" for asked in found.values()):
        raise ConfigError("--probe names no port, and there is no --port")
    return found
