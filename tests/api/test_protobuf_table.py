"""The table of protobuf's fields: that it goes with the schema, and how it is made."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from svcdns.objects import kinds, openapi

ROOT = Path(__file__).resolve().parents[2]
TABLE = json.loads(next((ROOT / "svcdns/api/data").glob("protobuf-*.json")).read_text())
META = "k8s.io.apimachinery.pkg.apis.meta.v1."


def fields_of(message: str) -> Iterator[tuple[str, str, str]]:
    """Yield (name, type, word) of the fields that stand in a message's JSON."""
    for name, type_, *words in TABLE["messages"][message].values():
        if words == ["inline"]:
            yield from fields_of(type_)
        else:
            yield name, type_, words[0] if words else ""


def schema_of(kind: str) -> dict[str, Any]:
    version, _, name = kind.rpartition(" ")
    group, _, version = version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": name}
    return next(
        node
        for node in openapi.schemas().values()
        if wanted in node.get("x-kubernetes-group-version-kind", ())
    )


JSON_TYPES = {
    "bool": "boolean",
    "int32": "integer",
    "int64": "integer",
    "k8s.io.api.authentication.v1.ExtraValue": "array",
    "k8s.io.api.authorization.v1.ExtraValue": "array",
    META + "FieldsV1": "object",
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": "string",
}


def differences(message: str, node: dict[str, Any], path: str) -> Iterator[str]:
    """Yield where a message has other names and types than its schema."""
    properties = node.get("properties", {})
    fields = list(fields_of(message))
    for name in {name for name, _, _ in fields} ^ (properties.keys() - {"apiVersion", "kind"}):
        if name not in ("apiVersion", "kind"):
            yield f"{path}.{name} is not in both"
    for name, type_, word in fields:
        inner = openapi.resolve(properties.get(name, {}))
        if word:
            inner = inner.get("items", inner) if word == "repeated" else inner
            inner = inner.get("additionalProperties", inner) if word == "map" else inner
            inner = openapi.resolve(inner)
        expected = JSON_TYPES.get(type_, "object" if type_ in TABLE["messages"] else "string")
        if type_.endswith("Quantity"):
            continue  # the schema has it as oneOf string and number
        if inner.get("type", "object") != expected and "oneOf" not in inner:
            yield f"{path}.{name} is {inner.get('type')!r} in the schema, {expected!r} by the table"
        if type_ in TABLE["messages"]:
            yield from differences(type_, inner, f"{path}.{name}")


@pytest.mark.parametrize("kind", sorted(TABLE["kinds"]))
def test_names_and_types_are_those_of_the_schema(kind: str) -> None:
    assert list(differences(TABLE["kinds"][kind], schema_of(kind), "")) == []


def test_every_stored_kind_can_be_read() -> None:
    assert {f"{kind.api_version} {kind.name}" for kind in kinds.STORED} <= set(TABLE["kinds"])


def test_no_message_holds_itself() -> None:
    """So that no body is nested deeper than the table."""

    def depth(message: str, above: tuple[str, ...]) -> int:
        assert message not in above
        inner = [entry[1] for entry in TABLE["messages"][message].values() if entry[1] in TABLE["messages"]]
        return 1 + max((depth(each, (*above, message)) for each in inner), default=0)

    assert max(depth(message, ()) for message in TABLE["kinds"].values()) < 20


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("extract_protobuf", ROOT / "tools" / "extract_protobuf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["extract_protobuf"] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("go") is None, reason="Go, which downloads Kubernetes' modules, is not here")
def test_checked_in_table_is_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extract = tool()
    code = extract.main(["--check"])
    if code == 2:
        pytest.skip(capsys.readouterr().err.strip())
    assert code == 0
    assert extract.main(["--output", str(tmp_path)]) == 0
    (written,) = tmp_path.glob("*.json")
    written.write_text(written.read_text().replace("targetPort", "targetPark"))
    assert extract.main(["--check", "--output", str(tmp_path)]) == 1
    assert "run it" in capsys.readouterr().err


def test_without_go_the_tool_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert tool().main(["--check"]) == 2
    assert capsys.readouterr().err == "Go is not installed: the .proto files come as Go modules\n"


def test_the_table_goes_with_the_schema() -> None:
    assert TABLE["version"] == openapi.document()["info"]["version"].removeprefix("v")
