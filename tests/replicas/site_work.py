"""All who write at a site at the same time."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from replicas.history import History
from replicas.site import ReplicaHost
from replicas.site_clients import Client, Racer
from replicas.site_removal import Owner, Settler

Writer = Client | Racer | Settler | Owner


@contextmanager
def working(
    history: History, replicas: Sequence[ReplicaHost], count: int, seed: str
) -> Iterator[list[Writer]]:
    """Have clients do what they do for as long as the block takes."""
    together = [threading.Barrier(len(replicas)) for _ in range(3)]
    writers: list[Writer] = [Racer(replica, history, together[0]) for replica in replicas]
    writers += [Settler(n, replica, history, together[1]) for n, replica in enumerate(replicas)]
    writers += [Owner(n, replica, history, together[2]) for n, replica in enumerate(replicas)]
    writers += [Client(number, seed, history, replicas) for number in range(1, count + 1)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.end.set()
        for barrier in together:
            barrier.abort()
        for writer in writers:
            writer.join()
    assert not [writer.failure for writer in writers if writer.failure], writers
