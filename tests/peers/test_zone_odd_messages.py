"""Messages that no resolver sends, to svcdns, Knot, NSD and BIND: the same rcode, or the same silence."""

from __future__ import annotations

from peers.four_servers import FourServers, different_parts
from peers.odd_messages import odd_messages

REASONS = {
    (
        "NOTIFY",
        "rcode",
    ): "svcdns is nobody's secondary: NOTIMP, as to all opcodes but QUERY (docs/dns.md, J6)",
    ("class ANY", "rcode"): "REFUSED, as every class but IN (J4); the others disagree",
    ("class ANY at an apex", "rcode"): "the same",
    ("version.bind", "rcode"): "who wants to know the version asks the API; the worker is id.server (O3)",
    ("version.bind", "answer"): "the same",
    **{
        (f"AXFR asked{where}", "rcode"): "over UDP it is REFUSED (H2), whatever is asked; the others disagree"
        for where in ("", " at no apex", " at no zone")
    },
}
"""Where svcdns differs, and why: by message and part of the reply."""


def test_messages_that_no_resolver_sends(servers: FourServers) -> None:
    names, octets = zip(*odd_messages(), strict=True)
    found = {
        (name, part): (getattr(ours, part), [getattr(one, part) for one in others])
        for name, (ours, others) in zip(names, servers.replies(octets), strict=True)
        for part in different_parts(ours, others)
    }
    assert {case: told for case, told in found.items() if case not in REASONS} == {}
    assert REASONS.keys() - found.keys() == set(), "no longer different"
