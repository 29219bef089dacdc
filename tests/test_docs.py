"""The documentation names what there is."""

from __future__ import annotations

from pathlib import Path

from svcdns.config.options import OPTIONS

DOCS = Path(__file__).parent.parent / "docs"


def test_every_option_is_documented_in_its_section() -> None:
    sections = {"": ""}
    name = ""
    for line in (DOCS / "config.md").read_text().splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
            name = "" if heading.startswith("Top") else heading.strip("[]")
        sections[name] = sections.get(name, "") + line + "\n"
    missing = [
        f"[{section}] {key}"
        for section, options in OPTIONS.items()
        for key in options
        if f"| `{key}`" not in sections.get(section, "")
    ]
    assert not missing
