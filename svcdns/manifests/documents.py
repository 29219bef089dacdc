"""The objects in a file of YAML or JSON, read as safely as text from outside is to be read.

A file may be small and yet stand for much: aliases and merge keys multiply what they name, and deep nesting
ends the C stack of the YAML composer.  So depth, aliases, and what a document comes to when written out are
bounded before anything else looks at the objects.

What is wrong with one document, or with one item of a List, is said and leaves the others as they are.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from .files import text_of
from .not_taken import LeftOut, ManifestError, NotTaken, Place

MAX_DEPTH = 100
MAX_ALIASES = 1000
MAX_KEYS = 10_000
"""Keys of one mapping, merged ones included."""
MAX_VALUES = 200_000
"""Values of one document, aliases written out."""
MAX_LETTERS = 3 << 20
"""Letters of all texts of one document, aliases written out: as large as a body of the API."""

Object = dict[str, Any]

_SURROGATE = re.compile("[\ud800-\udfff]")
_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
NO_OBJECT = "is no Kubernetes object, it has no apiVersion and kind"
_NOT_A_MAPPING = "must be a mapping with apiVersion, kind and metadata"


def objects_of(path: Path) -> Iterator[tuple[Place, Object] | NotTaken]:
    """Yield the objects of one file and where each stands, those of a List one by one.

    What is not taken comes in its place.
    """
    try:
        text = text_of(path)
    except ManifestError as wrong:
        yield wrong
        return
    read = _json_documents if path.suffix == ".json" else _yaml_documents
    for number, document in enumerate(read(path, text), 1):
        if isinstance(document, ManifestError):
            yield document
        elif document is not None:
            yield from _objects_in(Place(path, number), document)


def _objects_in(place: Place, document: Any) -> Iterator[tuple[Place, Object] | NotTaken]:
    try:
        check_bounds(place, document)
    except ManifestError as wrong:
        yield wrong
        return
    if isinstance(document, dict):
        yield from _expanded(place, document)
    elif isinstance(document, list) and any(isinstance(one, dict) and "kind" in one for one in document):
        yield place.error("", _NOT_A_MAPPING, remedy="write the list as items of kind: List, apiVersion: v1")
    else:
        yield LeftOut(place, NO_OBJECT)


def _expanded(place: Place, document: Object) -> Iterator[tuple[Place, Object] | NotTaken]:
    """Yield the objects of a List (of any kind), or the document itself."""
    kind = document.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List") or "items" not in document:
        yield place, document
        return
    items = document["items"] if document["items"] is not None else []
    if not isinstance(items, list):
        yield place.error("items", "must be a list")
        return
    given = {"apiVersion": document.get("apiVersion"), "kind": kind.removesuffix("List")}
    if kind == "List":
        given = {}
    for index, item in enumerate(items):
        inner = place.at(f"items[{index}]")
        if isinstance(item, dict):
            yield inner, {**given, **item}
        else:
            yield inner.error("", _NOT_A_MAPPING)


def _json_documents(path: Path, text: str) -> Iterator[Any]:
    """Yield the JSON texts that follow each other in a file, a ManifestError for one that can't be read."""

    def once(pairs: list[tuple[str, Any]]) -> Object:
        out = dict(pairs)
        if len(out) < len(pairs):
            counted = Counter(name for name, _ in pairs)
            raise ValueError(f"the key {counted.most_common(1)[0][0]!r} stands there twice")
        return out

    def no_number(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON number")

    decoder = json.JSONDecoder(object_pairs_hook=once, parse_constant=no_number)
    at = number = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            return
        number += 1
        try:
            document, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as bad:
            wrong = f"line {bad.lineno}: {bad.msg}"
        except ValueError as bad:
            wrong = str(bad)
        except RecursionError:
            wrong = _TOO_DEEP
        else:
            yield document
            continue
        yield Place(path, number).error("", wrong, remedy="what follows in the file is not read")
        return


def _yaml_documents(path: Path, text: str) -> Iterator[Any]:
    """Yield the documents of YAML, a ManifestError for one that can't be read."""
    from svcdns.system import bounded_yaml  # here: a server without manifests has no use for it

    rules = bounded_yaml.Rules(MAX_DEPTH, MAX_ALIASES, MAX_VALUES, MAX_KEYS, strict=True)
    for document in bounded_yaml.documents_apart(text, rules):
        if not isinstance(document, bounded_yaml.Refused):
            yield document
            continue
        place = Place(path, document.document)
        line = f"line {document.line}: " if document.line else ""
        why = _TOO_DEEP if isinstance(document, bounded_yaml.TooDeep) else f"{line}{document}"
        yield place.error("", why, remedy=_remedy(text, document.line))


def _remedy(text: str, line: int) -> str:
    """Return what helps against what is wrong in a line, counted from 1; 0: nobody knows which."""
    if re.match(r" *\t", next(islice(text.split("\n"), max(line - 1, 0), None), "")):
        return "indent with spaces, YAML takes no tabs"
    if "{{" in text:
        return "render the template first, such as with `helm template`"
    return ""


class _Size(NamedTuple):
    """What a value comes to, aliases written out."""

    values: int
    height: int
    letters: int


def check_bounds(place: Place, document: Any) -> None:
    """Raise ManifestError for what JSON can't show, and for what is too large or too deep."""
    _Bounds(place).size_of(document, "", 0)


class _Bounds:
    """Goes through a document as JSON would show it, each shared part once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._known: dict[int, _Size | None] = {}

    def size_of(self, value: Any, path: str, depth: int) -> _Size:
        """Return the size of a value that stands at a path.  Raises ManifestError."""
        if not isinstance(value, (dict, list)):
            self._check_number(value, path)
            self._check_text(value, path)
            return _Size(1, 0, len(value) if isinstance(value, str) else 0)
        if id(value) in self._known:
            known = self._known[id(value)]
            if known is None:
                raise self._place.error(path, "refers to itself")
        else:
            self._known[id(value)] = None
            known = self._measured_inside(value, path, depth)
            self._known[id(value)] = known
        if depth + known.height > MAX_DEPTH:
            raise self._place.error("", _TOO_DEEP)
        if known.values > MAX_VALUES:
            raise self._place.error("", f"has more than {MAX_VALUES} values, aliases written out")
        if known.letters > MAX_LETTERS:
            raise self._place.error("", f"is larger than {MAX_LETTERS} letters, aliases written out")
        return known

    def _measured_inside(self, value: Any, path: str, depth: int) -> _Size:
        if depth > MAX_DEPTH:
            raise self._place.error("", _TOO_DEEP)
        values, height, letters = 1, 0, 0
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            self._check_text(key, path)
            below = f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}".removeprefix(".")
            size = self.size_of(inner, below, depth + 1)
            values += size.values
            height = max(height, size.height + 1)
            letters += size.letters + (len(key) if isinstance(key, str) else 0)
        return _Size(values, height, letters)

    def _check_text(self, value: Any, path: str) -> None:
        if isinstance(value, str) and _SURROGATE.search(value):
            raise self._place.error(path, f"{value!a} has half of a surrogate pair, which is no text")

    def _check_number(self, value: Any, path: str) -> None:
        if isinstance(value, float) and value - value != 0:
            raise self._place.error(path, f"{value} is no JSON number")
