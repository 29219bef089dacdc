"""The three kinds of patch: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), strategic merge.

apply_patch() never changes the object it is given. What comes out is not validated: structure() and
validate() come after it, as after a PUT.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import jsonpatch
import jsonpointer

from .causes import shown, type_word
from .errors import StatusError, bad_request
from .kinds import Kind
from .schema_tree import schema_of
from .strategic import merge_object

PATCH_TYPES = ("json", "merge", "strategic")
MOST_OPERATIONS = 10_000
"""Operations in one JSON patch, as in Kubernetes."""
MOST_COPIED = 100_000
"""JSON values that the copy operations of one JSON patch may make, all together."""

_OPERATIONS = ("add", "copy", "move", "remove", "replace", "test")
_POINTER = re.compile("(/([^~/]|~[01])*)*")
_NOT_APPLICABLE = (
    jsonpatch.JsonPatchException,
    jsonpointer.JsonPointerException,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
)


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
            return _json_patch(obj, document)
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


def _json_patch(obj: dict[str, Any], document: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 6902, one operation after the other."""
    for place, operation in enumerate(document):
        _check_operation(operation, place)
    patched, document = copy.deepcopy((obj, document))  # operations change in place what they are given
    copied = 0
    for place, operation in enumerate(document):
        try:
            if operation["op"] == "copy":
                copied += _count(jsonpointer.resolve_pointer(patched, operation["from"]))
                if copied > MOST_COPIED:
                    raise StatusError(413, "RequestEntityTooLarge", "the JSON patch copies too much")
            patched = jsonpatch.apply_patch(patched, [operation], in_place=True)
        except _NOT_APPLICABLE as error:
            raise _not_applicable(place, operation, error) from None
    if not isinstance(patched, dict):
        raise bad_request(f"the JSON patch leaves no object but {shown(patched)}")
    return patched


def _check_operation(operation: dict[str, Any], place: int) -> None:
    """Raise StatusError 400 for what RFC 6902 section 4 doesn't know as an operation."""
    where = f"operation {place} of the JSON patch"
    op = operation.get("op")
    if op not in _OPERATIONS:
        raise bad_request(f"{where}: op must be one of {', '.join(_OPERATIONS)}, not {shown(op)}")
    for word in ("path", "from") if op in ("copy", "move") else ("path",):
        pointer = operation.get(word)
        if not isinstance(pointer, str) or not _POINTER.fullmatch(pointer):
            raise bad_request(
                f"{where}: {word} must be a JSON pointer such as /spec/type, not {shown(pointer)}"
            )
    if op in ("add", "replace", "test") and "value" not in operation:
        raise bad_request(f"{where}: {op} needs a value")
    if op == "remove" and operation["path"] == "":
        raise bad_request(f"{where}: the whole object can't be removed by a patch")


def _not_applicable(place: int, operation: dict[str, Any], error: Exception) -> StatusError:
    """422: the patch is right but not for this object.

    It names no object, as in Kubernetes: kubectl would show the name instead of the message.
    """
    what = f"operation {place} ({operation['op']} {shown(operation['path'])})"
    if isinstance(error, jsonpatch.JsonPatchTestFailed):
        reason = "the test failed"
    else:
        reason = "the path does not exist in the object"
    message = f"the server rejected our request due to an error in our request: {what}: {reason}"
    return StatusError(422, "Invalid", message)


def _count(value: Any) -> int:
    """Return how many JSON values a value holds, itself included; stop beyond MOST_COPIED."""
    total, waiting = 0, [value]
    while waiting and total <= MOST_COPIED:
        total += 1
        inner = waiting.pop()
        if isinstance(inner, dict):
            waiting.extend(inner.values())
        elif isinstance(inner, list):
            waiting.extend(inner)
    return total
