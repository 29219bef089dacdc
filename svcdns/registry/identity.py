"""Kind, namespace and name: what a request says of an object and what the object says must agree.

A body may leave out what the request says already: `agreed` fills it in, once, before the registry gets it.
A patch says another name only in its outcome: `check_not_renamed` refuses that.
"""

from __future__ import annotations

from typing import Any

from svcdns.objects.errors import bad_request
from svcdns.objects.kinds import Kind

_OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"


def agreed(kind: Kind, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with what the request says filled in; `name` is "" where the request names none.

    Raises StatusError 400 on a contradiction.
    """
    for field, expected in (("apiVersion", kind.api_version), ("kind", kind.name)):
        given = body.get(field)
        if given not in (None, "", expected):
            text = f"{field} of the object is {given!r:.80}, but the path {kind.plural} takes {expected}"
            raise bad_request(text)
    metadata = body.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata: an object is expected")
    if not kind.namespaced:
        if metadata.get("namespace"):
            raise bad_request(_OTHER_NAMESPACE)
        metadata = {key: value for key, value in metadata.items() if key != "namespace"}
    else:
        metadata = _filled_in(metadata, "namespace", namespace)
    metadata = _filled_in(metadata, "name", name) if name else metadata
    return {**body, "apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}


def _filled_in(metadata: dict[str, Any], field: str, requested: str) -> dict[str, Any]:
    given = metadata.get(field)
    if given in (None, ""):
        return {**metadata, field: requested}
    if given != requested:
        text = (
            f"the {field} of the object ({given!r:.80}) does not match the {field} on the URL ({requested!r})"
        )
        raise bad_request(text)
    return metadata


def check_not_renamed(old: dict[str, Any], patched: dict[str, Any]) -> None:
    """Raise StatusError 400 where a patch would give an object another name or namespace."""
    stored, metadata = old["metadata"], patched.get("metadata") or {}
    name = stored["name"]
    if metadata.get("name", name) != name:
        text = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        raise bad_request(text)
    if metadata.get("namespace") and metadata["namespace"] != stored.get("namespace", ""):
        raise bad_request(_OTHER_NAMESPACE)
