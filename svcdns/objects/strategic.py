"""Strategic merge: a patch that knows which lists are merged by which key.

The rules are Kubernetes' (k8s.io/apimachinery/pkg/util/strategicpatch, the applying half), driven by
x-kubernetes-patch-strategy and -merge-key of the official schema:

- an object is merged field by field; null takes a field away;
- a list with strategy "merge" is merged: of objects by their merge key, of plain values as a set; any other
  list is replaced;
- directives: `$patch: replace|delete|merge` in an object or an element, `$retainKeys: [...]`,
  `$setElementOrder/FIELD: [...]`, `$deleteFromPrimitiveList/FIELD: [...]`.

https://github.com/kubernetes/community/blob/main/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from .causes import shown
from .errors import bad_request
from .schema_tree import SchemaNode

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"

Object = dict[str, Any]
KeyOf = Callable[[Any], Hashable]


def merge_object(schema: SchemaNode | None, original: Object, patch: Object) -> Object:
    """Return the original with the patch merged in; neither is changed. Raises StatusError 400.

    `schema` is where in the schema the object stands; None where the schema says nothing.
    """
    directive = patch.get(_PATCH, "merge")
    if directive == "replace":
        return _plain_object({key: value for key, value in patch.items() if key != _PATCH})
    if directive == "delete":
        return {}
    if directive != "merge":
        raise bad_request(f"invalid patch: unknown $patch {shown(directive)}: use replace, delete or merge")
    out = _retained(original, patch)
    for key, value in patch.items():
        if key.startswith(_ORDER):
            _order_field(schema, out, patch, key)
        elif value is None:
            out.pop(key, None)
        elif not key.startswith("$"):
            order = _list_at(patch, _ORDER + key)
            out[key] = _merged(_child(schema, key), key, out.get(key), value, order)
    for key, value in patch.items():
        if key.startswith(_DELETE):
            _delete_values(out, key, value)
    return out


def _order_field(schema: SchemaNode | None, out: Object, patch: Object, key: str) -> None:
    """Carry out a $setElementOrder of a list that the patch doesn't change otherwise."""
    field, order = key.removeprefix(_ORDER), _list_at(patch, key)
    if order is not None and field not in patch and isinstance(out.get(field), list):
        child = _child(schema, field)
        key_of = (
            _element_key(child.merge_key, field) if child is not None and child.merge_key else _scalar_key
        )
        out[field] = _ordered(out[field], order, out[field], key_of)


def _child(schema: SchemaNode | None, key: str) -> SchemaNode | None:
    """The schema of a field, or of a map's value."""
    if schema is None:
        return None
    return schema.fields.get(key) if schema.has_fields else schema.values


def _list_at(patch: Object, key: str) -> list[Any] | None:
    value = patch.get(key)
    if value is not None and not isinstance(value, list):
        raise bad_request(f"invalid patch: {key} must be a list, not {shown(value)}")
    return value


def _retained(original: Object, patch: Object) -> Object:
    """Return a copy of the original with the keys that $retainKeys names, or all."""
    keys = _list_at(patch, _RETAIN)
    if keys is None:
        return dict(original)
    kept = {key for key in keys if isinstance(key, str)}
    extra = [key for key, value in patch.items() if value is not None and key[:1] != "$" and key not in kept]
    if extra:
        raise bad_request(f"invalid patch: {shown(extra[0])} is in the patch but not in its $retainKeys")
    return {key: value for key, value in original.items() if key in kept}


def _delete_values(out: Object, key: str, unwanted: Any) -> None:
    """Take plain values out of a list."""
    field = key.removeprefix(_DELETE)
    if not isinstance(unwanted, list):
        raise bad_request(f"invalid patch: {key} must be a list, not {shown(unwanted)}")
    if isinstance(out.get(field), list):
        gone = {_scalar_key(value) for value in unwanted}
        out[field] = [value for value in out[field] if _scalar_key(value) not in gone]


def _merged(schema: SchemaNode | None, key: str, current: Any, patch: Any, order: list[Any] | None) -> Any:
    """Return one field's value after the patch."""
    strategies = schema.strategies if schema is not None else ()
    if isinstance(patch, dict):
        if "replace" in strategies or not isinstance(current, dict):
            return _plain(patch)
        return merge_object(schema, current, patch)
    if isinstance(patch, list) and "merge" in strategies:
        assert schema is not None
        return _merge_list(schema, key, current if isinstance(current, list) else [], patch, order)
    return _plain(patch)


