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

NameRule = Callable[[str], list[str]]


def metadata_causes(kind: Kind, obj: dict[str, Any], name_errors: NameRule) -> Iterator[Cause]:
    """Yield what is wrong with an object's metadata; `name_errors` is the syntax of the kind's names."""
    metadata = obj.get("metadata", {})
    yield from _name_causes(metadata, name_errors)
    yield from _namespace_causes(kind, metadata)
    yield from labels_causes(metadata.get("labels", {}), "metadata.labels")
    yield from _annotation_causes(metadata.get("annotations", {}))
    for i, name in enumerate(metadata.get("finalizers", [])):
        for text in syntax.key_errors(name):
            yield invalid_value(f"metadata.finalizers[{i}]", name, text)


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
