"""What all replicas of a registry have to agree on, under the key `layout`: who begins it writes it down.

    {"layout": 1, "cluster_domain": "cluster.local", "ranges": ["10.96.0.0/12", "30000-32767"],
     "registry": "0f3d...", "serials_from": 1764000000}

`registry` is made up: a map that was made of another one is made anew.  `serials_from` is the unix time of
its beginning, to which etcd's revision is added in SOA serials: so they are ahead of those that a server on
its own has given before.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from svcdns.etcd.client import Denied, Etcd, Rejected, Unavailable
from svcdns.etcd.messages import Compare, Get, Put

from ..settings import Settings
from .engine import Disagreement as Disagreement
from .engine import Engine
from .keys import Keys

LAYOUT = 1


class Agreed(msgspec.Struct, frozen=True):
    """What stands under the key."""

    layout: int
    cluster_domain: str
    ranges: list[str]
    registry: str
    serials_from: int


class _Layout(msgspec.Struct):
    """As much of it as all layouts have."""

    layout: int


class _Said(NamedTuple):
    """An option, as it stands in etcd and as it is here."""

    option: str
    there: Any
    here: Any


async def refuse_mixed(etcd: Etcd) -> None:
    """Raise Disagreement where the members that answer are of several clusters."""
    members: dict[int, list[str]] = {}
    for member, cluster in (await etcd.clusters()).items():
        members.setdefault(cluster, []).append(member)
    if len(members) > 1:
        several = "; ".join(f"cluster {cluster:x}: {', '.join(of)}" for cluster, of in members.items())
        raise Disagreement(f"store.etcd names members of several etcds ({several}); allowed: members of one")


async def refuse_strangers(etcd: Etcd, keys: Keys, registry: str) -> None:
    """Raise Disagreement where a member is named that has not this registry.  Raises as etcd.client does.

    Clusters of a single member that were begun alike have the same id, as those that Debian's package begins
    on each host: only what stands in them tells them apart.  That is looked at where more members are named
    than there are, which may also be one that has two names.
    """
    if len(etcd.endpoints) == 1:
        return
    with suppress(Denied):
        if len(etcd.endpoints) <= len(await etcd.members()):
            return
    for member in sorted(etcd.endpoints):
        try:
            stands = (await etcd.range(keys.layout, member=member)).kvs
        except (Unavailable, Rejected):
            continue
        if not stands or _registry(stands[0].value) != registry:
            raise Disagreement(
                f"store.etcd names members of several etcds: {member} has not the registry that the others "
                "have (an etcd that was begun alone stays alone: give it an empty data folder, and begin it "
                "with the others); allowed: members of one"
            )


def _registry(stands: bytes) -> str:
    """Return the id of the registry that stands under the key, "" where that can't be read."""
    try:
        return msgspec.json.decode(stands, type=Agreed).registry
    except msgspec.MsgspecError:
        return ""


async def agree(etcd: Etcd, keys: Keys, settings: Settings) -> Agreed:
    """Return what the replicas have agreed on; the first one begins.

    Raises Disagreement, and as etcd.client does.
    """
    wanted = _wanted(settings)
    outcome = await etcd.transaction(
        [Compare.absent(keys.layout), Compare.absent(keys.migration)],
        [Put(keys.layout, msgspec.json.encode(wanted))],
        [Get(keys.layout)],
    )
    if outcome.succeeded:
        return wanted
    if not outcome.found[0].kvs:
        prefix = keys.begin.decode()
        raise Disagreement(
            f"a registry is being moved to what is below {prefix}, or that was cut off: then take away what "
            f"is there (etcdctl del --prefix {prefix}), and begin again"
        )
    return _checked(outcome.found[0].kvs[0].value, wanted, keys)


async def refuse_another(etcd: Etcd, keys: Keys, registry: str) -> None:
    """Raise Unavailable where etcd has not this registry: nothing of a map is given up for that.

    An etcd that was emptied, or a member of another one, would otherwise take all names away.
    """
    stands = (await etcd.range(keys.layout)).kvs
    found = _registry(stands[0].value) if stands else ""
    if found != registry:
        raise Unavailable(_not_ours(keys, "another registry than the map" if found else "no registry"))


async def refuse_emptied(etcd: Etcd, keys: Keys, folder: str) -> None:
    """Raise Unavailable where etcd has nothing at all, though there is a map of a registry in it."""
    if not (await etcd.range(keys.begin, keys.end, limit=1, keys_only=True)).kvs:
        raise Unavailable(_not_ours(keys, f"nothing, and {folder} has a map of what was there"))


def _not_ours(keys: Keys, what: str) -> str:
    return (
        f"etcd has {what} at {keys.begin.decode()}: it is another one, or was emptied; "
        "restore its backup, or begin with empty data folders"
    )


async def look(engine: Engine, settings: Settings) -> None:
    """See whether a registry is there that this svcdns can have a part in, or none yet; write nothing.

    Raises as `agree` does.
    """
    keys = Keys(engine.prefix)
    try:
        found = await engine.etcd.range(keys.layout)
        if found.kvs:
            agreed = _checked(found.kvs[0].value, _wanted(settings), keys)
            await refuse_strangers(engine.etcd, keys, agreed.registry)
    finally:
        await engine.etcd.close()


def encoded(settings: Settings, serials_from: int) -> bytes:
    """Return what is to stand under the key where a registry is moved there."""
    return msgspec.json.encode(msgspec.structs.replace(_wanted(settings), serials_from=serials_from))


def _wanted(settings: Settings) -> Agreed:
    ports = settings.config.services.node_port_range
    ranges = [*map(str, settings.own_ranges), f"{ports[0]}-{ports[-1]}"]
    began = int(time.time())
    return Agreed(LAYOUT, settings.config.cluster_domain, ranges, secrets.token_hex(16), began)


def _checked(stands: bytes, wanted: Agreed, keys: Keys) -> Agreed:
    where = keys.layout.decode()
    try:
        layout = msgspec.json.decode(stands, type=_Layout).layout
        if layout != LAYOUT:
            raise Disagreement(
                f"{where} in etcd says layout {layout}, this svcdns has {LAYOUT}: "
                "start the svcdns that wrote it, or name another prefix (store.etcd_prefix)"
            )
        found = msgspec.json.decode(stands, type=Agreed)
    except msgspec.MsgspecError as wrong:
        raise Disagreement(f"{where} in etcd is not what svcdns writes there: {wrong}") from None
    said = (
        _Said("cluster_domain", found.cluster_domain, wanted.cluster_domain),
        _Said("ranges of addresses and ports", found.ranges, wanted.ranges),
    )
    differ = [f"{one.option}: {one.there} in etcd, {one.here} here" for one in said if one.there != one.here]
    if differ:
        raise Disagreement(
            f"this replica and the registry in etcd ({where}) differ: {'; '.join(differ)}; "
            "all replicas have the same, another registry another prefix (store.etcd_prefix)"
        )
    return found
