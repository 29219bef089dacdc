"""Which zone answers a name, where zones of several kinds lie over each other.

* Aliases of Services are asked first (`aliases`); what follows is about names that none has.
* The longest origin wins; a DS question at an origin goes to the zone above (RFC 4035 section 3.1.4.1).
  So do zones that have upstreams of their own, for clients who may ask these; own ranges stay here.
* The registry wins over a zone file at a name where it has RRs.
* Reverse names of our own ranges and of registered addresses are answered by the registry alone.  Other
  names that a registry zone lacks go on to a zone file if they fall through or its origin is longer; where
  no zone file has them, those that fall through go on to upstreams, if the client may ask these.
* A name at or above data of ours never gets NXDOMAIN, whichever zone has the data (RFC 8020).
* Names that a zone file delegates are somebody else's: upstreams are asked for them, if the client may ask
  these, as a stub resolver takes a referral for an empty answer. All others get the referral.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from svcdns.names.cluster_names import reverse_address
from svcdns.store.snapshot import Zone
from svcdns.wire import codes
from svcdns.wire.key import above

from . import aliases, file_zone, registry_zone
from .lookup_result import LookupResult, State
from .view import Place, View


def find(view: View, key: bytes, rrtype: int, forwards: bool = False) -> LookupResult | None:
    """Return what our zones say about a name, None for a name in none of them.

    With `forwards`, what upstreams have to know is OUTSIDE: unknown names of zones that fall through,
    instead of NXDOMAIN, delegated ones, instead of DELEGATION, and those of longer zones that have
    upstreams of their own; without, these are in none of our zones.
    """
    if (alias := aliases.look_up(view, key, rrtype)) is not None:
        return alias
    place = view.table.place(key)
    parents = _parents(view, key) if rrtype == codes.DS and view.table.is_origin(key) else None
    if parents is not None:
        place = parents
    if place.zone is None:
        return None
    if _is_elsewhere(view, place, above(key) if rrtype == codes.DS else key):
        if forwards:
            return LookupResult(State.OUTSIDE, place.zone)
        found = _find(view, place, key, rrtype, False)
        return found if found.state is State.DELEGATION else None
    found = _find(view, place, key, rrtype, forwards and parents is None)
    if forwards and found.state is State.DELEGATION:
        return replace(found, state=State.OUTSIDE)
    if parents is not None and found.state is State.NXDOMAIN:
        return replace(found, state=State.NODATA)
    return found


def is_above_ours(view: View, key: bytes) -> bool:
    """Say whether a zone of ours, or an alias, is at or below a name: then it exists, whatever others say."""
    return view.table.has_origin_below(key) or aliases.exists_at_or_below(view, key)


def _parents(view: View, origin: bytes) -> Place | None:
    """Return whose the name above an origin of ours is; None where it is not ours."""
    place = view.table.place(above(origin)) if origin else Place(None, None)
    return None if place.zone is None else place


def _is_elsewhere(view: View, place: Place, key: bytes) -> bool:
    """Say whether the longest zone that holds a name is one with upstreams of its own."""
    assert place.zone is not None
    if not view.table.is_elsewhere(place.zone, key):
        return False
    return place.registry is None or not _is_ours(view, place.registry, key)


def _find(view: View, place: Place, key: bytes, rrtype: int, forwards: bool) -> LookupResult:
    if place.registry is None:
        assert place.file is not None
        found = file_zone.look_up(view, place.file, key, rrtype)
    else:
        found = _with_registry(view, place.registry, place.file, key, rrtype)
    if found.state is not State.NXDOMAIN:
        return found
    if forwards and place.file is None and _falls_through(view, found.zone, key):
        return replace(found, state=State.OUTSIDE)
    return replace(found, state=State.NODATA) if is_above_ours(view, key) else found


def _with_registry(view: View, zone: Zone, file: Zone | None, key: bytes, rrtype: int) -> LookupResult:
    """Ask the registry, then the zone file that may know more."""
    found = registry_zone.look_up(view, zone, key, rrtype)
    if file is None or found.state in (State.HIT, State.CNAME):
        return found
    if found.state is State.NODATA and (zone.kind == "cluster" or registry_zone.has_rrsets(view, zone, key)):
        return found
    if not _falls_through(view, zone, key) and (_is_ours(view, zone, key) or len(file.key) <= len(zone.key)):
        return found
    other = file_zone.look_up(view, file, key, rrtype)
    return found if other.state is State.NXDOMAIN and found.state is State.NODATA else other


def _falls_through(view: View, zone: Zone, key: bytes) -> bool:
    """Say whether a name that the registry lacks may be known elsewhere."""
    return key.startswith(view.serving.fallthrough) and not _is_ours(view, zone, key)


def _is_ours(view: View, zone: Zone, key: bytes) -> bool:
    """Say whether a reverse name belongs to our ranges or to an address that somebody has registered."""
    if zone.kind != "reverse":
        return False
    if key.startswith(view.serving.own_reverse):
        return True
    address = _address_at_or_above(key)
    return address is not None and view.snapshot.holds_address(bytes((address.version,)) + address.packed)


def _address_at_or_above(key: bytes) -> IPv4Address | IPv6Address | None:
    """Return the address whose reverse name is a name or one above it: what is below belongs to it."""
    labels = key.split(b"\0")[:-1]
    whole = 6 if labels[1:2] == [b"in-addr"] else 34
    return reverse_address(b"".join(label + b"\0" for label in labels[:whole]))
