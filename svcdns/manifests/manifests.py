"""Manifests: files of Kubernetes objects that are applied at start.

Rules that hold here:

* a manifest wins for the fields it names, recreates what was deleted, never prunes, never clears status;
* what the registry refuses keeps none of the others away, and is named like what could not be read;
* what is not taken leaves what was registered before as it is, and the line about it says so;
* strict, all of that is an error: nothing is applied where a manifest is invalid by itself.

Reading the files is the business of `reading`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import msgspec

from svcdns.cluster.pod_conditions import as_written
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import NAMESPACE, NODE, POD, SERVICE, Kind
from svcdns.objects.schema import structure
from svcdns.registry.requests import Patch, WriteOptions

from .foreign import TAKEN
from .not_taken import ManifestError, NotTaken
from .reading import Manifest, Reading

if TYPE_CHECKING:
    from svcdns.registry.registry import Registry

Object = dict[str, Any]

_ORDER = sorted(TAKEN, key=lambda kind: kind is not NAMESPACE)
_AT_ONCE = 64
"""Writes that wait for one commit."""
_TRIES = 5
_STRICT = WriteOptions(field_validation="Strict", field_manager="svcdns-manifests")
_STAYS = "what is registered stays as it is"


class NotApplied(Exception):
    """Strict, and something is not taken."""

    def __init__(self, not_taken: Sequence[NotTaken]) -> None:
        """`not_taken` has at least one."""
        super().__init__(str(not_taken[0]))
        self.not_taken = tuple(not_taken)


@dataclass(frozen=True, slots=True)
class Applied:
    """How many objects were created, changed, and as the manifest says already; and what was not taken."""

    created: int
    changed: int
    unchanged: int
    not_taken: tuple[NotTaken, ...] = ()


async def apply_manifests(registry: Registry, reading: Reading, *, strict: bool = False) -> Applied:
    """Bring the registry to what the manifests say.

    What only the registry can see (an address in use) is found as the objects come to it; strict, those
    before stay applied.  Raises NotApplied if strict, StatusError and lmdb.Error where the registry can't be
    written.
    """
    reading = _in_stored_namespaces(registry, reading)
    if strict and reading.not_taken:
        raise NotApplied(reading.not_taken)
    outcomes: list[str] = []
    not_taken = [*reading.not_taken]
    for batch in _batches(reading.manifests):
        tasks = [_apply(registry, manifest) for manifest in batch]
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, ManifestError):
                not_taken.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                outcomes.append(outcome)
        if strict and not_taken:
            raise NotApplied(not_taken)
    created, changed, unchanged = map(outcomes.count, ("created", "changed", "unchanged"))
    if registry.has_answers():  # so there was a start before this one
        not_taken = [one.with_remedy(_STAYS) if one.is_mistake else one for one in not_taken]
    return Applied(created, changed, unchanged, tuple(not_taken))


def _in_stored_namespaces(registry: Registry, reading: Reading) -> Reading:
    referred = {manifest.namespace for manifest in reading.manifests if manifest.kind.namespaced}
    return reading.in_namespaces([name for name in referred if is_stored(registry, NAMESPACE, "", name)])


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


def is_stored(registry: Registry, kind: Kind, namespace: str, name: str) -> bool:
    """Return whether an object is registered."""
    return _stored(registry, kind, namespace, name) is not None


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
            if kind is NODE and "status" in body:  # what a kubelet would report
                status = Patch("merge", {"status": patch.document["status"]})
                written = await registry.patch(kind, namespace, name, status, _STRICT, "status")
            return "changed" if msgspec.json.decode(written.object) != old else "unchanged"
        except StatusError as refused:
            if refused.code == 507:
                raise  # the manifest is not at fault
            if refused.code not in (404, 409) or not left:  # 404, 409: someone else was quicker
                raise manifest.refused(refused) from None
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
        written = as_written(old) if old["kind"] == POD.name else old
        stored = (written.get("status") or {}).get("conditions") or []
        known = {condition.get("type"): condition for condition in stored}
        for condition in status["conditions"]:
            word = condition.get("type")
            known[word] = {**known.get(word, {}), **condition}
        patch["status"] = {**status, "conditions": list(known.values())}
    return patch
