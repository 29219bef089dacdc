"""Where the configuration comes from: flags over SVCDNS_* variables over the file over defaults.

Rules:

* a mistake is one line: the place (file:line, variable or flag), the option, what is wrong, what is
  allowed; all of them are found in one go;
* unknown sections and keys of the file are refused; unknown variables are ignored (Kubernetes
  injects some of its own, such as SVCDNS_PORT), and those that look like an option's get a warning;
* a relative path of the file is relative to the file, so is a default where there is a file: to
  write a default into the file changes nothing.  Those of flags and variables are relative to the
  working directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svcdns.system.similar_words import closest

from .checks import Problem, problems
from .options import NUMBER, Option, spelt
from .readers import Wrong
from .sections import OPTIONS, SECTIONS, Config, ConfigError
from .toml_file import Given, of_file

_PREFIX = "SVCDNS_"
_OTHER_VARIABLES = {
    _PREFIX + word for word in ("API", "CA", "CONFIG", "FAST_PATH", "HANDOFF", "SUCCESSION", "TOKEN")
}
"""Variables that are no option's."""
_ALIKE = 0.9
"""How alike two names are that differ by a slip: SVCDNS_PORT and SVCDNS_SERVICE_HOST are like no option's."""


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Return the configuration, every path absolute.

    `flags` holds what flags say by the name of the option ("dns.listen"), None for those not given.
    Raises ConfigError with all mistakes.
    """
    found = examined(file, environ, flags)
    if found.mistakes:
        raise ConfigError(*found.mistakes)
    return found.config


@dataclass(frozen=True, slots=True)
class Examined:
    """A configuration and what is wrong with it; an option that is wrong has its default."""

    config: Config
    mistakes: list[str]
    wrong: frozenset[str]
    """Names of the options whose values can't be read."""


def examined(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Examined:
    """Return the configuration, every path absolute, and the mistakes in it, a line each; as `load` else.

    Raises ConfigError for a file that can't be read as TOML.
    """
    here = Path.cwd()
    base = here if file is None else file.absolute().parent
    given, mistakes = of_file(file, base) if file is not None else ({}, [])
    wrong: set[str] = set()
    of_variables, wrong_variables = _of_variables(environ, here)
    given |= of_variables | _of_flags(flags, here)
    for name, lines in wrong_variables.items():
        if flags.get(name) is None:  # a flag wins over it
            given.pop(name, None)
            mistakes += lines
            wrong.add(name)
    values = {}
    for name, one in given.items():
        try:
            values[name] = OPTIONS[name].value_of(one.written, one.base)
        except Wrong as found:
            mistakes += _lines(name, one, found)
            wrong.add(name)
    config = _build(values, base)
    mistakes += [_line(problem, given) for problem in problems(config) if not _follows(problem, wrong)]
    return Examined(config, sorted(mistakes, key=_place_in_file), frozenset(wrong))


def _lines(name: str, given: Given, wrong: Wrong) -> list[str]:
    which = "" if given.says_option else f"{name}: "
    return [f"{given.place_of(one.table)}: {which}{one}" for one in wrong.all]


def _line(problem: Problem, given: Mapping[str, Given]) -> str:
    found = given.get(problem.option)
    place = found.place_of(problem.table) if found else "default"
    return f"{place}: {problem.option}: {problem.text}"


def _follows(problem: Problem, wrong: Iterable[str]) -> bool:
    """Return whether a problem may only be there because an option that is wrong has its default for now."""
    words = set(re.findall(r"[a-z_]+", problem.text))
    return any(problem.option == name or name.rpartition(".")[2] in words for name in wrong)


def _place_in_file(line: str) -> tuple[str, int]:
    """Return the order of a mistake: by file and line; what has no line keeps its place behind."""
    at = re.match(r"(.*?):(\d+): ", line)
    return (at[1], int(at[2])) if at else ("\uffff", 0)


def misspelt_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a line for each variable that is nobody's and reads like that of an option."""
    options = [option.variable for option in OPTIONS.values()]
    known = {*options, *_OTHER_VARIABLES}
    lines = []
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known and (near := closest(name, options, _ALIKE)):
            lines.append(f"{name}: no option is called that, nothing reads it; did you mean {near}?")
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


def _of_variables(environ: Mapping[str, str], base: Path) -> tuple[dict[str, Given], dict[str, list[str]]]:
    """Return what variables say, and the mistakes in others, both by the names of options."""
    given, mistakes = {}, {}
    for name, option in OPTIONS.items():
        if (text := environ.get(option.variable)) is not None:
            try:
                written = _of_text(option, text.strip())
            except Wrong as wrong:
                mistakes[name] = [f"{option.variable}: {wrong}"]
            else:
                given[name] = Given(written, option.variable, base, says_option=True)
    return given, mistakes


def _of_flags(flags: Mapping[str, Any], base: Path) -> dict[str, Given]:
    given = {}
    for name, written in flags.items():
        option = OPTIONS[name]
        if written is not None and option.flag:
            if option.form is NUMBER:
                written = _number(written)
            elif option.flag.key:
                written = [{option.flag.key: text} for text in written]
            given[name] = Given(written, option.flag.name, base, says_option=True)
    return given


def _of_text(option: Option, text: str) -> Any:
    """Return what a variable says; for tables with a flag, what that takes is enough.  Raises Wrong."""
    if option.flag and option.flag.key and text and text[0] not in "[{":
        return [{option.flag.key: text}]
    return option.form.of_text(text)


def _number(written: Any) -> Any:
    """Return a flag's whole number; what is none stays as it is, and is refused for its form."""
    text = str(written)
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 10 else written


def _build(values: Mapping[str, Any], base: Path) -> Config:
    """Return the configuration of these values by the names of their options, and of defaults."""
    parts: dict[str, dict[str, Any]] = {name: {} for name in ("", *SECTIONS)}
    for name, option in OPTIONS.items():
        parts[option.section][option.key] = values[name] if name in values else option.default_in(base)
    return Config(**parts.pop(""), **{name: SECTIONS[name](**part) for name, part in parts.items()})
