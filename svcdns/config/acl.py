"""What the options of [acl] may hold, and what they mean: networks, each allowed or refused.

An entry is a network, an address, or a word for several networks; "!" in front refuses.  Of the networks
that hold an address the longest prefix decides; an address in none is refused.  `svcdns.dns.access` turns
this into what a worker looks up.  Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from .readers import Network, Wrong, each, network

Rules = dict[Network, bool]
"""Networks, and whether those in them are allowed."""

WORDS: dict[str, tuple[Network, ...]] = {
    "any": (ip_network("0.0.0.0/0"), ip_network("::/0")),
    "loopback": (ip_network("127.0.0.0/8"), ip_network("::1/128")),
    "private": (
        ip_network("10.0.0.0/8"),
        ip_network("172.16.0.0/12"),
        ip_network("192.168.0.0/16"),
        ip_network("169.254.0.0/16"),  # link-local, RFC 3927
        ip_network("100.64.0.0/10"),  # shared by carriers and overlay networks, RFC 6598
        ip_network("fc00::/7"),
        ip_network("fe80::/10"),
    ),
}
"""What stands for several networks at once."""

_ALLOWED = (
    'allowed: a network such as 192.0.2.0/24, an address, "any", "loopback" or "private", '
    'each with "!" in front to refuse it'
)
_MAPPED = IPv6Network("::ffff:0:0/96")


def entries(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the entries of a list in their usual spelling; none contradicts another."""
    found: tuple[str, ...] = each(_entry)(texts)
    rules_of(found)
    return found


def _entry(text: str) -> str:
    refuses = text.startswith("!")
    what = text.removeprefix("!").strip().lower()
    if what not in WORDS:
        try:
            one = network(what)
        except Wrong as wrong:
            if "meant:" in str(wrong):
                raise
            raise Wrong(f"{text[:80]!r} is no network; {_ALLOWED}") from None
        if one.version == 6 and one.subnet_of(_MAPPED):
            meant = f"{one.network_address.ipv4_mapped}/{one.prefixlen - 96}"
            raise Wrong(f"{text[:80]!r} is an IPv4 network in IPv6; meant: {meant}")
        what = str(one)
    return f"!{what}" if refuses else what


def rules_of(texts: Iterable[str], also: Iterable[Network] = ()) -> Rules:
    """Return the networks of entries, and of others that are allowed too.

    Raises Wrong for a network that is both allowed and refused.
    """
    rules: Rules = dict.fromkeys(also, True)
    said = dict.fromkeys(rules, "transfer_to of [dns]")
    for text in texts:
        allows, what = not text.startswith("!"), text.removeprefix("!")
        for one in WORDS.get(what) or (ip_network(what),):
            if rules.setdefault(one, allows) is not allows:
                one_word, other = (text, said[one]) if allows else (said[one], text)
                raise Wrong(f"{one} is allowed by {one_word} and refused by {other}; allowed: one of them")
            said.setdefault(one, text)
    return rules


def allows(rules: Rules, address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is allowed: what rules mean, in the plainest way."""
    holding = [one for one in rules if address in one]
    return bool(holding) and rules[max(holding, key=lambda one: one.prefixlen)]
