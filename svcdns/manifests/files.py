"""Reading manifests from YAML and JSON files, as safely as text from outside is to be read.

A file may be small and yet stand for much: aliases and merge keys multiply what they name, and deep
nesting ends the C stack of the YAML composer.  So the size of a file, its depth, its aliases, and
what they come to when written out are all bounded before anything else looks at the objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from svcdns.system import bounded_yaml

MAX_OCTETS = 3 << 20
MAX_DEPTH = 100
MAX_ALIASES = 1000
MAX_KEYS = 10_000
"""Keys of one mapping, merged ones included."""
MAX_VALUES = 200_000
"""Values of one document, aliases written out."""
SUFFIXES = (".yaml", ".yml", ".json")

Object = dict[str, Any]


class ManifestError(ValueError):
    """A manifest that is refused; `str` is "file, document n, field: what", one line."""

    def __init__(self, place: Place, text: str) -> None:
        """`place` is that of the field in question."""
        super().__init__(f"{place}: {' '.join(text.split())}")
        self.document, self.field = place.document, place.prefix


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: file, document (from 1; 0: the file as a whole), and `prefix`, a path in it."""

    file: Path
    document: int = 0
    prefix: str = ""

    def error(self, field: str, text: str) -> ManifestError:
        """Return what is wrong with a field of what stands here; "" is all of it."""
        path = ".".join(filter(None, (self.prefix, field)))
        return ManifestError(Place(self.file, self.document, path), text)

    def __str__(self) -> str:
        """Return the place for people."""
        document = f"document {self.document}" if self.document else ""
        return ", ".join(filter(None, (str(self.file), document, self.prefix)))


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are meant, each once; of a folder those that end as SUFFIXES, sorted.

    Raises ManifestError for a path where nothing is.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            try:
                inside = sorted(path.iterdir())
            except OSError as unreadable:
                raise Place(path).error("", f"can't be read: {unreadable.strerror}") from None
            files = [file for file in inside if _is_manifest(file)]
        elif path.is_file():
            files = [path]
        else:
            raise Place(path).error("", "there is no such file or folder")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _is_manifest(file: Path) -> bool:
    return file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file()


def objects_of(path: Path) -> Iterator[tuple[Place, Object]]:
    """Yield the objects of one file and where each stands, those of a List one by one.

    Raises ManifestError for text that is no YAML or JSON, for values that JSON has not, and for what is
    too large or too deep.
    """
    text = _text(path)
    documents = _json_documents(path, text) if path.suffix == ".json" else _yaml_documents(path, text)
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        place = Place(path, number)
        _Bounds(place).check(document)
        if not isinstance(document, dict):
            raise place.error("", "must be a mapping with apiVersion, kind and metadata")
        yield from _expanded(place, document)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except OSError as unreadable:
        raise Place(path).error("", f"can't be read: {unreadable.strerror}") from None
    if len(octets) > MAX_OCTETS:
        raise Place(path).error("", f"is larger than {MAX_OCTETS} octets; split it up")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = octets.count(b"\n", 0, bad.start) + 1
        raise Place(path).error("", f"line {line}: not UTF-8") from None


def _expanded(place: Place, document: Object) -> Iterator[tuple[Place, Object]]:
    """Yield the objects of a List (of any kind), or the document itself."""
    kind = document.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List") or "items" not in document:
        yield place, document
        return
    items = document["items"] if document["items"] is not None else []
    if not isinstance(items, list):
        raise place.error("items", "must be a list")
    given = {"apiVersion": document.get("apiVersion"), "kind": kind.removesuffix("List")}
    if kind == "List":
        given = {}
    for index, item in enumerate(items):
        inner = Place(place.file, place.document, f"items[{index}]")
        if not isinstance(item, dict):
            raise inner.error("", "must be a mapping with apiVersion, kind and metadata")
        yield inner, {**given, **item}


def _json_documents(path: Path, text: str) -> Iterator[Any]:
    """Yield the JSON texts that follow each other in a file."""

    def once(pairs: list[tuple[str, Any]]) -> Object:
        out = dict(pairs)
        if len(out) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the key {twice!r} stands there twice")
        return out

    def no_number(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON number")

    decoder = json.JSONDecoder(object_pairs_hook=once, parse_constant=no_number)
    at = number = 0
    while True:
        at += len(text[at:]) - len(text[at:].lstrip())
        if at == len(text):
            return
        number += 1
        try:
            document, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as bad:
            raise Place(path, number).error("", f"line {bad.lineno}: {bad.msg}") from None
        except ValueError as bad:
            raise Place(path, number).error("", str(bad)) from None
        except RecursionError:
            raise Place(path, number).error("", _TOO_DEEP) from None
        yield document


_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
_RULES = bounded_yaml.Rules(MAX_DEPTH, MAX_ALIASES, MAX_VALUES, MAX_KEYS, strict=True)


def _yaml_documents(path: Path, text: str) -> Iterator[Any]:
    try:
        yield from bounded_yaml.documents(text, _RULES)
    except bounded_yaml.TooDeep as bad:
        raise Place(path, bad.document).error("", _TOO_DEEP) from None
    except bounded_yaml.Refused as bad:
        line = f"line {bad.line}: " if bad.line else ""
        raise Place(path, bad.document).error("", f"{line}{bad}") from None


class _Bounds:
    """Goes through a document as JSON would show it, each shared part once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._known: dict[int, tuple[int, int] | None] = {}

    def check(self, value: Any, path: str = "", depth: int = 0) -> tuple[int, int]:
        """Return (values, height) of a value with its aliases written out.

        Raises ManifestError for what JSON can't show, and for what would be too large or too deep.
        """
        if not isinstance(value, (dict, list)):
            self._check_scalar(value, path)
            return 1, 0
        if id(value) in self._known:
            known = self._known[id(value)]
            if known is None:
                raise self._place.error(path, "refers to itself")
        else:
            self._known[id(value)] = None
            known = self._measure_inside(value, path, depth)
            self._known[id(value)] = known
        if depth + known[1] > MAX_DEPTH:
            raise self._place.error("", _TOO_DEEP)
        if known[0] > MAX_VALUES:
            raise self._place.error("", f"has more than {MAX_VALUES} values, aliases written out")
        return known

    def _measure_inside(self, value: Any, path: str, depth: int) -> tuple[int, int]:
        if depth > MAX_DEPTH:
            raise self._place.error("", _TOO_DEEP)
        size, height = 1, 0
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            below = f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}".removeprefix(".")
            inner_size, inner_height = self.check(inner, below, depth + 1)
            size += inner_size
            height = max(height, inner_height + 1)
        return size, height

    def _check_scalar(self, value: Any, path: str) -> None:
        if isinstance(value, float) and value - value != 0:
            raise self._place.error(path, f"{value} is no JSON number")
