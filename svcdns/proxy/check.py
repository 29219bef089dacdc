"""What this machine can do for traffic to Services, and what stands in the way; nothing is changed.

Rules:

* a finding is one line in words, and the command that mends it where there is one;
* WRONG is what keeps traffic away now; a WARNING may do so one day, or on some paths;
* what the proxy does by itself when it runs (routes, hairpin mode, the jump past Docker) is no fault;
* what cannot be found out is a warning that says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, NamedTuple

from svcdns.config.sections import Config
from svcdns.netlink import conntrack, wire

from . import choice, machine_settings, node_ports
from .firewalls import IN, THROUGH, Obstacle, Way, obstacles
from .host import read
from .host_settings import HostSettings, Network
from .machine import host_settings
from .networks import Found, host, local_links, ranges_in_use
from .translated import Target, relayed, targets

OK, WARNING, WRONG = "ok", "warning", "wrong"
_KEEPS = (6, 9)
"""The first Linux whose tables others cannot flush."""
_FULL = 80
"""Percent of the table of connections."""
_MOST_LISTENERS = 20
_AS_ROOT = "svcdns proxy check, as root, reads them"
_AT_PROCESSES = "containers and other machines reach no endpoint that is a process of this one"
_AT_A_RELAY = "containers and other machines reach no Service here"


class Finding(NamedTuple):
    """One thing that was looked at."""

    about: str
    """A word: engine, kernel, forwarding, hairpin, rules, ranges, node-ports, connections."""
    level: str
    text: str
    remedy: str = ""
    """A command, or a step in words; "" where there is none."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found."""

    findings: tuple[Finding, ...]

    @property
    def code(self) -> int:
        """Return the exit code: 1 where something is wrong."""
        return int(any(one.level == WRONG for one in self.findings))

    def lines(self) -> Iterator[str]:
        """Yield it for people, what is wrong first."""
        for level in (WRONG, WARNING, OK):
            for one in self.findings:
                if one.level == level:
                    yield f"{level + ':':<9}{one.text}"
                    if one.remedy:
                        yield f"{'':<9}  {one.remedy}"

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"ok": self.code == 0, "findings": [one._asdict() for one in self.findings]}


def check(settings: HostSettings, engine: str = choice.AUTO) -> Report:
    """Look at this machine (this network namespace) with the settings and the engine of its proxy."""
    return Report(tuple(_findings(settings, engine)))


def check_config(config: Config) -> Report:
    """Look at this machine as a configuration wants it, without a server."""
    settings = replace(host_settings(config), cluster_ranges=config.services.cluster_ip_ranges)
    return check(settings, config.proxy.engine)


def _findings(settings: HostSettings, engine: str) -> Iterator[Finding]:
    if engine != choice.USER:
        yield from _engine(choice.missing_for_nft())
        yield from _kernel(os.uname().release)
    try:
        with wire.Socket(wire.ROUTE) as routes:
            found = read(routes)
    except (OSError, wire.Malformed) as wrong:
        yield Finding("ranges", WRONG, f"links and routes can't be read: {wrong}")
        return
    yield from _ranges(found, settings)
    yield from _rules(found, settings, engine)
    if engine != choice.USER:  # a relay forwards no packets, and listens on node ports itself
        yield from _node_ports(found, settings)
        yield from _forwarding(found, settings)
        yield from _hairpin(found, settings)
        yield from _connections(conntrack.fill())


def _engine(missing: str) -> Iterator[Finding]:
    if missing:
        remedy = "until then there is the engine user, which carries less (docs/traffic.md)"
        yield Finding("engine", WRONG, f"the engine nft can't be used: {missing}", remedy)
    else:
        yield Finding("engine", OK, "the engine nft can be used: this kernel, with these rights")


def _kernel(release: str) -> Iterator[Finding]:
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < _KEEPS:
        text = f"Linux {release}: `nft flush ruleset` takes the proxy's table, too, until the proxy sees it"
        yield Finding("kernel", WARNING, text, "Linux 6.9 and newer keep the proxy's table from others")
    else:
        yield Finding("kernel", OK, f"Linux {release} keeps the proxy's table from others")


def _ranges(found: Found, settings: HostSettings) -> Iterator[Finding]:
    in_use = ranges_in_use(found, settings)
    for one in dict.fromkeys((*settings.cluster_ranges, *settings.load_balancer_ranges)):
        if one in in_use:
            other = free_range(found, one)
            remedy = f"take another range for Services, such as {other}" if other else ""
            yield Finding("ranges", WRONG, f"{one} is in use: {in_use[one]}", remedy)
        else:
            yield Finding("ranges", OK, f"nothing else leads to {one}")


def free_range(found: Found, wanted: Network) -> Network | None:
    """Return a private range that nothing leads to, of the size wanted but at most a /16 (IPv6: a /108)."""
    prefix = max(wanted.prefixlen, 16 if wanted.version == 4 else 108)
    for number in (*range(96, 256), *range(96)):
        text = f"10.{number}.0.0/{prefix}" if wanted.version == 4 else f"fd{number:02x}:5e::/{prefix}"
        one = ip_network(text)
        if not ranges_in_use(found, HostSettings(cluster_ranges=(one,))):
            return one
    return None


