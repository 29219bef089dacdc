"""Which files are meant, and their text.

A folder may hold whatever other people put there: links that lead nowhere, pipes, pictures, files that nobody
may read.  Each of these is named, and none keeps the others from being read.
"""

from __future__ import annotations

import os
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from pathlib import Path

from .not_taken import ManifestError, Place, one_line

MAX_OCTETS = 8 << 20
SUFFIXES = (".yaml", ".yml", ".json")


def files_of(paths: Iterable[Path]) -> Iterator[Path | ManifestError]:
    """Yield the files that are meant, each once; of a folder those that end as SUFFIXES, sorted.

    As `kubectl apply -f`: folders in a folder are not read, nor is what begins with a dot.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        for file in _candidates(path):
            if isinstance(file, ManifestError):
                yield file
                continue
            try:
                found = file.stat()
            except OSError as wrong:
                yield Place(file).error("", f"can't be read: {_in_words(wrong)}")
                continue
            if (found.st_dev, found.st_ino) in seen or stat.S_ISDIR(found.st_mode):
                continue
            seen.add((found.st_dev, found.st_ino))
            yield (
                file
                if stat.S_ISREG(found.st_mode)
                else Place(file).error("", "is neither a file nor a folder")
            )


def warnings(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a line for each folder that holds something, but nothing that is read."""
    for path in paths:
        try:
            names = [name for name in os.listdir(path) if not name.startswith(".") and name != "lost+found"]
        except OSError:
            continue  # a file, or named by files_of
        if names and not any(name.endswith(SUFFIXES) for name in names):
            allowed = ", ".join(f"*{suffix}" for suffix in SUFFIXES)
            yield one_line(f"manifests: {path}: there is no {allowed} in it, and folders in it are not read")


def _candidates(path: Path) -> Iterator[Path | ManifestError]:
    if not os.path.isdir(path):  # never raises, as Path's own does
        yield path
        return
    try:
        inside = sorted(path.iterdir())
    except OSError as wrong:
        yield Place(path).error("", f"can't be read: {_in_words(wrong)}")
        return
    yield from (file for file in inside if file.suffix in SUFFIXES and not file.name.startswith("."))


def text_of(path: Path) -> str:
    """Return the text of a file: UTF-8, or UTF-16 where it begins with a byte order mark of that.

    Raises ManifestError.
    """
    try:
        # A pipe that has taken the file's place must not hold the start up.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            octets = file.read(MAX_OCTETS + 1) or b""
    except OSError as wrong:
        raise Place(path).error("", f"can't be read: {_in_words(wrong)}") from None
    if len(octets) > MAX_OCTETS:
        raise Place(path).error("", f"is larger than {MAX_OCTETS} octets", remedy="split it up")
    is_utf16 = octets.startswith((BOM_UTF16_LE, BOM_UTF16_BE))  # PowerShell's `>` writes it
    try:
        text = octets.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as bad:
        line = octets.count(b"\n", 0, bad.start) + 1
        raise Place(path).error("", f"line {line}: not UTF-{16 if is_utf16 else 8}") from None
    return text.replace("\n\ufeff", "\n")  # of files that were put together


def _in_words(wrong: OSError) -> str:
    return (wrong.strerror or str(wrong)).lower()
