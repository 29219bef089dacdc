"""The configuration file: from TOML to values that know their line.

Unknown sections and keys are refused here, with the one that was perhaps meant.  What a value may
be is not this file's business (see `config_values`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .options import OPTIONS
from .sections import ConfigError

MAX_FILE_OCTETS = 1 << 20


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody spelt it, where, and the folder that its relative paths start from."""

    value: Any
    place: str
    base: Path
    tables: tuple[str, ...] = ()
    """The places of its tables, where it is written as such."""

    def place_of(self, table: int) -> str:
        """Return where one of its tables stands (from 1), as closely as is known; 0: the whole."""
        return self.tables[table - 1] if 0 < table <= len(self.tables) else self.place


Key = tuple[str, str]
"""Section ("" for the top) and key."""


def of_file(file: Path, base: Path) -> dict[Key, Given]:
    """Return what a TOML file says; `base` is where its relative paths start.  Raises ConfigError."""
    try:
        with file.open("rb") as opened:
            octets = opened.read(MAX_FILE_OCTETS + 1)
    except OSError as failed:
        raise ConfigError(f"{file}: can't be read: {(failed.strerror or str(failed)).lower()}") from None
    if len(octets) > MAX_FILE_OCTETS:
        raise ConfigError(f"{file}: is larger than {MAX_FILE_OCTETS} octets, so it is no configuration")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as wrong:
        line = octets[: wrong.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: is not UTF-8 text, as TOML must be") from None
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{file}: is no configuration: lists within lists without end") from None
    except ValueError as wrong:
        raise _not_toml(file, text, str(wrong)) from None
    return of_document(document, str(file), _lines(text), base)


def _not_toml(file: Path, text: str, message: str) -> ConfigError:
    at = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    what, line = (at[1], at[2] or str(text.count("\n") + 1)) if at else (message, "1")
    return ConfigError(f"{file}:{line}: is no TOML: {' '.join(what.split())}")


def of_document(
    document: dict[str, Any], source: str, lines: Mapping[Key, int], base: Path
) -> dict[Key, Given]:
    """Return what a parsed document says; raises ConfigError for what is not known.

    `lines` holds the line of each key, `source` the name of the file, for the places of mistakes.
    """
    given = {}
    for name, value in document.items():
        place = _place(source, lines.get((name, ""), lines.get(("", name))))
        if name in OPTIONS and name:
            if not isinstance(value, dict):
                raise ConfigError(f"{place}: {name} is a section; write [{name}] on a line of its own")
            for key, inner in value.items():
                place = _place(source, lines.get((name, key), lines.get((name, ""))))
                if key not in OPTIONS[name]:
                    raise ConfigError(f"{place}: {_unknown(name, key)}")
                given[name, key] = Given(inner, place, base, _tables(source, lines, name, key))
        elif name in OPTIONS[""]:
            given["", name] = Given(value, place, base)
        else:
            raise ConfigError(f"{place}: {_unknown('', name, is_section=isinstance(value, dict))}")
    return given


def _place(source: str, line: int | None) -> str:
    return f"{source}:{line}" if line else source


def _tables(source: str, lines: Mapping[Key, int], section: str, key: str) -> tuple[str, ...]:
    found: list[str] = []
    while line := lines.get((f"{section}.{key}", f"#{len(found) + 1}")):
        found.append(_place(source, line))
    return tuple(found)


def _unknown(section: str, name: str, *, is_section: bool = False) -> str:
    """Say that a key or section is not known, and which one was perhaps meant.

    A key of another section was meant only where its name is the very same: similar words are many.
    """
    what = f"unknown section [{name}]" if is_section else f"unknown key {name!r}"
    if section:
        what += f" in [{section}]"
    sections = {word: f"[{word}]" for word in OPTIONS if word}
    candidates = sections if is_section else {key: key for key in OPTIONS[section]}
    elsewhere = [where for where, options in OPTIONS.items() if name.lower() in options and not is_section]
    if near := get_close_matches(name.lower(), candidates, n=1, cutoff=0.6):
        return f"{what}; did you mean {candidates[near[0]]}?"
    if elsewhere:
        place = f"in [{elsewhere[0]}]" if elsewhere[0] else "at the top of the file"
        return f"{what}; did you mean {name.lower()} {place}?"
    return f"{what}; allowed: {', '.join(candidates.values())}"


_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(#.*)?")
_TABLE = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_-]+)\s*\.\s*([A-Za-z0-9_-]+)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)\s*\.\s*)?["']?([A-Za-z0-9_-]+)["']?\s*=""")


def _lines(text: str) -> dict[Key, int]:
    """Return the line (from 1) of each key, of each section under (section, ""), and of the tables of an
    option under ("section.key", "#1") and so on.
    """
    found: dict[Key, int] = {}
    count: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            section = header[1]
            found.setdefault((section, ""), number)
        elif table := _TABLE.fullmatch(line):
            section = f"{table[1]}.{table[2]}"
            found.setdefault((table[1], ""), number)
            found.setdefault((table[1], table[2]), number)
            count[section] = count.get(section, 0) + 1
            found[section, f"#{count[section]}"] = number
        elif key := _KEY.match(line):
            found.setdefault((key[1] or section, key[2]), number)
            if key[1]:
                found.setdefault((key[1], ""), number)
    return found
