"""The three ways to an answer, side by side: compiled, in Python, and the exact one alone.

What one says all must say, octet for octet and in every counter, for the same random numbers.
"""

import random
import sys
from collections.abc import Iterable, Sequence

import pytest

from svcdns.dns import answer, fast_path, path_choice
from svcdns.dns.answer import Answerer
from svcdns.dns.no_reply import NOT_PLAIN
from svcdns.dns.stats import Stats

from .answerer_harness import AnswererHarness


def answerers(**more: object) -> tuple[Answerer, Answerer, Answerer]:
    """Return three with counters of their own: by the compiled path, by Python's, by the exact one alone."""
    made = [Answerer(Stats(), identity="w", forwards=True, **more) for _ in range(3)]  # type: ignore[arg-type]
    assert made[0].compiled is not None
    made[1]._fast = made[1]._in_python
    made[2]._fast = lambda *_: NOT_PLAIN  # type: ignore[method-assign,assignment]
    return made[0], made[1], made[2]


def same(world: AnswererHarness, packet: bytes, answerers: Iterable[Answerer], *how: int) -> None:
    """Assert that all say the same for the same random numbers."""
    replies = []
    with world.snapshots.begin() as snapshot:
        for one in answerers:
            random.seed(packet)
            replies.append(one.answer(packet, snapshot, *how))
    assert all(reply == replies[0] for reply in replies), (packet.hex(), how)


def leaves_nothing_allocated(
    world: AnswererHarness, one: Answerer, packets: Sequence[bytes], *how: int
) -> bool:
    """Say whether asking these again and again keeps no object: a leak of one in ten questions would show."""

    def ask_all(times: int) -> None:
        for _ in range(times):
            with world.snapshots.begin() as snapshot:
                for packet in packets:
                    one.answer(packet, snapshot, *how)

    ask_all(50)
    before = sys.getallocatedblocks()
    ask_all(200)
    return sys.getallocatedblocks() - before < 200 * len(packets) / 10


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Have all of them, if they are made from now on, see entries of the cache at this time."""
    for module in (answer, fast_path, path_choice):
        monkeypatch.setattr(module, "now", lambda: seconds)
