"""A ring of blocks: one process writes without a lock or a system call, others read and know what they miss.

    numbers = RESERVED | HEAD | RECORDS | READ_AT | READ_RECORDS | ...       (u64 each)
    block   = frame | payload | frame;  frame = size of the payload, records in it, number of the first

Places are counted from the beginning of all times, so `place % size` is where it stands.  The writer stores
RESERVED before it overwrites anything and HEAD behind a block that is whole.  A reader copies, and then looks
at RESERVED: what had been overwritten by then is thrown away.  The two frames of a block must be equal, which
keeps half a block from being taken for one where a processor reorders stores.

Records are numbered, also those of a block that was too large to be kept, so a gap is a number of lost
records. READ_AT and READ_RECORDS are the observer's: how far it is, for the next one.

Standard library only.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

NUMBERS = 8
"""In front of a ring's octets."""
RESERVED, HEAD, RECORDS, READ_AT, READ_RECORDS = range(5)

_FRAME = Struct("=IIQ")
_PART_OF_THE_RING = 4
"""A block has at most one part of so many: what is older must not go all at once."""


class Block(NamedTuple):
    """What was written at once."""

    payload: bytes
    records: int
    first: int
    """The number of its first record."""


class Ring:
    """One ring of the tap, as its only writer has it."""

    def __init__(self, memory: memoryview) -> None:
        """Go on where a former writer ended; `memory` holds the numbers and the octets."""
        self.numbers = memory[: 8 * NUMBERS].cast("Q")
        self.octets = memory[8 * NUMBERS :]
        self.size = len(self.octets)
        self._most = self.size // _PART_OF_THE_RING
        self._head = self.numbers[HEAD]
        self._records = self.numbers[RECORDS]

    def append(self, payload: bytes, records: int) -> None:
        """Write a block; one that is too large is not written, its records count as lost."""
        frame = _FRAME.pack(len(payload), records, self._records)
        block = b"".join((frame, payload, frame))
        self._records += records
        octets = len(block)
        if octets > self._most:
            self.numbers[RECORDS] = self._records
            return
        numbers, size = self.numbers, self.size
        head = self._head + octets
        numbers[RESERVED] = head
        at = self._head % size
        end = at + octets
        if end <= size:
            self.octets[at:end] = block
        else:
            self.octets[at:] = block[: size - at]
            self.octets[: end - size] = block[size - at :]
        numbers[RECORDS] = self._records
        numbers[HEAD] = self._head = head


class RingReader:
    """One reader of a ring; there may be any number."""

    def __init__(self, ring: Ring) -> None:
        """Begin with what is written from now on."""
        self._numbers, self._octets, self._size = ring.numbers, ring.octets, ring.size
        self._at = self._numbers[HEAD]
        self._next: int | None = None

    def go_on(self) -> None:
        """Begin where the reader ended that has left its place here (see `leave_place`), else at the first
        block."""
        self._at, self._next = self._numbers[READ_AT], self._numbers[READ_RECORDS]

    def leave_place(self) -> None:
        """Store how far this reader is, for a next one; only one reader of a ring does so."""
        if self._next is not None:
            self._numbers[READ_RECORDS] = self._next
            self._numbers[READ_AT] = self._at

    def read(self) -> tuple[list[Block], int]:
        """Return the next blocks, half a ring of them at most, and how many records before or between them
        were lost."""
        head = self._numbers[HEAD]
        start, end = self._at, min(head, self._at + self._size // 2)
        if start == head:
            return [], 0
        octets = self._copy(start, end)
        if start > head or start < self._numbers[RESERVED] - self._size:
            self._at = head  # overwritten; the number of the next block says how much was lost
            return [], 0
        blocks, read = _blocks(octets)
        self._at = start + read if blocks else head
        return blocks, sum(map(self._lost_before, blocks))

    def _lost_before(self, block: Block) -> int:
        expected, self._next = self._next, block.first + block.records
        return 0 if expected is None else max(0, block.first - expected)

    def recent(self, octets: int) -> list[Block]:
        """Return blocks that stand in the last so many octets, the newest first; `read` goes on as before."""
        head = self._numbers[HEAD]
        start = max(0, head - min(octets, self._size))
        copied = self._copy(start, head)
        gone = max(0, self._numbers[RESERVED] - self._size - start)
        return _blocks_backwards(copied, gone)

    def _copy(self, start: int, end: int) -> bytes:
        at, size = start % self._size, end - start
        first = bytes(self._octets[at : at + size])
        return first + bytes(self._octets[: size - len(first)])


def _blocks(octets: bytes) -> tuple[list[Block], int]:
    """Return the whole blocks at the beginning of these octets, and how many octets they take."""
    found, at = [], 0
    while at + 2 * _FRAME.size <= len(octets):
        size, records, first = _FRAME.unpack_from(octets, at)
        end = at + size + 2 * _FRAME.size
        if end > len(octets) or octets[at : at + _FRAME.size] != octets[end - _FRAME.size : end]:
            break
        found.append(Block(octets[at + _FRAME.size : end - _FRAME.size], records, first))
        at = end
    return found, at


def _blocks_backwards(octets: bytes, gone: int) -> list[Block]:
    """Return the whole blocks at the end of these octets, of which the first `gone` are not to be
    believed."""
    found, end = [], len(octets)
    while end - 2 * _FRAME.size >= gone:
        size, records, first = _FRAME.unpack_from(octets, end - _FRAME.size)
        at = end - size - 2 * _FRAME.size
        if at < gone or octets[at : at + _FRAME.size] != octets[end - _FRAME.size : end]:
            break
        found.append(Block(octets[at + _FRAME.size : end - _FRAME.size], records, first))
        end = at
    return found
