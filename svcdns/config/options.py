"""What an option of the configuration is: one field of a section, with all that is known of it.

    ttl: int = option(5, between(0, 3600, "seconds"), shapes_answers=True)
    '''TTL of records in seconds ...'''

The type says how TOML and a variable spell it (its form), the reader what it may hold, the text below what
docs/config.md says.  Its place in the file, its variable, its flag and its part in the fingerprint of stored
answers follow from this.  Every value has one spelling, given by `spelt`, that the reader takes again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from .readers import Wrong, shown

_T = TypeVar("_T")


class Table:
    """The base of what is written as a table of its own, [[section.key]]."""

    __slots__ = ()


class Flag(NamedTuple):
    """A flag of `svcdns serve`: one that may be repeated where the option holds a list."""

    name: str
    metavar: str
    help: str
    place: int
    """Where --help lists it."""
    key: str = ""
    """Of an option that is written as tables: the key that the flag's text is for, in a table of its own."""


class Form(NamedTuple):
    """How TOML and variables spell the options of one type."""

    fits: Callable[[Any], bool]
    remedy: str
    """What is wrong with a value that does not fit, and what to write; {} stands for the option's name."""
    of_text: Callable[[str], Any] = str
    """From a variable's text to what TOML would have given.  Raises Wrong."""
    path: Callable[[Any, Path], Any] | None = None
    """Of a form of paths: from what is written, and the folder where relative paths start, to the value."""


class Option(NamedTuple):
    """An option as it is declared, and where."""

    name: str
    """Such as "dns.ttl"; "log" at the top of the file."""
    form: Form
    default: Any
    read: Callable[[Any], Any]
    shapes_answers: bool
    """Whether stored answers are made anew where it has changed."""
    flag: Flag | None

    @property
    def section(self) -> str:
        """The section of the file that it stands in, "" for the top."""
        return self.name.rpartition(".")[0]

    @property
    def key(self) -> str:
        """Its name within its section."""
        return self.name.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """The environment's variable for it, such as SVCDNS_DNS_TTL."""
        return "SVCDNS_" + self.name.replace(".", "_").upper()

    def value_of(self, written: Any, base: Path) -> Any:
        """Return the value that is meant; relative paths start at `base`.  Raises Wrong."""
        if not self.form.fits(written):
            raise Wrong(f"{shown(written)} {self.form.remedy.format(self.name)}")
        return self.form.path(written, base) if self.form.path else self.read(written)

    def default_in(self, base: Path) -> Any:
        """Return the default, a path in the folder `base`."""
        return base / self.default if isinstance(self.default, Path) else self.default


def option(
    default: _T,
    read: Callable[[Any], _T] = lambda written: written,
    *,
    shapes_answers: bool = False,
    flag: Flag | None = None,
) -> _T:
    """Declare an option as a field of a section's dataclass: its default, and the reader of its values."""
    declared: Any = field(default=default, metadata={"option": (read, shapes_answers, flag)})
    return declared  # type: ignore[no-any-return]


def options_of(section: type, name: str = "") -> Iterator[Option]:
    """Yield the options that a section's dataclass declares; `name` is the section's."""
    for one in fields(section):
        if declared := one.metadata.get("option"):
            full = f"{name}.{one.name}" if name else one.name
            yield Option(full, _form_of(one.type), one.default, *declared)


def spelt(value: Any) -> Any:
    """Return how a value of an option is spelt in TOML or JSON."""
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, tuple):
        return [spelt(item) for item in value]
    if isinstance(value, Table):
        return {key: spelt(each) for key, each in asdict(value).items() if each}  # type: ignore[call-overload]
    if isinstance(value, range):
        return f"{value.start}-{value.stop - 1}"
    return "" if value is None else str(value)


# Forms


def _path(text: str, base: Path) -> Path:
    if text.splitlines() != [text] or "\0" in text:  # empty, or more than a line of a log holds
        raise Wrong(f"{text[:200]!r} is no path; allowed: the path of a file or folder")
    return base / text


def _is_list(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _list_of_text(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _number_of_text(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise Wrong(f"{text[:80]!r} is no whole number; allowed: digits")
    return int(text)


def _switch_of_text(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise Wrong(f"{text[:80]!r} is neither; allowed: true, false")
    return words[text.lower()]


def _tables_of_text(text: str) -> Any:
    try:
        tables = json.loads(text or "[]")
    except (ValueError, RecursionError):
        raise Wrong("is no JSON; allowed: a list of objects") from None
    if not TABLES.fits(tables):
        raise Wrong(f"{shown(tables)} is no list of tables; write [{{...}}, {{...}}]")
    return tables


TEXT = Form(lambda value: isinstance(value, str), 'is no text; write it "in quotes"')
TEXTS = Form(_is_list(str), 'is no list of texts; write ["one", "two"]', _list_of_text)
NUMBER = Form(
    lambda value: isinstance(value, int) and not isinstance(value, bool),
    "is no whole number; write digits, without quotes",
    _number_of_text,
)
SWITCH = Form(
    lambda value: isinstance(value, bool),
    "is neither true nor false; write one of them, without quotes",
    _switch_of_text,
)
TABLES = Form(
    _is_list(dict), "is no list of tables; write [[{}]] on a line of its own, for each", _tables_of_text
)
PATH = TEXT._replace(path=_path)
PATHS = TEXTS._replace(path=lambda texts, base: tuple(_path(text, base) for text in texts))
FILE = TEXT._replace(path=lambda text, base: _path(text, base) if text else None)
"""A path, or "" for none."""


def _form_of(kind: Any) -> Form:
    """Return the form of the options that hold values of a type; text where the type says nothing else."""
    plain = {bool: SWITCH, int: NUMBER, Path: PATH, Path | None: FILE, tuple[Path, ...]: PATHS}
    if kind in plain:
        return plain[kind]
    items = get_args(kind)
    if not (items and items[-1] is ...):
        return TEXT
    return TABLES if isinstance(items[0], type) and issubclass(items[0], Table) else TEXTS
