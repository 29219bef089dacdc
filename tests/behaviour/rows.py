"""The rows of docs/dns.md and the tests that check them: `python tests/behaviour/rows.py` prints the list.

A test says with `@pytest.mark.row("B4", ...)` which rows it checks.  Here the marks are read from the source
text of the tests, so nothing has to be installed or run.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parent.parent / "docs" / "dns.md"

COUNTS = {
    "A": 19,
    "B": 11,
    "C": 12,
    "D": 7,
    "E": 4,
    "F": 6,
    "G": 11,
    "H": 5,
    "J": 9,
    "N": 5,
    "O": 7,
    "P": 14,
    "Q": 10,
    "S": 36,
}
"""How many rows each table has."""

NOT_OURS = {
    "C12": "`noendpoints` is no option of svcdns",
    "G2": "`labels` is no option of svcdns: what should not be served is not registered",
    "G5": "O4 takes its place: only the first start ever has nothing to answer from",
    "G6": "`startup_timeout` is no option of svcdns: its sockets are open from the first moment on",
    "G7": "multicluster names are not served",
    "G8": "zonal names are not served",
    "G9": "external names (k8s_external) are not served",
    "G10": "there is one registry a server",
    "G11": "metrics are tested with the API; here they are no answer",
    "I1-I5": "autopath is not there: a client's search list does the same",
}
"""Rows out of scope, and why."""

LATER = {
    "A4": "an NS that names a registered Service of the server itself",
}
"""What a row that is in scope also says and nothing answers yet."""

ROWS = tuple(f"{table}{n}" for table, count in COUNTS.items() for n in range(1, count + 1))
IN_SCOPE = tuple(row for row in ROWS if row not in NOT_OURS)


@dataclass(frozen=True)
class Check:
    """One test and a row that it checks."""

    row: str
    test: str
    xfail: str
    """Why it is expected to fail, or empty."""


def checks(folder: Path = HERE) -> list[Check]:
    """Return every mark in the tests of a folder."""
    return [check for path in sorted(folder.glob("test_*.py")) for check in _checks(path)]


def _checks(path: Path) -> Iterator[Check]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        marks = [mark for mark in node.decorator_list if isinstance(mark, ast.Call)]
        xfail = "".join(_reason(mark) for mark in marks if ast.unparse(mark.func) == "pytest.mark.xfail")
        for mark in marks:
            if ast.unparse(mark.func) == "pytest.mark.row":
                for argument in mark.args:
                    yield Check(str(ast.literal_eval(argument)), f"{path.name}::{node.name}", xfail)


def _reason(mark: ast.Call) -> str:
    reasons = (word.value for word in mark.keywords if word.arg == "reason")
    return str(ast.literal_eval(next(reasons, ast.Constant("no reason given"))))


def documented(document: Path = DOCUMENT) -> list[str]:
    """Return the rows that the tables of docs/dns.md have, in their order."""
    return re.findall(r"^\| ([A-Z]\d+) \|", document.read_text(), re.MULTILINE)


def main() -> int:
    found = checks()
    covered = {check.row for check in found}
    for row in IN_SCOPE:
        tests = [check.test.removeprefix("test_") for check in found if check.row == row and not check.xfail]
        print(f"{row:4} {len(tests):2}  {', '.join(tests)}" if row in covered else f"{row:4} --  NOT COVERED")
    missing = [row for row in IN_SCOPE if row not in covered]
    print(
        f"\n{len(IN_SCOPE) - len(missing)} of {len(IN_SCOPE)} rows in scope are covered by {len(found)} marks"
    )
    print("\nDeviations (tests that are expected to fail):")
    print("\n".join(f"  {c.xfail}  ({c.test})" for c in found if c.xfail) or "  none")
    print("\nIn scope, with a part that comes later:")
    print("\n".join(f"  {row:4} {what}" for row, what in LATER.items()))
    print("\nOut of scope:")
    print("\n".join(f"  {row:4} {why}" for row, why in NOT_OURS.items()))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
