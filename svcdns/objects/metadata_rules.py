"""What metadata means, for every kind: names, labels, annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import causes, syntax
from .causes import invalid_value
from .errors import Cause
from .kinds import Kind

ANNOTATION_OCTETS = 256 * 1024
"""The most that all annotations of an object may hold, keys and values together."""

SERVERS_OWN = (
    "uid",
    "creationTimestamp",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "generation",
    "selfLink",
)
"""Fields that only the server sets; what a client or an exported manifest says there is dropped."""

_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")

_OF_EVENTS = ("v1", "events.k8s.io/v1")

NameRule = Callable[[str], list[str]]


def metadata_causes(
    kind: Kind, obj: dict[str, Any], name_errors: NameRule, old: dict[str, Any] | None = None
) -> Iterator[Cause]:
    """Yield what is wrong with an object's metadata; `name_errors` is the syntax of the kind's names.

    `old` is the stored object on an update.
    """
    metadata = obj.get("metadata", {})
    yield from _name_causes(metadata, name_errors)
    yield from _namespace_causes(kind, metadata)
    yield from labels_causes(metadata.get("labels", {}), "metadata.labels")
    yield from _annotation_causes(metadata.get("annotations", {}))
    yield from _finalizer_causes(metadata, {} if old is None else old["metadata"])
    yield from _owner_causes(metadata.get("ownerReferences", []))


def _finalizer_causes(metadata: dict[str, Any], before: dict[str, Any]) -> Iterator[Cause]:
    names = metadata.get("finalizers", [])
    for i, name in enumerate(names):
        errors = syntax.key_errors(name)
        if not errors and "/" not in name and name not in _STANDARD_FINALIZERS:
            errors = ["name is neither a standard finalizer name nor is it fully qualified"]
        for text in errors:
            yield invalid_value(f"metadata.finalizers[{i}]", name, text)
    known = set(before.get("finalizers", []))
    added = [name for name in names if name not in known]
    if before.get("deletionTimestamp") and added:
        text = f"no new finalizers can be added if the object is being deleted, found new finalizers {added}"
        yield causes.forbidden("metadata.finalizers", text)


def _owner_causes(references: list[dict[str, Any]]) -> Iterator[Cause]:
    controllers = []
    for i, reference in enumerate(references):
        field = f"metadata.ownerReferences[{i}]"
        for word in ("apiVersion", "kind", "name", "uid"):
            if reference.get(word) == "":
                yield invalid_value(f"{field}.{word}", "", "must not be empty")
        if reference.get("apiVersion", "").count("/") > 1:
            yield invalid_value(
                f"{field}.apiVersion", reference["apiVersion"], "must be VERSION or GROUP/VERSION"
            )
        if reference.get("kind") == "Event" and reference.get("apiVersion") in _OF_EVENTS:
            text = f"{reference['apiVersion']}, Kind=Event"
            yield invalid_value(field, text, "is disallowed from being an owner")
        controllers += [reference] if reference.get("controller") else []
    if len(controllers) > 1:
        text = "Only one reference can have Controller set to true"
        yield invalid_value("metadata.ownerReferences", [each.get("name") for each in controllers], text)


def _name_causes(metadata: dict[str, Any], name_errors: NameRule) -> Iterator[Cause]:
    prefix, name = metadata.get("generateName", ""), metadata.get("name", "")
    if prefix:
        # A random suffix follows, so that a final hyphen is as good as a letter.
        masked = prefix[:-1] + "a" if prefix.endswith("-") else prefix
        for text in name_errors(masked):
            yield invalid_value("metadata.generateName", prefix, text)
    if name:
        for text in name_errors(name):
            yield invalid_value("metadata.name", name, text)
    elif not prefix:
        yield causes.required("metadata.name", "name or generateName is required")


def _namespace_causes(kind: Kind, metadata: dict[str, Any]) -> Iterator[Cause]:
    namespace, field = metadata.get("namespace", ""), "metadata.namespace"
    if not kind.namespaced:
        if namespace:
            yield causes.forbidden(field, "not allowed on this type")
    elif not namespace:
        yield causes.required(field)
    else:
        for text in syntax.label_errors(namespace):
            yield invalid_value(field, namespace, text)


def labels_causes(labels: dict[str, str], field: str) -> Iterator[Cause]:
    """Yield what is wrong with a map of labels (metadata.labels, or a selector)."""
    for key, value in labels.items():
        for text in syntax.key_errors(key):
            yield invalid_value(field, key, text)
        for text in syntax.label_value_errors(value):
            yield invalid_value(f"{field}[{causes.printable(key)}]", value, text)


def _annotation_causes(annotations: dict[str, str]) -> Iterator[Cause]:
    octets = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if octets > ANNOTATION_OCTETS:
        yield causes.too_long("metadata.annotations", ANNOTATION_OCTETS)
    for key in annotations:
        for text in syntax.key_errors(key.lower()):
            yield invalid_value("metadata.annotations", key, text)
