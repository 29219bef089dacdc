"""Where the server of a configuration answers DNS: as configured, or as it really does while it runs.

The two differ where the kernel chose the port, and where flags of `svcdns serve` said otherwise; a running
server writes it to addresses.json in its data folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from .readers import Wrong, endpoint
from .sections import Config, Endpoint

ADDRESSES = "addresses.json"
DATA_FOLDERS = (Path("svcdns-data"), Path("/var/lib/svcdns"))
"""Where servers keep their data: `make run` and `svcdns serve` here, the image and the service there."""


def dns_of_running(folder: Path) -> tuple[Endpoint, ...]:
    """Return where the server that runs on a data folder answers DNS, () for none."""
    return _running(folder / ADDRESSES)


def api_of_running(folder: Path) -> str:
    """Return the URL of the API of the server that runs on a data folder, "" for none."""
    written = _of_running(folder / ADDRESSES)
    try:
        listen = endpoint(written["api"])
    except (Wrong, KeyError, TypeError, AttributeError):
        return ""
    host = listen.host
    if ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{'https' if written.get('tls') else 'http'}://{Endpoint(host, listen.port)}"


def is_closed(folder: Path) -> bool:
    """Return whether a data folder is there that this user may not look into."""
    try:
        (folder / ADDRESSES).stat()
    except OSError as failed:
        return isinstance(failed, PermissionError)
    return not os.access(folder / ADDRESSES, os.R_OK)


def dns_endpoints(config: Config) -> tuple[Endpoint, ...]:
    """Return where DNS is answered, at least one place."""
    return _running(config.data / ADDRESSES) or config.dns.listen


def api_url(config: Config) -> str:
    """Return the URL of the API, with the port that it really has if the server runs."""
    listen = str(config.api.listen)
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        listen = str(json.loads((config.data / ADDRESSES).read_text())["api"])
    return f"{'https' if config.api.tls_cert else 'http'}://{listen}"


def reachable(listen: Endpoint) -> Endpoint:
    """Return where this machine itself reaches what listens there: a wildcard is no address to connect to."""
    if ip_address(listen.host).is_unspecified:
        return Endpoint("::1" if ":" in listen.host else "127.0.0.1", listen.port)
    return listen


def is_loopback(host: str) -> bool:
    """Return whether the host of a URL is this machine itself, by its address or as localhost."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_running(config: Config) -> bool:
    """Return whether a server runs on the data folder, as far as this user may see."""
    return bool(_running(config.data / ADDRESSES))


def _running(file: Path) -> tuple[Endpoint, ...]:
    """Return where a server that runs answers; () for none, and for a file that says something else."""
    try:
        return tuple(map(endpoint, _of_running(file)["dns"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _of_running(file: Path) -> Mapping[str, Any]:
    """Return what a server that runs has written; {} for none, and for what no server has written."""
    try:
        written = json.loads(file.read_text())
        pid = int(written["pid"])
        if not 0 < pid < 1 << 31:
            return {}
        with suppress(PermissionError):  # it lives, and is another user's
            os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return written if isinstance(written, dict) else {}
