"""Structure: does a body have the fields and types of its kind? Meaning is validation.py's business.

As in Kubernetes' decoder: a null is an absent field; an unknown field is dropped with a warning (or refused,
with field validation Strict); a wrong type refuses the whole body with 400. That a required field is missing
is a matter of meaning (422), see missing().

Two ways through structure(): most bodies are exactly right, which the compiled validator says in
microseconds; the others are walked beside their schema, cleaned, and checked again.

jsonschema_rs is loaded with the first body: a server that is only asked has no use for it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from . import causes, openapi, scalars
from .errors import Cause, StatusError, bad_request
from .kinds import Kind
from .schema_tree import SchemaNode, below, path_text, schema_of

if TYPE_CHECKING:
    from jsonschema_rs import Draft4Validator, ValidationError

FIELD_VALIDATIONS = ("Ignore", "Strict", "Warn")

_MOST_WRONG_TYPES = 20
_MOST_UNKNOWN_FIELDS = 100
_LIMITS = {"int32": 2**31, "int64": 2**63}
_OUT_OF_RANGE = "is out of range for this field"

_PARTS = ("metadata", "spec", "status")

Path = tuple[str | int, ...]


def structure(
    kind: Kind, body: Any, field_validation: str = "Warn", *, fill_kind: bool = False
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body without nulls and unknown fields, and a warning for each unknown field.

    `field_validation` is "Warn", "Ignore" (no warnings) or "Strict" (unknown fields are refused). With
    `fill_kind`, an absent apiVersion or kind is taken from `kind`, as Kubernetes does for request bodies.
    metadata.managedFields is always dropped. The body is not changed; the result may share parts with it or
    be it.

    Raises StatusError 400 for a body that is no object, is of another kind, or has wrong types, naming each
    field; and for unknown fields if Strict.
    """
    if field_validation not in FIELD_VALIDATIONS:
        allowed = ", ".join(FIELD_VALIDATIONS)
        raise bad_request(
            f"invalid fieldValidation {causes.shown(field_validation)}: must be one of {allowed}"
        )
    body = _without_managed_fields(_of_kind(kind, body, fill_kind))
    if _fits(kind, body):
        return _read(kind, body), ()
    unknown: list[str] = []
    cleaned: dict[str, Any] = _clean(schema_of(kind), body, "", unknown)
    unknown = [text + _where_it_belongs(kind, text) for text in unknown]
    if not _fits(kind, cleaned):
        raise _cannot_be_handled(kind, ", ".join(_wrong_types(kind, cleaned)))
    if unknown and field_validation == "Strict":
        raise _cannot_be_handled(kind, "strict decoding error: " + ", ".join(unknown))
    return _read(kind, cleaned), tuple(unknown) if field_validation == "Warn" else ()


def missing(kind: Kind, obj: dict[str, Any]) -> Iterator[Cause]:
    """Yield a cause for each field outside status that the schema requires and that the object lacks.

    (What stands in status is written by svcdns or by whoever plays kubelet; validation.py names the few
    fields there that matter.)
    """
    validator = _validator(kind, True)
    if validator.is_valid(obj):
        return
    from jsonschema_rs import ValidationErrorKind

    for error in validator.iter_errors(obj):
        reason = error.kind
        path = tuple(error.instance_path)
        if isinstance(reason, ValidationErrorKind.Required) and path[:1] != ("status",):
            yield causes.required(path_text((*path, reason.property)))


def _of_kind(kind: Kind, body: Any, fill_kind: bool) -> dict[str, Any]:
    """Return the body if it says that it is of this kind (or, with fill_kind, doesn't say). Raises 400."""
    if not isinstance(body, dict):
        raise bad_request(f"the body must be a JSON object of kind {kind.name}, not {causes.shown(body)}")
    name, version = body.get("kind"), body.get("apiVersion")
    if name == kind.name and version == kind.api_version:
        return body
    wrong = []
    if not (fill_kind and name in (None, "")) and name != kind.name:
        wrong.append(_mismatch("kind", name, kind.name))
    if not (fill_kind and version in (None, "")) and version != kind.api_version:
        wrong.append(_mismatch("apiVersion", version, kind.api_version))
    if wrong:
        raise bad_request("; ".join(wrong))
    return {**body, "apiVersion": kind.api_version, "kind": kind.name}


def _without_managed_fields(body: dict[str, Any]) -> dict[str, Any]:
    """Drop what a server that does server-side apply writes: the one field that may hold anything at all."""
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return body
    return {**body, "metadata": {key: metadata[key] for key in metadata if key != "managedFields"}}


def _mismatch(field: str, value: Any, expected: str) -> str:
    if value in (None, ""):
        return f'{field} is missing: expected "{expected}"'
    return (
        f'the {field} in the data ({causes.shown(value)}) does not match the expected {field} ("{expected}")'
    )


def _cannot_be_handled(kind: Kind, reason: str) -> StatusError:
    return bad_request(
        f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: {reason}'
    )


def _fits(kind: Kind, body: dict[str, Any]) -> bool:
    """Whether the body needs no cleaning. Encoding it finds what the validator doesn't: lone surrogates."""
    try:
        if not _validator(kind, False).is_valid(body):
            return False
        msgspec.json.encode(body)
    except ValueError as error:
        raise _unreadable(kind, error) from error
    return True


