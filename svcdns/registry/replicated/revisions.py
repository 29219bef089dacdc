"""Revisions of a registry on etcd: etcd's own, and within it a place for each thing that changed.

One transaction of etcd changes several objects, and slices follow from them.  A client that was told half of
that goes on behind the last resourceVersion that it has seen, so each change has one of its own:

    resourceVersion = etcd's revision * SPAN + place

An object's place is in its JSON in etcd, as its resourceVersion, so that a replica that lists has the same as
those that watched.  Behind it there is room for the slices that follow from it.
"""

from __future__ import annotations

SPAN = 1_000_000
"""Places in one revision of etcd."""
STEP = 5_000
"""Places from one object of a transaction to the next."""


def of(revision: int, place: int) -> int:
    """Return the resourceVersion of what has a place in a revision of etcd."""
    return revision * SPAN + place


def last_of(revision: int) -> int:
    """Return the resourceVersion up to which all is seen by who has seen a revision of etcd."""
    return revision * SPAN + SPAN - 1


def revision_of(resource_version: int) -> int:
    """Return the revision of etcd in which something was written."""
    return resource_version // SPAN


def place_of(resource_version: int) -> int:
    """Return the place of something in its revision of etcd."""
    return resource_version % SPAN
