"""What metadata means, for every kind: names, labels, annotations, and what may not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from svcdns.objects import causes, syntax
from svcdns.objects.errors import Cause
from svcdns.objects.kinds import Kind

ANNOTATION_OCTETS = 256 * 1024
"""The most that all annotations of an object may hold, keys and values together."""

NameRule = Callable[[str], list[str]]


def metadata_causes(kind: Kind, obj: dict[str, Any], name_errors: NameRule) -> list[Cause]:
    """Return what is wrong with an object's metadata; `name_errors` is the syntax of the kind's names."""
    metadata = obj.get("metadata", {})
    return [
        *_name_causes(metadata, name_errors),
        *_namespace_causes(kind, metadata),
        *labels_causes(metadata.get("labels", {}), "metadata.labels"),
        *_annotation_causes(metadata.get("annotations", {})),
        *_finalizer_causes(metadata.get("finalizers", [])),
    ]


def _name_causes(metadata: dict[str, Any], name_errors: NameRule) -> list[Cause]:
    found = []
    prefix, name = metadata.get("generateName", ""), metadata.get("name", "")
    if prefix:
        # A random suffix follows, so that a final hyphen is as good as a letter.
        masked = prefix[:-1] + "a" if prefix.endswith("-") else prefix
        found += [causes.invalid_value("metadata.generateName", prefix, text) for text in name_errors(masked)]
    if name:
        found += [causes.invalid_value("metadata.name", name, text) for text in name_errors(name)]
    elif not prefix:
        found.append(causes.required("metadata.name", "name or generateName is required"))
    return found


def _namespace_causes(kind: Kind, metadata: dict[str, Any]) -> list[Cause]:
    namespace, field = metadata.get("namespace", ""), "metadata.namespace"
    if not kind.namespaced:
        return [causes.forbidden(field, "not allowed on this type")] if namespace else []
    if not namespace:
        return [causes.required(field)]
    return [causes.invalid_value(field, namespace, text) for text in syntax.label_errors(namespace)]


def labels_causes(labels: dict[str, str], field: str) -> list[Cause]:
    """Return what is wrong with a map of labels (metadata.labels, or a selector)."""
    found = []
    for key, value in labels.items():
        found += [causes.invalid_value(field, key, text) for text in syntax.key_errors(key)]
        found += [causes.invalid_value(f"{field}[{causes.printable(key)}]", value, text)
                  for text in syntax.label_value_errors(value)]  # fmt: skip
    return found


def _annotation_causes(annotations: dict[str, str]) -> list[Cause]:
    found = []
    octets = 0
    for key, value in annotations.items():
        octets += len(key.encode()) + len(value.encode())
        found += [causes.invalid_value("metadata.annotations", key, text)
                  for text in syntax.key_errors(key.lower())]  # fmt: skip
    if octets > ANNOTATION_OCTETS:
        found.append(causes.too_long("metadata.annotations", ANNOTATION_OCTETS))
    return found


def _finalizer_causes(finalizers: list[str]) -> list[Cause]:
    return [
        causes.invalid_value(f"metadata.finalizers[{i}]", name, text)
        for i, name in enumerate(finalizers)
        for text in syntax.key_errors(name)
    ]


def update_causes(new: dict[str, Any], old: dict[str, Any]) -> list[Cause]:
    """Return which of name, namespace and uid an update tries to change (an absent uid is no change)."""
    before, after = old.get("metadata", {}), new.get("metadata", {})
    found = []
    for word in ("name", "namespace", "uid"):
        value = after.get(word, "")
        if value != before.get(word, "") and (value or word != "uid"):
            found.append(causes.invalid_value(f"metadata.{word}", value, "field is immutable"))
    return found
