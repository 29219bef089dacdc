"""Every row of docs/dns.md is documented once and has a test, or a reason to have none."""

from pathlib import Path

from behaviour import rows


def test_every_row_in_scope_has_a_test() -> None:
    covered = {check.row for check in rows.checks()}
    assert sorted(set(rows.IN_SCOPE) - covered) == []


def test_every_row_in_scope_has_a_test_that_passes() -> None:
    covered = {check.row for check in rows.checks() if not check.xfail}
    assert sorted(set(rows.IN_SCOPE) - covered) == []


def test_marks_name_rows_that_there_are() -> None:
    assert [check for check in rows.checks() if check.row not in rows.IN_SCOPE] == []


def test_the_document_has_each_row_once() -> None:
    assert rows.documented() == list(rows.ROWS)


def test_a_mark_is_found_in_source_text(tmp_path: Path) -> None:
    text = (
        'import pytest\n@pytest.mark.row("A1", "B2")\ndef test_x(): ...\n'
        '@pytest.mark.xfail(reason="not yet")\n@pytest.mark.row("C3")\ndef test_y(): ...\n'
    )
    (tmp_path / "test_it.py").write_text(text)
    assert rows.checks(tmp_path) == [
        rows.Check("A1", "test_it.py::test_x", ""),
        rows.Check("B2", "test_it.py::test_x", ""),
        rows.Check("C3", "test_it.py::test_y", "not yet"),
    ]
