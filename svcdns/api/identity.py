"""What the path says of an object and what its body says must be the same object.

The body may leave out what the path already says: apiVersion, kind, name and namespace are filled in.
"""

from __future__ import annotations

from typing import Any

from svcdns.objects.errors import bad_request

from .paths import Target


def agreed(target: Target, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with what the path says filled in.  Raises StatusError 400 on a contradiction."""
    kind = target.kind
    for field, expected in (("apiVersion", kind.api_version), ("kind", kind.name)):
        given = body.get(field)
        if given not in (None, "", expected):
            text = f"{field} of the object is {given!r:.80}, but the path {kind.plural} takes {expected}"
            raise bad_request(text)
    body = {**body, "apiVersion": kind.api_version, "kind": kind.name}
    metadata = body.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata: an object is expected")
    metadata = _filled_in(metadata, "namespace", target.namespace)
    if target.name:
        metadata = _filled_in(metadata, "name", target.name)
    return {**body, "metadata": metadata}


def _filled_in(metadata: dict[str, Any], field: str, in_path: str) -> dict[str, Any]:
    given = metadata.get(field)
    if given in (None, ""):
        return {**metadata, field: in_path} if in_path else metadata
    if given != in_path and (in_path or field == "name"):
        text = (
            f"the {field} of the object ({given!r:.80}) does not match the {field} on the URL ({in_path!r})"
        )
        raise bad_request(text)
    return metadata
