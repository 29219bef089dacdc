"""Whatever svcdns accepts, strict clients decode: one object that they can't fails the whole list for them.

Objects are made from the official schema and go the way of a POST without a server: structure, defaults,
validation. What passes is given to the models of the official Python client, which refuse a missing or
ill-typed field, and, where Go is, to client-go's decoder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from toolbox.schema_values import objects_of, plain_objects_of

from svcdns.objects.conversion import shown
from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, EVENT, LEASE, NAMESPACE, NEWER_EVENT, NODE, POD, SERVICE, Kind
from svcdns.objects.schema import structure
from svcdns.objects.validation import validate

client = pytest.importorskip("kubernetes").client

MODELS = {
    SERVICE: client.V1Service,
    POD: client.V1Pod,
    ENDPOINTSLICE: client.V1EndpointSlice,
    NAMESPACE: client.V1Namespace,
    NODE: client.V1Node,
    LEASE: client.V1Lease,
    EVENT: client.CoreV1Event,
}
SOURCE = Path(__file__).parent / "go"
each_kind = pytest.mark.parametrize("kind", list(MODELS), ids=lambda kind: kind.plural)


def stored(kind: Kind, body: Any) -> dict[str, Any] | None:
    """Return what would be stored of a body, None if it would be refused."""
    try:
        structured, _ = structure(kind, body, "Ignore", fill_kind=True)
    except StatusError:
        return None
    given = {"creationTimestamp": "2026-01-01T00:00:00Z"}
    metadata = {**structured.get("metadata", {}), "namespace": "default", **given}
    if not kind.namespaced:
        metadata.pop("namespace")
    made = default(kind, {**structured, "metadata": metadata})
    assert default(kind, made) == made, "defaults are not idempotent"
    assert structure(kind, made) == (made, ()), "what is stored would be stored otherwise"
    return None if validate(kind, made) else made


@each_kind
def test_python_models(kind: Kind) -> None:
    accepted = 0

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(objects_of(kind), plain_objects_of(kind)))
    def one(body: Any) -> None:
        nonlocal accepted
        made = stored(kind, body)
        if made is not None:
            accepted += 1
            note(json.dumps(made))
            MODELS[kind].from_dict(made)
            if kind is EVENT:
                client.EventsV1Event.from_dict(shown(NEWER_EVENT, made))

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
    MODELS[kind].from_dict(made)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed here")
def test_client_go(tmp_path: Path) -> None:
    program = str(tmp_path / "decode")
    command = ["go", "build", "-mod=readonly", "-o", program, "./decode"]
    built = subprocess.run(command, cwd=SOURCE, capture_output=True, check=False)
    if built.returncode:
        pytest.skip("client-go can't be built here: " + built.stderr.decode()[-200:])
    lines: list[str] = []
    for kind in MODELS:
        _collect(kind, lines)
    text = "".join(line + "\n" for line in lines)
    told = subprocess.run([program], input=text.encode(), capture_output=True, check=True)
    answers = told.stdout.decode().splitlines()
    assert len(answers) == len(lines) > 500
    assert [pair for pair in zip(lines, answers, strict=True) if pair[1] != "ok"] == []


def _collect(kind: Kind, lines: list[str]) -> None:
    """Add what would be stored of many objects of a kind, as JSON."""

    @settings(max_examples=1000, deadline=None, database=None)
    @given(st.one_of(objects_of(kind), plain_objects_of(kind)))
    def one(body: Any) -> None:
        made = stored(kind, body)
        if made is not None:
            lines.append(json.dumps(made))

    one()
