"""Where a registry is that several svcdns share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svcdns.etcd.client import Etcd


@dataclass(frozen=True, slots=True)
class Engine:
    """A client of etcd, and what all keys begin with (it ends in a slash)."""

    etcd: Etcd
    prefix: str
