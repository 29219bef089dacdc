"""The three kinds of patch: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), strategic merge.

apply_patch() never changes the object it is given. What comes out is not validated: structure() and
validate() come after it, as after a PUT.
"""

from __future__ import annotations

from typing import Any

from .causes import shown, type_word
from .errors import StatusError, bad_request
from .kinds import Kind
from .schema_tree import schema_of
from .strategic import merge_object

PATCH_TYPES = ("json", "merge", "strategic")
MOST_OPERATIONS = 10_000
"""Operations in one JSON patch, as in Kubernetes."""


def check_document(patch_type: str, document: Any) -> None:
    """Raise StatusError 400 for what is no patch of this type, 413 for too many operations."""
    if patch_type != "json":
        if not isinstance(document, dict):
            raise bad_request(f"the patch is {type_word(document)}: an object is expected")
        return
    if not isinstance(document, list):
        raise bad_request(f"the JSON patch is {type_word(document)}: a list of operations is expected")
    if len(document) > MOST_OPERATIONS:
        text = f"a JSON patch may have {MOST_OPERATIONS} operations, this one has {len(document)}"
        raise StatusError(413, "RequestEntityTooLarge", text)
    for index, operation in enumerate(document):
        if not isinstance(operation, dict):
            raise bad_request(f"operation {index} of the JSON patch is {type_word(operation)}, not an object")


def apply_patch(kind: Kind, obj: dict[str, Any], patch_type: str, document: Any) -> dict[str, Any]:
    """Return the patched object; `patch_type` is "json", "merge" or "strategic".

    `document` has passed check_document(). The result may share parts with `obj` and `document`; neither is
    changed. Raises StatusError: 400 for a malformed patch, 413 for one that copies too much, 422 for a JSON
    patch that doesn't fit the object (a failed test, a path that isn't there).
    """
    if patch_type not in PATCH_TYPES:
        raise bad_request(f"unknown patch type {shown(patch_type)}: use one of {', '.join(PATCH_TYPES)}")
    try:
        if patch_type == "json":
            from . import json_patch

            return json_patch.apply(obj, document)
        if patch_type == "merge":
            return _merge_patch(obj, document)
        return merge_object(schema_of(kind), obj, document)
    except RecursionError:
        raise bad_request("the patch is nested too deeply") from None


def _merge_patch(target: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7386 section 2."""
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            out[key] = _merge_patch(out.get(key), value)
        else:
            out[key] = value
    return out
