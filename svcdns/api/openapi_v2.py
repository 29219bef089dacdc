"""/openapi/v2: an empty document, so that kubectl takes manifests of kind List.

kubectl asks here, in protobuf, before it sends a List (what `kubectl get -o yaml` writes of several
objects): which fields do the kinds have?  A kind that the document lacks is left to the server, which
validates each object itself; the schemas are published at /openapi/v3.
https://github.com/google/gnostic/blob/main/openapiv2/OpenAPIv2.proto
"""

from __future__ import annotations

import msgspec

from svcdns.objects import openapi

from .negotiation import media_types

PATH = "/openapi/v2"
PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_PROTOBUF_BEFORE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""The name that clients use whose authors took "@" for a legal letter of media types."""


def is_protobuf(accept: str) -> bool:
    """Return whether protobuf is asked for rather than JSON."""
    return any(media in (PROTOBUF, _PROTOBUF_BEFORE) for media in media_types(accept))


def json_octets() -> bytes:
    """Return the document in JSON."""
    return msgspec.json.encode({"swagger": "2.0", "info": _info(), "paths": {}})


def protobuf_octets() -> bytes:
    """Return the document as a protobuf message openapi.v2.Document."""
    info = b"".join(_field(number, text.encode()) for number, text in enumerate(_info().values(), start=1))
    return _field(1, b"2.0") + _field(2, info)


def _info() -> dict[str, str]:
    info = openapi.document()["info"]
    return {"title": info["title"], "version": info["version"]}


def _field(number: int, octets: bytes) -> bytes:
    """Return a field of wire type 2; all of ours are shorter than 128 octets, as is each number below 16."""
    assert len(octets) < 128
    return bytes((number << 3 | 2, len(octets))) + octets
