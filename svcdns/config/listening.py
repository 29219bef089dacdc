"""Where the server of a configuration answers DNS: as configured, or as it really does while it runs.

The two differ where the kernel chose the port, and where flags of `svcdns serve` said otherwise; a running
server writes it to addresses.json in its data folder.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from .readers import endpoint
from .sections import Config, Endpoint

ADDRESSES = "addresses.json"


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


def is_running(config: Config) -> bool:
    """Return whether a server runs on the data folder, as far as this user may see."""
    return bool(_running(config.data / ADDRESSES))


def _running(file: Path) -> tuple[Endpoint, ...]:
    """Return where a server that runs answers; () for none, and for a file that says something else."""
    try:
        written = json.loads(file.read_text())
        pid = int(written["pid"])
        if not 0 < pid < 1 << 31:
            return ()
        with suppress(PermissionError):  # it lives, and is another user's
            os.kill(pid, 0)
        return tuple(map(endpoint, written["dns"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
