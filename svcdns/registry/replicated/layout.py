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
from typing import Any, NamedTuple

import msgspec

from svcdns.etcd.client import Etcd
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


async def agree(etcd: Etcd, keys: Keys, settings: Settings) -> Agreed:
    """Return what the replicas have agreed on; the first one begins.

    Raises Disagreement, and as etcd.client does.
    """
    wanted = _wanted(settings)
    outcome = await etcd.transaction(
        [Compare.absent(keys.layout)],
        [Put(keys.layout, msgspec.json.encode(wanted))],
        [Get(keys.layout)],
    )
    if outcome.succeeded:
        return wanted
    return _checked(outcome.found[0].kvs[0].value, wanted, keys)


async def look(engine: Engine, settings: Settings) -> None:
    """See whether a registry is there that this svcdns can have a part in, or none yet; write nothing.

    Raises as `agree` does.
    """
    keys = Keys(engine.prefix)
    try:
        found = await engine.etcd.range(keys.layout)
        if found.kvs:
            _checked(found.kvs[0].value, _wanted(settings), keys)
    finally:
        await engine.etcd.close()


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
