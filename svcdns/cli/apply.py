"""`svcdns apply` and `svcdns delete`: objects from files, and objects by name."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svcdns.config.sections import ConfigError
from svcdns.manifests import files as files_of_manifests
from svcdns.objects.kinds import NAMESPACE, SERVICE

from . import talking
from .outcome import REFUSED, Refused, say, show

if TYPE_CHECKING:
    from svcdns.client import Client
    from svcdns.manifests.reading import Manifest

_MOST_OCTETS = files_of_manifests.MAX_OCTETS + 1
"""Read of a pipe: enough to see that it is too much."""

FilesFlag = Annotated[
    list[str],
    typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="YAML or JSON; - is the standard input."),
]


def apply(
    filename: FilesFlag,
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Create objects, or bring them to what files say of them (server-side apply).

    What is no object that svcdns registers is named and left out. Exit code 1 when something else was not
    applied, or nothing was. Objects are applied one by one, namespaces first, and can be applied again.

    Examples:

        svcdns apply -f examples

        svcdns apply -f - < web.yaml
    """
    from svcdns.manifests.reading import read_manifests

    with _files(filename) as files, talking.talking(api, data) as client:
        reading = read_manifests(files.paths, talking.namespace_of(client, namespace))
        for one in reading.not_taken:
            say(one.line(files.shown(one.place.file)))
        if not reading.manifests and not reading.not_taken:
            raise ConfigError(
                f"--filename: {', '.join(filename)}: holds no object; allowed: Kubernetes' YAML or JSON"
            )
        refused = _apply(client, reading.manifests, files)
    if refused or not reading.manifests or any(one.is_mistake for one in reading.not_taken):
        raise typer.Exit(REFUSED)


def _apply(client: Client, manifests: Sequence[Manifest], files: _Files) -> int:
    """Apply objects; return how many the server refused.  Raises Refused."""
    from svcdns.client import ApiError, Unreachable

    refused = 0
    in_order = sorted(manifests, key=_order)
    for number, manifest in enumerate(in_order):
        try:
            client.apply(manifest.object)
        except ApiError as wrong:
            if wrong.status == 401:
                raise
            say(f"{manifest.place.in_words(files.shown(manifest.place.file))}: {wrong}")
            refused += 1
        except Unreachable as wrong:
            rest = f"{len(in_order) - number} of {len(in_order)} objects may not be applied"
            raise Refused(f"{wrong}; {rest}; say it again when the server is back") from None
        else:
            show(f"{manifest.kind.singular}/{manifest.name} applied")
    return refused


def _order(manifest: Manifest) -> int:
    """Namespaces come before what is in them, Services behind their Pods, or they are warned of."""
    return 0 if manifest.kind is NAMESPACE else 2 if manifest.kind is SERVICE else 1


def delete(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Such as pod, service, endpointslice.")],
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    namespace: talking.NamespaceFlag = "",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Delete objects by name.

    Exit code 1 when one of them is not there.

    Example:

        svcdns delete pod cache-10-0-0-5
    """
    from svcdns.client.calls import kind_of

    missing = []
    with talking.talking(api, data) as client:
        found, where = kind_of(kind), talking.namespace_of(client, namespace)
        for name in names:
            if client.delete(found, name, where if found.namespaced else ""):
                show(f"{found.singular}/{name} deleted")
            else:
                missing.append(name)
        if len(missing) == 1:
            raise Refused(talking.not_there(client, found, missing[0], where))
    if missing:
        raise Refused(f"not there: {', '.join(f'{found.singular}/{name}' for name in missing)}")


@dataclass(slots=True)
class _Files:
    """What is to be read; what can be read only once stands in a file of ours."""

    paths: list[Path] = field(default_factory=list)
    copies: dict[Path, str] = field(default_factory=dict)
    """What was copied, by its copy, as the user called it."""

    def shown(self, file: Path) -> str:
        """Return what a file is called for the user."""
        return self.copies.get(file, str(file))


@contextmanager
def _files(given: list[str]) -> Iterator[_Files]:
    """Give the paths that are meant; the standard input and pipes become files while they are needed."""
    with tempfile.TemporaryDirectory() as folder:
        files = _Files()
        for number, text in enumerate(dict.fromkeys(given)):
            path, copy = Path(text), Path(folder) / f"{number}.yaml"
            if text == "-":
                copy.write_bytes(sys.stdin.buffer.read(_MOST_OCTETS))
                files.copies[copy] = "standard input"
            elif not path.exists():
                raise ConfigError(f"--filename: {text}: is not there; allowed: a file, a folder or -")
            elif path.is_fifo() or path.is_char_device():
                with path.open("rb") as pipe:
                    copy.write_bytes(pipe.read(_MOST_OCTETS))
                files.copies[copy] = text
            files.paths.append(copy if copy in files.copies else path)
        yield files
