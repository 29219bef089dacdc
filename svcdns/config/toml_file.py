"""The configuration file: from TOML to values that know their line.

Unknown sections and keys are refused here, with the one that was perhaps meant.  What a value may be is not
this file's business (see `sections`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .sections import OPTIONS, SECTIONS, ConfigError

MAX_FILE_OCTETS = 1 << 20


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it, where, and the folder that its relative paths start from."""

    written: Any
    place: str
    base: Path
    tables: tuple[str, ...] = ()
    """The places of its tables, where it is written as such."""
    says_option: bool = False
    """Whether the place says which option it is, as a flag or variable does."""

    def place_of(self, table: int) -> str:
        """Return where one of its tables stands (from 1), as closely as is known; 0: the whole."""
        return self.tables[table - 1] if 0 < table <= len(self.tables) else self.place


def of_file(file: Path, base: Path) -> dict[str, Given]:
    """Return what a TOML file says, by the names of options; `base` is where its relative paths start.

    Raises ConfigError.
    """
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
    return _of_document(document, str(file), _lines(text), base)


def _not_toml(file: Path, text: str, message: str) -> ConfigError:
    at = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    what, line = (at[1], at[2] or str(text.count("\n") + 1)) if at else (message, "1")
    return ConfigError(f"{file}:{line}: is no TOML: {' '.join(what.split())}")


def _of_document(
    document: dict[str, Any], source: str, lines: Mapping[str, int], base: Path
) -> dict[str, Given]:
    """Return what a parsed document says; raises ConfigError for what is not known.

    `lines` are those of sections, keys and tables, `source` is the name of the file: the places of mistakes.
    """
    given = {}
    for name, value in document.items():
        place = _place(source, lines.get(name))
        if name in SECTIONS:
            if not isinstance(value, dict):
                raise ConfigError(f"{place}: {name} is a section; write [{name}] on a line of its own")
            for key, inner in value.items():
                option = f"{name}.{key}"
                place = _place(source, lines.get(option, lines.get(name)))
                if key not in _KEYS[name]:
                    raise ConfigError(f"{place}: {_unknown(name, key)}")
                given[option] = Given(inner, place, base, _tables(source, lines, option))
        elif name in _KEYS[""]:
            given[name] = Given(value, place, base)
        else:
            raise ConfigError(f"{place}: {_unknown('', name, is_section=isinstance(value, dict))}")
    return given


_KEYS = {
    section: [option.key for option in OPTIONS.values() if option.section == section]
    for section in ("", *SECTIONS)
}


def _place(source: str, line: int | None) -> str:
    return f"{source}:{line}" if line else source


def _tables(source: str, lines: Mapping[str, int], option: str) -> tuple[str, ...]:
    found: list[str] = []
    while line := lines.get(f"{option}#{len(found) + 1}"):
        found.append(_place(source, line))
    return tuple(found)


def _unknown(section: str, name: str, *, is_section: bool = False) -> str:
    """Say that a key or section is not known, and which one was perhaps meant.

    A key of another section was meant only where its name is the very same: similar words are many.
    """
    what = f"unknown section [{name}]" if is_section else f"unknown key {name!r}"
    if section:
        what += f" in [{section}]"
    known = {word: f"[{word}]" for word in SECTIONS} if is_section else {key: key for key in _KEYS[section]}
    if near := get_close_matches(name.lower(), known, n=1, cutoff=0.6):
        return f"{what}; did you mean {known[near[0]]}?"
    elsewhere = [where for where, keys in _KEYS.items() if name.lower() in keys and not is_section]
    if elsewhere:
        place = f"in [{elsewhere[0]}]" if elsewhere[0] else "at the top of the file"
        return f"{what}; did you mean {name.lower()} {place}?"
    return f"{what}; allowed: {', '.join(known.values())}"


_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(#.*)?")
_TABLE = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_-]+)\s*\.\s*([A-Za-z0-9_-]+)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)\s*\.\s*)?["']?([A-Za-z0-9_-]+)["']?\s*=""")


def _lines(text: str) -> dict[str, int]:
    """Return the line (from 1) of each section and key ("dns", "dns.ttl"), and of the tables of an option
    ("forward.zone#1" and so on).
    """
    found: dict[str, int] = {}
    count: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            section = header[1]
            found.setdefault(section, number)
        elif table := _TABLE.fullmatch(line):
            section = f"{table[1]}.{table[2]}"
            found.setdefault(table[1], number)
            found.setdefault(section, number)
            count[section] = count.get(section, 0) + 1
            found[f"{section}#{count[section]}"] = number
        elif key := _KEY.match(line):
            where = key[1] or section
            found.setdefault(f"{where}.{key[2]}" if where else key[2], number)
            if key[1]:
                found.setdefault(key[1], number)
    return found
