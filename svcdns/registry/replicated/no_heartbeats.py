"""Heartbeats of Pods, where replicas share a registry: nobody waits for them yet.

A heartbeat reaches one replica, and the others would take its Pod for silent.  So none of them does: a
promise is kept as it is written, no Pod becomes late, and whoever sends a heartbeat is told so.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcdns.objects.errors import StatusError

from ..heartbeats import Key, Refused

_TEXT = "heartbeats are not waited for where the registry is on etcd (store.etcd)"


class NoHeartbeats:
    """What stands in for `heartbeats.Heartbeats`."""

    def resume(self) -> None:
        """There is nothing to go on with."""

    def stop(self) -> None:
        """Nothing runs."""

    def follow(self, octets: bytes) -> None:
        """Nobody is waited for."""

    async def renewed(self, octets: bytes) -> None:
        """A Lease is no heartbeat."""

    async def beat(self, namespace: str, name: str) -> None:
        """Raise StatusError 501."""
        raise StatusError(501, "NotImplemented", _TEXT)

    async def beat_each(self, keys: Sequence[Key]) -> list[Refused]:
        """Raise StatusError 501."""
        raise StatusError(501, "NotImplemented", _TEXT)
