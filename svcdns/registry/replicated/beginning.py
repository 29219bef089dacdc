"""How a replica begins: it agrees with the others, brings its map to what etcd has, and claims its name.

Nothing of it stays where a step fails: it is begun again as a whole.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from svcdns.etcd.client import Etcd
from svcdns.store.environment import Store

from ..commit import OnCommit
from ..settings import Settings
from .applying import Map, stored_position
from .following import Follower
from .keys import Keys
from .lanes import Lane
from .layout import agree, refuse_emptied, refuse_mixed, refuse_strangers
from .left_out import LeftOut
from .listing import Progress
from .naming import Claim, claim
from .outage import Outage

LANES = 2
"""Transactions of a replica that are under way at a time."""


class Begun(NamedTuple):
    """A replica that has begun; nothing runs yet but its watch."""

    follower: Follower
    claimed: Claim
    lanes: list[Lane]
    left_out: LeftOut
    """What could not be read of what stands in etcd."""


async def begin(
    etcd: Etcd,
    keys: Keys,
    store: Store,
    settings: Settings,
    on_commit: OnCommit,
    outage: Outage,
    listing: Progress,
) -> Begun:
    """Bring the map in a store to what etcd has, and take a name.

    Raises Unavailable and Unknown where etcd is away, Disagreement, lmdb.Error.
    """
    await refuse_mixed(etcd)
    if stored_position(store) is not None:
        await refuse_emptied(etcd, keys, store.env.path())
    agreed = await agree(etcd, keys, settings)
    await refuse_strangers(etcd, keys, agreed.registry)
    left_out = LeftOut()
    of = Map(store, settings, keys, agreed.registry, agreed.serials_from, left_out)
    follower = Follower(of, etcd, on_commit, outage, listing)
    await follower.begin()
    follower.watch()  # before anything is written
    try:
        claimed = await claim(etcd, keys, follower)
        lanes = [Lane(etcd, keys, key, outage) for key in keys.lanes(claimed.name, LANES)]
        await asyncio.gather(*(lane.begin() for lane in lanes))
    except BaseException:
        follower.end_watch()
        raise
    return Begun(follower, claimed, lanes, left_out)
