"""Texts that svcdns and Kubernetes' own reader of YAML (sigs.k8s.io/yaml) read alike.

`go_yaml_texts.json` holds the texts, `go_yaml_values.json` the JSON that Go made of each (go_yaml/main.go).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from svcdns.system.bounded_yaml import Refused, Repeated, Rules, documents

HERE = Path(__file__).parent
TEXTS = json.loads((HERE / "go_yaml_texts.json").read_text())
VALUES = json.loads((HERE / "go_yaml_values.json").read_text())
RULES = Rules(depth=200, aliases=10)
REFUSED = object()


def read(text: str) -> Any:
    """Return what we make of a text, as JSON has it."""
    try:
        found = [*documents(text, RULES)]
        return json.loads(json.dumps(found[0] if found else None, allow_nan=False))
    except ValueError:
        return REFUSED


def alike(ours: Any, gos: Any) -> bool:
    """Whether two values are equal and of one type."""
    if isinstance(ours, dict) and isinstance(gos, dict):
        return ours.keys() == gos.keys() and all(alike(ours[key], gos[key]) for key in ours)
    if isinstance(ours, list) and isinstance(gos, list):
        return len(ours) == len(gos) and all(map(alike, ours, gos))
    if type(ours) is type(gos) is int and abs(ours) >= 2**63:
        return float(ours) == float(gos)  # a float in Go, of which the JSON has the digits that matter
    return type(ours) is type(gos) and ours == gos


def test_the_table_is_whole() -> None:
    assert len(TEXTS) == len(VALUES) > 700
    assert sum(value is None for value in VALUES) > 50


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_each_text_reads_as_in_go(first: int) -> None:
    pairs = list(zip(TEXTS, VALUES, strict=True))[first::4]
    differing = [
        f"{text!r:.90}: {value} in Go, {read(text)!r:.90} here"
        for text, value in pairs
        if not (read(text) is REFUSED if value is None else alike(read(text), json.loads(value)))
    ]
    assert not differing


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("10:30", "10:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("0777", 511),
        ("0o17", 15),
        ("08", 8),
        ("1_000", 1000),
        (".5", 0.5),
        ("1e3", 1000),
        ("on", True),
        ("off", False),
        ("yes", True),
        ("~", None),
        ("0x1F", 31),
        ("+1", 1),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
        (".inf", REFUSED),
        ("80.0", 80),
    ],
)
def test_what_people_meet(scalar: str, value: Any) -> None:
    found = read(f"a: {scalar}")
    assert found is value if value is REFUSED else alike(found, {"a": value})


def test_the_table_is_what_go_gives_today() -> None:
    go = shutil.which("go", path="/usr/local/go/bin:/usr/bin:/usr/local/bin")
    if go is None:
        pytest.skip("Go is not installed here: the table stands for it")
    texts = (HERE / "go_yaml_texts.json").read_bytes()
    program = subprocess.run([go, "run", "."], cwd=HERE / "go_yaml", input=texts, capture_output=True)
    if program.returncode:
        pytest.skip(f"the Go program can't be built here: {program.stderr.decode()[-300:]}")
    assert json.loads(program.stdout) == VALUES


@pytest.mark.parametrize("start", ["", "0x", "0o", "0", "0b1", "0.", ".", "-", "+0x", "1e", "1e-", "-0b1"])
@pytest.mark.parametrize("part", ["59:", "1", "1_", "7", "f", "0", "1.", "-", "5e"])
def test_time_grows_with_the_length_only(start: str, part: str) -> None:
    """2 MiB of one scalar: what computes with long numbers takes minutes for them."""
    text = "a: " + start + part * (2 * 1024 * 1024 // len(part))
    began = time.process_time()
    read(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" + "1," * 200_001 + "]", "more than 200000 values"),
        ("".join(f"%TAG !{number}! x\n" for number in range(200_000)) + "--- a", "%TAG directives"),
    ],
)
def test_what_is_slow_to_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        list(documents(text, RULES))


def test_the_values_of_each_document_are_counted_by_themselves() -> None:
    assert len(list(documents("---\n[1, 2, 3]\n" * 10, Rules(depth=2, values=4)))) == 10


def test_keys_that_stand_twice_are_told() -> None:
    repeated: list[Repeated] = []
    text = "a: 1\nb: {c: 1, d: 2, c: 3}\n'a': 2\n<<: {b: 5}\n"
    assert list(documents(text, RULES, repeated)) == [{"a": 2, "b": 5}]
    assert repeated == [Repeated("c", 2), Repeated("a", 3)]
