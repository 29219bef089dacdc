"""What a replica is called in etcd, and that no two that live are called the same.

A name is made up once for each map and stands in it, so a copy of a data folder has it too.  Under one name
two replicas would do the same work, and each would take the other's transactions for its own.  So each start
has an *incarnation*, made up too, which stands beside its lease (`live/REPLICA`):

* who finds its name alive, and not of its own past, takes another name;
* its own past is the incarnation that its map remembers, in the folder that it remembers: so a replica that
  was killed goes on at once under its name, before its lease has ended;
* the key is put only where it is as it was left.  Who finds another incarnation there has lost its name while
  its own lease had ended: its process ends, and is started again under another one.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from svcdns.etcd.client import Etcd
from svcdns.etcd.messages import Compare, Get, KeyValue, Put

from .applying import Map
from .engine import Said
from .following import Follower
from .keys import Keys

logger = logging.getLogger(__name__)

LEASE_SECONDS = 5
"""After its death a replica's work is left alone for so long, and longer where etcd lost a member."""
_NAME, _INCARNATION = b"replica", b"incarnation"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Claim(NamedTuple):
    """A name that is this replica's, for as long as its lease is kept."""

    name: str
    incarnation: str
    lease: int
    put_at: int
    """The revision at which the key below `live/` was put."""


class _Past(NamedTuple):
    """What a map remembers of the replica's last start."""

    name: str
    incarnation: str
    folder: str
    """Which folder it was in; a copy is another one."""


class _Remembered(msgspec.Struct, array_like=True):
    incarnation: str
    folder: str


async def claim(etcd: Etcd, keys: Keys, follower: Follower) -> Claim:
    """Return the name of a replica that starts, which nobody else has.  Raises as etcd.client does."""
    of = follower.map
    past = await follower.on_map(partial(_past, of))
    name = past.name or secrets.token_hex(8)
    found = await _living(etcd, keys, name)
    while True:
        if found is not None and not _is_own(found, past, of):
            logger.warning(
                "another replica lives that is called %s, as it is on a copy of this data folder: "
                "this one takes another name",
                name,
            )
            name, found = secrets.token_hex(8), None
        incarnation = secrets.token_hex(8)
        await follower.on_map(partial(_remember, of, name, incarnation))
        lease = await etcd.lease_grant(LEASE_SECONDS)
        said = Said(socket.gethostname(), follower.position, incarnation=incarnation)
        put = Put(keys.live + name.encode(), msgspec.json.encode(said), lease)
        outcome = await etcd.transaction([as_left(put.key, found)], [put], [Get(put.key)])
        if outcome.succeeded:
            return Claim(name, incarnation, lease, outcome.revision)
        found = next(iter(outcome.found[0].kvs), None)  # somebody was faster, or its lease has ended


def as_left(key: bytes, found: KeyValue | None) -> Compare:
    """Return what holds where a key is as it was found."""
    return Compare.absent(key) if found is None else Compare.unchanged(key, found.mod_revision)


def incarnation_of(value: bytes) -> str | None:
    """Return whose a key below `live/` is, None where it is nobody's: somebody wrote it by hand."""
    try:
        return msgspec.json.decode(value, type=Said).incarnation
    except msgspec.MsgspecError:
        return None


async def _living(etcd: Etcd, keys: Keys, name: str) -> KeyValue | None:
    return next(iter((await etcd.range(keys.live + name.encode())).kvs), None)


def _is_own(found: KeyValue, past: _Past, of: Map) -> bool:
    """Return whether it was this replica that said so, before it was started again."""
    whose = incarnation_of(found.value)
    return whose is None or (whose == past.incarnation and past.folder == _folder(of))


def _past(of: Map) -> _Past:
    meta = of.store.tables.meta
    with of.store.read() as txn:
        name, remembered = txn.get(_NAME, db=meta), txn.get(_INCARNATION, db=meta)
        last = (
            _Remembered("", "")
            if remembered is None
            else msgspec.msgpack.decode(remembered, type=_Remembered)
        )
        return _Past("" if name is None else bytes(name).decode(), last.incarnation, last.folder)


def _remember(of: Map, name: str, incarnation: str) -> None:
    with of.store.write() as txn:
        txn.put(_NAME, name.encode(), db=of.store.tables.meta)
        remembered = msgspec.msgpack.encode(_Remembered(incarnation, _folder(of)))
        txn.put(_INCARNATION, remembered, db=of.store.tables.meta)


def _folder(of: Map) -> str:
    """Return what tells a data folder from a copy of it, until this host is started again."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    place = os.stat(Path(of.store.env.path()) / "data.mdb")
    return f"{boot} {place.st_dev} {place.st_ino}"
