"""The documentation names what there is."""

import importlib.util
from pathlib import Path

from svcdns.config.sections import OPTIONS

ROOT = Path(__file__).parent.parent
CONFIG = (ROOT / "docs" / "config.md").read_text()


def test_every_option_is_documented_in_its_section() -> None:
    sections = {"": ""}
    name = ""
    for line in CONFIG.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
            name = "" if heading.startswith("Top") else heading.strip("[]")
        sections[name] = sections.get(name, "") + line + "\n"
    missing = [
        name
        for name, option in OPTIONS.items()
        if f"| `{option.key}`" not in sections.get(option.section, "")
    ]
    assert not missing


def test_the_tables_are_those_of_the_declarations() -> None:
    spec = importlib.util.spec_from_file_location("config_tables", ROOT / "tools" / "config_tables.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.written(CONFIG) == CONFIG, "python tools/config_tables.py writes them anew"
