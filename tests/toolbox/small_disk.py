"""File systems of a test's own with little room (tmpfs), and what fills them; it takes the right to mount."""

import errno
import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toolbox.after_the_end import after_the_end

_PAGE = 4096


@contextmanager
def small_disk(place: Path, options: str) -> Iterator[Path]:
    """Mount one on a folder; `options` are tmpfs' own, such as "size=8m".  Skips where it may not."""
    after_the_end("umount", "--lazy", str(place))
    mount = ["mount", "-t", "tmpfs", "-o", f"{options},mode=700", "svcdns-test", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"a file system can't be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    """Change how it is mounted, such as "ro"; nothing may be open for writing there then."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


class Ballast:
    """A file that takes all the room there is."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"
        self._file = self._path.open("wb", buffering=0)

    def fill(self) -> None:
        """Take it."""
        try:
            while True:
                self._file.write(bytes(_PAGE))
        except OSError as full:
            assert full.errno == errno.ENOSPC

    def drop(self) -> None:
        """Give it back."""
        self._file.close()
        self._path.unlink()


def take_all_inodes(folder: Path) -> list[Path]:
    """Make files until there is no room for another; return them."""
    made: list[Path] = []
    try:
        for number in itertools.count():
            file = folder / f"ballast-{number}"
            file.touch()
            made.append(file)
    except OSError as full:
        assert full.errno == errno.ENOSPC
    return made
