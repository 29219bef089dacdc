"""Settings of the machine that traffic to Services needs: hairpin mode of bridge ports, and forwarding.

Rules:

* a setting is changed only where it is wanted and not so already, and written down first (`changes_made`);
* it is restored only where it still is what we made it: whoever changed it since is right;
* what was written down may come from a folder of another user than the one who restores: only settings that
  this room changes are written, and only 0 or what such a setting holds, whatever the file says;
* IPv6 forwarding stays off where the default route comes from router advertisements and would be lost by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from svcdns.netlink import route, wire

from .changes_made import ChangesMade, Restored
from .host_settings import HostSettings
from .networks import Found, local_links

HAIRPIN, SYSCTL, SWITCH = "hairpin", "sysctl", "switch"
BRIDGE_FILTER = {4: "net/bridge/bridge-nf-call-iptables", 6: "net/bridge/bridge-nf-call-ip6tables"}
FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
_EACH_LINK = {4: "net/ipv4/conf", 6: "net/ipv6/conf"}
_SYSCTLS = Path("/proc/sys")
_LINKS_FORWARDING = {version: f"{folder}/{{}}/forwarding" for version, folder in _EACH_LINK.items()}
SWITCHES = {
    4: {"net/ipv4/neigh/{}/proxy_delay": "0"},
    6: {"net/ipv6/neigh/{}/proxy_delay": "0", "net/ipv6/conf/{}/proxy_ndp": "1"},
}
"""What a link takes to answer for addresses: at once, and for IPv6 at all."""
_BY_ADVERTISEMENT = 9
"""RTPROT_RA."""


def sysctl(name: str) -> str:
    """Return a sysctl of this network namespace, "net/ipv4/ip_forward"; "" where it isn't there."""
    try:
        return (_SYSCTLS / name).read_text().strip()
    except OSError:
        return ""


def bridges_filter() -> bool:
    """Return whether frames that stay on a bridge pass packet rules (br_netfilter)."""
    return any(sysctl(name) == "1" for name in BRIDGE_FILTER.values())


def ports_to_turn(found: Found) -> list[route.Link]:
    """Return the ports of local bridges to containers that don't send frames back where they came from.

    A VM (tap) may have a bridge of its own, which would learn the wrong way from its frames coming back.
    """
    local = local_links(found)
    ports = (link for link in found.links if link.kind == "veth" and link.controller in local)
    return [link for link in ports if link.hairpin is False]


def set_up(kernel: wire.Socket, found: Found, settings: HostSettings, made: ChangesMade) -> Iterator[str]:
    """Change what is wanted and isn't so; yield what could not be done, a line each."""
    if settings.hairpin and bridges_filter():
        yield from _turn_ports(kernel, found, made)
    for version in FORWARDING:
        if settings.forwarding:
            yield from _forward(version, found, made)
        elif any(one.version == version for one in settings.cluster_ranges) and not_forwarded(version, found):
            yield f"IPv{version} is not forwarded, so containers reach no Service: see `svcdns proxy check`"


def _turn_ports(kernel: wire.Socket, found: Found, made: ChangesMade) -> Iterator[str]:
    there = {_port(link) for link in found.links}
    for change in made.all():
        if change.what == HAIRPIN and change.name not in there:
            made.forget(HAIRPIN, change.name)
    for link in ports_to_turn(found):
        try:
            made.note(HAIRPIN, _port(link), "off")
            route.set_hairpin(kernel, link.index, True)
        except OSError as wrong:
            yield f"hairpin_mode of {link.name} stays off: {wrong.strerror}"


def switch(name: str, value: str, made: ChangesMade) -> str:
    """Give a sysctl of a link a value that is ours to take back; return why not, "" where it has it."""
    before = sysctl(name)
    if before == value:
        return ""
    try:
        made.note(SWITCH, f"{name}={value}", before)
        (_SYSCTLS / name).write_text(value)
    except OSError as wrong:
        return f"{name.replace('/', '.')} can't be {value}: {wrong.strerror}"
    return ""


