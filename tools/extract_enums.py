"""Take the values of enums, and what each means, out of Kubernetes' Go types.

The published OpenAPI definitions that tools/extract_schema.py reads say nothing about enums; the types of
the Go module k8s.io/api do, as constants of a type marked "+enum". This script finds each field of our kinds
that is of such a type and writes svcdns/objects/data/enums-VERSION.json: "COMPONENT.field" -> {value: what
it means}.

A few types are enums in all but the marker, since Kubernetes checks them by hand: they stand in UNMARKED.

Usage: python tools/extract_enums.py [--source DIR] [--check]; DIR is a folder of k8s.io/api, by default the
one that `go mod download` fetches. Exit code 0; 1 if --check finds a difference; 2 without a source.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "svcdns" / "objects" / "data"
PACKAGES = {
    "coordination/v1": "io.k8s.api.coordination.v1",
    "core/v1": "io.k8s.api.core.v1",
    "discovery/v1": "io.k8s.api.discovery.v1",
}
UNMARKED = (
    "ConditionStatus",
    "ContainerRestartPolicy",
    "ContainerRestartRuleAction",
    "ContainerRestartRuleOnExitCodesOperator",
    "LoadBalancerIPMode",
    "OSName",
    "RecursiveReadOnlyMode",
    "ResourceResizeRestartPolicy",
)

_TYPE = re.compile(r"type (\w+) string$")
_STRUCT = re.compile(r"type (\w+) struct \{$")
_CONSTANT = re.compile(r"\t\w+\s+(\w+)\s+= \"(.*)\"")
_CONVERTED = re.compile(r"\t\w+\s+= (\w+)\((?:v1\.(\w+)|\"(\w+)\")\)")
_ELSEWHERE = {"IPv4Protocol": "IPv4", "IPv6Protocol": "IPv6"}
"""Constants of core/v1 that another package converts to a type of its own."""
_FIELD = re.compile(r"\t(?:(\w+)\s+)?([\w.*\[\]]+)\s+`json:\"([^\",]*)([^\"]*)\"")


@dataclass
class Types:
    """What one file of Go types says."""

    enums: dict[str, dict[str, str]] = field(default_factory=dict)
    """Type -> value -> comment."""
    structs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Type -> (name in JSON, or "" where it is inlined; type)."""


def read(text: str) -> Types:
    """Read a types.go."""
    out, comment, struct, marked = Types(), [], "", set(UNMARKED)
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("//"):
            comment.append(stripped.removeprefix("//").strip())
            continue
        if found := _TYPE.match(line):
            if "+enum" in comment:
                marked.add(found[1])
        elif found := _STRUCT.match(line):
            struct = found[1]
            out.structs[struct] = []
        elif line == "}":
            struct = ""
        elif struct and (found := _FIELD.match(line)):
            inline = "inline" in found[4] and not found[3]
            out.structs[struct].append(("" if inline else found[3], found[2].lstrip("*[]")))
        elif not struct and (found := _CONSTANT.match(line)):
            meaning = " ".join(word for word in comment if word and not word.startswith("+"))
            if found[1] in marked:
                out.enums.setdefault(found[1], {})[found[2]] = meaning
        elif not struct and (found := _CONVERTED.match(line)) and found[1] in marked:
            meaning = " ".join(word for word in comment if word and not word.startswith("+"))
            out.enums.setdefault(found[1], {})[found[3] or _ELSEWHERE[found[2]]] = meaning
        comment = []
    return out


def fields(types: Types, struct: str) -> Iterator[tuple[str, str]]:
    """Yield (name, type) of a struct's fields, those of inlined structs too."""
    for name, kind in types.structs.get(struct, []):
        if name:
            yield name, kind
        else:
            yield from fields(types, kind)


def extract(source: Path) -> str:
    """Return the text of the data file."""
    core = read((source / "core/v1/types.go").read_text(encoding="utf-8"))
    known = {f"v1.{name}": values for name, values in core.enums.items()}
    schema = next(DATA.glob("kubernetes-*.json")).read_text(encoding="utf-8")
    components = json.loads(schema)["components"]["schemas"]
    out = {}
    for folder, prefix in PACKAGES.items():
        types = read((source / folder / "types.go").read_text(encoding="utf-8"))
        for struct in types.structs:
            component = f"{prefix}.{struct}"
            for name, kind in fields(types, struct):
                values = types.enums.get(kind) or known.get(kind)
                if values and name in components.get(component, {}).get("properties", {}):
                    out[f"{component}.{name}"] = values
    lines = [f"{json.dumps(key)}:{json.dumps(out[key], sort_keys=True)}" for key in sorted(out)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def downloaded(version: str) -> Path | None:
    """Return the folder of k8s.io/api at the version of our schema, or None without Go."""
    module = f"k8s.io/api@v0.{version.split('.', 1)[1]}"
    try:
        done = subprocess.run(
            ["go", "mod", "download", "-json", module], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return Path(json.loads(done.stdout)["Dir"])


def main(argv: list[str] | None = None) -> int:
    """Write or check the data file; return the exit code."""
    parser = argparse.ArgumentParser(description="Extract the enums of svcdns' kinds.")
    parser.add_argument("--source", type=Path, help="a folder of k8s.io/api; default: go mod download")
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 on a difference")
    args = parser.parse_args(argv)
    version = next(DATA.glob("kubernetes-*.json")).stem.removeprefix("kubernetes-")
    source = args.source or downloaded(version)
    if source is None:
        print("k8s.io/api is not there: give --source, or install Go", file=sys.stderr)
        return 2
    path, text = DATA / f"enums-{version}.json", extract(source)
    if not args.check:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    print(f"{path.name} differs from what tools/extract_enums.py gives: run it", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
