"""The flags that several commands have, and those that the options of the configuration are declared with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from svcdns.config.options import SWITCH
from svcdns.config.readers import Wrong
from svcdns.config.sections import OPTIONS, Config, ConfigError

_T = TypeVar("_T")
_Value = TypeVar("_Value")

ConfigFlag = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", envvar="SVCDNS_CONFIG", help="Configuration (TOML)."),
]
DataFlag = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="The server's data folder, if not as there.")
]


def loaded(file: Path | None, flags: Mapping[str, Any]) -> Config:
    """Return the configuration; `flags` are as svcdns.config.load takes them.  Raises ConfigError."""
    from svcdns.config.load import load

    return load(file, os.environ, flags)


def flag_value(flag: str, read: Callable[[_T], _Value], given: _T) -> _Value:
    """Return what a reader of the configuration makes of a flag.  Raises ConfigError."""
    try:
        return read(given)
    except Wrong as wrong:
        raise ConfigError(f"{flag}: {wrong}") from None


def with_option_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of all options that are declared with one.

    What they say comes in its `flags`, by the names of the options; None for those not given.
    """
    declared = [(one.flag, one) for one in OPTIONS.values() if one.flag]
    declared.sort(key=lambda pair: pair[0].place)
    names, parameters = {}, []
    for flag, option in declared:
        name = flag.name.removeprefix("--").replace("-", "_")
        names[name] = option.name
        kind: Any = bool if option.form is SWITCH else list[str] if isinstance(option.default, tuple) else str
        typed = Annotated[kind | None, typer.Option(flag.name, metavar=flag.metavar or None, help=flag.help)]
        parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=typed))

    @wraps(command)
    def run(**given: Any) -> None:
        command(flags={name: given.pop(flag) or None for flag, name in names.items()}, **given)

    own = [one for one in signature(command, eval_str=True).parameters.values() if one.name != "flags"]
    run.__signature__ = Signature([*own, *parameters])  # type: ignore[attr-defined]
    return run
