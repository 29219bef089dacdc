"""`svcdns serve`: the server, until told to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from . import serving
from .flags import ConfigFlag, with_option_flags


@with_option_flags
def serve(flags: Mapping[str, Any], config: ConfigFlag = None) -> None:
    """Serve DNS and the REST API until told to end (Ctrl-C or SIGTERM).

    Flags win over SVCDNS_* variables (SVCDNS_DNS_TTL=30), these over the file, this over the
    defaults: DNS on 127.0.0.1:1053, API on 127.0.0.1:8053, state in ./svcdns-data.

    Examples:

        svcdns serve --manifests examples

        svcdns serve --config svcdns.toml --workers 2

        svcdns serve --dns 192.0.2.53:53 --dns '[2001:db8::53]:53'

        svcdns serve --data /var/lib/svcdns
    """
    raise typer.Exit(serving.serve(config, flags))
