"""What is in the manifests, listed for people in 80 columns, and for programs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from svcdns.manifests.not_taken import NotTaken, Place, described
from svcdns.manifests.reading import Manifest, Reading

_COLUMNS = 80


class Entry(NamedTuple):
    """What becomes of one object, or of a file or document where nobody knows which objects it holds."""

    place: Place
    object: str
    """Kind and name, "" where nobody knows."""
    namespace: str
    outcome: str
    """registered, left out, mistake."""
    why: str = ""
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the entry for programs."""
        place = {"file": str(self.place.file), "document": self.place.document, "field": self.place.prefix}
        return {**place, **{key: word for key, word in self._asdict().items() if key != "place"}}

    def text(self) -> str:
        """Return what is said below the name of the file."""
        where = self.place.in_words("")
        what = " ".join(filter(None, (self.object, f"in {self.namespace}" if self.namespace else "")))
        said = "; ".join(filter(None, (self.why, self.remedy)))
        return ": ".join(filter(None, (where, what, self.outcome, said)))


def entries(reading: Reading) -> list[Entry]:
    """Return an entry for each object of the files, and for what is wrong with files, in their order."""
    found = [*map(_of_manifest, reading.manifests), *map(_of_not_taken, reading.not_taken)]
    return sorted(found, key=lambda entry: (entry.place.file, entry.place.document, _item(entry.place)))


def _item(place: Place) -> int:
    """Return which item of a List something stands in; 0 as well for what is no List."""
    found = re.match(r"items\[(\d+)\]", place.prefix)
    return int(found[1]) if found else 0


def lines(reading: Reading) -> Iterator[str]:
    """Yield the lines for people: the name of each file, and below it what becomes of what it holds."""
    for file, inside in groupby(entries(reading), key=lambda entry: entry.place.file):
        yield Place(file).in_words(str(file))
        for entry in inside:
            yield textwrap.fill(
                entry.text(),
                _COLUMNS,
                initial_indent="  ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )


def _of_manifest(manifest: Manifest) -> Entry:
    return Entry(manifest.place, described(manifest.object), manifest.namespace, "registered")


def _of_not_taken(one: NotTaken) -> Entry:
    return Entry(one.place, one.what, "", "mistake" if one.is_mistake else "left out", one.why, one.remedy)
