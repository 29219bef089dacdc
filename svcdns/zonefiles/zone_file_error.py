"""Why a zone file is refused."""

from __future__ import annotations

from svcdns.system.watched_file import Signature

Included = tuple[tuple[str, Signature], ...]
"""What a zone file includes, or would if it were there: paths within the folder, and signatures."""


class ZoneFileError(ValueError):
    """A zone file that is refused; `str` is "file:line: what"."""

    def __init__(self, source: str, line: int, text: str, included: Included = ()) -> None:
        """`line` counts from 1 and is where the record in question begins; 0 means the file as a whole."""
        super().__init__(f"{source}:{line}: {text}" if line else f"{source}: {text}")
        self.source = source
        self.line = line
        self.text = text
        self.included = included
