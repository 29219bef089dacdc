"""JSON Patch (RFC 6902): for patches.py, which loads this with the first such patch, as few clients send any.

What jsonpatch brings along (difflib, too) is 0.4 MiB.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import jsonpatch
import jsonpointer

from .causes import shown
from .errors import StatusError, bad_request

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


def apply(obj: dict[str, Any], document: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the patched object, one operation after the other; neither argument is changed.

    Raises StatusError: 400 for what is no operation, 413 for one that copies too much, 422 for one that does
    not fit the object.
    """
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
