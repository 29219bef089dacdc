"""Files that are replaced as a whole."""

import os
from pathlib import Path

import pytest

from svcdns.system.replacing import atomic_write, replacing


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old, and longer")
    opened = file.open()
    atomic_write(file, b"new")
    assert (opened.read(), file.read_text()) == ("old, and longer", "new")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_has_the_mode_that_was_asked_for(tmp_path: Path, mode: int) -> None:
    atomic_write(tmp_path / "file", b"", mode)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(file) as out:
        out.write(b"half")
        raise ZeroDivisionError
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".file.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        atomic_write(tmp_path / "file", b"secret")
    assert not (tmp_path / "elsewhere").exists()
