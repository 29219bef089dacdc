"""Lists: read in pieces, as fast as whoever reads takes them.

A list shows one state for as long as its snapshot is held (`held_snapshots`).  A reader that takes longer
gets the rest as it is then, under the revision of the beginning, and so does who asks for a list page by
page: a watch from that revision brings whatever changed meanwhile.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Self

import msgspec

from svcdns.objects.errors import StatusError, bad_request
from svcdns.objects.kinds import Kind
from svcdns.store import log
from svcdns.store.environment import Store
from svcdns.system.turns import Turns

from .address_views import View
from .held_snapshots import HeldSnapshots
from .reading import ROWS, count_some, read_piece
from .recent import Recent
from .requests import Page, Piece, Selection
from .transaction import log_of

MAX_PAGE = 10_000
KEYS = 16 * ROWS
"""Keys that are counted in one go."""
_TOO_OLD = "The provided continue parameter is too old to display a consistent list; start the list again"


class _Token(msgspec.Struct, array_like=True, frozen=True):
    """A `continue` token: which list it belongs to, its revision, the last key given."""

    kind: str
    namespace: str
    revision: int
    after: bytes


@dataclass(slots=True)
class Reads:
    """What all who read lists of one registry share."""

    store: Store
    snapshots: HeldSnapshots
    turns: Turns
    pieces: Recent[Piece]

    @classmethod
    def of(cls, store: Store) -> Reads:
        """Make it for a store, which has to be closed after this."""
        return cls(store, HeldSnapshots(store), Turns(), Recent())

    def close(self) -> None:
        """Let go of the store."""
        self.snapshots.close()
        self.pieces.clear()


class Listing:
    """One list that is being read; a context manager, whose end lets go of the state that it shows."""

    def __init__(
        self,
        reads: Reads,
        kind: Kind,
        namespace: str,
        selection: Selection,
        limit: int = 0,
        continue_: str = "",
        view: View | None = None,
    ) -> None:
        """`limit` 0 is all; a `view` is shown as a whole.

        Raises StatusError 400 for a token of another list, 410 for an old one.
        """
        token = _read_token(continue_, kind, namespace) if continue_ and view is None else None
        self._viewed = None if view is None else view.page(selection, continue_)
        self.continue_ = ""
        """At the end: where the next page begins, "" where there is none."""
        self.remaining: int | None = None
        """At the end: how many objects there are after this page; None where that isn't known."""
        self._reads = reads
        self._collection = (kind, namespace, selection)
        self._limit = min(limit, MAX_PAGE) if limit > 0 else 0
        self._after = token.after if token else b""
        self._snapshot = reads.snapshots.take()
        self.revision = self._snapshot.revision if self._viewed is None else self._viewed.revision
        if token is not None:
            self.revision = token.revision
            if self.revision < log.floor(self._snapshot.txn, log_of(reads.store.tables, kind.stored)):
                self.close()
                raise StatusError(410, "Expired", _TOO_OLD)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the state."""
        self._reads.snapshots.give_back(self._snapshot)

    @property
    def has_limit(self) -> bool:
        """Whether it is one page of a list, so that only its end knows `continue_`."""
        return bool(self._limit)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield the list piece by piece; others have their turn between two."""
        steps = self._steps()
        while True:
            await self._reads.turns.next()
            piece = next(steps, None)
            if piece is None:
                return
            if piece.items:
                yield piece

    def page(self) -> Page:
        """Return all of it, read in one go."""
        items = [item for piece in self._steps() for item in piece.items]
        return Page(items, self.revision, self.continue_, self.remaining)

    def _steps(self) -> Iterator[Piece]:
        """Read step by step; some of the steps find nothing."""
        if self._viewed is not None:
            yield Piece(self._viewed.items, b"", True, 0)
            return
        left, after = self._limit or ROWS, self._after
        while left:
            piece = self._read(after, min(left, ROWS))
            yield piece
            if piece.is_last:
                return
            after = piece.after
            if self._limit:
                left -= len(piece.items)
        yield from self._look_behind(after)

    def _look_behind(self, last: bytes) -> Iterator[Piece]:
        """Find out whether there is more behind the last key of a page, and how much."""
        kind, namespace, selection = self._collection
        after = last
        while not (found := self._read(after, 1)).items:
            if found.is_last:
                return
            after = found.after
            yield _NOTHING
        self.continue_ = _write_token(_Token(kind.name, namespace, self.revision, last))
        if selection:
            return
        remaining, after = 0, last
        while True:
            self._renew()
            counted, after = count_some(self._snapshot.txn, self._reads.store, kind, namespace, after, KEYS)
            remaining += counted
            if counted < KEYS:
                break
            yield _NOTHING
        self.remaining = remaining

    def _read(self, after: bytes, most: int) -> Piece:
        """Read a piece, unless somebody else just has."""
        self._renew()
        key = (self._snapshot.number, *self._collection, after, most)
        found = self._reads.pieces.get(key)
        if found is None:
            kind, namespace, selection = self._collection
            found = read_piece(self._snapshot.txn, self._reads.store, kind, namespace, selection, after, most)
            self._reads.pieces.put(key, found, found.octets)
        return found

    def _renew(self) -> None:
        """Take another snapshot when the one at hand may not be held any longer."""
        if self._snapshot.is_over:
            self._reads.snapshots.give_back(self._snapshot)
            self._snapshot = self._reads.snapshots.take()


_NOTHING = Piece([], b"", False, 0)
"""A step in which nothing was found that belongs to the page."""


def _write_token(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(token)).decode()


def _read_token(text: str, kind: Kind, namespace: str) -> _Token:
    try:
        token = msgspec.msgpack.decode(base64.urlsafe_b64decode(text.encode()), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as wrong:
        raise bad_request("continue: not a token that this server has given out") from wrong
    if (token.kind, token.namespace) != (kind.name, namespace):
        raise bad_request("continue: the token belongs to another list")
    return token
