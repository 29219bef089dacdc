"""What of the files is not registered: where it stands, what it is, why, and what to do about it.

Rules that hold here:

* one NotTaken is one line for people, whatever the file holds: bounded, and without control characters;
* a ManifestError is a mistake; what is LeftOut is right in itself, but nothing that svcdns registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST_NAME = 100
_MOST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: file, document (from 1; 0: the file as a whole), and `prefix`, a path in it."""

    file: Path
    document: int = 0
    prefix: str = ""

    def at(self, field: str) -> Place:
        """Return the place of a field of what stands here; "" is all of it."""
        return Place(self.file, self.document, ".".join(filter(None, (self.prefix, field))))

    def error(self, field: str, why: str, what: str = "", remedy: str = "") -> ManifestError:
        """Return a mistake in a field of what stands here; "" is all of it."""
        return ManifestError(self.at(field), why, what, remedy)

    def in_words(self, file: str) -> str:
        """Return the place for people, the file by this name."""
        document = f"document {self.document}" if self.document else ""
        return one_line(", ".join(filter(None, (file, document, self.prefix))))

    def __str__(self) -> str:
        """Return the place for people."""
        return self.in_words(str(self.file))


class NotTaken(ValueError):
    """Something that is not registered; `str` is "file, document n, field: why (what); remedy", one line."""

    is_mistake = False

    def __init__(self, place: Place, why: str, what: str = "", remedy: str = "") -> None:
        """`what` is kind and name, "" where nobody knows; `remedy` says what to do, "" for nothing."""
        super().__init__()
        self.place, self.what = place, one_line(what)
        self.why, self.remedy = one_line(why), one_line(remedy)

    @property
    def reason(self) -> str:
        """Return why, and of what: the line without place and remedy."""
        return f"{self.why} ({self.what})" if self.what else self.why

    def with_remedy(self, remedy: str) -> NotTaken:
        """Return the same with one more thing to know or do."""
        return type(self)(self.place, self.why, self.what, "; ".join(filter(None, (self.remedy, remedy))))

    def line(self, file: str) -> str:
        """Return the line for people, with this name of the file."""
        return "; ".join(filter(None, (f"{self.place.in_words(file)}: {self.reason}", self.remedy)))

    def __str__(self) -> str:
        """Return the line for people."""
        return self.line(str(self.place.file))


class ManifestError(NotTaken):
    """A mistake in a manifest."""

    is_mistake = True


class LeftOut(NotTaken):
    """What is nothing for svcdns: a kind that it does not register, a file of another program."""


def one_line(text: str, most: int = _MOST_TEXT) -> str:
    """Return a text as a part of a line: no control characters, at most so many letters."""
    folded = " ".join(text[: 4 * most].split())
    printable = "".join(letter if letter.isprintable() else "?" for letter in folded)
    return printable if len(printable) <= most else printable[: most - 3] + "..."


def described(obj: dict[str, Any]) -> str:
    """Return kind and name of an object, as far as they are texts."""
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    words = (word for word in (obj.get("kind"), name) if isinstance(word, str) and word)
    return " ".join(one_line(word, _MOST_NAME) for word in words)


def most_wanted(found: Sequence[NotTaken]) -> list[NotTaken]:
    """Return what is not taken in the order in which it matters: mistakes, what has a remedy, all else."""
    return sorted(found, key=lambda one: 0 if one.is_mistake else 1 if one.remedy else 2)
