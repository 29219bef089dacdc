"""What the options of [forward] may hold: upstreams, and the zones that have upstreams of their own.

How an upstream is spelt is said in one place, svcdns.config.upstream_spec, which the forwarder reads it with
too.  Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from ipaddress import collapse_addresses
from typing import Any, NamedTuple

from .own_address import own_listener
from .readers import Problem, Wrong, each, reverse_network, shown, zone
from .sections import POLICIES, Config, Endpoint, ForwardConfig, ForwardZone, Network
from .upstream_spec import parse

_ZONE_KEYS = ("name", "upstreams", "policy")


def upstream(text: str) -> str:
    """Return an upstream in its one spelling."""
    try:
        return str(parse(text))
    except ValueError as wrong:
        raise Wrong(str(wrong)) from None


def zones(tables: Sequence[dict[str, Any]]) -> tuple[ForwardZone, ...]:
    """Return the zones that are asked for elsewhere, from [[forward.zone]]."""
    found: dict[str, ForwardZone] = {}
    for number, table in enumerate(tables, 1):
        try:
            one = _zone(table)
            if one.name in found:
                raise Wrong(f"{one.name} is listed before; allowed: each zone once, with all its upstreams")
        except Wrong as wrong:
            raise Wrong.in_table(number, f"zone {number}: {wrong}") from None
        found[one.name] = one
    return tuple(found.values())


def _zone(table: dict[str, Any]) -> ForwardZone:
    if unknown := sorted(set(table) - set(_ZONE_KEYS)):
        near = get_close_matches(unknown[0].lower(), _ZONE_KEYS, n=1, cutoff=0.6)
        remedy = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(_ZONE_KEYS)}"
        raise Wrong(f"unknown key {unknown[0][:80]!r}; {remedy}")
    return ForwardZone(_origin(table.get("name")), _upstreams(table.get("upstreams")), _policy(table))


def _origin(name: Any) -> str:
    if name is None or not isinstance(name, str):
        what = "has no name" if name is None else f"name: {shown(name)} is no text"
        raise Wrong(f'{what}; allowed: the name of a zone, such as name = "corp.example"')
    if name.strip() == ".":
        raise Wrong(
            'name: "." is every name; allowed: a zone here, and upstreams in [forward] for all others'
        )
    try:
        return zone(name)
    except Wrong:
        raise Wrong(f"name: {name[:80]!r} is no zone name; allowed: such as corp.example") from None


def _upstreams(texts: Any) -> tuple[str, ...]:
    allowed = 'allowed: one or more, such as upstreams = ["192.0.2.53"]'
    if texts is None:
        raise Wrong(f"has no upstreams; {allowed}")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Wrong(f"upstreams: {shown(texts)} is no list of texts; {allowed}")
    if not texts:
        raise Wrong(f"upstreams: the list is empty; {allowed}")
    try:
        return each(upstream)(texts)
    except Wrong as wrong:
        raise Wrong(f"upstreams: {wrong}") from None


def _policy(table: dict[str, Any]) -> str:
    policy = table.get("policy", POLICIES[0])
    if policy not in POLICIES:
        raise Wrong(f"policy: {shown(policy)} is not known; allowed: {', '.join(POLICIES)}")
    return str(policy)


def forward_problems(config: Config) -> Iterator[Problem]:
    """Yield what contradicts the rest of the configuration: zones that are ours, and loops."""
    for number, one in enumerate(config.forward.zone, 1):
        domain = config.cluster_domain
        if one.name == domain or one.name.endswith("." + domain):
            text = f"{one.name} is ours and never asked elsewhere; allowed: zones outside {domain}"
            yield Problem("forward", "zone", f"zone {number}: {text}", number)
        elif own := _own_range(one.name, config):
            text = (
                f"{one.name} lies within {own}, whose names are ours and never asked elsewhere; "
                "allowed: zones outside cluster_ip_ranges and load_balancer_ranges of [services]"
            )
            yield Problem("forward", "zone", f"zone {number}: {text}", number)
        for text in one.upstreams:
            if listen := _own(text, config.dns.listen):
                yield Problem("forward", "zone", f"zone {number}: upstreams: {_loop(text, listen)}", number)
    for text in config.forward.upstreams:
        if listen := _own(text, config.dns.listen):
            yield Problem("forward", "upstreams", _loop(text, listen))


def _own_range(zone: str, config: Config) -> Network | None:
    """Return the range of ours that a reverse zone lies in with all its names, None where there is none.

    Where no zone of ours holds the reverse names of a range, they are asked for like all others.
    """
    if not any(zone == top or zone.endswith("." + top) for top in config.dns.reverse_zones):
        return None
    if (network := reverse_network(zone)) is None:
        return None
    services = config.services
    ranges = (*services.cluster_ip_ranges, *services.load_balancer_ranges)
    same: list[Any] = [one for one in ranges if one.version == network.version]
    return next((one for one in (*same, *collapse_addresses(same)) if network.subnet_of(one)), None)


class Pool(NamedTuple):
    """A list of upstreams."""

    option: str
    upstreams: tuple[str, ...]


def pools(forward: ForwardConfig) -> Iterator[Pool]:
    """Yield each list of upstreams that there is."""
    if forward.upstreams:
        yield Pool("forward.upstreams", forward.upstreams)
    for number, one in enumerate(forward.zone, 1):
        yield Pool(f"forward.zone: zone {number}: upstreams", one.upstreams)


def warnings(config: Config) -> list[str]:
    """Return a line when the limit for one client is none."""
    forward = config.forward
    if not forward.forwards or forward.outstanding_per_client <= forward.outstanding:
        return []
    return [
        f"forward.outstanding_per_client: {forward.outstanding_per_client} is more than outstanding, "
        f"{forward.outstanding}: one client can keep all others from asking; set it to less than outstanding"
    ]


def _loop(text: str, listen: Endpoint) -> str:
    return (
        f"{text!r} is this server itself, which listens on {listen}: questions would go round in a loop; "
        "allowed: other servers"
    )


def _own(text: str, listening: Sequence[Endpoint]) -> Endpoint | None:
    """Return where we listen that an upstream leads to, None for the servers of others."""
    there = parse(text)
    return own_listener(there.address, there.port, listening) if there.kind in ("udp", "tcp") else None
