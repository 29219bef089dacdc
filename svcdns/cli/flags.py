"""The flags that several commands have, and those that the options of the configuration are declared with."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from svcdns.config.sections import OPTIONS, Config

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


def with_option_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of all options that are declared with one.

    What they say comes in its `flags`, by the names of the options; None for those not given.
    """
    declared = [(name, option.flag, option.default) for name, option in OPTIONS.items() if option.flag]
    declared.sort(key=lambda one: one[1].place)
    own = [
        one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "flags"
    ]
    names = {flag.name.removeprefix("--"): name for name, flag, _ in declared}
    flags = [
        inspect.Parameter(
            flag.name.removeprefix("--"),
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None if isinstance(default, tuple) else str | None,
                typer.Option(flag.name, metavar=flag.metavar, help=flag.help),
            ],
        )
        for _, flag, default in declared
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        command(flags={name: given.pop(flag) or None for flag, name in names.items()}, **given)

    run.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
    return run
