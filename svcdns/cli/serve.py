"""`svcdns serve`: the server, until told to end."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import typer

from svcdns.config.sections import ConfigError

from .flags import ConfigFlag, loaded, with_option_flags
from .outcome import Refused


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
    from svcdns.server import succession

    try:
        legacy = succession.take(os.environ)
    except succession.UnknownVersion as unknown:
        raise Refused(str(unknown)) from None
    if legacy is not None and legacy.successor is not None:
        from .rehearse import succeed

        raise typer.Exit(succeed(legacy, legacy.successor))
    resolved = loaded(config, flags)

    from svcdns.config import checks
    from svcdns.config.load import misspelt_variables
    from svcdns.server import preflight

    if mistakes := preflight.mistakes(resolved):
        raise ConfigError(*mistakes)

    if legacy is not None:
        from .rehearse import rehearse

        raise typer.Exit(rehearse(legacy, resolved))

    from svcdns.server import logs, supervisor

    logs.set_up(resolved.log)
    for warning in [*misspelt_variables(os.environ), *checks.warnings(resolved)]:
        logging.getLogger(__name__).warning("%s", warning)
    raise typer.Exit(supervisor.run(resolved))
