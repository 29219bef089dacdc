"""How lists are written: as they are stored, their metadata alone, or a Table; piece by piece, or as a whole.

    {"kind":"PodList","apiVersion":"v1","metadata":{...},"items":[  ITEM,ITEM  ]}

Where only the end of a list knows its metadata (a page, whose `continue` is its last key), these come last.
Items are joined from stored octets, which are decoded for Tables only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from svcdns.objects.kinds import Kind
from svcdns.registry.requests import Page, Piece

from . import partial_metadata, tables
from .negotiation import metadata_version, table_version
from .responses import Clock, included, is_pretty

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class ListForm:
    """One way to write a list."""

    head: dict[str, Any]
    """What the list says of itself, without its metadata."""
    field: str
    """What its objects are called: items or rows."""
    show: Callable[[bytes], bytes] | None = None
    """How one is shown; None: as it is stored."""
    more: tuple[tuple[str, msgspec.Raw], ...] = ()
    """What else a list has."""
    is_pretty: bool = False
    shared: str = ""
    """A name under which what is made of a piece is kept for others; "": it is for one client only."""

    def begin(self, metadata: dict[str, Any] | None) -> bytes:
        """Return what stands before the first item; without metadata these stand at the end."""
        fields: dict[str, Any] = dict(self.head)
        if metadata is not None:
            fields["metadata"] = metadata
        octets = _encode({**fields, **dict(self.more), self.field: []})
        return _pretty(octets)[: -len("]\n}")] if self.is_pretty else octets[: -len("]}")]

    def items(self, items: Iterable[bytes]) -> bytes:
        """Return items as they stand in the list, with commas between them."""
        if self.show is not None:
            items = map(self.show, items)
        if self.is_pretty:
            return b",".join(b"\n    " + _pretty(item).replace(b"\n", b"\n    ") for item in items)
        return b",".join(items)

    def piece(self, piece: Piece) -> bytes:
        """Return the items of a piece."""
        if not self.shared:
            return self.items(piece.items)
        key = (self.shared, self.is_pretty)
        found = piece.encoded.get(key)
        if found is None:
            found = piece.encoded[key] = self.items(piece.items)
        return found

    def end(self, metadata: dict[str, Any] | None) -> bytes:
        """Return what stands behind the last item of a list that has some."""
        if not self.is_pretty:
            return b"]}" if metadata is None else b'],"metadata":%b}' % _encode(metadata)
        octets = b"" if metadata is None else _pretty(_encode({"metadata": metadata}))
        return b"\n  ]" + (b"," + octets[1:] if octets else b"\n}") + b"\n"

    def whole(self, page: Page) -> bytes:
        """Return a list as a whole."""
        octets = self.begin(tables.list_metadata(page)) + self.items(page.items)
        if page.items:
            return octets + self.end(None)
        return octets + (b"]\n}\n" if self.is_pretty else b"]}")


def _pretty(octets: bytes) -> bytes:
    """Return JSON indented; its texts have no newline, so each one there is ends a line."""
    return msgspec.json.format(octets, indent=2)


def of(request: web.Request, kind: Kind, clock: Clock) -> ListForm:
    """Return the form of a list that a client asks for."""
    accept = request.headers.get("Accept", "")
    indented = is_pretty(request)
    if version := metadata_version(accept):
        head = {"kind": "PartialObjectMetadataList", "apiVersion": f"meta.k8s.io/{version}"}
        return ListForm(
            head,
            "items",
            lambda octets: partial_metadata.of_object(octets, version),
            is_pretty=indented,
            shared=f"metadata {version}",
        )
    if version := table_version(accept):
        beside, now = included(request), clock()
        head = {"kind": "Table", "apiVersion": f"meta.k8s.io/{version}"}
        return ListForm(
            head,
            "rows",
            lambda octets: tables.row(kind, octets, now, version, beside),
            more=(("columnDefinitions", tables.definitions(kind)),),
            is_pretty=indented,
        )
    head = {"kind": kind.name + "List", "apiVersion": kind.api_version}
    return ListForm(head, "items", is_pretty=indented, shared="as stored")
