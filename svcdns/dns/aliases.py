"""Looking a name up among the aliases of Services.

An alias row only says which Service's name answers there (svcdns.names.alias_rows): what is at and below the
alias is what is at and below that name, so `_port._proto.ALIAS` and an endpoint's label are there as well.

* Aliases are asked before all zones, and hide what these say at the same name; a wildcard hides all that it
  stands for but other aliases.  It stands for names without a closer encloser among the aliases (RFC 4592
  section 3.3.1).
* The zones that aliases stand in are not ours: a name that no alias has is not spoken of here.  So there is
  no SOA, a type that an alias lacks is NODATA without one (RFC 2308 section 2.2, type 3), which nobody keeps,
  and nothing is NXDOMAIN.
* An alias whose Service has no name of its own just now (none of its endpoints is ready) is NODATA too: what
  others say about that name is never taken for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from svcdns.names.alias_rows import service_of
from svcdns.store.snapshot import Zone
from svcdns.wire.key import parent_keys

from . import registry_zone
from .lookup_result import LookupResult, State
from .view import View

ALIASES = Zone(".", b"", "aliases")
"""What speaks where no zone does: it has neither an origin nor an SOA."""


class Match(NamedTuple):
    """What a name is as an alias, or below one."""

    alias: bytes
    """Key of the alias, which may be a wildcard."""
    target: bytes
    """Key of the name that answers: a Service's own, or what is below that."""


def look_up(view: View, key: bytes, rrtype: int) -> LookupResult | None:
    """Return what a name answers as an alias or below one, None where no alias has it."""
    found = match(view, key)
    cluster = view.table.cluster
    if found is None or cluster is None:
        return None
    answer = registry_zone.look_up(view, cluster, found.target, rrtype)
    if answer.state is State.NXDOMAIN:
        return LookupResult(State.NODATA, ALIASES)
    return replace(answer, zone=ALIASES)


def match(view: View, key: bytes) -> Match | None:
    """Return what a name is as an alias or below one, None where no alias has it."""
    top, cluster = view.table.alias_zone(key), view.table.cluster
    if top is None or cluster is None:
        return None
    path = [name for name in parent_keys(key) if len(name) > len(top)]
    nearest, service = _nearest(view, path)
    for name in path:
        # A name exists at or below the nearest alias, or as one above another alias.
        if service and (name == nearest or view.has_below(cluster, service + name[len(nearest) :])):
            return Match(nearest, service + name[len(nearest) :]) if name == key else _wildcard(view, name)
        if view.has_below(cluster, name):
            return None if name == key else _wildcard(view, name)
    return _wildcard(view, top) if path else None


def _nearest(view: View, path: list[bytes]) -> tuple[bytes, bytes]:
    """Return the first of these names that is an alias, and its Service's own name; twice b"" for none."""
    for name in path:
        if (service := _service_at(view, name)) is not None:
            return name, service
    return b"", b""


def aliased_row(view: View, key: bytes) -> bytes | None:
    """Return the row that answers at an alias itself, None where there is none, or no such row."""
    service = _service_at(view, key)
    return None if service is None else view.snapshot.row(service)


def exists_at_or_below(view: View, key: bytes) -> bool:
    """Say whether there is an alias at or below a name, so that the name exists (RFC 8020)."""
    if view.table.alias_zone(key) is None or view.table.cluster is None:
        return False
    return view.has_below(view.table.cluster, key)


def _service_at(view: View, key: bytes) -> bytes | None:
    row = view.snapshot.row(key)
    return None if row is None else service_of(row)


def _wildcard(view: View, encloser: bytes) -> Match | None:
    wildcard = encloser + b"*\0"
    service = _service_at(view, wildcard)
    return None if service is None else Match(wildcard, service)
