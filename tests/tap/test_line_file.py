"""The file of the query log: moved away, unwritable, full, or read by nobody."""

import os
import sys
from pathlib import Path

import pytest

from svcdns.tap.line_file import LineFile


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    file = LineFile(str(tmp_path / "log"))
    assert file.write(["one", "two"]) == 2
    (tmp_path / "log").rename(tmp_path / "old")
    assert file.write(["three"]) == 1
    (tmp_path / "log").unlink()
    assert file.write(["four"]) == 1
    assert (tmp_path / "old").read_text() == "one\ntwo\n"
    assert (tmp_path / "log").read_text() == "four\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640 & ~os.umask(os.umask(0))


def test_what_cannot_be_written_is_lost_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = LineFile(str(tmp_path / "nothere" / "log"))
    assert [file.write(["one"]), file.write(["two"])] == [0, 0]
    assert len(caplog.records) == 1
    (tmp_path / "nothere").mkdir()
    caplog.set_level("INFO")
    assert file.write(["three"]) == 1
    assert "can be written again" in caplog.records[-1].message


def test_a_full_disk_loses_lines_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    file = LineFile("/dev/full")
    assert [file.write(["one"]), file.write(["two"])] == [0, 0]
    [said] = caplog.records
    assert "No space left" in said.message


def test_a_line_that_was_cut_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = LineFile(str(tmp_path / "log")), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, octets: write(descriptor, octets[:6]))
    assert file.write(["one", "two"]) == 1
    monkeypatch.undo()
    assert file.write(["three"]) == 1
    assert (tmp_path / "log").read_text() == "one\ntw\nthree\n"


def test_a_stderr_that_nobody_reads_makes_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as pipe, open(reading, "rb") as reader:
        monkeypatch.setattr(sys, "stderr", pipe)
        file = LineFile("stderr")
        lines = ["x" * 1000] * 500
        assert file.write(lines) < len(lines)
        os.set_blocking(reading, False)
        assert reader.read()
        assert file.write(["after"]) == 1
