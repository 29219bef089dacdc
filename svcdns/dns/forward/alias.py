"""An alias of ours that leads outside: our CNAMEs, then what upstreams say about the last target.

This is rare beside all other questions (ExternalName Services, CNAMEs of zone files), so dnspython does
the work: the target's records are unpacked and written again with their owners spelt in full.  A target
that can't be resolved leaves the CNAMEs with SERVFAIL, never a half answer that looks like a whole one.
"""

from __future__ import annotations

from io import BytesIO

from dns import message as dns_message
from dns.rrset import RRset

from svcdns.dns.draft import Draft
from svcdns.dns.edns import Edns
from svcdns.dns.fit import full_owner_rrs
from svcdns.dns.reply import Frame, write

from .. import cached, codes, edns
from .ask import Ask

_HEADER = b"\0\0\1\0\0\1\0\0\0\0\0\0"
_CLASS_IN = b"\0\1"


def continued(frame: Frame, draft: Draft, ask: Ask, stored: bytes, time: int) -> bytes:
    """Return the reply that says our chain and what a packed reply says about its last target.

    `draft` is one whose chain ends outside, `stored` belongs to `ask`, the question about that target;
    `time` is svcdns.store.cache.now().
    """
    message = dns_message.from_wire(_whole(ask, stored, time))
    draft.rcode = cached.rcode(stored)
    if draft.rcode not in (codes.NOERROR, codes.NXDOMAIN):
        draft.rcode = codes.SERVFAIL
    draft.chain = draft.chain + _rrs(message.answer)
    draft.authority = _rrs(message.authority)
    ede = cached.ede(stored)
    options = b"" if ede is None else edns.error(ede)
    return write(frame, draft, options)


def _whole(ask: Ask, stored: bytes, time: int) -> bytes:
    """Return a packed reply as the message that answers its own question, without limit of size."""
    packet = _HEADER + ask.name + ask.rrtype.to_bytes(2) + _CLASS_IN
    everything = Edns(codes.MAX_MESSAGE, 0, ask.do)
    return cached.reply(stored, time, Frame(packet, len(packet), everything, codes.MAX_MESSAGE, True))


def _rrs(rrsets: list[RRset]) -> list[bytes]:
    """Return the RRs of a section, owners and names in RDATA spelt in full."""
    found: list[bytes] = []
    for rrset in rrsets:
        octets = BytesIO()
        rrset.to_wire(octets)
        found += [owner + rest for owner, rest in full_owner_rrs(octets.getvalue())]
    return found
