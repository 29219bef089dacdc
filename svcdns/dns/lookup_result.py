"""What a zone says about a name and a type: the cases of RFC 1034 section 4.3.2."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from svcdns.names.packed import Section
from svcdns.store.snapshot import Zone


class Case(Enum):
    """Which of the answers it is."""

    ANSWER = auto()
    ALIAS = auto()
    """A CNAME: look on at its target."""
    DNAME = auto()
    """A DNAME above the name: rewrite the name and look on (RFC 6672)."""
    REFERRAL = auto()
    """A delegation at or above the name."""
    NODATA = auto()
    NXDOMAIN = auto()
    OUTSIDE = auto()
    """Not ours to say, and upstreams may know it: the zone falls through to them, or delegates the name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A case, the zone that says so, and the RRset that belongs to it.

    `section` is the answer, the CNAME, the DNAME or the NS set of the delegation; `owner_octets` is
    the size of the owner on the wire where that is an ancestor of the name asked for.
    """

    case: Case
    zone: Zone
    section: Section | None = None
    owner_octets: int = 0
