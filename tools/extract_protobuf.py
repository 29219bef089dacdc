"""Take the protobuf form of our kinds out of Kubernetes' own Go modules.

Kubernetes generates `generated.proto` files from Go's types: the former name the number and type of each
field, the struct tags of the latter its name in JSON and whether Go leaves it out when it is zero.
This script downloads the two modules that hold them (k8s.io/api and k8s.io/apimachinery, by `go mod
download`, which checks them against Go's checksum database), follows the messages named in ROOTS to all that
they refer to, and writes one table to svcdns/api/data/, one message a line so that a new version gives a
readable diff:

    {"version": "1.37.0",
     "kinds": {"v1 Pod": MESSAGE, ...},
     "messages": {MESSAGE: {NUMBER: [NAME, TYPE] or [NAME, TYPE, WORD], ...}, ...}}

NAME is the name in JSON.  TYPE is a scalar of proto2 or a message.  WORD is one of
- "repeated", "map": a list, or an object from strings to TYPE;
- "kept": stands in JSON even when it is zero, since it is a pointer in Go or not tagged omitempty;
- "inline": the message's fields stand in JSON where it would, as those of an embedded struct in Go.

Messages whose JSON is not an object of their fields (FORMS) are named as types only: the decoder knows them.

Usage: python tools/extract_protobuf.py [--version 1.37.0] [--check] [--output DIR]
Exit code 0; 1 if --check finds a difference; 2 if Go or the modules are missing.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "svcdns" / "api" / "data"
SCHEMAS = ROOT / "svcdns" / "objects" / "data"
MODULES = ("k8s.io/api", "k8s.io/apimachinery")

ROOTS = {
    "authentication.k8s.io/v1 SelfSubjectReview": "k8s.io.api.authentication.v1.SelfSubjectReview",
    "authorization.k8s.io/v1 SelfSubjectAccessReview": "k8s.io.api.authorization.v1.SelfSubjectAccessReview",
    "authorization.k8s.io/v1 SelfSubjectRulesReview": "k8s.io.api.authorization.v1.SelfSubjectRulesReview",
    "authorization.k8s.io/v1 SubjectAccessReview": "k8s.io.api.authorization.v1.SubjectAccessReview",
    "coordination.k8s.io/v1 Lease": "k8s.io.api.coordination.v1.Lease",
    "discovery.k8s.io/v1 EndpointSlice": "k8s.io.api.discovery.v1.EndpointSlice",
    "events.k8s.io/v1 Event": "k8s.io.api.events.v1.Event",
    "v1 DeleteOptions": "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "v1 Event": "k8s.io.api.core.v1.Event",
    "v1 Namespace": "k8s.io.api.core.v1.Namespace",
    "v1 Node": "k8s.io.api.core.v1.Node",
    "v1 Pod": "k8s.io.api.core.v1.Pod",
    "v1 Service": "k8s.io.api.core.v1.Service",
}
FORMS = frozenset(
    {
        "k8s.io.api.authentication.v1.ExtraValue",
        "k8s.io.api.authorization.v1.ExtraValue",
        "k8s.io.apimachinery.pkg.api.resource.Quantity",
        "k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1",
        "k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime",
        "k8s.io.apimachinery.pkg.apis.meta.v1.Time",
        "k8s.io.apimachinery.pkg.util.intstr.IntOrString",
    }
)
SCALARS = frozenset({"bool", "bytes", "int32", "int64", "string"})

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_PACKAGE = re.compile(r"^package\s+([\w.]+);", re.MULTILINE)
_MESSAGE = re.compile(r"^message\s+(\w+)\s*\{(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(
    r"^\s*(optional|repeated|required|map<string,)\s*([.\w]+)>?\s+(\w+)\s*=\s*(\d+)", re.MULTILINE
)
_STRUCT = re.compile(r"^type\s+(\w+)\s+struct\s*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_TAGGED = re.compile(
    r"^\s*(?:\w+\s+)?(\*?)[\w.\[\]*]+\s+`json:\"([^\"]*)\"[^`\n]*\sprotobuf:\"\w+,(\d+)[,\"]", re.MULTILINE
)


class MissingSource(Exception):
    """Go, or the modules of the version asked for, can't be had."""


class NotUnderstood(Exception):
    """A file says something that this script has no rule for."""


@dataclass(frozen=True)
class Tag:
    """What Go's struct tag says of a field."""

    json_name: str
    """Empty for an embedded struct, whose fields are inlined."""
    kept: bool


Fields = dict[str, list[str]]


def module_folders(version: str) -> list[Path]:
    """Download the modules of a Kubernetes version and return their folders.  Raises MissingSource."""
    if shutil.which("go") is None:
        raise MissingSource("Go is not installed: the .proto files come as Go modules")
    wanted = [f"{module}@v0.{version.removeprefix('1.')}" for module in MODULES]
    with tempfile.TemporaryDirectory() as empty:
        command = ["go", "mod", "download", "-json", *wanted]
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
    found = list(_objects(done.stdout))
    errors = [str(entry["Error"]) for entry in found if "Error" in entry]
    if errors or len(found) != len(wanted):
        raise MissingSource(f"Kubernetes {version} can't be had: {'; '.join(errors) or done.stderr.strip()}")
    return [Path(str(entry["Dir"])) for entry in found]


