"""`svcdns wait`: until the traffic does what was acknowledged."""

from __future__ import annotations

from typing import Annotated

import typer

from . import talking


def wait(
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, max=60, help="For how long at most.")
    ] = 10,
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Wait until every proxy carries traffic as it was registered up to now.

    DNS needs no waiting: it shows what the API acknowledged. Addresses of Services follow within
    milliseconds; a script that must not be faster waits. Exit code 1 when a proxy is behind, or none runs.

    Examples:

        svcdns add web --cluster-ip --port 80 10.0.0.5 && svcdns wait
    """
    with talking.talking(api, data) as client:
        nodes = client.wait_for_proxies(timeout)
    typer.echo(f"the traffic is as registered on {', '.join(nodes)}")
