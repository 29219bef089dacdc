"""What is in the files: the manifests that can be registered, and what can not.

Rules that hold here:

* what can be registered is: a mistake in one file, document or item of a List keeps none of the others away;
* each of the others is named (`not_taken`), with file, document and field;
* of two that are one object, the first that is valid counts; a second that says the same is no mistake;
* neither the order of files nor that of documents matters otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import FIRST_NAMESPACES, NAMESPACE, SERVICE, Kind, by_manifest
from svcdns.objects.metadata_rules import SERVERS_OWN
from svcdns.objects.schema import structure
from svcdns.objects.validation import validate

from . import foreign
from .documents import Object, objects_of
from .files import files_of
from .not_taken import LeftOut, ManifestError, NotTaken, Place, described


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object, where it was written, and its kind; a namespaced one has its namespace filled in."""

    place: Place
    kind: Kind
    object: Object

    @property
    def name(self) -> str:
        """Return metadata.name."""
        return str(self.object["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Return metadata.namespace, or an empty text for a kind that has none."""
        return str(self.object["metadata"]["namespace"]) if self.kind.namespaced else ""

    def error(self, field: str, why: str, remedy: str = "") -> ManifestError:
        """Return what is wrong with a field of this manifest."""
        return self.place.error(field, why, described(self.object), remedy)

    def refused(self, status: StatusError) -> ManifestError:
        """Return a refusal of the registry as one line; the field is where the first cause is."""
        if status.causes:
            return self.error(status.causes[0].field, status.causes[0].message)
        found = _FIELD.search(status.message)
        return self.error((found["unknown"] or found["typed"]) if found else "", status.message)


_FIELD = re.compile(r'(?:unknown field "(?P<unknown>[^"]+)")|(?:: (?P<typed>[A-Za-z]\S*): )')


@dataclass(frozen=True, slots=True)
class Reading:
    """What files hold: manifests that are valid by themselves, and what is not taken."""

    manifests: tuple[Manifest, ...] = ()
    not_taken: tuple[NotTaken, ...] = ()

    def in_namespaces(self, existing: Collection[str] = FIRST_NAMESPACES) -> Reading:
        """Return this without the manifests whose namespace neither exists nor is among them."""
        made = {manifest.name for manifest in self.manifests if manifest.kind is NAMESPACE}
        wrong = {
            id(one): _no_namespace(one)
            for one in self.manifests
            if one.kind.namespaced and one.namespace not in made and one.namespace not in existing
        }
        kept = tuple(one for one in self.manifests if id(one) not in wrong)
        return Reading(kept, (*self.not_taken, *wrong.values()))


def _no_namespace(manifest: Manifest) -> ManifestError:
    name = manifest.namespace
    remedy = (
        f"add a manifest of it ({{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}), or "
        f"`kubectl create namespace {name}` before the next start"
    )
    return manifest.error("metadata.namespace", f"there is no namespace {name!r}", remedy)


def read_manifests(paths: Iterable[Path], namespace: str = "default") -> Reading:
    """Return what is in these files and folders (*.yaml, *.yml, *.json, sorted by name).

    `namespace` is that of objects which name none.  Whether it is there is left
    open; see Reading.in_namespaces.
    """
    found = _Found(namespace)
    for path in files_of(paths):
        for one in [path] if isinstance(path, ManifestError) else objects_of(path):
            if isinstance(one, NotTaken):
                found.not_taken.append(one)
            else:
                found.add(*one)
    return found.reading()


class _Found:
    """What has been read so far."""

    def __init__(self, namespace: str) -> None:
        self.not_taken: list[NotTaken] = []
        self._namespace = namespace
        self._manifests: dict[tuple[Kind, str, str], Manifest] = {}
        self._workloads: list[foreign.Workload] = []

    def add(self, place: Place, obj: Object) -> None:
        """Take in an object."""
        try:
            kind = _kind(place, obj)
            if kind is None:
                self._add_foreign(place, obj)
            else:
                self._add_manifest(_manifest(place, kind, obj, self._namespace))
        except NotTaken as wrong:
            self.not_taken.append(wrong)

    def _add_foreign(self, place: Place, obj: Object) -> None:
        workload = foreign.workload(place, obj)
        if workload is None:
            raise foreign.refusal(place, obj)
        self._workloads.append(workload)

    def _add_manifest(self, manifest: Manifest) -> None:
        faults = list(_faults(manifest))
        if faults:
            self.not_taken += faults
            return
        first = self._manifests.setdefault((manifest.kind, manifest.namespace, manifest.name), manifest)
        if first is not manifest:
            raise _twice(first, manifest)

    def reading(self) -> Reading:
        """Return all, in the order of files."""
        services = foreign.Selectors(one.object for one in self._manifests.values() if one.kind is SERVICE)
        left_out = [one.left_out(services) for one in self._workloads]
        return Reading(tuple(self._manifests.values()), (*self.not_taken, *left_out))


def _twice(first: Manifest, second: Manifest) -> NotTaken:
    """Return what is said of a second manifest of an object; many files bring their own Namespace."""
    if first.object == second.object:
        return LeftOut(second.place, f"stands in {first.place} already, the same", described(second.object))
    return second.error("", f"the same object stands in {first.place} already", "only that one counts")


def _kind(place: Place, obj: Object) -> Kind | None:
    """Return the kind of an object, None for one that is not registered.  Raises NotTaken."""
    if not_meant := foreign.no_object(place, obj):
        raise not_meant
    version, name = obj.get("apiVersion"), obj.get("kind")
    for field, value in (("apiVersion", version), ("kind", name)):
        if not isinstance(value, str):
            raise place.error(field, "must be a text" if value is not None else "is missing", described(obj))
    kind = by_manifest(str(version), str(name))
    return kind if kind in foreign.TAKEN else None


def _manifest(place: Place, kind: Kind, obj: Object, namespace: str) -> Manifest:
    what, metadata = described(obj), obj.get("metadata")
    if not isinstance(metadata, dict):
        raise place.error("metadata", "is missing: it must be a mapping with at least a name", what)
    metadata = {key: value for key, value in metadata.items() if key not in SERVERS_OWN}
    if not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise place.error("metadata.name", "must be a text that is not empty", what)
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or namespace
        if not isinstance(metadata["namespace"], str):
            raise place.error("metadata.namespace", "must be a text", what)
    return Manifest(place, kind, {**obj, "metadata": metadata})


def _faults(manifest: Manifest) -> Iterator[ManifestError]:
    """Yield what is wrong with a manifest by itself."""
    try:
        cleaned, _ = structure(manifest.kind, manifest.object, "Strict")
        causes = validate(manifest.kind, default(manifest.kind, cleaned))
    except StatusError as refused:
        yield manifest.refused(refused)
    else:
        yield from (manifest.error(cause.field, cause.message) for cause in causes)