def _merge_list(
    schema: SchemaNode, field: str, original: list[Any], patch: list[Any], order: list[Any] | None
) -> list[Any]:
    if not schema.merge_key:
        if any(isinstance(value, dict | list) for value in patch):
            raise bad_request(f"invalid patch: {field} is a list of plain values")
        merged = _unique([*original, *patch])
        return _ordered(merged, patch if order is None else order, original, _scalar_key)
    by_key = _element_key(schema.merge_key, field)
    original, patch, replaced = _special_elements(schema.merge_key, original, patch, by_key)
    if replaced:
        return patch
    merged = list(original)
    places: dict[Hashable, int] = {}
    for place, element in enumerate(merged):
        places.setdefault(by_key(element), place)
    for element in patch:
        place = places.get(by_key(element), -1)
        if place < 0:
            places[by_key(element)] = len(merged)
            merged.append(_plain(element))
        else:
            merged[place] = merge_object(schema.items, merged[place], element)
    return _ordered(merged, patch if order is None else order, original, by_key)


def _special_elements(
    merge_key: str, original: list[Any], patch: list[Any], by_key: KeyOf
) -> tuple[list[Any], list[Any], bool]:
    """Carry out the elements that are directives; return what is left of both, and whether to replace."""
    rest, gone, replaced = [], set(), False
    for element in patch:
        directive = element.get(_PATCH) if isinstance(element, dict) else None
        if directive is None:
            rest.append(element)
        elif directive == "delete":
            gone.add(by_key(element))
        elif directive == "replace":
            replaced = True
            # `- $patch: replace` alone says "replace the list"; other fields would be an element of it.
            if merge_key in element:
                rest.append({key: value for key, value in element.items() if key != _PATCH})
        elif directive == "merge":
            rest.append({key: value for key, value in element.items() if key != _PATCH})
        else:
            raise bad_request(
                f"invalid patch: unknown $patch {shown(directive)}: use replace, delete or merge"
            )
    if replaced:
        return [], [_plain(element) for element in rest], True
    return [element for element in original if not gone or by_key(element) not in gone], rest, False


def _element_key(merge_key: str, field: str) -> KeyOf:
    """Return a reader of an element's merge key."""

    def read(element: Any) -> Hashable:
        value = element.get(merge_key) if isinstance(element, dict) else None
        if value is None or isinstance(value, dict | list):
            raise bad_request(f"invalid patch: an element of {field} lacks its merge key {shown(merge_key)}")
        return _scalar_key(value)

    return read


def _scalar_key(value: Any) -> Hashable:
    """Return a key under which JSON values are equal if they are equal in JSON (true is not 1)."""
    if isinstance(value, dict | list):
        raise bad_request(f"invalid patch: {shown(value)} stands in a list of plain values")
    return (isinstance(value, bool), value)


def _unique(values: list[Any]) -> list[Any]:
    return list({_scalar_key(value): value for value in reversed(values)}.values())[::-1]


def _ordered(merged: list[Any], order: list[Any], before: list[Any], key_of: KeyOf) -> list[Any]:
    """Put the elements that `order` names in that order, among the others in the order they had.

    The two sequences are interleaved as they stood `before`; where that doesn't say, what `order` names
    comes first. (So an element that a patch adds without $setElementOrder comes first, as in Kubernetes.)
    """
    wanted = _places(order, key_of)
    stood = _places(before, key_of)
    keyed = [(key_of(element), element) for element in merged]
    named = sorted((pair for pair in keyed if pair[0] in wanted), key=lambda pair: wanted[pair[0]])
    others = sorted(
        (pair for pair in keyed if pair[0] not in wanted), key=lambda pair: stood.get(pair[0], len(stood))
    )
    out = []
    i = j = 0
    while i < len(others) and j < len(named):
        left, right = stood.get(others[i][0]), stood.get(named[j][0])
        if left is not None and right is not None and left < right:
            out.append(others[i][1])
            i += 1
        else:
            out.append(named[j][1])
            j += 1
    return [*out, *(element for _, element in others[i:]), *(element for _, element in named[j:])]


def _places(elements: list[Any], key_of: KeyOf) -> dict[Hashable, int]:
    places: dict[Hashable, int] = {}
    for place, element in enumerate(elements):
        places.setdefault(key_of(element), place)
    return places


def _plain_object(value: Object) -> Object:
    if value.get(_PATCH) == "delete":
        return {}
    return {key: _plain(inner) for key, inner in value.items() if inner is not None and key[:1] != "$"}


def _plain(value: Any) -> Any:
    """Return a patch's value where there is nothing to merge it with: no nulls, no directives."""
    if isinstance(value, dict):
        return _plain_object(value)
    if isinstance(value, list):
        return [_plain(element) for element in value if not _deletes(element)]
    return value


def _deletes(element: Any) -> bool:
    return isinstance(element, dict) and element.get(_PATCH) == "delete"