def _objects(text: str) -> Iterator[dict[str, object]]:
    """Yield the JSON objects of a text that has one after the other."""
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:].strip()


def read_messages(folders: Iterable[Path]) -> dict[str, Fields]:
    """Return message -> number -> [name, type, word] of all packages below the folders."""
    found: dict[str, Fields] = {}
    for folder in folders:
        for path in sorted(folder.rglob("generated.proto")):
            found.update(_package(path))
    return found


def _package(path: Path) -> dict[str, Fields]:
    text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
    package = _PACKAGE.search(text)
    if package is None:
        raise NotUnderstood(f"{path} names no package")
    tags = _tags(path.parent)
    return {
        f"{package[1]}.{name}": _fields(f"{package[1]}.{name}", body, tags.get(name, {}))
        for name, body in _MESSAGE.findall(text)
    }


def _fields(message: str, body: str, tags: dict[str, Tag]) -> Fields:
    if len(_FIELD.findall(body)) != body.count(";"):
        raise NotUnderstood(f"{message} has a field that is not understood")
    package = message.rpartition(".")[0]
    return {
        number: _entry(label, type_, name, package, tags.get(number))
        for label, type_, name, number in _FIELD.findall(body)
    }


def _entry(label: str, type_: str, proto_name: str, package: str, tag: Tag | None) -> list[str]:
    type_ = type_ if type_ in SCALARS else type_[1:] if type_.startswith(".") else f"{package}.{type_}"
    if tag is None:
        return [proto_name, type_, "untagged"]
    if not tag.json_name:
        return [proto_name, type_, "inline"]
    if word := {"repeated": "repeated", "map<string,": "map"}.get(label, "kept" if tag.kept else ""):
        return [tag.json_name, type_, word]
    return [tag.json_name, type_]


def _tags(folder: Path) -> dict[str, dict[str, Tag]]:
    """Return struct -> number -> tag of the Go files of a package."""
    found: dict[str, dict[str, Tag]] = {}
    for path in sorted(folder.glob("*.go")):
        if path.name.endswith("_test.go") or path.name.startswith(("generated", "zz_generated")):
            continue
        for name, body in _STRUCT.findall(path.read_text(encoding="utf-8")):
            found[name] = {number: _tag(pointer, tag) for pointer, tag, number in _TAGGED.findall(body)}
    return found


def _tag(pointer: str, tag: str) -> Tag:
    name, *options = tag.split(",")
    return Tag(name, bool(pointer) or not {"omitempty", "omitzero"} & set(options))


def closure(messages: dict[str, Fields]) -> dict[str, Fields]:
    """Return the messages that ROOTS refer to.  Raises NotUnderstood."""
    found: dict[str, Fields] = {}
    waiting = list(ROOTS.values())
    while waiting:
        message = waiting.pop()
        if message in found or message in FORMS or message in SCALARS:
            continue
        if message not in messages:
            raise NotUnderstood(f"there is no message {message}")
        found[message] = messages[message]
        for name, type_, *word in found[message].values():
            if word == ["untagged"]:
                raise NotUnderstood(f"{message}: Go's source has no tag for {name}")
            waiting.append(type_)
    return dict(sorted(found.items()))


def extract(version: str) -> str:
    """Return the table as text.  Raises MissingSource, NotUnderstood."""
    messages = closure(read_messages(module_folders(version)))

    def compact(value: object) -> str:
        return json.dumps(value, separators=(",", ":"))

    lines = ",\n".join(f"{compact(name)}:{compact(fields)}" for name, fields in messages.items())
    head = f'{{"version":{compact(version)},\n"kinds":{compact(ROOTS)},\n"messages":{{'
    return f"{head}\n{lines}\n}}}}\n"


def schema_version() -> str:
    """Return the version of the OpenAPI definitions that are checked in: the table goes with them."""
    return next(SCHEMAS.glob("kubernetes-*.json")).stem.removeprefix("kubernetes-")


def check(text: str, path: Path) -> int:
    """Compare the checked-in table with a fresh one; return the exit code."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        print(f"{path.name} is up to date")
        return 0
    print(f"{path.name} differs from what tools/extract_protobuf.py gives: run it", file=sys.stderr)
    return 1


def write(text: str, path: Path) -> int:
    """Write the table and remove those of other versions; return the exit code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob("protobuf-*.json"):
        if other != path:
            other.unlink()
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path} ({len(text.encode())} octets)")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Write or check the table; return the exit code."""
    parser = argparse.ArgumentParser(description="Extract the protobuf form of svcdns' kinds.")
    parser.add_argument(
        "--version", help="of Kubernetes, as 1.37.0; default: that of the OpenAPI definitions"
    )
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 on a difference")
    parser.add_argument("--output", type=Path, default=DATA, help="the data folder")
    args = parser.parse_args(argv)
    version = args.version or schema_version()
    path = args.output / f"protobuf-{version}.json"
    try:
        return (check if args.check else write)(extract(version), path)
    except (MissingSource, NotUnderstood) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
