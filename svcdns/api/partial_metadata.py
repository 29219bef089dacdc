"""PartialObjectMetadata: objects without spec and status, for clients that look at metadata only.

Metadata are cut out of the stored octets, which are not decoded further.
https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources
"""

from __future__ import annotations

import msgspec

_OBJECT = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%b","metadata":%b}'


class _WithMetadata(msgspec.Struct):
    metadata: msgspec.Raw


_decode = msgspec.json.Decoder(_WithMetadata).decode


def of_object(octets: bytes, version: str) -> bytes:
    """Return the metadata of an object, as JSON; `version` is that of meta.k8s.io."""
    return _OBJECT % (version.encode(), bytes(_decode(octets).metadata))
