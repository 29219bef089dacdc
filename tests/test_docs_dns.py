"""docs/dns.md row by row: each stands there once, has a verdict beside Kubernetes, and tests that pass."""

import re
from pathlib import Path

from behaviour import rows

DOCUMENT = rows.DOCUMENT.read_text()


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    section = re.split(rf"^#+ {re.escape(heading)}$", DOCUMENT, flags=re.MULTILINE)[1]
    lines = re.search(r"((?:^\|.*\n)+)", section, re.MULTILINE)
    assert lines, heading
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1].splitlines()[2:]]


def named(cell: str) -> set[str]:
    """Return the rows that a cell names: `A1`, `C5, C7`, or `P` for all of a table."""
    found = set()
    for name in re.findall(r"[A-Z]\d*", cell):
        found |= {row for row in rows.ROWS if row == name or (name.isalpha() and row[0] == name)}
        assert found, f"{name} is no row"
    return found


def not_there() -> set[str]:
    """Return the rows that the document says are not there."""
    sentence = re.search(r"^Not there: rows (.*?), and CoreDNS' autopath", DOCUMENT, re.MULTILINE)
    assert sentence
    found = set(re.findall(r"[A-Z]\d+", sentence[1]))
    for letter, first, last in re.findall(r"([A-Z])(\d+) to [A-Z](\d+)", sentence[1]):
        found |= {f"{letter}{number}" for number in range(int(first), int(last) + 1)}
    return found


def verdict(row: str) -> str:
    """Return how a row is beside Kubernetes, as the document has it."""
    differs = set().union(*(named(cells[-1]) for cells in table("Where svcdns differs from CoreDNS")))
    if row in not_there():
        return "not there"
    if row[0] in "NOQ":
        return "an addition"
    if row[0] == "S":
        return "the specification"
    return "differs" if row in differs else "as in Kubernetes"


def test_the_document_has_each_row_once() -> None:
    assert rows.documented() == list(rows.ROWS)


def test_every_row_says_something() -> None:
    for line in re.findall(r"^\| [A-Z]\d+ \|.*$", DOCUMENT, re.MULTILINE):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        assert len(cells) == 3 and all(cells), line


def test_every_row_has_a_verdict_and_tests_that_go_with_it() -> None:
    passing = {check.row for check in rows.checks() if not check.xfail}
    wrong = {}
    for row in rows.ROWS:
        is_tested = row in passing
        if is_tested is (verdict(row) == "not there" or row == "G5"):
            wrong[row] = verdict(row)
    assert wrong == {}, "rows with a test that are not there, or without one that are"


def test_what_is_not_there_has_a_reason_in_the_list_of_rows() -> None:
    """G5 is there under another name, O4, and autopath has rows of CoreDNS' own."""
    assert not_there() == rows.NOT_OURS.keys() - {"G5", "I1-I5"}


def test_every_difference_names_rows_and_says_why() -> None:
    columns = {
        "Where svcdns differs from CoreDNS": 4,
        "Beside Knot, NSD and BIND": 3,
        "Beside BIND and unbound": 3,
    }
    for heading, count in columns.items():
        for cells in table(heading):
            assert len(cells) == count and all(cells) and named(cells[-1]), cells


def test_marks_name_rows_that_there_are() -> None:
    assert [check for check in rows.checks() if check.row not in rows.IN_SCOPE] == []


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
