"""Names that no upstream is asked for, as they mean something else than a place in the tree.

Never, whatever is configured:

    localhost       this host itself: loopback addresses (RFC 6761 section 6.3)
    invalid         nothing, for good (RFC 6761 section 6.4)
    onion           Tor's, and nobody else's business (RFC 7686 section 2)
    resolver.arpa   "which encrypted resolver stands behind this one": none of ours (RFC 9462 section 6.4),
                    and clients must not find the upstream's and pass us by

Unless the site has them, which a zone of ours or a [[forward.zone]] says:

    test, local     RFC 6761 section 6.2, RFC 6762 section 22.1 (multicast DNS)
    home.arpa       RFC 8375 section 4
    reverse zones   of addresses that mean another host at each site, or none (RFC 6303 section 4, RFC 7793)

What is below them is treated the same.  `example` is a name like any other (RFC 6761 section 6.5).  DS at the
top of the latter in arpa goes upstream: arpa says without a signature that they are each site's own.
"""

from __future__ import annotations

from svcdns.dns.authority import is_above_ours
from svcdns.dns.draft import Draft
from svcdns.dns.view import View, ZoneTable
from svcdns.wire import codes, header
from svcdns.wire.key import key_of, parent_keys, wire_of, wire_of_key

_LOCALHOST, _RESOLVER = key_of("localhost"), key_of("resolver.arpa")
_NEVER = (_LOCALHOST, _RESOLVER, key_of("invalid"), key_of("onion"))
_EXISTING = (_LOCALHOST, _RESOLVER)
"""Below these every name exists."""
_ARPA = key_of("arpa")

_PRIVATE_IPV4 = (
    *("10", "168.192", *(f"{n}.172" for n in range(16, 32)), *(f"{n}.100" for n in range(64, 128))),
    *("0", "127", "254.169", "255.255.255.255"),
    *("2.0.192", "100.51.198", "113.0.203"),  # of examples
)
_UNSPECIFIED = ".".join("0" * 32)
_PRIVATE_IPV6 = (
    *(_UNSPECIFIED, f"1{_UNSPECIFIED[1:]}"),
    *("d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f"),
    "8.b.d.0.1.0.0.2",  # of examples
)
_IN_ARPA = (
    "home.arpa",
    *(f"{labels}.in-addr.arpa" for labels in _PRIVATE_IPV4),
    *(f"{labels}.ip6.arpa" for labels in _PRIVATE_IPV6),
)
_SITES = frozenset(map(key_of, ("test", "local", *_IN_ARPA)))
_TOPS = (_ARPA, *_NEVER, *map(key_of, ("test", "local")))
"""All begin with one of these, and few names that are forwarded do."""

_TTL = 3600
_NEGATIVE_TTL = 60
"""Short: a zone for them may be put into service at any time, and asking again costs next to nothing."""
_LOOPBACK = {codes.A: bytes((127, 0, 0, 1)), codes.AAAA: bytes(15) + b"\1"}
_SERVER = wire_of("localhost")
_SOA_NUMBERS = b"".join(number.to_bytes(4) for number in (1, 3600, 1200, 604800, _NEGATIVE_TTL))
_SOA = _SERVER + wire_of("nobody.invalid") + _SOA_NUMBERS
"""As RFC 6303 section 3 has it."""


def special_use_zone(table: ZoneTable, key: bytes, rrtype: int) -> bytes | None:
    """Return the key of the special-use name that a name (its key) is at or below.

    None for all others, and for those that the site has.  `table` has the zones of ours.
    """
    if not key.startswith(_TOPS):
        return None
    if key.startswith(_NEVER):
        return next(zone for zone in _NEVER if key.startswith(zone))
    zone = next((above for above in parent_keys(key) if above in _SITES), None)
    if zone is None or table.route(key):
        return None
    ours = table.place(key).zone
    if ours is not None and ours.key.startswith(zone):
        return None
    return None if rrtype == codes.DS and key == zone and key.startswith(_ARPA) else zone


def answer_special_use(draft: Draft, zone: bytes, rrtype: int, view: View) -> Draft:
    """Return a draft, whose outside name is at or below a special-use `zone`, with what is said of it."""
    here = draft.outside
    assert here is not None
    draft.authoritative = bool(draft.chain)
    is_top = here.key == zone
    if zone == _LOCALHOST and (address := _LOOPBACK.get(rrtype)):
        draft.chain.append(here.pointer() + header.rr_head(rrtype, _TTL, len(address)) + address)
    elif is_top and zone.startswith(_ARPA) and (rdata := {codes.SOA: _SOA, codes.NS: _SERVER}.get(rrtype)):
        draft.chain.append(here.pointer() + header.rr_head(rrtype, _TTL, len(rdata)) + rdata)
    else:
        exists = zone in _EXISTING or (is_top and zone.startswith(_ARPA)) or is_above_ours(view, here.key)
        draft.rcode = codes.NOERROR if exists else codes.NXDOMAIN
        owner = here.pointer_to_ancestor(len(wire_of_key(zone)))
        draft.authority.append(owner + header.rr_head(codes.SOA, _NEGATIVE_TTL, len(_SOA)) + _SOA)
    return draft
