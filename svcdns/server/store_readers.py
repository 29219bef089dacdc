"""Readers of the store that hold an old state for too long: a stuck one would make the map grow forever.

LMDB can't reuse a page while a reader may still see it.  So a worker whose read transaction has been
older than the newest commit for LONGEST seconds is ended; its successor begins afresh.  A worker with a
zone transfer under way gets LONGEST_TRANSFER (a transfer ends itself after 5 s without progress).

No I/O and no clock: `Readers.behind_too_long` is given what LMDB says and the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LONGEST = 5.0
LONGEST_TRANSFER = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader with a transaction under way: `txn` is the commit that it sees."""

    pid: int
    thread: str
    txn: int


def parse(table: str) -> Iterator[Reader]:
    """Yield the readers of LMDB's reader table (the text of Environment.readers()) that read now."""
    for line in table.splitlines():
        words = line.split()
        if len(words) == 3 and words[0].isdigit() and words[2].isdigit():
            yield Reader(int(words[0]), words[1], int(words[2]))


class Readers:
    """Remembers since when each reader has been behind."""

    def __init__(self) -> None:
        self._since: dict[Reader, float] = {}

    def behind_too_long(self, table: str, newest: int, now: float, workers: Mapping[int, bool]) -> list[int]:
        """Return the pids of workers to end.

        `newest` is the last commit, `now` in seconds, `workers` says of each worker's pid whether it has a
        transfer under way.  Readers that are no worker are left alone.
        """
        behind = [reader for reader in parse(table) if reader.txn < newest]
        self._since = {reader: self._since.get(reader, now) for reader in behind}
        stuck = []
        for reader, since in self._since.items():
            if reader.pid in workers:
                allowed = LONGEST_TRANSFER if workers[reader.pid] else LONGEST
                if now - since > allowed and reader.pid not in stuck:
                    stuck.append(reader.pid)
        return stuck

    def oldest_age(self, now: float) -> float:
        """Return for how long the reader that is behind for longest has been so, in seconds; 0 for none."""
        return max((now - since for since in self._since.values()), default=0.0)
