"""The configuration file: from TOML to values that know their line.

Unknown sections and keys are refused here, with the one that was perhaps meant.  What a value may be is not
this file's business (see `sections`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svcdns.system.similar_words import closest

from .sections import OPTIONS, SECTIONS, ConfigError

MAX_FILE_OCTETS = 1 << 20


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it, where, and the folder that its relative paths start from."""

    written: Any
    place: str
    base: Path
    tables: Sequence[str] = ()
    """The places of its tables, where it is written as such."""
    says_option: bool = False
    """Whether the place says which option it is, as a flag or variable does."""

    def place_of(self, table: int) -> str:
        """Return where one of its tables stands (from 1), as closely as is known; 0: the whole."""
        return self.tables[table - 1] if 0 < table <= len(self.tables) else self.place


def of_file(file: Path, base: Path) -> tuple[dict[str, Given], list[str]]:
    """Return what a TOML file says, by the names of options, and the mistakes in it: what is not known.

    `base` is where its relative paths start.  Raises ConfigError for what is no TOML at all.
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
    return _of_document(document, str(file), *_places(str(file), text), base)


def _not_toml(file: Path, text: str, message: str) -> ConfigError:
    at = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    what, line = (at[1], at[2] or str(text.count("\n") + 1)) if at else (message, "1")
    return ConfigError(f"{file}:{line}: is no TOML: {' '.join(what.split())}")


def _of_document(
    document: dict[str, Any], source: str, places: dict[str, str], tables: dict[str, list[str]], base: Path
) -> tuple[dict[str, Given], list[str]]:
    """Return what a parsed document says, and a line for each thing that is not known.

    `places` are those of sections and keys, `tables` those of an option's tables; else it is `source`.
    """
    given: dict[str, Given] = {}
    wrong: list[str] = []
    for name, value in document.items():
        place = places.get(name, source)
        if name in SECTIONS:
            if not isinstance(value, dict):
                wrong.append(f"{place}: {name} is a section; write [{name}] on a line of its own")
                continue
            for key, inner in value.items():
                option = f"{name}.{key}"
                place = places.get(option, places.get(name, source))
                if key not in _KEYS[name]:
                    wrong.append(f"{place}: {_unknown(name, key)}")
                else:
                    given[option] = Given(inner, place, base, tables.get(option, []))
        elif name in _KEYS[""]:
            given[name] = Given(value, place, base, tables.get(name, []))
        else:
            wrong.append(f"{place}: {_unknown('', name, is_section=isinstance(value, dict))}")
    return given, wrong


_KEYS = {
    section: [option.key for option in OPTIONS.values() if option.section == section]
    for section in ("", *SECTIONS)
}


def _unknown(section: str, name: str, *, is_section: bool = False) -> str:
    """Say that a key or section is not known, and which one was perhaps meant.

    A key of another section was meant only where its name is the very same: similar words are many.
    """
    what = f"unknown section [{name}]" if is_section else f"unknown key {name!r}"
    if section:
        what += f" in [{section}]"
    known = {word: f"[{word}]" for word in SECTIONS} if is_section else {key: key for key in _KEYS[section]}
    if near := closest(name.lower(), known):
        return f"{what}; did you mean {known[near]}?"
    elsewhere = [where for where, keys in _KEYS.items() if name.lower() in keys and not is_section]
    if elsewhere:
        place = f"in [{elsewhere[0]}]" if elsewhere[0] else "at the top of the file"
        return f"{what}; did you mean {name.lower()} {place}?"
    return f"{what}; allowed: {', '.join(known.values())}"


_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(#.*)?")
_TABLE = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_-]+)\s*\.\s*([A-Za-z0-9_-]+)\s*\]\]?\s*(#.*)?")
_TOP_TABLE = re.compile(r"\s*\[\[\s*([A-Za-z0-9_-]+)\s*\]\]\s*(#.*)?")
_KEY = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)\s*\.\s*)?["']?([A-Za-z0-9_-]+)["']?\s*=""")


def _places(source: str, text: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return where each section and key stands ("dns", "dns.ttl"), and where the tables of each option do."""
    found: dict[str, str] = {}
    tables: dict[str, list[str]] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{source}:{number}"
        if header := _HEADER.fullmatch(line):
            section = header[1]
            found.setdefault(section, place)
        elif table := _TOP_TABLE.fullmatch(line):
            section = table[1]
            found.setdefault(section, place)
            tables.setdefault(section, []).append(place)
        elif table := _TABLE.fullmatch(line):
            section = f"{table[1]}.{table[2]}"
            found.setdefault(table[1], place)
            found.setdefault(section, place)
            tables.setdefault(section, []).append(place)
        elif key := _KEY.match(line):
            where = key[1] or section
            found.setdefault(f"{where}.{key[2]}" if where else key[2], place)
            if key[1]:
                found.setdefault(key[1], place)
    return found, tables