def _forwarding(found: Found, settings: HostSettings) -> Iterator[Finding]:
    for version in sorted({one.version for one in settings.cluster_ranges}):
        name = machine_settings.FORWARDING[version].replace("/", ".")
        is_on = machine_settings.sysctl(machine_settings.FORWARDING[version]) == "1"
        lost = machine_settings.advertised_default(found) if version == 6 and not is_on else ""
        if is_on:
            yield Finding("forwarding", OK, f"IPv{version} is forwarded")
        elif settings.forwarding and not lost:
            yield Finding("forwarding", OK, f"IPv{version} is not forwarded yet; the proxy will switch it on")
        else:
            level = WRONG if local_links(found) else WARNING
            text = f"IPv{version} is not forwarded, so containers and other machines reach no Service"
            remedy = f"sysctl -w {name}=1"
            yield Finding("forwarding", level, f"{text}; {lost}" if lost else text, remedy)


def _hairpin(found: Found, settings: HostSettings) -> Iterator[Finding]:
    ports = machine_settings.ports_to_turn(found) if machine_settings.bridges_filter() else []
    if not ports:
        yield Finding("hairpin", OK, "a container can reach itself through a Service")
    elif settings.hairpin:
        yield Finding("hairpin", OK, f"hairpin mode is off; the proxy will switch it on ({_names(ports)})")
    else:
        text = f"a container can't reach itself through a Service: hairpin mode is off ({_names(ports)})"
        commands = " && ".join(f"bridge link set dev {one.name} hairpin on" for one in ports)
        yield Finding("hairpin", WARNING, text, commands)


def _names(ports: Iterable[Any]) -> str:
    names = [one.name for one in ports]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _rules(machine: Found, settings: HostSettings, engine: str) -> Iterator[Finding]:
    """Say what of other people's rules is in the way: to others, and to processes of this machine."""
    known = host(machine, settings)
    translated = list(targets(known, settings.node_ports))
    is_relay = engine == choice.USER or (engine == choice.AUTO and bool(choice.missing_for_nft()))
    sent = list(relayed(known, settings.node_ports))
    try:
        through = [] if is_relay else _obstacles(THROUGH, translated)
        into = _obstacles(IN, sent if is_relay else translated)
    except (OSError, wire.Malformed) as wrong:
        why = wrong.strerror.lower() if isinstance(wrong, OSError) and wrong.strerror else str(wrong)
        yield Finding("rules", WARNING, f"other packet rules can't be read: {why}", _AS_ROOT)
        return
    for one in through:
        if one.is_docker and settings.docker:
            yield Finding("rules", OK, f"{one.text}; the proxy makes a way past them")
        else:
            yield Finding("rules", WRONG, one.text, one.remedy)
    for one in into:
        yield Finding(
            "rules", WARNING, f"{one.text}: {_AT_A_RELAY if is_relay else _AT_PROCESSES}", one.remedy
        )
    if not through and not into:
        yield Finding("rules", OK, "no other packet rules drop traffic to Services")


def _obstacles(way: Way, wanted: Sequence[Target]) -> list[Obstacle]:
    with wire.Socket(wire.NETFILTER) as kernel:
        return list(obstacles(kernel, way, wanted))


def _node_ports(found: Found, settings: HostSettings) -> Iterator[Finding]:
    addresses = host(found, settings).node_addresses
    listeners = node_ports.listeners(settings.node_ports, addresses)
    for one in listeners[:_MOST_LISTENERS]:
        who = node_ports.who_listens(one)
        text = f"{who} listens on {one.text}: a Service with that node port takes what comes to it"
        yield Finding(
            "node-ports", WARNING, text, "let the program listen elsewhere, or change node_port_range"
        )
    if len(listeners) > _MOST_LISTENERS:
        yield Finding("node-ports", WARNING, f"{len(listeners) - _MOST_LISTENERS} more listen on node ports")
    if not listeners:
        yield Finding("node-ports", OK, "no program listens on a node port")
    if shared := node_ports.taken_by_clients(settings.node_ports):
        some = f"{shared.start}-{shared.stop - 1}"
        text = f"connections of this machine may come from the ports {some}, which are node ports"
        remedy = f"sysctl -w net.ipv4.ip_local_reserved_ports={some}"
        yield Finding("node-ports", WARNING, text, remedy)


def _connections(fill: conntrack.Fill | None) -> Iterator[Finding]:
    if fill is None:
        yield Finding("connections", WARNING, "how full the table of connections is can't be read")
        return
    percent = fill.entries * 100 // fill.maximum if fill.maximum else 0
    text = f"the table of connections has {fill.entries} of {fill.maximum} entries"
    if percent >= _FULL:
        remedy = f"sysctl -w net.netfilter.nf_conntrack_max={fill.maximum * 2}"
        yield Finding("connections", WRONG, f"{text}; when it is full, new ones are dropped", remedy)
    else:
        yield Finding("connections", OK, text)
