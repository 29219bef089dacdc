"""Where a container is reached: one rule after the other, never a guess, never "this machine's own address".

1. the label `svcdns.io/address` holds an address: that one;
2. `published`: the address of the host that its ports are published at; where that is 0.0.0.0, ::, or
   nothing, what `host_address` says;
3. on the host's network: what `host_address` says;
4. the label or option `network` names a network: the address there, and none where it is not on it;
5. a network that svcdns' own container is on; 6. the only network; 7. the first by name, which is said.

In the network of another container (`container:ID`, a Podman pod) it has that one's addresses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from svcdns.config.container_engines import ContainerEngine

from .engine_objects import Attached, Container
from .labels import Asked

NO_ADDRESS = "NoAddress"
AMBIGUOUS = "AmbiguousNetwork"
PUBLISHED, HOST = "published", "host"
_CONTAINER = "container:"
_DEEPEST = 4
"""How many containers may share a network one through the other."""


class NoAddress(Exception):
    """It is not reached anywhere that is known; the text says why, and what helps."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a container is reached."""

    addresses: tuple[str, ...]
    """At most one a family, IPv4 first."""
    is_published: bool = False
    """Whether its ports are those of the host."""
    remark: str = ""
    """What its owner should know."""


def reached(
    container: Container,
    asked: Asked,
    engine: ContainerEngine,
    others: Mapping[str, Container],
    own_networks: Collection[str],
) -> Reached:
    """Return where a container is reached; `others` are all by their ids.  Raises NoAddress."""
    if asked.address not in ("container", PUBLISHED, HOST):
        return Reached((asked.address,))
    holder = _network_holder(container, others)
    if asked.address == PUBLISHED:
        return _published(container if container.published else holder, engine)
    if asked.address == HOST or holder.mode == "host":
        return Reached((_host_address(engine, "it is on the network of the host"),))
    return _on_network(holder, asked.network or engine.network, own_networks)


def _published(container: Container, engine: ContainerEngine) -> Reached:
    if not container.published:
        raise NoAddress("no port of it is published; allowed: -p, or svcdns.io/address=container")
    hosts = dict.fromkeys(one.host for one in container.published)
    found: dict[int, str] = {}
    for host in hosts:
        text = _host_address(engine, f"its ports are published at {host or 'all addresses'}") \
            if _is_any(host) else host  # fmt: skip
        found.setdefault(ip_address(text).version, text)
    return Reached(tuple(found[version] for version in sorted(found)), is_published=True)


def _is_any(host: str) -> bool:
    return not host or ip_address(host).is_unspecified


def _host_address(engine: ContainerEngine, why: str) -> str:
    if not engine.host_address:
        raise NoAddress(f"{why}; say at which address others reach it: host_address in [[containers]]")
    return engine.host_address


def _network_holder(container: Container, others: Mapping[str, Container]) -> Container:
    """Return whose network a container is on.  Raises NoAddress."""
    holder = container
    for _ in range(_DEEPEST):
        if not holder.mode.startswith(_CONTAINER):
            return holder
        wanted = holder.mode.removeprefix(_CONTAINER)
        there = others.get(wanted) or next((one for one in others.values() if one.name == wanted), None)
        if there is None or not there.is_running:
            raise NoAddress(f"it is on the network of container {wanted[:12]}, which does not run")
        holder = there
    raise NoAddress("it is on the network of a container that is on the network of others")


def _on_network(container: Container, wanted: str, own_networks: Collection[str]) -> Reached:
    there = [one for one in container.networks if one.ipv4 or one.ipv6]
    if not there:
        text = "it has no address on any network"
        raise NoAddress(f"{text}; allowed: a network of its own, or svcdns.io/address=published")
    if wanted:
        return Reached(_both(_named(container, there, wanted)))
    shared = [one for one in there if one.network in own_networks]
    among = shared or there
    if len(among) == 1:
        return Reached(_both(among[0]))
    names = ", ".join(one.network for one in among)
    text = f"it is on {len(among)} networks ({names}), and {among[0].network} is taken"
    return Reached(_both(among[0]), remark=f"{text}; say which: svcdns.io/network")


def _named(container: Container, there: list[Attached], wanted: str) -> Attached:
    """Return the network of a name, with or without the prefix that compose gives it.  Raises NoAddress."""
    project = container.labels.get("com.docker.compose.project", "")
    for name in (wanted, f"{project}_{wanted}"):
        for one in there:
            if one.network == name:
                return one
    names = ", ".join(one.network for one in there)
    raise NoAddress(f"it is not on the network {wanted[:80]}; it is on {names}")


def _both(one: Attached) -> tuple[str, ...]:
    return tuple(text for text in (one.ipv4, one.ipv6) if text)
