"""The official OpenAPI definitions of our kinds, as svcdns means them.

The document comes from package data (tools/extract_schema.py writes it). _amend() is where svcdns differs
from Kubernetes; everything that reads the definitions (validation, strategic merge, the published OpenAPI)
reads them here, so that the differences hold everywhere.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from .kinds import Kind

_PREFIX = "#/components/schemas/"
_POD_SPEC = "io.k8s.api.core.v1.PodSpec"


@functools.cache
def document() -> dict[str, Any]:
    """Return the OpenAPI 3.0 document: {"openapi", "info", "paths": {}, "components": {"schemas": {...}}}.

    Shared and cached: don't change it.
    """
    loaded: dict[str, Any] = _data("kubernetes-")
    schemas = loaded["components"]["schemas"]
    _amend(schemas)
    _add_enums(schemas)
    return loaded


def _data(prefix: str) -> Any:
    folder = Path(__file__).parent / "data"  # importlib.resources brings tempfile along, and shutil
    path = next(entry for entry in folder.iterdir() if entry.name.startswith(prefix))
    return json.loads(path.read_text(encoding="utf-8"))


def _add_enums(schemas: dict[str, Any]) -> None:
    """Put the values of enums where Kubernetes' own document has them: `kubectl explain` shows them."""
    for place, values in _data("enums-").items():
        component_name, _, field = place.rpartition(".")
        node = schemas[component_name]["properties"][field]
        lines = [f" - `{json.dumps(value)}` {meaning}".rstrip() for value, meaning in values.items()]
        node["description"] = "\n".join([node["description"], "", "Possible enum values:", *lines])
        node.get("items", node)["enum"] = list(values)


def _amend(schemas: dict[str, Any]) -> None:
    """A Pod needs no containers, since there is no kubelet to start them."""
    schemas[_POD_SPEC]["required"].remove("containers")
    if not schemas[_POD_SPEC]["required"]:
        del schemas[_POD_SPEC]["required"]


def schemas() -> dict[str, Any]:
    """Return the schemas by component name, such as "io.k8s.api.core.v1.Service"."""
    found: dict[str, Any] = document()["components"]["schemas"]
    return found


@functools.cache
def component(kind: Kind) -> str:
    """Return the component name of a kind. Raises KeyError for a kind without a schema."""
    wanted = {"group": kind.group, "version": kind.version, "kind": kind.name}
    for name, schema in schemas().items():
        if wanted in schema.get("x-kubernetes-group-version-kind", ()):
            return name
    raise KeyError(f"no schema for {kind.name} in {kind.api_version}")


def reference(name: str) -> str:
    """Return the `$ref` of a component."""
    return _PREFIX + name


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that a node stands for: itself, or what its `$ref` (or allOf of one) names."""
    if "allOf" in node:
        node = node["allOf"][0]
    target: str | None = node.get("$ref")
    if target is None:
        return node
    found: dict[str, Any] = schemas()[target.removeprefix(_PREFIX)]
    return found


def type_name(node: dict[str, Any]) -> str:
    """Return the short name of the type that a node refers to, such as "Container"; "" without one."""
    if "allOf" in node:
        node = node["allOf"][0]
    reference: str = node.get("$ref", "")
    return reference.rpartition(".")[2]
