"""Recording: a process that answers questions puts messages into its ring, as they are.

A record is the question and the reply, octets as they came and went; nothing is read here, since this is the
path of every question.  All of a batch is one block (`Recorded`), which costs about as much as copying it.
The compiled path writes its part of one itself (`choose`, `record_chosen`).

While nobody wants to know, `sample` is 0 and nothing is done; else one question of so many is recorded.
Which ones is left to chance, and each has the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import random
from time import time_ns
from typing import Any

import msgspec

from .ring import Ring

Messages = Sequence[tuple[bytes, Any]]
"""Messages, and whose they are: (address, port, ...), or a tuple of the address and that."""

BY_WORKER, BY_FORWARDER, BY_UPSTREAM = range(3)
"""Who has replied; to the forwarder, where it was an upstream."""


class Recorded(msgspec.Struct, frozen=True, array_like=True):
    """The payload of a block: questions and, in the same order, the replies to them."""

    by: int
    sample: int
    """Each stands for so many."""
    time: int
    """When they were answered: Unix time, nanoseconds."""
    duration: int
    """From the receipt to the reply, nanoseconds; of a batch, from its receipt to its last reply."""
    protocol: int
    """svcdns.dns.stats.UDP or TCP; of an upstream also what stands behind these in record.PROTOCOLS."""
    questions: list[tuple[bytes, Any]]
    replies: list[tuple[bytes, Any]]


_encode = msgspec.msgpack.Encoder().encode
_SEVEN = b"\x97"
"""How an array of seven begins in MessagePack: a Recorded."""

Chosen = tuple[int, bytes]
"""How many questions, and the last two fields of a Recorded, encoded."""


class Recorder:
    """What one process records."""

    def __init__(
        self, ring: Ring | None = None, by: int = BY_WORKER, wanted: Callable[[], int] = lambda: 0
    ) -> None:
        """Without a ring nothing is recorded; `wanted` says one of how many questions is to be (0: none)."""
        self._ring = ring
        self._by = by
        self._wanted = wanted
        self.sample = 0
        """One question of so many is recorded now; 0: none is, and there is nothing to call."""
        self.refresh()

    def beside(self, by: int) -> Recorder:
        """Return another one of the same process, which records into the same ring who else has replied."""
        return Recorder(self._ring, by, self._wanted)

    def refresh(self) -> None:
        """See anew what is wanted; called about once a second."""
        self.sample = self._wanted() if self._ring is not None else 0

    def record(self, protocol: int, duration: int, questions: Messages, replies: Messages) -> None:
        """Record questions that were answered together, within so many nanoseconds.

        `replies` has the order of `questions`, but some may have none; the two have their client's tuple in
        common, the same object.
        """
        if self._ring is None or not self.sample:
            return
        sample = self.sample
        first = int(random() * sample)
        if first >= len(replies):
            return
        if len(questions) != len(replies):
            questions = _answered(questions, replies)
        if sample > 1:
            questions, replies = questions[first::sample], replies[first::sample]
        # As an array, which is what Recorded is: to make one of these costs more than the rest.
        payload = _encode((self._by, sample, time_ns(), duration, protocol, questions, replies))
        self._ring.append(payload, len(questions))

    def choose(self, received: int, recorded: Callable[[int, int], Chosen]) -> Chosen | None:
        """Return what is to be recorded of so many messages; `recorded` gives it for a first and a step."""
        first = int(random() * self.sample)
        return recorded(first, self.sample) if first < received else None

    def record_chosen(self, protocol: int, duration: int, chosen: Chosen) -> None:
        """Record what was chosen, answered together within so many nanoseconds."""
        records, encoded = chosen
        if self._ring is None or not records:
            return
        fields = _encode((self._by, self.sample, time_ns(), duration, protocol))
        self._ring.append(_SEVEN + fields[1:] + encoded, records)


def _answered(questions: Messages, replies: Messages) -> Messages:
    """Return the questions that have a reply, in the order of the replies."""
    rest = iter(questions)
    return [next(one for one in rest if one[1] is client) for _, client in replies]
