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

from svcdns.names.alias_rows import service_of
from svcdns.store.snapshot import Zone
from svcdns.wire.key import parent_keys

from . import registry_zone
from .lookup_result import LookupResult, State
from .view import View

ALIASES = Zone(".", b"", "aliases")
"""What speaks where no zone does: it has neither an origin nor an SOA."""


def look_up(view: View, key: bytes, rrtype: int) -> LookupResult | None:
    """Return what a name answers as an alias or below one, None where no alias has it."""
    top = view.table.alias_zone(key)
    if top is None:
        return None
    for ancestor in parent_keys(key):
        if len(ancestor) <= len(top):
            break
        service = _service_at(view, ancestor)
        if service is not None:
            if ancestor == key:
                return _answer(view, service, rrtype)
            below = key[len(ancestor) :]
            found = _below(view, service, below, rrtype)
            return found if found or _encloses(view, service, below) else _wildcard(view, ancestor, rrtype)
        if view.table.cluster is not None and view.has_below(view.table.cluster, ancestor):
            return None if ancestor == key else _wildcard(view, ancestor, rrtype)
    return _wildcard(view, top, rrtype) if key != top else None


def exists_at_or_below(view: View, key: bytes) -> bool:
    """Say whether there is an alias at or below a name, so that the name exists (RFC 8020)."""
    if view.table.alias_zone(key) is None or view.table.cluster is None:
        return False
    return view.has_below(view.table.cluster, key)


def _service_at(view: View, key: bytes) -> bytes | None:
    row = view.snapshot.row(key)
    return None if row is None else service_of(row)


def _answer(view: View, service: bytes, rrtype: int) -> LookupResult:
    """Return what a Service's own name says, NODATA where there is no such name now."""
    return _below(view, service, b"", rrtype) or LookupResult(State.NODATA, ALIASES)


def _below(view: View, service: bytes, below: bytes, rrtype: int) -> LookupResult | None:
    """Return what a name at or below a Service's own says, None where there is none."""
    if view.table.cluster is None:
        return None
    found = registry_zone.look_up(view, view.table.cluster, service + below, rrtype)
    return None if found.state is State.NXDOMAIN else replace(found, zone=ALIASES)


def _encloses(view: View, service: bytes, below: bytes) -> bool:
    """Say whether the closest encloser of a missing name is below the Service's own name, not that itself."""
    zone = view.table.cluster
    return zone is not None and any(view.has_below(zone, service + above) for above in parent_keys(below)[1:])


def _wildcard(view: View, encloser: bytes, rrtype: int) -> LookupResult | None:
    service = _service_at(view, encloser + b"*\0")
    return None if service is None else _answer(view, service, rrtype)
