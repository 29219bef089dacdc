"""The checked-in Kubernetes definitions are what tools/extract_schema.py takes out of kubernetes-validate."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from svcdns.objects import kinds, openapi

ROOT = Path(__file__).resolve().parents[2]


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("extract_schema", ROOT / "tools" / "extract_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = load_tool()
needs_source = pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None and not os.environ.get("CI"),
    reason="kubernetes-validate (a development dependency) is not installed",
)


@needs_source
def test_checked_in_definitions_are_up_to_date() -> None:
    assert tool.main(["--check"]) == 0


@needs_source
def test_check_tells_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--output", str(tmp_path)]) == 0
    (written,) = tmp_path.glob("*.json")
    assert tool.main(["--check", "--output", str(tmp_path)]) == 0
    written.write_text(written.read_text().replace("targetPort", "targetPark"))
    assert tool.main(["--check", "--output", str(tmp_path)]) == 1
    assert "run it" in capsys.readouterr().err


@needs_source
def test_unknown_version_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--version", "1.2.3", "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "kubernetes-validate has no definitions of Kubernetes 1.2.3\n"


def test_definitions_are_kubernetes_own() -> None:
    """No "null" types, no enums of kinds; references resolve; patch keys and formats are there."""
    text = next((ROOT / "svcdns/objects/data").glob("kubernetes-*.json")).read_text()
    schemas: dict[str, Any] = json.loads(text)["components"]["schemas"]
    assert '"null"' not in text
    assert '"enum"' not in text
    assert set(tool.references(schemas)) <= set(schemas)
    ports = schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"]
    assert ports["x-kubernetes-patch-merge-key"] == "port"
    assert schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"] == "int-or-string"


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_every_kind_has_a_schema(kind: kinds.Kind) -> None:
    assert openapi.component(kind).endswith("." + kind.name)


def test_notice_names_kubernetes() -> None:
    assert "Copyright The Kubernetes Authors" in (ROOT / "NOTICE").read_text()
