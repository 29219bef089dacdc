"""Answers that are the same for as long as the server runs: /, /version, discovery, OpenAPI."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from . import discovery, openapi_v2, published_openapi
from .negotiation import JSON, discovery_version
from .responses import is_pretty

_encode = msgspec.json.encode
_PLAIN = ("/healthz", "/livez", "/metrics", "/readyz", "/resolv.conf")
"""Paths that answer in plain text."""


@dataclass(frozen=True, slots=True)
class Document:
    """Octets of JSON with their Content-Type and entity tag."""

    octets: bytes
    content_type: str = JSON

    def answer(self, request: web.Request) -> web.Response:
        """Return the document, or 304 when the client has it already."""
        tag = f'"{hashlib.sha256(self.octets).hexdigest()[:32].upper()}"'
        headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public, no-cache"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        octets = self.octets
        if self.content_type.startswith(JSON) and is_pretty(request):
            octets = msgspec.json.format(octets, indent=2) + b"\n"
        return web.Response(body=octets, headers={**headers, "Content-Type": self.content_type})


@functools.cache
def _aggregated(path: str, version: str) -> Document:
    octets = _encode(discovery.aggregated(version, core=path == "/api"))
    return Document(octets, discovery.AGGREGATED_TYPE.format(version))


class Documents:
    """Finds the document of a path; each is made when it is first asked for."""

    def __init__(self, version: str) -> None:
        """`version` is svcdns' own."""
        self._made: dict[str, Document] = {}
        self._openapi: dict[str, bytes] = {}
        self._makers: dict[str, Callable[[], bytes]] = {
            "/": lambda: _encode({"paths": self.paths()}),
            "/version": lambda: _encode(discovery.version_document(version)),
            "/apis": lambda: _encode(discovery.api_group_list()),
            openapi_v2.PATH: openapi_v2.json_octets,
            "/openapi/v3": lambda: self._published("/openapi/v3"),
        }
        for group, v in discovery.groups():
            self._add_group(group, v)

    def _add_group(self, group: str, version: str) -> None:
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        self._makers[root] = lambda: _encode(discovery.resource_list(group, version))
        self._makers[f"/openapi/v3{root}"] = lambda: self._published(f"/openapi/v3{root}")
        if group:
            self._makers[f"/apis/{group}"] = lambda: _encode(discovery.api_group(group, version))

    def paths(self) -> list[str]:
        """Return all paths, as / lists them."""
        return sorted({*self._makers, "/api", *_PLAIN} - {"/"})

    def _published(self, path: str) -> bytes:
        self._openapi = self._openapi or published_openapi.documents()
        return self._openapi[path]

    def find(self, request: web.Request, path: str) -> Document | None:
        """Return what a path (without a trailing slash) answers to this request's Accept, None elsewhere."""
        if path in ("/api", "/apis") and (version := discovery_version(request.headers.get("Accept", ""))):
            return _aggregated(path, version)
        if path == openapi_v2.PATH and openapi_v2.is_protobuf(request.headers.get("Accept", "")):
            return Document(openapi_v2.protobuf_octets(), openapi_v2.PROTOBUF)
        if path == "/api":
            return Document(_encode(discovery.api_versions(request.host)))
        if path not in self._makers:
            return None
        if path not in self._made:
            self._made[path] = Document(self._makers[path]())
        return self._made[path]
