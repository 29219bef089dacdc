"""Whose work is whose: what of a registry's work in the background is this server's, of all that share it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from svcdns.cluster.rendezvous import of_object
from svcdns.etcd.client import Etcd

from .compaction import Compaction
from .engine import Said
from .following import Follower
from .keys import Keys
from .living import Living
from .naming import Claim
from .outage import Outage, refused
from .passing_on import Heard, PassingOn


class Division:
    """The part of this replica in it; nothing is its own before `begin`."""

    def __init__(self, outage: Outage) -> None:
        """`outage` says whether etcd can be used."""
        self._outage = outage
        self._follower: Follower | None = None
        self._living: Living | None = None
        self._passing: PassingOn | None = None
        self._changed: list[Callable[[], None]] = []
        self._heard: list[Heard] = []

    @property
    def name(self) -> str:
        """What this replica is called, "" before it is known."""
        return self._living.name if self._living is not None else ""

    def living(self) -> Mapping[str, Said]:
        """Return what the replicas say that live, by name."""
        return self._living.all() if self._living is not None else {}

    def is_own(self, kind: str, namespace: str, name: str) -> bool:
        """Return whether the work of an object is this replica's."""
        return self._living is not None and self._living.is_own(of_object(kind, namespace, name))

    async def behind(self, seconds: float) -> list[str]:
        """Wait until all replicas that live show what this one does; return those that are behind."""
        if self._living is None or self._follower is None:
            return []
        return await self._living.behind(self._follower.position, seconds)

    def tell(self, of_change: Callable[[], None]) -> None:
        """Have something called whenever work may have become this replica's, or another's."""
        self._changed.append(of_change)

    def hear(self, heard: Heard) -> None:
        """Have something called with the Pods that other replicas have heard of."""
        self._heard.append(heard)

    def pass_on(self, pods: Sequence[tuple[str, str]]) -> None:
        """Tell whose work they are that Pods (NAMESPACE, NAME) were heard of.  Raises StatusError 503."""
        if self._outage or self._passing is None:
            raise refused(self._outage.text or "etcd has not been reached yet")
        self._passing.add(pods)

    def begin(self, etcd: Etcd, keys: Keys, claimed: Claim, follower: Follower) -> list[asyncio.Task[None]]:
        """Begin to take part, under the name that was claimed; return what runs until it is cancelled."""
        self._follower = follower
        self._living = living = Living(etcd, keys, claimed, follower, self._tell, self._take)
        self._passing = PassingOn(etcd, keys, living)
        works = (living, self._passing, Compaction(etcd, keys, living))
        return [asyncio.create_task(work.run()) for work in works]

    async def end(self) -> None:
        """Leave the work to the others, at once; to be called when what runs has ended."""
        if self._living is not None:
            await self._living.end()

    def _tell(self) -> None:
        for call in self._changed:
            call()

    def _take(self, pods: list[tuple[str, str]]) -> None:
        for call in self._heard:
            call(pods)
