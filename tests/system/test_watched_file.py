"""Seeing that a file has changed."""

import os
from pathlib import Path

import pytest

from svcdns.system import watched_file
from svcdns.system.watched_file import MISSING, WatchedFile, signature


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_text("one")
    settle(made)
    return made


def settle(file: Path) -> None:
    """Make the last change one of long ago."""
    os.utime(file, (1, 1))


def test_a_file_is_to_be_read_first_and_after_each_change(file: Path) -> None:
    watched = WatchedFile(file)
    assert [watched.changed() for _ in range(3)] == [True, False, False]
    file.write_text("two")
    settle(file)
    assert [watched.changed() for _ in range(3)] == [True, False, False]


def test_a_fresh_change_may_hide_another_one(file: Path) -> None:
    file.write_text("two")
    watched = WatchedFile(file)
    assert [watched.changed() for _ in range(3)] == [True, True, True]


def test_a_file_that_goes_and_comes_has_changed(file: Path) -> None:
    watched = WatchedFile(file)
    assert watched.changed()
    file.unlink()
    assert signature(file) == MISSING
    assert [watched.changed() for _ in range(2)] == [True, False]
    file.write_text("one")
    assert watched.changed()


def test_a_file_of_the_same_size_and_time_that_takes_its_place_has_changed(file: Path) -> None:
    watched = WatchedFile(file)
    assert watched.changed()
    other = file.with_name("other")
    other.write_text("eno")
    settle(other)
    other.replace(file)
    assert watched.changed()


def test_what_is_forgotten_is_read_again(file: Path) -> None:
    watched = WatchedFile(file)
    assert watched.changed()
    watched.forget()
    assert [watched.changed() for _ in range(2)] == [True, False]


def test_a_pair_counts_once_both_stay_as_they_are(file: Path) -> None:
    other = file.with_name("other")
    watched = WatchedFile(file, other)
    assert not any(watched.changed_and_stays() for _ in range(3))
    file.write_text("two")
    assert not watched.changed_and_stays()
    other.write_text("two")
    assert [watched.changed_and_stays() for _ in range(3)] == [False, True, False]


def test_a_pair_that_comes_back_to_what_it_was_has_not_changed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([MISSING, (1, 1, 1, 1, 1), MISSING, MISSING])
    monkeypatch.setattr(watched_file, "signature", lambda path: next(states))
    watched = WatchedFile(file)
    assert not any(watched.changed_and_stays() for _ in range(4))
