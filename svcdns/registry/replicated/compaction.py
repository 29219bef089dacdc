"""Compaction: one replica has etcd forget what is older than EVERY_SECONDS, as kube-apiserver does.

All replicas take part in each turn, and who first puts the key `compaction` has it: the others' comparison
fails, and they wait for the next one.  What is forgotten was there at the turn before, and all replicas that
live have it in their maps: so nobody has to list again but who was away.
https://github.com/kubernetes/apiserver/blob/master/pkg/storage/etcd3/compact.go

etcd keeps one history for all its keys, those of others too.
"""

from __future__ import annotations

import asyncio
import logging

from svcdns.etcd.client import Compacted, Etcd, NotYet, Rejected, Unavailable, Unknown
from svcdns.etcd.messages import Compare, Get, Put
from svcdns.system.log_on_change import LogOnChange

from .keys import Keys
from .living import Living

logger = logging.getLogger(__name__)

EVERY_SECONDS = 300.0


class Compaction:
    """The part of one replica in it."""

    def __init__(self, etcd: Etcd, keys: Keys, living: Living) -> None:
        """The first turn is only looked at."""
        self._etcd, self._key, self._living = etcd, keys.compaction, living
        self._seen = 0
        """The revision in which somebody had the last turn that is known of."""
        self._before = 0
        """Up to where all had come at that time."""
        self._trouble = LogOnChange("")

    async def run(self) -> None:
        """Take part until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            trouble = ""
            try:
                await self._turn()
            except Compacted:  # by hand, or by etcd itself (--auto-compaction-retention)
                pass
            except NotYet:  # it was restored from a backup, and that is not listed yet
                pass
            except (Unavailable, Unknown, Rejected) as failed:
                trouble = str(failed)
            if self._trouble.is_new(trouble) and trouble:
                logger.warning("etcd's history could not be compacted: %s", trouble)

    async def _turn(self) -> None:
        """Compact, if it is this replica's turn.  Raises as etcd.client does."""
        reached = self._living.least()
        outcome = await self._etcd.transaction(
            [Compare.unchanged(self._key, self._seen) if self._seen else Compare.absent(self._key)],
            [Put(self._key, str(self._before).encode())],
            [Get(self._key)],
        )
        forgotten, self._before = min(self._before, reached), reached
        if not outcome.succeeded:
            found = outcome.found[0].kvs
            self._seen = found[0].mod_revision if found else 0
            return
        self._seen = outcome.revision
        if forgotten:
            await self._etcd.compact(forgotten)
            logger.debug("what is older than revision %d of etcd was compacted", forgotten)
