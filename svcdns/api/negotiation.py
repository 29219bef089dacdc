"""Which form of an answer is asked for: objects, their metadata, Tables, discovery; JSON, YAML; a WebSocket.

Everything but /openapi/v2 is answered in JSON or YAML, whatever else `Accept` names: clients pick their
decoder from the Content-Type of the answer, so a client that prefers protobuf is served too, and 406 is never
given.
https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from aiohttp import web

JSON = "application/json"
YAML = "application/yaml"
TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."
"""Begins a subprotocol of a WebSocket that holds a bearer token (see auth.authentication)."""


@functools.lru_cache(maxsize=64)  # clients have few, and each request is asked about its own several times
def _clauses(accept: str) -> tuple[tuple[str, dict[str, str]], ...]:
    """Return (media type, parameters) of an Accept header in its order."""
    clauses = []
    for clause in accept.split(","):
        media, *parameters = clause.split(";")
        pairs = (parameter.partition("=") for parameter in parameters)
        clauses.append((media.strip().lower(), {name.strip(): value.strip() for name, _, value in pairs}))
    return tuple(clauses)


def media_types(accept: str) -> Iterator[str]:
    """Yield the media types of an Accept header, without their parameters."""
    return (media for media, _ in _clauses(accept))


def _asked_for(accept: str, form: str, group: str, versions: tuple[str, ...]) -> str:
    """Return the version of the first form asked for that we have; "" when that is plain JSON."""
    for media, parameters in _clauses(accept):
        asked = parameters.get("as", "")
        if media == JSON and asked == form and parameters.get("g") == group:
            if (version := parameters.get("v", "")) in versions:
                return version
        elif media in (JSON, "*/*", "application/*") and not asked:
            return ""
    return ""


def table_version(accept: str) -> str:
    """Return "v1" or "v1beta1" when a Table is asked for, else ""."""
    return _asked_for(accept, "Table", "meta.k8s.io", ("v1", "v1beta1"))


def discovery_version(accept: str) -> str:
    """Return "v2" or "v2beta1" when aggregated discovery is asked for, else ""."""
    return _asked_for(accept, "APIGroupDiscoveryList", "apidiscovery.k8s.io", ("v2", "v2beta1"))


def metadata_version(accept: str) -> str:
    """Return "v1" or "v1beta1" when only metadata are asked for, of an object or a list, else ""."""
    versions = ("v1", "v1beta1")
    forms = ("PartialObjectMetadata", "PartialObjectMetadataList")
    return next(filter(None, (_asked_for(accept, form, "meta.k8s.io", versions) for form in forms)), "")


def wants_yaml(accept: str) -> bool:
    """Return whether YAML is asked for rather than JSON."""
    for media, _ in _clauses(accept):
        if media == YAML:
            return True
        if media in (JSON, "*/*", "application/*"):
            return False
    return False


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an answer may be compressed (RFC 9110 section 12.5.3)."""
    for coding, parameters in _clauses(accept_encoding):
        if coding == "gzip":
            return parameters.get("q", "1").rstrip("0").rstrip(".") not in ("", "0")
    return False


def wants_web_socket(request: web.Request) -> bool:
    """Return whether a client opens a WebSocket (RFC 6455 section 4.2.1), be its key good or not."""
    connection = ",".join(request.headers.getall("Connection", ()))
    return (
        request.method == "GET"
        and request.version >= (1, 1)
        and request.headers.get("Upgrade", "").strip().lower() == "websocket"
        and "upgrade" in media_types(connection)
    )


def subprotocols(request: web.Request) -> list[str]:
    """Return the subprotocols that a WebSocket's client offers, in its order."""
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", ()))
    return [word.strip() for word in offered.split(",") if word.strip()]
