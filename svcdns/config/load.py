"""Where the configuration comes from: flags over SVCDNS_* variables over the file over defaults.

Rules:

* a mistake is a ConfigError of one line: the place (file:line, variable or flag), the option, what
  is wrong, what is allowed;
* unknown sections and keys of the file are refused, unknown variables are ignored (Kubernetes
  injects some of its own, such as SVCDNS_PORT);
* a relative path of the file is relative to the file, so is a default where there is a file: to
  write a default into the file changes nothing.  Those of flags and variables are relative to the
  working directory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .checks import problems
from .options import OPTIONS, Form, spelt
from .readers import Wrong, shown
from .sections import (
    AclConfig,
    ApiConfig,
    CacheConfig,
    Config,
    ConfigError,
    DnsConfig,
    ForwardConfig,
    ServicesConfig,
)
from .toml_file import Given, Key, of_document, of_file

VARIABLE_PREFIX = "SVCDNS_"

FLAGS = {
    "dns.listen": "--dns",
    "api.listen": "--api",
    "data": "--data",
    "manifests": "--manifests",
    "dns.workers": "--workers",
    "log": "--log",
}
"""The options that have a flag of `svcdns serve`."""

_SECTIONS = {
    "services": ServicesConfig,
    "dns": DnsConfig,
    "forward": ForwardConfig,
    "cache": CacheConfig,
    "acl": AclConfig,
    "api": ApiConfig,
}


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Return the configuration, every path absolute.

    `flags` holds options by their dotted name (see FLAGS), None for flags that were not given.
    Raises ConfigError for the first mistake found.
    """
    here = Path.cwd()
    base = here if file is None else file.absolute().parent
    given: dict[Key, Given] = {}
    if file is not None:
        given.update(of_file(file, base))
    given.update(_of_variables(environ, here))
    given.update(_of_flags(flags, here))
    values = {key: _read(key, one) for key, one in given.items()}
    config = _build(values, base)
    if problem := next(problems(config), None):
        key = problem.section, problem.key
        place = given[key].place_of(problem.table) if key in given else "default"
        raise ConfigError(f"{place}: {'.'.join(filter(None, key))}: {problem.text}")
    return config


def to_json(config: Config) -> str:
    """Return a resolved configuration as text, for the processes that the supervisor starts."""
    document: dict[str, Any] = {}
    for (section, key), value in _values(config):
        if section:
            document.setdefault(section, {})[key] = spelt(value)
        else:
            document[key] = spelt(value)
    return json.dumps(document)


def from_json(text: str) -> Config:
    """Return the configuration that to_json was given."""
    root = Path("/")
    given = of_document(json.loads(text), "handed over", {}, root)
    return _build({key: _read(key, one) for key, one in given.items()}, root)


def variable_of(section: str, key: str) -> str:
    """Return the name of an option's variable, such as SVCDNS_DNS_TTL."""
    return VARIABLE_PREFIX + (f"{section}_{key}" if section else key).upper()


# Sources


def _of_variables(environ: Mapping[str, str], base: Path) -> dict[Key, Given]:
    given = {}
    for section, options in OPTIONS.items():
        for key, option in options.items():
            name = variable_of(section, key)
            if name in environ:
                given[section, key] = Given(_of_text(environ[name], option.form, name), name, base)
    return given


def _of_text(text: str, form: Form, place: str) -> Any:
    """Turn a variable's text into what TOML would have given."""
    text = text.strip()
    if form in ("texts", "paths"):
        return [part.strip() for part in text.split(",")] if text else []
    if form == "number":
        if not re.fullmatch(r"-?[0-9]{1,15}", text):
            raise ConfigError(f"{place}: {text[:80]!r} is no whole number; allowed: digits")
        return int(text)
    if form == "switch":
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in words:
            raise ConfigError(f"{place}: {text[:80]!r} is neither; allowed: true, false")
        return words[text.lower()]
    if form == "tables":
        try:
            return json.loads(text or "[]")
        except (ValueError, RecursionError):
            raise ConfigError(f"{place}: is no JSON; allowed: a list of objects") from None
    return text


def _of_flags(flags: Mapping[str, Any], base: Path) -> dict[Key, Given]:
    given = {}
    for name, value in flags.items():
        if value is None:
            continue
        section, _, key = name.rpartition(".")
        given[section, key] = Given(list(value) if isinstance(value, tuple) else value, FLAGS[name], base)
    return given


# Values


def _read(key: Key, given: Given) -> Any:
    option = OPTIONS[key[0]][key[1]]
    # A flag or variable says by its own name which option it is.
    says_itself = given.place.startswith(("--", VARIABLE_PREFIX))
    name = "" if says_itself else ".".join(filter(None, key)) + ": "
    if problem := _wrong_form(given.value, option.form, "" if says_itself else ".".join(key)):
        raise ConfigError(f"{given.place}: {name}{problem}")
    try:
        if option.form == "file" and not given.value:
            return None
        if option.form in ("path", "file"):
            return _path(given.value, given.base)
        if option.form == "paths":
            return tuple(_path(text, given.base) for text in given.value)
        return option.read(given.value)
    except Wrong as wrong:
        raise ConfigError(f"{given.place_of(wrong.table)}: {name}{wrong}") from None


def _path(text: str, base: Path) -> Path:
    if text.splitlines() != [text] or "\0" in text:  # empty, or more than a line of a log holds
        raise Wrong(f"{text[:200]!r} is no path; allowed: the path of a file or folder")
    return base / text


def _wrong_form(value: Any, form: Form, header: str) -> str:
    """Return what is wrong about the type of a value, "" when nothing is.

    `header` is that of its tables in the file, "" for a value from elsewhere.
    """
    if form == "switch":
        return (
            ""
            if isinstance(value, bool)
            else f"{shown(value)} is neither true nor false; write one of them, without quotes"
        )
    if form == "number":
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole else f"{shown(value)} is no whole number; write digits, without quotes"
    if form == "tables":
        tables = isinstance(value, list) and all(isinstance(item, dict) for item in value)
        remedy = f"[[{header}]] on a line of its own, for each" if header else "[{...}, {...}]"
        return "" if tables else f"{shown(value)} is no list of tables; write {remedy}"
    if form in ("text", "path", "file"):
        return "" if isinstance(value, str) else f'{shown(value)} is no text; write it "in quotes"'
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return f'{shown(value)} is no list of texts; write ["one", "two"]'
    return ""


# Putting it together


def _build(values: Mapping[Key, Any], base: Path) -> Config:
    def of(section: str) -> dict[str, Any]:
        return {key: value for (where, key), value in values.items() if where == section}

    parts: dict[str, Any] = {name: kind(**of(name)) for name, kind in _SECTIONS.items()}
    config = Config(**of(""), **parts)
    return replace(config, data=base / config.data, dns=replace(config.dns, zones=base / config.dns.zones))


def _values(config: Config) -> Iterator[tuple[Key, Any]]:
    for section, options in OPTIONS.items():
        part = getattr(config, section) if section else config
        for key in options:
            yield (section, key), getattr(part, key)
