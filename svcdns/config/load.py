"""Where the configuration comes from: flags over SVCDNS_* variables over the file over defaults.

Rules:

* a mistake is a ConfigError of one line: the place (file:line, variable or flag), the option, what
  is wrong, what is allowed;
* unknown sections and keys of the file are refused; unknown variables are ignored (Kubernetes
  injects some of its own, such as SVCDNS_PORT), and those that look like an option's get a warning;
* a relative path of the file is relative to the file, so is a default where there is a file: to
  write a default into the file changes nothing.  Those of flags and variables are relative to the
  working directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .checks import problems
from .options import NUMBER, spelt
from .readers import Wrong
from .sections import OPTIONS, SECTIONS, Config, ConfigError
from .toml_file import Given, of_file

_PREFIX = "SVCDNS_"
_OTHER_VARIABLES = {_PREFIX + word for word in ("API", "CA", "CONFIG", "HANDOFF", "SUCCESSION", "TOKEN")}
"""Variables that are no option's."""
_ALIKE = 0.9
"""How alike two names are that differ by a slip: SVCDNS_PORT and SVCDNS_SERVICE_HOST are like no option's."""


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Return the configuration, every path absolute.

    `flags` holds what flags say by the name of the option ("dns.listen"), None for those not given.
    Raises ConfigError for the first mistake found.
    """
    here = Path.cwd()
    base = here if file is None else file.absolute().parent
    given = of_file(file, base) if file is not None else {}
    given |= _of_variables(environ, here)
    given |= _of_flags(flags, here)
    config = _build({name: _value(name, one) for name, one in given.items()}, base)
    if problem := next(problems(config), None):
        found = given.get(problem.option)
        place = found.place_of(problem.table) if found else "default"
        raise ConfigError(f"{place}: {problem.option}: {problem.text}")
    return config


def misspelt_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a line for each variable that is nobody's and reads like that of an option."""
    options = [option.variable for option in OPTIONS.values()]
    known = {*options, *_OTHER_VARIABLES}
    lines = []
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known:
            near = get_close_matches(name, options, n=1, cutoff=_ALIKE)
            lines += [
                f"{name}: no option is called that, nothing reads it; did you mean {one}?" for one in near
            ]
    return lines


def spelt_options(config: Config) -> dict[str, Any]:
    """Return every option of a configuration as JSON holds it, for the processes of the server."""
    return {
        name: spelt(getattr(getattr(config, one.section) if one.section else config, one.key))
        for name, one in OPTIONS.items()
    }


def of_spelt(options: Mapping[str, Any]) -> Config:
    """Return the configuration that spelt_options was given."""
    root = Path("/")
    return _build({name: OPTIONS[name].value_of(written, root) for name, written in options.items()}, root)


def _of_variables(environ: Mapping[str, str], base: Path) -> dict[str, Given]:
    given = {}
    for name, option in OPTIONS.items():
        if (text := environ.get(option.variable)) is not None:
            try:
                written = option.form.of_text(text.strip())
            except Wrong as wrong:
                raise ConfigError(f"{option.variable}: {wrong}") from None
            given[name] = Given(written, option.variable, base, says_option=True)
    return given


def _of_flags(flags: Mapping[str, Any], base: Path) -> dict[str, Given]:
    given = {}
    for name, written in flags.items():
        option = OPTIONS[name]
        if written is not None and option.flag:
            if option.form is NUMBER:
                written = _number(written)
            given[name] = Given(written, option.flag.name, base, says_option=True)
    return given


def _number(written: Any) -> Any:
    """Return a flag's whole number; what is none stays as it is, and is refused for its form."""
    text = str(written)
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 10 else written


def _value(name: str, given: Given) -> Any:
    try:
        return OPTIONS[name].value_of(given.written, given.base)
    except Wrong as wrong:
        which = "" if given.says_option else f"{name}: "
        raise ConfigError(f"{given.place_of(wrong.table)}: {which}{wrong}") from None


def _build(values: Mapping[str, Any], base: Path) -> Config:
    """Return the configuration of these values by the names of their options, and of defaults."""
    parts: dict[str, dict[str, Any]] = {name: {} for name in ("", *SECTIONS)}
    for name, option in OPTIONS.items():
        parts[option.section][option.key] = values[name] if name in values else option.default_in(base)
    return Config(**parts.pop(""), **{name: SECTIONS[name](**part) for name, part in parts.items()})
