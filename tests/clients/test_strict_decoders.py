"""Whatever svcdns accepts, strict clients decode: one object that they can't fails the whole list for them.

What would be stored of objects made from the official schema is given to the models of the official Python
client, which refuse a missing or ill-typed field, and, where Go is, to client-go's decoder. fabric8's models
are in test_java.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from clients.accepted import bodies_of, forms, lines_of, stored
from hypothesis import given, note, settings

from svcdns.objects.kinds import POD, SERVICE, STORED, Kind

client = pytest.importorskip("kubernetes").client

SOURCE = Path(__file__).parent / "go"


def model(kind: Kind) -> Any:
    """Return the class of the Python client, such as V1Pod or CoreV1Event."""
    group = kind.group.partition(".")[0].capitalize() or "Core"
    return getattr(client, f"V1{kind.name}", None) or getattr(client, f"{group}V1{kind.name}")


@pytest.mark.parametrize("kind", STORED, ids=lambda kind: kind.plural)
def test_python_models(kind: Kind) -> None:
    accepted = 0

    @settings(max_examples=300, deadline=None)
    @given(bodies_of(kind))
    def one(body: Any) -> None:
        nonlocal accepted
        made = stored(kind, body)
        if made is not None:
            accepted += 1
            note(json.dumps(made))
            for shape, form in forms(kind, made):
                model(shape).from_dict(form)

    one()
    assert accepted > 30, "too few objects were accepted for this to say anything"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (POD, {}),
        (POD, {"spec": {"containers": []}}),
        (POD, {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 1}}}]}}),
        (POD, {"status": {"containerStatuses": [{}], "conditions": [{"type": "Ready", "status": "True"}]}}),
        (SERVICE, {"spec": {"ports": [{"port": 80}]}, "status": {"conditions": [
            {"type": "A", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ]}}),
    ],
)  # fmt: skip
def test_python_models_of_what_once_broke_them(kind: Kind, body: Any) -> None:
    made = stored(kind, {"metadata": {"name": "web"}, **body})
    assert made is not None
    model(kind).from_dict(made)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed here")
def test_client_go(tmp_path: Path) -> None:
    program = str(tmp_path / "decode")
    command = ["go", "build", "-mod=readonly", "-o", program, "./decode"]
    built = subprocess.run(command, cwd=SOURCE, capture_output=True, check=False)
    if built.returncode:
        pytest.skip("client-go can't be built here: " + built.stderr.decode()[-200:])
    lines = lines_of(STORED, 1000)
    text = "".join(line + "\n" for line in lines)
    told = subprocess.run([program], input=text.encode(), capture_output=True, check=True)
    answers = told.stdout.decode().splitlines()
    assert len(answers) == len(lines) > 500
    assert [pair for pair in zip(lines, answers, strict=True) if pair[1] != "ok"] == []
