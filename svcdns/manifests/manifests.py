"""Manifests: files of Kubernetes objects that are applied at start.

Rules that hold here:

* a manifest wins for the fields it names, recreates what was deleted, never prunes, never clears status;
* all are read and validated before one is applied (`apply_manifests`);
* an error is one line that names file, document and field.

Reading the files is the business of `files`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import (
    ENDPOINTS,
    ENDPOINTSLICE,
    FIRST_NAMESPACES,
    KINDS,
    NAMESPACE,
    POD,
    SERVICE,
    Kind,
    by_manifest,
)
from svcdns.objects.metadata_rules import SERVERS_OWN
from svcdns.objects.schema import structure
from svcdns.objects.validation import validate
from svcdns.registry.requests import Patch, WriteOptions

from .files import ManifestError, Place, files_of, objects_of

if TYPE_CHECKING:
    from svcdns.registry.registry import Registry

__all__ = ["Applied", "Manifest", "ManifestError", "apply_manifests", "check_manifests", "read_manifests"]

log = logging.getLogger(__name__)

Object = dict[str, Any]

_ORDER = (NAMESPACE, SERVICE, POD, ENDPOINTS, ENDPOINTSLICE)
_AT_ONCE = 64
"""Writes that wait for one commit."""
_TRIES = 5
_STRICT = WriteOptions(field_validation="Strict", field_manager="svcdns-manifests")


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

    def error(self, field: str, text: str) -> ManifestError:
        """Return what is wrong with a field of this manifest."""
        return self.place.error(field, f"{text} ({self.kind.name} {self.name})")


@dataclass(frozen=True, slots=True)
class Applied:
    """How many objects were created, changed, and as the manifest says already."""

    created: int
    changed: int
    unchanged: int


def read_manifests(paths: Iterable[Path]) -> list[Manifest]:
    """Return the manifests in these files and folders (*.yaml, *.yml, *.json, sorted by name).

    Raises ManifestError for a file that can't be read, and for what isn't an object of a kind that can be
    registered, has no name, or stands in two places.
    """
    manifests: list[Manifest] = []
    places: dict[tuple[Kind, str, str], Place] = {}
    for path in files_of(paths):
        for place, obj in objects_of(path):
            manifest = _manifest(place, obj)
            identity = (manifest.kind, manifest.namespace, manifest.name)
            if identity in places:
                raise manifest.error("", f"the same object stands in {places[identity]} already")
            places[identity] = place
            manifests.append(manifest)
    return manifests


def _manifest(place: Place, obj: Object) -> Manifest:
    kind = _kind(place, obj)
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise place.error("metadata", "is missing: it must be a mapping with at least a name")
    metadata = {key: value for key, value in metadata.items() if key not in SERVERS_OWN}
    if not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise place.error("metadata.name", "must be a text that is not empty")
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or "default"
        if not isinstance(metadata["namespace"], str):
            raise place.error("metadata.namespace", "must be a text")
    return Manifest(place, kind, {**obj, "metadata": metadata})


def _kind(place: Place, obj: Object) -> Kind:
    version, name = obj.get("apiVersion"), obj.get("kind")
    for field, value in (("apiVersion", version), ("kind", name)):
        if not isinstance(value, str):
            raise place.error(field, "must be a text" if value is not None else "is missing")
    kind = by_manifest(str(version), str(name))
    if kind is None:
        allowed = ", ".join(f"{kind.name} ({kind.api_version})" for kind in KINDS)
        raise place.error("kind", f"{name} ({version}) can't be registered; allowed: {allowed}")
    return kind


def check_manifests(
    manifests: Sequence[Manifest], existing: Collection[str] | None = FIRST_NAMESPACES
) -> list[ManifestError]:
    """Return what is wrong with manifests, [] if nothing is.

    `existing` are the namespaces that are there; None leaves it open whether a namespace exists.
    """
    namespaces = {manifest.name for manifest in manifests if manifest.kind is NAMESPACE}
    errors: list[ManifestError] = []
    for manifest in manifests:
        errors += _faults(manifest)
        known = existing is None or manifest.namespace in namespaces or manifest.namespace in existing
        if manifest.kind.namespaced and not known:
            text = f"there is no namespace {manifest.namespace!r}; add a manifest of a Namespace"
            errors.append(manifest.error("metadata.namespace", text))
    return errors


def _faults(manifest: Manifest) -> list[ManifestError]:
    try:
        cleaned, _ = structure(manifest.kind, manifest.object, "Strict")
        causes = validate(manifest.kind, default(manifest.kind, cleaned))
    except StatusError as refused:
        return [_of_status(manifest, refused)]
    return [manifest.error(cause.field, cause.message) for cause in causes]


_FIELD = re.compile(r'(?:unknown field "(?P<unknown>[^"]+)")|(?:: (?P<typed>[A-Za-z]\S*): )')


def _of_status(manifest: Manifest, refused: StatusError) -> ManifestError:
    """Return a refusal of the registry as one line; the field is where the first cause is."""
    if refused.causes:
        return manifest.error(refused.causes[0].field, refused.causes[0].message)
    found = _FIELD.search(refused.message)
    return manifest.error((found["unknown"] or found["typed"]) if found else "", refused.message)


async def apply_manifests(registry: Registry, manifests: Sequence[Manifest]) -> Applied:
    """Bring the registry to what the manifests say; raises the first ManifestError.

    Nothing is applied where a manifest is invalid by itself.  What only the registry can see (an
    address in use) is found as the objects come to it; those before stay applied.
    """
    referred = {manifest.namespace for manifest in manifests if manifest.kind.namespaced}
    existing = [name for name in referred if _stored(registry, NAMESPACE, "", name) is not None]
    for error in check_manifests(manifests, existing):
        raise error
    outcomes = []
    for batch in _batches(manifests):
        tasks = [_apply(registry, manifest) for manifest in batch]
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            outcomes.append(outcome)
    counts = [outcomes.count(word) for word in ("created", "changed", "unchanged")]
    if manifests:
        log.info("manifests applied: %d objects created, %d changed, %d unchanged", *counts)
    return Applied(*counts)


def _batches(manifests: Sequence[Manifest]) -> Iterator[list[Manifest]]:
    """Yield manifests that may be written together: kinds in order, those that ask for an address first."""
    for kind, asking in product(_ORDER, (True, False)):
        group = [one for one in manifests if one.kind is kind and _asks_for_allocation(one) is asking]
        for at in range(0, len(group), _AT_ONCE):
            yield group[at : at + _AT_ONCE]


def _asks_for_allocation(manifest: Manifest) -> bool:
    """Whether a Service names what others could be given by chance: its address or a node port."""
    spec = manifest.object.get("spec") or {}
    ports = spec.get("ports") or []
    named = [spec.get("clusterIP"), spec.get("loadBalancerIP"), *(port.get("nodePort") for port in ports)]
    return manifest.kind is SERVICE and any(value not in (None, "", "None") for value in named)


def _stored(registry: Registry, kind: Kind, namespace: str, name: str) -> Object | None:
    try:
        return dict(msgspec.json.decode(registry.get(kind, namespace, name)))
    except StatusError as error:
        if error.code != 404:
            raise
        return None


async def _apply(registry: Registry, manifest: Manifest) -> str:
    """Create or change one object; return "created", "changed" or "unchanged"."""
    kind, namespace, name = manifest.kind, manifest.namespace, manifest.name
    body, _ = structure(kind, manifest.object, "Strict")
    for left in reversed(range(_TRIES)):
        old = _stored(registry, kind, namespace, name)
        try:
            if old is None:
                await registry.create(kind, namespace, body, _STRICT)
                return "created"
            patch = Patch("merge", overlay(old, body))
            written = await registry.patch(kind, namespace, name, patch, _STRICT)
            return "changed" if msgspec.json.decode(written.object) != old else "unchanged"
        except StatusError as refused:
            if refused.code == 507:
                raise  # the manifest is not at fault
            if refused.code not in (404, 409) or not left:  # 404, 409: someone else was quicker
                raise _of_status(manifest, refused) from None
    raise AssertionError("the last try returns or raises")


def overlay(old: Object, body: Object) -> Object:
    """Return the merge patch (RFC 7386) that brings a stored object to what a manifest says.

    A list that the manifest names is replaced, and so is a selector; conditions are merged by their
    type, since each belongs to whoever wrote it.
    """
    revision = {"resourceVersion": old["metadata"]["resourceVersion"]}
    patch = {**body, "metadata": {**body["metadata"], **revision}}
    spec, status = body.get("spec") or {}, body.get("status") or {}
    whole = {
        field: {**dict.fromkeys((old.get("spec") or {}).get(field) or {}), **spec[field]}
        for field in ("selector", "nodeSelector")
        if field in spec
    }
    if whole:
        patch["spec"] = {**spec, **whole}
    if "conditions" in status:
        stored = (old.get("status") or {}).get("conditions") or []
        known = {condition.get("type"): condition for condition in stored}
        for condition in status["conditions"]:
            word = condition.get("type")
            known[word] = {**known.get(word, {}), **condition}
        patch["status"] = {**status, "conditions": list(known.values())}
    return patch
