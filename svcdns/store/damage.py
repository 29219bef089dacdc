"""Data that are damaged: which errors say so, and the one line that names the way out."""

from __future__ import annotations

import zlib
from pathlib import Path

import lmdb
import msgspec

from svcdns.objects.errors import StatusError

OF_LMDB = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.BadDbiError,
    lmdb.BadTxnError,
)
"""What LMDB raises when pages are not what they should be; the last one after an assertion of its own."""
OF_ROWS = (UnicodeDecodeError, msgspec.DecodeError, zlib.error)
"""What reading a stored row raises that is not what was written."""


class Damaged(Exception):
    """The store's contents are not what was written; the text says what was found."""


class DamagedWrite(StatusError):
    """A write met damage; nothing was changed."""

    def __init__(self) -> None:
        """The client is told that it is not at fault, the log what was found."""
        text = "the stored data are damaged: restore a backup; nothing was changed"
        super().__init__(500, "InternalError", text)


ERRORS = (*OF_LMDB, *OF_ROWS, Damaged, DamagedWrite)


def line(folder: Path, found: BaseException | str) -> str:
    """Return what is said to those who run the server."""
    text = " ".join(str(found).split())[:300]
    return (
        f"the data in {folder} can't be read: {text}; stop the server and take a backup: "
        f"svcdns restore FILE --data {folder} --force"
    )
