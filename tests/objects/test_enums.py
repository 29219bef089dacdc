"""Enums of the schema: from Kubernetes' own Go types, shown by `kubectl explain`, up to date where Go is."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from svcdns.objects import openapi

TOOL = Path(__file__).parent.parent.parent / "tools" / "extract_enums.py"


def test_the_schema_has_them() -> None:
    node = openapi.schemas()["io.k8s.api.core.v1.ServiceSpec"]["properties"]["type"]
    assert node["enum"] == ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]
    assert 'Possible enum values:\n - `"ClusterIP"` ServiceTypeClusterIP means' in node["description"]
    families = openapi.schemas()["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ipFamilies"]
    assert {"IPv4", "IPv6"} <= set(families["items"]["enum"])


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed here")
def test_the_data_are_what_the_tool_writes() -> None:
    spec = importlib.util.spec_from_file_location("extract_enums", TOOL)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool
    spec.loader.exec_module(tool)
    code = tool.main(["--check"])
    if code == 2:
        pytest.skip("k8s.io/api can't be had here")
    assert code == 0