def _forward(version: int, found: Found, made: ChangesMade) -> Iterator[str]:
    name = FORWARDING[version]
    if sysctl(name) != "0":
        return
    if version == 6 and (lost := advertised_default(found)):
        yield f"net.ipv6.conf.all.forwarding stays 0: {lost}"
        return
    try:
        made.note(SYSCTL, name, " ".join(("0", *_forwarding_of_each(version))))
        (_SYSCTLS / name).write_text("1")
    except OSError as wrong:
        yield f"{name.replace('/', '.')} stays 0: {wrong.strerror}"


def not_forwarded(version: int, found: Found) -> bool:
    """Return whether packets of containers behind this machine would have to be forwarded, and are not."""
    local = local_links(found)
    is_needed = any(
        one.destination.version == version and one.links and local.issuperset(one.links)
        for one in found.routes
        if not one.destination.is_link_local and not one.destination.is_multicast
    )
    return is_needed and sysctl(FORWARDING[version]) == "0"


def advertised_default(found: Found) -> str:
    """Return what would be lost if IPv6 were forwarded, with the command that keeps it; "" for nothing."""
    for one in found.routes:
        if (
            one.destination.version == 6
            and one.destination.prefixlen == 0
            and one.protocol == _BY_ADVERTISEMENT
        ):
            name = found.name(one.links[0]) if one.links else "all"
            if sysctl(f"net/ipv6/conf/{name}/accept_ra") != "2":
                return (
                    f"the default route of {name} comes from router advertisements, which a router ignores;"
                    f" first: sysctl -w net.ipv6.conf.{name}.accept_ra=2"
                )
    return ""


def _forwarding_of_each(version: int) -> Iterator[str]:
    """Yield the sysctls of links that forwarded by themselves: switching all of them off ends that too."""
    for folder in sorted((_SYSCTLS / _EACH_LINK[version]).iterdir()):
        name = _LINKS_FORWARDING[version].format(folder.name)
        if folder.name != "all" and sysctl(name) == "1":
            yield name


def restore(kernel: wire.Socket, found: Found, made: ChangesMade, docker_is_here: bool) -> Iterator[Restored]:
    """Set back what was changed; yield what came of each."""
    ports = {_port(link): link for link in found.links}
    for change in reversed(made.all()):
        try:
            if change.what == HAIRPIN:
                yield from _turn_back(kernel, ports.get(change.name))
            elif change.what == SYSCTL:
                yield from _set_back(change.name, change.before, docker_is_here)
            elif change.what == SWITCH:
                yield from _switched_back(change.name, change.before)
            made.forget(change.what, change.name)
        except OSError as wrong:
            yield Restored(f"{change.name} stays as it is: {wrong.strerror}", False)


def _turn_back(kernel: wire.Socket, port: route.Link | None) -> Iterator[Restored]:
    if port is not None and port.hairpin:
        route.set_hairpin(kernel, port.index, False)
        yield Restored(f"hairpin_mode of {port.name} is off again", True)


def _set_back(name: str, before: str, docker_is_here: bool) -> Iterator[Restored]:
    shown = name.replace("/", ".")
    if name not in FORWARDING.values() or sysctl(name) != "1":
        return
    if docker_is_here:
        yield Restored(f"{shown} stays 1: Docker is here, and needs it", True)
        return
    (_SYSCTLS / name).write_text("0")
    for one in before.split()[1:]:
        if _is_of_a_link(one, _LINKS_FORWARDING.values()) and sysctl(one):
            (_SYSCTLS / one).write_text("1")
    yield Restored(f"{shown} is 0 again", True)


def _switched_back(name_and_value: str, before: str) -> Iterator[Restored]:
    name, _, value = name_and_value.rpartition("=")
    known = (form for forms in SWITCHES.values() for form in forms)
    if _is_of_a_link(name, known) and before.isdecimal() and sysctl(name) == value:
        (_SYSCTLS / name).write_text(before)
        yield Restored(f"{name.replace('/', '.')} is {before} again", True)


def _is_of_a_link(name: str, forms: Iterable[str]) -> bool:
    """Return whether a name is one of these with the name of a link in it, and leads nowhere else."""
    for form in forms:
        before, _, after = form.partition("{}")
        link = name.removeprefix(before).removesuffix(after)
        if name == form.format(link) and link not in ("", ".", "..") and "/" not in link:
            return True
    return False


def _port(link: route.Link) -> str:
    return f"{link.index} {link.name}"
