"""Names that no upstream is ever asked for, as they mean something else than a place in the tree.

    localhost       this host itself: loopback addresses (RFC 6761 section 6.3)
    invalid         nothing, for good (RFC 6761 section 6.4)
    onion           Tor's, and nobody else's business (RFC 7686 section 2)
    resolver.arpa   "which encrypted resolver stands behind this one": none of ours (RFC 9462 section 6.4),
                    and clients must not find the upstream's and pass us by

What is below them is treated the same.  A zone of ours of such a name comes first.
"""

from __future__ import annotations

from svcdns.dns.draft import Draft
from svcdns.wire import codes, header
from svcdns.wire.key import key_of

_LOCALHOST, _RESOLVER = key_of("localhost"), key_of("resolver.arpa")
_NOTHING = (key_of("invalid"), key_of("onion"))

SPECIAL_USE = (_LOCALHOST, _RESOLVER, *_NOTHING)
"""Keys that names of this kind begin with."""

_TTL = 3600
_LOOPBACK = {codes.A: bytes((127, 0, 0, 1)), codes.AAAA: bytes(15) + b"\1"}


def answer_special_use(draft: Draft, rrtype: int) -> Draft:
    """Return a draft, whose outside name is special, with what is to be said about it."""
    assert draft.outside is not None
    draft.authoritative = bool(draft.chain)
    key, address = draft.outside.key, _LOOPBACK.get(rrtype)
    if key.startswith(_NOTHING):
        draft.rcode = codes.NXDOMAIN
    elif key.startswith(_LOCALHOST) and address is not None:
        head = header.rr_head(rrtype, _TTL, len(address))
        draft.chain.append(draft.outside.pointer() + head + address)
    return draft
