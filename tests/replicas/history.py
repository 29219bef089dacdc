"""What clients of several replicas did, and what etcd says that came of it: the input of `checker`.

    with history.operation("a", "Service/web", mark="m7", base=12_000_000) as operation:
        status, answer = calls.call(...)
        operation.done(revision)                # or refused(); else its outcome stays unknown

Each write leaves a mark of its own on its object, so that a state says which write has made it.
Revisions are etcd's own; a version is a resourceVersion.  Times are those of one clock, in nanoseconds.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple


class Outcome(Enum):
    """What a client knows of its operation."""

    DONE = "answered 2xx"
    REFUSED = "answered that nothing was changed"
    UNKNOWN = "not answered, or that it is not known"


class Change(NamedTuple):
    """What stands under the key of an object from a revision on."""

    revision: int
    name: str
    mark: str | None
    """Of the write that has made it so; None: the object is gone."""
    version: int = 0
    """Its resourceVersion; of what is gone 0."""
    held: frozenset[str] = frozenset()
    """Addresses and ports that only one may have."""
    marks: Mapping[str, str] = MappingProxyType({})
    """The last mark of each client that has written it."""


class Allocation(NamedTuple):
    """Who has an address or a port from a revision on."""

    revision: int
    what: str
    owner: str | None
    """Its object; None: nobody."""


class Space(NamedTuple):
    """How a namespace stands from a revision on."""

    revision: int
    name: str
    is_open: bool
    """Whether something may be created in it: it is there, and its deletion has not begun."""
    is_there: bool


class Owned(NamedTuple):
    """How an object that has owners, or is one, stands from a revision on."""

    revision: int
    name: str
    uid: str = ""
    """"": it is gone."""
    owners: frozenset[str] = frozenset()
    """Their uids."""
    is_over: bool = False
    """Whether its deletion has begun, and nothing holds it any more."""


class Answer(NamedTuple):
    """What DNS has shown of an object: no revision, but the write from which that follows."""

    at: str
    name: str
    mark: str
    began: int
    ended: int


@dataclass(slots=True)
class Operation:
    """One operation of a client."""

    at: str
    """The replica that was asked."""
    name: str
    """The object it is about; of a list what the names of its objects begin with, up to a slash."""
    mark: str | None = None
    """Which a write leaves; None: of a delete, of a read."""
    base: int = 0
    """The resourceVersion that it must not have changed since; 0: it does not say."""
    is_read: bool = False
    began: int = 0
    ended: int = 0
    outcome: Outcome = Outcome.UNKNOWN
    revision: int = 0
    """Which it made, or showed; 0: the answer did not say (deletes)."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """Of a read: the marks of all objects there were, by name."""
    is_consistent: bool = False
    """Of a read: it asked for the most recent state, and was not told that this may be older."""
    by: str = ""
    """The client that adds its mark to what the object has, whatever that is; "" where it replaces all."""

    @property
    def is_delete(self) -> bool:
        """Whether the object is to go."""
        return not self.is_read and self.mark is None

    def done(self, revision: int = 0, seen: Mapping[str, str] | None = None) -> None:
        """Note that it was answered 2xx."""
        self.outcome, self.revision, self.seen = Outcome.DONE, revision, seen or {}

    def refused(self) -> None:
        """Note that it was answered that nothing was changed."""
        self.outcome = Outcome.REFUSED

    def __str__(self) -> str:
        what = "read" if self.is_read else "delete" if self.is_delete else f"write {self.mark}"
        return f"{what} of {self.name} at {self.at} ({self.outcome.name}, revision {self.revision})"


@dataclass
class History:
    """All that was done and seen."""

    operations: list[Operation] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    """All that etcd has changed, in order."""
    allocations: list[Allocation] = field(default_factory=list)
    """What etcd says who has which address or port, in order."""
    owned: list[Owned] = field(default_factory=list)
    spaces: list[Space] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    final: dict[str, dict[str, str]] = field(default_factory=dict)
    """The marks of all objects in the end, by name, as each replica shows them."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def operation(
        self,
        at: str,
        name: str,
        *,
        mark: str | None = None,
        base: int = 0,
        is_read: bool = False,
        by: str = "",
    ) -> Iterator[Operation]:
        """Record what is done in the block."""
        operation = Operation(at, name, mark, base, is_read, began=time.monotonic_ns(), by=by)
        try:
            yield operation
        finally:
            operation.ended = time.monotonic_ns()
            with self._lock:
                self.operations.append(operation)

    def count(self, outcome: Outcome) -> int:
        """Return how many writes came out so."""
        return sum(one.outcome is outcome for one in self.operations if not one.is_read)