def _read(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with its quantities and times read, and written as Kubernetes does."""
    try:
        return scalars.canonical(kind, body)
    except scalars.Unreadable as unreadable:
        raise _cannot_be_handled(kind, str(unreadable)) from unreadable


def _unreadable(kind: Kind, error: ValueError) -> StatusError:
    """A body that no JSON text could have given, or one that is nested too deeply, or lone surrogates."""
    if isinstance(error, UnicodeError):
        return _cannot_be_handled(kind, "a text is not valid Unicode (it holds a lone surrogate)")
    return _cannot_be_handled(kind, str(error)[:200])


def _where_it_belongs(kind: Kind, text: str) -> str:
    """Return where a field belongs that stands in another part of the object; "" where nothing has it."""
    *above, field = text.partition('"')[2].rstrip('"').split(".")
    if len(above) > 1 or not set(above) <= set(_PARTS):
        return ""
    parts = ((part, schema) for part, schema in schema_of(kind).fields.items() if part in _PARTS)
    belongs = (part for part, schema in parts if above != [part] and field in schema.fields)
    part = next(belongs, "")
    return f" (it belongs under {part})" if part else ""


def _clean(schema: SchemaNode, value: Any, path: str, unknown: list[str]) -> Any:
    """Return the value without nulls and unknown fields; add the latter to `unknown`, at most 100."""
    if isinstance(value, dict):
        if schema.has_fields:
            return _clean_fields(schema, value, path, unknown)
        if (inner := schema.values) is not None:
            return _clean_map(inner, value, path, unknown)
    elif isinstance(value, list) and (inner := schema.items) is not None:
        return [_clean(inner, element, f"{path}[{i}]", unknown) for i, element in enumerate(value)]
    return value


def _clean_fields(schema: SchemaNode, value: dict[str, Any], path: str, unknown: list[str]) -> dict[str, Any]:
    out = {}
    fields = schema.fields
    for key, inner in value.items():
        field = fields.get(key)
        if field is None:
            if len(unknown) < _MOST_UNKNOWN_FIELDS:
                unknown.append(f'unknown field "{below(path, causes.printable(key))}"')
        elif inner is not None:
            out[key] = _clean(field, inner, f"{path}.{key}" if path else key, unknown)
    return out


def _clean_map(inner: SchemaNode, value: dict[str, Any], path: str, unknown: list[str]) -> dict[str, Any]:
    """A null in a map is the zero value, as Go decodes `labels: {a: null}`; of other types, absent."""
    out = {}
    for key, element in value.items():
        if element is None:
            if inner.is_string or inner.type_name == "Quantity":
                out[key] = "" if inner.is_string else "0"
        elif inner.has_fields or inner.values is not None or inner.items is not None:
            out[key] = _clean(inner, element, below(path, key), unknown)
        else:
            out[key] = element
    return out


def _wrong_types(kind: Kind, cleaned: dict[str, Any]) -> list[str]:
    try:
        errors: Iterator[ValidationError] = _validator(kind, False).iter_errors(cleaned)
        wrong = [_wrong_type(error) for error in itertools.islice(errors, _MOST_WRONG_TYPES + 1)]
    except ValueError as error:
        raise _unreadable(kind, error) from error
    if len(wrong) > _MOST_WRONG_TYPES:
        wrong[-1] = "and more"
    return wrong


def _wrong_type(error: ValidationError) -> str:
    """Return what is wrong with one field, such as: spec.ports[0].port: "x" is not of type "integer"."""
    from jsonschema_rs import ValidationErrorKind

    value, reason = causes.shown(error.instance), error.kind
    field = path_text(error.instance_path)
    match reason:
        case ValidationErrorKind.Type():
            expected = _not_of_type(reason.types)
        case ValidationErrorKind.Format():
            expected = "is not a date and time as 2006-01-02T15:04:05Z"
        case ValidationErrorKind.OneOfNotValid():
            reasons = [branch[0].kind for branch in reason.context if branch]
            of_type = [each for each in reasons if isinstance(each, ValidationErrorKind.Type)]
            types = [word for each in of_type for word in each.types]
            expected = _not_of_type(types) if len(types) == len(reasons) else _OUT_OF_RANGE
        case _:
            expected = _OUT_OF_RANGE
    return f"{field}: {value} {expected}"


def _not_of_type(types: Iterable[str]) -> str:
    return "is not of type " + " or ".join(f'"{word}"' for word in types)


@functools.cache
def _validator(kind: Kind, with_required: bool) -> Draft4Validator:
    """Compile the schema of a kind: for its types and field names, or for its required fields too.

    Draft 4, because there 80.0 is no integer (to Go's decoder neither) and what stands beside a `$ref`
    doesn't count, as in OpenAPI 3.0.
    """
    from jsonschema_rs import Draft4Validator

    schemas = openapi.schemas()
    if not with_required:
        schemas = {name: _decodable(node) for name, node in schemas.items()}
    root = {"$ref": openapi.reference(openapi.component(kind)), "components": {"schemas": schemas}}
    return Draft4Validator(root, validate_formats=True)


def _decodable(node: Any) -> Any:
    """Return a schema for what Go's decoder takes: named fields only, none required, integers that fit."""
    if isinstance(node, list):
        return [_decodable(value) for value in node]
    if not isinstance(node, dict):
        return node
    out = {
        key: _decodable(value)
        for key, value in node.items()
        if key not in ("description", "required", "enum")
    }
    if "properties" in node:
        out["properties"] = {name: _decodable(value) for name, value in node["properties"].items()}
        out["additionalProperties"] = False
    if node.get("type") in ("integer", "number"):
        limit = _LIMITS[node.get("format", "int32" if node["type"] == "integer" else "int64")]
        out |= {"minimum": -limit, "maximum": limit - 1}
    return out
