"""`svcdns apply` and `svcdns delete`: objects from files, and objects by name."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svcdns.config.sections import ConfigError
from svcdns.objects.kinds import NAMESPACE, SERVICE

from . import talking
from .outcome import REFUSED, Refused, say

if TYPE_CHECKING:
    from svcdns.manifests.reading import Manifest

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

    What is no object that svcdns registers is named and left out. Exit code 1 when something was not applied.

    Examples:

        svcdns apply -f examples

        svcdns apply -f - < web.yaml
    """
    from svcdns.client import ApiError
    from svcdns.manifests.not_taken import ManifestError
    from svcdns.manifests.reading import read_manifests

    with _files(filename) as paths, talking.talking(api, data) as client:
        where = talking.namespace_of(client, namespace)
        reading = read_manifests(paths, where)
        failed = False
        for one in reading.not_taken:
            say(str(one))
            failed = failed or isinstance(one, ManifestError)
        for manifest in sorted(reading.manifests, key=_order):
            try:
                client.apply(manifest.object)
            except ApiError as wrong:
                say(f"{manifest.place}: {wrong}")
                failed = True
            else:
                typer.echo(f"{manifest.kind.singular}/{manifest.name} applied")
    if failed:
        raise typer.Exit(REFUSED)


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
    """Delete objects by name. Exit code 1 when one of them is not there.

    Example:

        svcdns delete pod cache-10-0-0-5
    """
    from svcdns.client.calls import kind_of

    missing = []
    with talking.talking(api, data) as client:
        found, where = kind_of(kind), talking.namespace_of(client, namespace)
        for name in names:
            if client.delete(found, name, where if found.namespaced else ""):
                typer.echo(f"{found.singular}/{name} deleted")
            else:
                missing.append(name)
    if missing:
        raise Refused(f"not there: {', '.join(f'{found.singular}/{name}' for name in missing)}")


@contextmanager
def _files(given: list[str]) -> Iterator[list[Path]]:
    """Give the paths that are meant; the standard input becomes a file for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for text in given:
            path = Path(text)
            if text == "-":
                path = Path(folder) / "stdin.yaml"
                path.write_bytes(sys.stdin.buffer.read())
            elif not path.exists():
                raise ConfigError(f"--filename: {text}: is not there; allowed: a file, a folder or -")
            paths.append(path)
        yield paths
