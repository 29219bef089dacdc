"""Take the official OpenAPI definitions of our kinds out of the kubernetes-validate package.

Kubernetes publishes its API as OpenAPI; the Python package kubernetes-validate carries those definitions,
converted to JSON Schema (and 108 MB of everything else, so it is a build-time dependency only). This script
keeps the kinds named in ROOTS and what they refer to, turns the converter's changes back, and writes an
OpenAPI 3.0 document to svcdns/objects/data/, one schema a line so that a new version gives a readable diff.

What is turned back, so that the document says what Kubernetes' own says:
- "null" among the types (Kubernetes drops nulls when it decodes; svcdns.objects.schema does too);
- the enums of apiVersion and kind;
- `$ref` with siblings becomes `allOf` (OpenAPI 3.0 ignores what stands beside a `$ref`);
- IntOrString gets its format back.

Usage: python tools/extract_schema.py [--version 1.37.0] [--check] [--output DIR]
Exit code 0; 1 if --check finds a difference; 2 if the package or the version is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOTS = (
    "io.k8s.api.authentication.v1.SelfSubjectReview",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    "io.k8s.api.authorization.v1.SubjectAccessReview",
    "io.k8s.api.coordination.v1.Lease",
    "io.k8s.api.core.v1.Endpoints",
    "io.k8s.api.core.v1.Event",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Node",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.discovery.v1.EndpointSlice",
    "io.k8s.api.events.v1.Event",
    "io.k8s.api.networking.v1.IPAddress",
    "io.k8s.api.networking.v1.ServiceCIDR",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
)
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
DATA = Path(__file__).resolve().parent.parent / "svcdns" / "objects" / "data"


class MissingSource(Exception):
    """kubernetes-validate, or the version asked for, is not installed."""


def source_folder() -> Path:
    """Return the folder of kubernetes-validate that holds one folder for each Kubernetes version."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise MissingSource("kubernetes-validate is not installed: pip install 'svcdns[dev]'")
    return Path(spec.origin).parent / "kubernetes-json-schema"


def newest_version(folder: Path) -> str:
    """Return the newest version in the package, such as "1.37.0"."""
    names = [path.name[1:].removesuffix("-local") for path in folder.glob("v*-local")]
    return max(names, key=lambda name: [int(part) for part in name.split(".")])


def references(node: Any) -> Iterator[str]:
    """Yield the names of the definitions that a schema refers to."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value.rsplit("/", 1)[-1]
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def closure(definitions: dict[str, Any], roots: tuple[str, ...]) -> list[str]:
    """Return the names of the roots and of all that they refer to, sorted."""
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(references(definitions[name]))
    return sorted(seen)


def original(node: Any) -> Any:
    """Return a schema node as Kubernetes publishes it."""
    if isinstance(node, list):
        return [original(value) for value in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "type" and isinstance(value, list):
            out[key] = next(word for word in value if word != "null")
        elif key == "properties":
            out[key] = {name: original_property(name, inner) for name, inner in value.items()}
        else:
            out[key] = original(value)
    reference = out.get("$ref")
    if reference is None:
        return out
    reference = "#/components/schemas/" + reference.rsplit("/", 1)[-1]
    rest = {key: value for key, value in out.items() if key != "$ref"}
    return {"allOf": [{"$ref": reference}], **rest} if rest else {"$ref": reference}


def original_property(name: str, node: dict[str, Any]) -> Any:
    """Return a property's schema without the converter's enum of apiVersion and kind."""
    out = original(node)
    if name in ("apiVersion", "kind"):
        out.pop("enum", None)
    return out


def extract(version: str | None) -> tuple[str, str]:
    """Return the version and the text of its OpenAPI document. Raises MissingSource."""
    folder = source_folder()
    version = version or newest_version(folder)
    path = folder / f"v{version}-local" / "_definitions.json"
    if not path.exists():
        raise MissingSource(f"kubernetes-validate has no definitions of Kubernetes {version}")
    definitions = json.loads(path.read_text(encoding="utf-8"))["$defs"]
    schemas = {name: original(definitions[name]) for name in closure(definitions, ROOTS)}
    schemas[INT_OR_STRING]["format"] = "int-or-string"
    return version, render(version, schemas)


def render(version: str, schemas: dict[str, Any]) -> str:
    """Return the document as text: sorted, one schema a line."""

    def compact(value: Any) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    lines = [f"{compact(name)}:{compact(schemas[name])}" for name in sorted(schemas)]
    info = compact({"title": "Kubernetes", "version": f"v{version}"})
    head = f'{{"openapi":"3.0.0","info":{info},"paths":{{}},"components":{{"schemas":{{'
    return head + "\n" + ",\n".join(lines) + "\n}}}\n"


def checked_in_version(folder: Path) -> str | None:
    """Return the version of the document in the data folder, or None if there is none."""
    found = sorted(folder.glob("kubernetes-*.json"))
    return found[-1].stem.removeprefix("kubernetes-") if found else None


def check(version: str | None, folder: Path) -> int:
    """Compare the checked-in document with a fresh one; return the exit code."""
    version = version or checked_in_version(folder)
    version, text = extract(version)
    path = folder / f"kubernetes-{version}.json"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        print(f"{path.name} is up to date")
        return 0
    print(f"{path.name} differs from what tools/extract_schema.py gives: run it", file=sys.stderr)
    return 1


def write(version: str | None, folder: Path) -> int:
    """Write the document and remove those of other versions; return the exit code."""
    version, text = extract(version)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"kubernetes-{version}.json"
    for other in folder.glob("kubernetes-*.json"):
        if other != path:
            other.unlink()
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path} ({len(text.encode())} octets)")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Write or check the document; return the exit code."""
    parser = argparse.ArgumentParser(description="Extract the OpenAPI definitions of svcdns' kinds.")
    parser.add_argument(
        "--version", help="of Kubernetes, as 1.37.0; default: the newest, or the one checked in"
    )
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 on a difference")
    parser.add_argument("--output", type=Path, default=DATA, help="the data folder")
    args = parser.parse_args(argv)
    try:
        return check(args.version, args.output) if args.check else write(args.version, args.output)
    except MissingSource as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
