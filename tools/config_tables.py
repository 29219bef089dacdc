"""Write the tables of docs/config.md anew: a row for each option, from where it is declared.

The text of a row is the one that stands below the option's field in svcdns/config.  What stands
between the tables is kept.

Usage: python tools/config_tables.py [FILE]     docs/config.md where left out
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from svcdns.config.options import Option, spelt
from svcdns.config.sections import OPTIONS, SECTIONS, Config

DOCS = Path(__file__).parent.parent / "docs" / "config.md"
HEAD = "| key | default | what it does |\n|---|---|---|\n"
_TABLE = re.compile(
    r"(?m)^## (Top of the file|\[[a-z_]+\])$(?:(?!^## )[\s\S])*?^" + re.escape(HEAD) + r"((?:\|.*\n)*)"
)


def texts() -> dict[str, str]:
    """Return the text below each option's field, by the name of the option."""
    kinds = {"": Config, **{f"{section}.": kind for section, kind in SECTIONS.items()}}
    return {f"{prefix}{key}": text for prefix, kind in kinds.items() for key, text in _fields(kind)}


def _fields(kind: type) -> Iterator[tuple[str, str]]:
    [parsed] = ast.parse(inspect.getsource(kind)).body
    assert isinstance(parsed, ast.ClassDef)
    for declared, below in pairwise(parsed.body):
        match declared, below:
            case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(text))):
                yield key, " ".join(text.split())


def row(option: Option, text: str) -> str:
    """Return an option's row."""
    mark = " ●" if option.shapes_answers else ""
    return f"| `{option.key}`{mark} | `{json.dumps(spelt(option.default))}` | {text} |\n"


def written(document: str) -> str:
    """Return the document with each section's table anew."""
    said = texts()

    def table(found: re.Match[str]) -> str:
        section = "" if found[1].startswith("Top") else found[1].strip("[]")
        rows = [row(option, said[name]) for name, option in OPTIONS.items() if option.section == section]
        return found[0].removesuffix(found[2]) + "".join(rows)

    return _TABLE.sub(table, document)


def main() -> None:
    """Write the file's tables."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS
    file.write_text(written(file.read_text()))


if __name__ == "__main__":
    main()
