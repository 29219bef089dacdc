"""Causes in Kubernetes' own words: one constructor for each reason of a field error.

The texts are those of k8s.io/apimachinery's field.Error.ErrorBody, so that a message reads as users know it.
Long values are shortened: a cause is for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .errors import Cause

_SHOWN = 128


def printable(text: str) -> str:
    """Return the text cut after 128 characters, lone surrogates (which no UTF-8 can carry) as \\udXXX."""
    text = text[:_SHOWN] + "..." if len(text) > _SHOWN else text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(value: Any) -> str:
    """Return a value as it stands in a message: JSON, cut after 128 characters."""
    if isinstance(value, str):
        return json.dumps(printable(value), ensure_ascii=False)
    if isinstance(value, list | dict) and len(value) > _SHOWN:
        return f"({len(value)} elements)"
    try:
        return printable(json.dumps(value, ensure_ascii=False, default=str))
    except RecursionError:
        return "(nested too deeply)"


def type_word(value: Any) -> str:
    """Return the type of a JSON value as a message names it: "a list", "a number"."""
    words = {type(None): "null", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return words.get(type(value), "a number")


def required(field: str, detail: str = "") -> Cause:
    """A value that must be there and isn't."""
    return Cause("FieldValueRequired", f"Required value: {detail}" if detail else "Required value", field)


def invalid_value(field: str, value: Any, detail: str) -> Cause:
    """A value that is not allowed; `detail` says what is."""
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}", field)


def duplicate(field: str, value: Any) -> Cause:
    """A value that stands elsewhere already and must be unique."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", field)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    """A value outside a short list of words."""
    words = ", ".join(json.dumps(word) for word in sorted(supported))
    message = f"Unsupported value: {shown(value)}: supported values: {words}"
    return Cause("FieldValueNotSupported", message, field)


def forbidden(field: str, detail: str) -> Cause:
    """A field that may not be set here."""
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", field)


def too_long(field: str, octets: int) -> Cause:
    """A value of more than `octets` octets."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {octets} bytes", field)


def too_many(field: str, count: int, limit: int) -> Cause:
    """A list of more than `limit` elements."""
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {limit} items", field)
