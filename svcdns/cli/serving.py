"""`svcdns serve` without what the other commands need: what it loads, it keeps in memory for good.

    flags -> configuration -> what is wrong is said -> the supervisor
    in an upgrade: the rehearsal, or the step into the running server's place (svcdns.server.succession)

Nothing here, nor what it imports on the way to a server that runs, imports typer.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from svcdns.config.load import load, misspelt_variables, of_spelt
from svcdns.config.options import SWITCH
from svcdns.config.sections import OPTIONS, ConfigError

from .outcome import Refused

CONFIG_FLAG, CONFIG_VARIABLE = "--config", "SVCDNS_CONFIG"


def plain_flags(words: Sequence[str]) -> tuple[Path | None, dict[str, Any]] | None:
    """Read flags of `svcdns serve` that are known, written `--flag value`, `--flag=value` or `--switch`.

    Returns the file of the configuration and what flags say by the names of options (lists for those that may
    be repeated); None for all else, help and mistakes among it, which is for typer.
    """
    options = {option.flag.name: option for option in OPTIONS.values() if option.flag}
    file = os.environ.get(CONFIG_VARIABLE) or None
    found: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        option = options.get(name)
        if option is not None and option.form is SWITCH and not equals:
            found[option.name] = True
            continue
        value = value if equals else next(rest, "")
        if not value or value.startswith("-"):
            return None
        if name == CONFIG_FLAG:
            file = value
        elif option is None or option.form is SWITCH:
            return None
        elif isinstance(option.default, tuple):
            found.setdefault(option.name, []).append(value)
        else:
            found[option.name] = value
    return Path(file) if file else None, found


def serve(file: Path | None, flags: Mapping[str, Any]) -> int:
    """Serve until told to end; return the exit code.  Raises ConfigError and Refused."""
    from svcdns.server import logs, succession, supervisor

    try:
        legacy = succession.take(os.environ)
    except succession.UnknownVersion as unknown:
        raise Refused(str(unknown)) from None
    if legacy is not None and legacy.successor is not None:
        config = of_spelt(legacy.successor)
        logs.set_up(config.log)
        return supervisor.run(config, legacy=legacy)
    config = load(file, os.environ, flags)

    from svcdns.config import checks
    from svcdns.server import preflight

    try:
        mistakes = preflight.mistakes_found_apart(config)
    except OSError as failed:
        raise Refused(f"no process can be started: {failed.strerror or failed}") from None
    if mistakes:
        raise ConfigError(*mistakes)
    if legacy is not None:
        from .rehearse import rehearse

        return rehearse(legacy, config)
    logs.set_up(config.log)
    for warning in [*misspelt_variables(os.environ), *checks.warnings(config)]:
        logging.getLogger(__name__).warning("%s", warning)
    return supervisor.run(config)
