"""Where a registry is that several svcdns share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from svcdns.config.sections import Config

if TYPE_CHECKING:
    from svcdns.etcd.client import Etcd
    from svcdns.etcd.login import Login


@dataclass(frozen=True, slots=True)
class Engine:
    """A client of etcd, and what all keys begin with (it ends in a slash)."""

    etcd: Etcd
    prefix: str


class Disagreement(Exception):
    """What stands below the prefix is of a registry that this svcdns can't have a part in."""


class Said(msgspec.Struct, frozen=True):
    """What a replica says of itself."""

    host: str
    revision: int
    """Up to which revision of etcd its map shows what there is."""
    wants: int = 0
    """The revision that others are to say they have reached: somebody waits for it."""
    stuck: str = ""
    """Why its map can't be brought further; "" where it can."""
    incarnation: str = ""
    """Which of its starts says so (see `naming`)."""


class Sharing(NamedTuple):
    """How it stands with etcd, and who has a part in the registry."""

    outage_seconds: float
    """Since when it can't be used; 0 where it can."""
    revision: int
    """Up to which the map shows what etcd has."""
    name: str
    """Of this replica, "" until it is known."""
    living: Mapping[str, Said]
    """What the replicas say that live, by name."""
    listing: str = ""
    """How far the map is that is being made of a list of etcd, in words; "" where none is."""


def engine_of(config: Config) -> Engine | None:
    """Return where a configuration wants the registry; None: in the store alone."""
    of = config.store
    if not of.etcd:
        return None
    from svcdns.etcd.client import Etcd  # with what only it needs

    return Engine(Etcd(of.etcd, login_of(config), timeout=of.etcd_timeout_ms / 1000), of.etcd_prefix)


def login_of(config: Config) -> Login:
    """Return how its members are convinced."""
    from svcdns.etcd.login import Login

    of = config.store
    return Login(of.etcd_ca, of.etcd_certificate, of.etcd_key, of.etcd_user, of.etcd_password_file)
