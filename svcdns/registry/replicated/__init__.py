"""The registry on etcd: several svcdns, each with a map of its own (its LMDB environment), any takes writes.

    committer   writes are proposed to etcd, what etcd has decided is applied, and then they are answered
    proposals   accept: a group of writes is run on the map, undone, and becomes one etcd transaction
    precedence  who was overtaken too often goes first
    lanes       such a transaction is decided; several at once, and what became of each is found out
    applying    apply: what etcd has decided becomes one commit of the map
    following   the watch of etcd, and when the map has to be listed: `listing` fetches the pages, `relisting`
                brings a map to what they say, `listing_anew` makes one from nothing
    consistent_reads
                what was acknowledged before a read began is in it
    living      who lives and how far each has come: `division` says whose work is whose, `passing_on` and
                `shared_heartbeats` see to heartbeats that reach another, `compaction` to etcd's history
    naming      what a replica is called, and that no two are called the same
    left_out    objects of which nothing can be made
    keys        where what stands in etcd
    revisions   resourceVersions: etcd's revision, and a place within it

Every rule of the registry was written for one writer, and holds here because a transaction is refused
unless the map that it was decided on was the newest there was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from svcdns.cluster.event_messages import EventMessage
from svcdns.store.environment import Store

from ..commit import Committer, OnCommit
from ..heartbeats import Heartbeats
from ..settings import Settings
from .engine import Disagreement as Disagreement
from .engine import Engine as Engine
from .engine import Sharing as Sharing
from .engine import engine_of as engine_of
from .engine import login_of as login_of

if TYPE_CHECKING:
    from .committer import ReplicatedCommitter


def committer_of(
    store: Store,
    settings: Settings,
    engine: Engine | None,
    on_commit: OnCommit,
    on_messages: Callable[[list[EventMessage]], None],
) -> Committer | ReplicatedCommitter:
    """Return what runs the writes of a registry: of one that is in its store alone, or on etcd."""
    if engine is None:
        return Committer(store, settings, on_commit, on_messages)
    from .committer import ReplicatedCommitter  # with what only it needs

    return ReplicatedCommitter(store, settings, engine, on_commit, on_messages)


def heartbeats_of(store: Store, committer: Committer | ReplicatedCommitter) -> Heartbeats:
    """Return what waits for the heartbeats of Pods."""
    if isinstance(committer, Committer):
        return Heartbeats(store, committer.write)
    from .shared_heartbeats import SharedHeartbeats

    return SharedHeartbeats(store, committer.write, committer.work, committer.outage)
