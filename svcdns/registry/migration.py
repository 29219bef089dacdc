"""A registry moves from a data folder into etcd, or back, as it is: uids, addresses, ports and times.

Into etcd: the prefix has to be empty.  The key `migration` stands there until all is in: no replica starts
meanwhile, and every transaction compares it, so two can't fill one prefix.  What fails is taken out again.
Back: the folder becomes what a replica has, which is a registry of its own for a server without etcd.

Resource versions are others afterwards: clients list again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import lmdb

from svcdns.cluster.endpoints import is_generated
from svcdns.config.sections import Config
from svcdns.etcd.client import Etcd, Rejected, Unavailable, Unknown
from svcdns.etcd.messages import Compare, Delete, Put
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, SERVICE, STORED, Kind
from svcdns.store.environment import Store
from svcdns.store.rows import scan

from . import addresses
from .dns_rows import SERIAL
from .reading import count
from .registry import Registry
from .replicated import Disagreement, Engine, layout, revisions
from .replicated.keys import Keys, after
from .replicated.proposals import MOST_OCTETS, MOST_OPERATIONS
from .transaction import Object, collection_prefix, decode, encode

_TRIES = 5
"""Times that a transaction is sent of which it is not known whether it was carried out: it may be twice."""

Progress = Callable[[int, int], None]
"""Is given how many objects are done, and how many there are."""


class MigrationError(Exception):
    """A registry that can't be moved; one line for the user."""


async def into_etcd(store: Store, config: Config, engine: Engine, progress: Progress) -> int:
    """Move what a store has below a prefix of etcd that is empty; return how many objects that were.

    The store is brought to today's rules, as by a start, and otherwise stays as it is.
    Raises MigrationError, StatusError where the store can't be written, NewerLayout, lmdb.Error.
    """
    registry = Registry(store, config)
    await registry.start()
    await registry.stop()
    keys, etcd = Keys(engine.prefix), engine.etcd
    try:
        filling = _Filling(etcd, keys, await _begin(etcd, keys))
        try:
            done = await _fill(filling, store, progress)
            agreed = layout.encoded(registry.settings, _serials_from(store))
            await filling.send([Put(keys.layout, agreed), Delete(keys.migration)])
        except BaseException:
            with suppress(Unavailable, Unknown, Rejected, MigrationError):
                await filling.send([Delete(keys.begin, keys.end)])
            raise
    except (Unavailable, Unknown, Rejected) as failed:
        raise MigrationError(f"etcd: {failed}; nothing of it is used") from None
    finally:
        await etcd.close()
    return done


async def into_folder(store: Store, config: Config, engine: Engine) -> int:
    """Make a store that is empty a registry of its own, with what stands below a prefix of etcd.

    Return how many objects that are.  Raises MigrationError, lmdb.Error.
    """
    keys = Keys(engine.prefix)
    try:
        if not (await engine.etcd.range(keys.layout)).kvs:
            await engine.etcd.close()
            raise MigrationError(f"there is no registry of svcdns below {engine.prefix}")
        registry = Registry(store, config, engine=engine)
        await registry.start()
        await registry.stop()
    except (Unavailable, Rejected, Disagreement) as failed:
        raise MigrationError(f"etcd: {failed}") from None
    except StatusError as failed:
        raise MigrationError(failed.message) from None
    return sum(count(store, kind) for kind in STORED)


async def _begin(etcd: Etcd, keys: Keys) -> int:
    """Take a prefix that is empty; return the revision of its key `migration`."""
    empty = Compare("VERSION", "EQUAL", keys.begin, 0, keys.end)
    outcome = await etcd.transaction([empty], [Put(keys.migration, b"is under way, or was cut off")])
    if outcome.succeeded:
        return outcome.revision
    prefix = keys.begin.decode()
    remedy = f"name another prefix, or take away what is there (etcdctl del --prefix {prefix})"
    if (await etcd.range(keys.live, after(keys.live), limit=1)).kvs:
        raise MigrationError(f"replicas live on what is below {prefix}: end them all first; then {remedy}")
    if (await etcd.range(keys.migration)).kvs:
        raise MigrationError(f"another migration to {prefix} is under way, or was cut off: {remedy}")
    raise MigrationError(f"there is something below {prefix} already: {remedy}")


class _Filling:
    """Puts below a prefix that is this migration's, in as few transactions as there is room for."""

    def __init__(self, etcd: Etcd, keys: Keys, revision: int) -> None:
        self.keys = keys
        self._etcd = etcd
        self._is_ours = Compare.unchanged(keys.migration, revision)

    async def send(self, operations: Sequence[Put | Delete]) -> None:
        """Send a transaction.  Raises as etcd.client does, MigrationError where somebody else came."""
        for left in reversed(range(_TRIES)):
            try:
                outcome = await self._etcd.transaction([self._is_ours], operations)
            except Unknown:
                if not left:
                    raise
                continue
            if not outcome.succeeded:
                prefix = self.keys.begin.decode()
                raise MigrationError(f"somebody has changed what is below {prefix} meanwhile; begin again")
            return


async def _fill(filling: _Filling, store: Store, progress: Progress) -> int:
    """Put all objects, and the addresses and ports that they have; return how many objects."""
    done, octets, places = 0, 0, 0
    batch: list[Put] = []
    total = sum(count(store, kind) for kind in STORED)
    with store.read() as txn:
        for kind, found in _objects(store, txn):
            puts = _puts(filling.keys, kind, found, places * revisions.STEP)
            size = sum(len(one.value) for one in puts)
            if len(puts) > MOST_OPERATIONS or size > MOST_OCTETS:
                key = puts[0].key.decode()
                raise MigrationError(f"{key} has {size} octets, more than a transaction of etcd takes")
            if len(batch) + len(puts) > MOST_OPERATIONS or octets + size > MOST_OCTETS:
                await filling.send(batch)
                progress(done, total)
                batch, octets, places = [], 0, 0
                puts = _puts(filling.keys, kind, found, 0)
            batch, octets, places, done = batch + puts, octets + size, places + 1, done + 1
    if batch:
        await filling.send(batch)
    return done


def _objects(store: Store, txn: lmdb.Transaction) -> Iterator[tuple[Kind, Object]]:
    """Yield all objects that don't follow from others."""
    for kind in STORED:
        for _, octets in scan(txn, store.tables.objects, collection_prefix(kind)):
            found = decode(octets)
            if kind is not ENDPOINTSLICE or not is_generated(found):
                yield kind, found


def _puts(keys: Keys, kind: Kind, found: Object, place: int) -> list[Put]:
    """Return what puts an object, at its place of a transaction, and what it holds."""
    metadata = {**found["metadata"], "resourceVersion": str(place)}
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    puts = [Put(keys.object(kind, namespace, name), encode({**found, "metadata": metadata}))]
    if kind is SERVICE:
        owner = f"{namespace}/{name}".encode()
        puts += [Put(keys.allocation(one), owner) for one in sorted(addresses.held(found))]
    return puts


def _serials_from(store: Store) -> int:
    """Return from where serials count on: ahead of those that the store has given."""
    with store.read() as txn:
        given = [int.from_bytes(serial) for _, serial in scan(txn, store.tables.meta, SERIAL)]
    return max(int(time.time()), *given, 0)
