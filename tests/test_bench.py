"""What the benchmarks write into the documentation: tables between marks, charts."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
PAGE = """# P

<!-- figures: one -->
old
<!-- end of figures -->
kept
<!-- figures: two -->
<!-- end of figures -->
"""


def module(name: str) -> ModuleType:
    """Return a file of bench/ that stands alone."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / "bench" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


documents, log_chart = module("documents"), module("log_chart")


def test_tables_go_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    for text in ("| first |", "| \\1 second |"):
        documents.publish(tmp_path, {"two": "| two |", "one": text})
        written = page.read_text()
        assert re.sub(
            r"(<!-- figures: \w+ -->\n).*?(<!-- end)", r"\1\2", written, flags=re.S
        ) == PAGE.replace("old\n", "")
        assert f"<!-- figures: one -->\n\n{text}\n\n<!-- end" in written
        assert "<!-- figures: two -->\n\n| two |\n\n<!-- end" in written


def test_a_table_without_a_place_is_an_error_and_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    with pytest.raises(LookupError, match="three"):
        documents.publish(tmp_path, {"one": "new", "three": "new"})
    assert page.read_text() == PAGE


def test_the_page_has_a_place_for_each_table_that_a_benchmark_writes() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    placed = re.findall(r"<!-- figures: (.*?) -->\n.*?<!-- end of figures -->\n", page, re.S)
    sources = [(ROOT / "bench" / f"{name}.py").read_text() for name in ("peers", "kubernetes")]
    named = re.findall(r'blocks\["(.+?)"\]|publish\(given\.docs, \{"(.+?)"', "".join(sources))
    assert sorted(placed) == sorted(one or other for one, other in named)


def test_a_cell_has_the_ratios_of_its_own_rounds() -> None:
    found: dict[tuple[str, str], list[float]] = {}
    rounds = [("ours", (2.0, 20.0, 6.0)), ("Knot", (1.0, 10.0, 3.0)), ("floor", (0.5, 20.0, 1.0))]
    for server, values in rounds:
        for value in values:
            documents.note(found, "A", server, value)
    beside = ("Knot", "floor")
    assert documents.cell(found, "A", "ours", 1, beside) == "6.0 (2.00, 4.00)"
    assert documents.cell(found, "A", "Knot", 1, beside) == "3.0 (2.00)"
    assert documents.cell(found, "A", "floor", 1, beside) == "1.0"
    assert documents.cell(found, "MX", "ours", 1, beside) == ""
    documents.note(found, "TCP", "ours", 1234.5)
    assert documents.cell(found, "TCP", "ours", 0, beside) == "1,234 (–, –)"


def test_a_chart_of_dots_has_one_for_each_value_in_order_of_size() -> None:
    rows = {"A <1>": {"ours": 5.0, "Knot": 4.0}, "SRV": {"Knot": 300.0}}
    root = ElementTree.fromstring(log_chart.dots(rows, "µs"))
    width = float(root.attrib["viewBox"].split()[2])
    dots = [one.attrib for one in root.iter() if one.tag.endswith("circle")][2:]  # two are the legend's
    texts = ["".join(one.itertext()) for one in root.iter() if one.tag.endswith("text")]
    places = {dot["cy"]: [] for dot in dots}
    for dot in dots:
        places[dot["cy"]].append(float(dot["cx"]))
    (knot, ours), (srv,) = places.values()
    assert 0 < knot < ours < srv < width
    assert {"A <1>", "SRV", "ours", "Knot", "2", "500"} <= set(texts)


def test_lines_stand_between_powers_of_ten() -> None:
    root = ElementTree.fromstring(log_chart.chart({"flip": [(1_000, 20.0), (100_000, 30.0)]}, "Pods", "µs"))
    texts = ["".join(one.itertext()) for one in root.iter() if one.tag.endswith("text")]
    assert texts == ["1,000", "10,000", "100,000", "10", "100", "Pods", "µs", "flip"]
