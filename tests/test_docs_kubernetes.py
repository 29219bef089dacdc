"""The table of docs/api.md beside a kube-apiserver: each row once, and what it promises has tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
LAST_ROW = 44


def rows() -> list[list[str]]:
    text = (ROOT / "docs" / "api.md").read_text().split("## Beside a kube-apiserver")[1]
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| #")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_row_stands_there_once() -> None:
    assert [int(row[0]) for row in rows()] == list(range(1, LAST_ROW + 1))


def test_what_is_as_in_kubernetes_has_tests() -> None:
    for number, _, verdict, tests in rows():
        named = [name.strip(" `") for name in tests.split(",") if name.strip()]
        if verdict.startswith(("yes", "partly")):
            assert named, f"row {number} names no test"
        for name in named:
            assert (ROOT / name).is_file(), f"row {number}: {name}"
