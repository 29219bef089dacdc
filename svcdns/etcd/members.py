"""The members that are named: which is asked next, which hang, and which are of another etcd.

* A member that fails is asked last from then on.  While it fails it is looked at once a second, and asked
  only where all others fail too.
* One that says nothing while another answers is asked last, and looked at: what hangs on it (watches) ends
  only when it does not answer that either.
* Every answer says of which cluster its member is.  A member of another one than the first that answered is
  refused: endpoints of two clusters stand in one list by mistake.  A cluster that was restored from a backup
  may have another id; it is taken for ours when most of the members say so, and none what they said before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from . import messages
from .connections import Connections, Lost, NotReached, Refused, TooLarge
from .messages import Failed

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
STATUS = "/v3/maintenance/status"


class Members:
    """Belongs to one event loop."""

    def __init__(
        self, endpoints: Sequence[str], connections: Connections, failed: Callable[[str], None]
    ) -> None:
        """`failed` is called with a member that has failed: what goes on there is to end."""
        self._members = [endpoint.rstrip("/") for endpoint in endpoints]
        """Those that failed last come last."""
        self._connections, self._failed = connections, failed
        self._looks: dict[str, asyncio.Task[None]] = {}
        """Those that fail, or have said nothing, and who looks at each."""
        self._cluster = 0
        """Its id, 0 while it is not known."""
        self._known: set[str] = set()
        """Members that were of this cluster when they answered last."""
        self._refused: set[str] = set()
        """What was logged of members of another one."""

    async def close(self) -> None:
        """Look at none any more."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    def in_order(self) -> tuple[str, ...]:
        """Return all, in the order in which they are to be asked."""
        return tuple(sorted(self._members, key=lambda member: member in self._looks))

    def put_last(self, member: str) -> None:
        """Ask the others first from now on: this one has failed."""
        self._known.discard(member)
        self.doubt(member)
        self._failed(member)

    def doubt(self, member: str) -> None:
        """Ask the others first from now on: this one says nothing."""
        if member not in self._members:
            return
        self._members.remove(member)
        self._members.append(member)
        if len(self._members) > 1 and member not in self._looks:
            self._looks[member] = asyncio.ensure_future(self._look_at(member))

    async def _look_at(self, member: str) -> None:
        try:
            while await self.cluster_of(member) is None:
                self._known.discard(member)
                self._failed(member)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            del self._looks[member]

    async def cluster_of(self, member: str, seconds: float | None = None) -> int | None:
        """Return the id of a member's cluster, 0 where it does not say, None where it says nothing at all."""
        try:
            answer = await self._connections.post(member, STATUS, b"{}", is_read=True, seconds=seconds)
            return messages.read_cluster(answer.octets)
        except (NotReached, Lost, TooLarge):
            return None
        except (Refused, messages.DecodeError):
            return 0

    async def clusters(self) -> dict[str, int]:
        """Return the id of the cluster of each member that says it, by its URL."""
        members = sorted(self._members)
        found = await asyncio.gather(*map(self.cluster_of, members))
        return {member: cluster for member, cluster in zip(members, found, strict=True) if cluster}

    def is_known(self, member: str) -> bool:
        """Return whether a member was of this cluster when it answered last."""
        return member in self._known

    async def refuse_another(self, member: str, cluster: int) -> Failed | None:
        """Return why an answer of a member of some cluster is not to be taken, None where it is."""
        if not self._cluster:
            self._cluster = cluster
        if cluster in (0, self._cluster) or await self._has_become(cluster):
            self._known.add(member)
            return None
        self._known.discard(member)
        text = (
            f"{member} is of another etcd (cluster {cluster:x}) than the others ({self._cluster:x}): "
            "store.etcd names members of one"
        )
        if text not in self._refused:
            self._refused.add(text)
            logger.error("%s", text)
        return Failed(text)

    async def _has_become(self, cluster: int) -> bool:
        """Return whether the cluster of these members has another id now."""
        before = self._cluster
        ids = list((await self.clusters()).values())
        if before != self._cluster:
            return cluster == self._cluster
        if before in ids or 2 * ids.count(cluster) <= len(self._members):
            return False
        logger.warning("the cluster of etcd has another id than before: %x, not %x", cluster, before)
        self._cluster = cluster
        self._known.clear()
        return True
