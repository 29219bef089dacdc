"""What a zone says about a name and a type: the states of RFC 1034 section 4.3.2."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from svcdns.names.packed import Section
from svcdns.store.snapshot import Zone

from .gathered import Parts


class State(Enum):
    """Where the lookup of a name and a type has ended."""

    HIT = auto()
    """The name has RRs of this type."""
    CNAME = auto()
    """The name has a CNAME: follow it to its target."""
    DNAME = auto()
    """A name above has a DNAME: rewrite the name and follow it (RFC 6672)."""
    DELEGATION = auto()
    """The name, or one above it, is delegated."""
    NODATA = auto()
    NXDOMAIN = auto()
    OUTSIDE = auto()
    """Not ours to say, and upstreams may know it: the zone falls through to them, or delegates the name."""


@dataclass(frozen=True, slots=True)
class LookupResult:
    """A state, the zone that says so, and the RRset that belongs to it.

    `section` is the answer, the CNAME, the DNAME or the NS set of the delegation; an answer that is kept in
    parts is `parts` instead.  `owner_octets` is the size of the owner on the wire where that is an ancestor
    of the name asked for.
    """

    state: State
    zone: Zone
    section: Section | None = None
    owner_octets: int = 0
    parts: Parts | None = None
