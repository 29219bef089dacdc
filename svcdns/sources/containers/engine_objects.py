"""The engine's JSON as one `Container`: what its list says, and what only an inspection does.

Docker (API 1.41 to 1.52) and Podman fill different fields: Podman's list has neither health nor network mode
nor ports that are exposed only, and its `Health` without a healthcheck is `{"Status": ""}`.  Fields that are
missing, null or empty all mean "not said".  https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec import Struct, field

from svcdns.objects import syntax

NO_HEALTHCHECK = ""
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_HEALTHS = (STARTING, HEALTHY, UNHEALTHY)
_HEALTH_IN_STATUS = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)\Z")
_INFRA_IMAGES = ("podman-pause", "/pause:", "/pause@")
_LOG_CHARACTERS = 200
"""Of the last words of a healthcheck that failed."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A network that a container is on, and its addresses there; "" for none of a family."""

    network: str
    ipv4: str = ""
    ipv6: str = ""


@dataclass(frozen=True, slots=True, order=True)
class ExposedPort:
    """A port that a container listens on as its image or command line says."""

    number: int
    protocol: str
    """TCP, UDP or SCTP."""


@dataclass(frozen=True, slots=True, order=True)
class Published:
    """A port of the host that leads to one of a container; `host` may be an unspecified address or ""."""

    port: ExposedPort
    host: str
    number: int


@dataclass(frozen=True, slots=True)
class Container:
    """One container, as far as names and addresses follow from it."""

    id: str
    name: str
    image: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    state: str = ""
    """created, running, paused, restarting, removing, exited or dead."""
    health: str | None = None
    """NO_HEALTHCHECK, STARTING, HEALTHY or UNHEALTHY; None: an inspection has to tell."""
    health_log: str = ""
    networks: tuple[Attached, ...] = ()
    mode: str = ""
    """How it is on the network: "host", "none", "container:ID", or the name of a network."""
    exposed: tuple[ExposedPort, ...] = ()
    published: tuple[Published, ...] = ()
    started: str = ""
    """RFC 3339, "" where only an inspection knows."""
    created: int = 0
    is_infra: bool = False
    """Whether it only holds the network of a Podman pod."""

    @property
    def is_running(self) -> bool:
        """Whether its processes are there; `restarting` says Running=true and is not."""
        return self.state in ("running", "paused", "restarting")


class _Network(Struct, rename="pascal"):
    ip_address: str | None = field(name="IPAddress", default=None)
    global_ipv6_address: str | None = field(name="GlobalIPv6Address", default=None)


class _Networks(Struct, rename="pascal"):
    networks: dict[str, _Network | None] | None = None
    ports: dict[str, list[_Binding] | None] | None = None


class _Binding(Struct, rename="pascal"):
    host_ip: str | None = None
    host_port: str | None = None


class _Port(Struct, rename="pascal"):
    private_port: int = 0
    public_port: int | None = None
    ip: str | None = field(name="IP", default=None)
    type: str | None = None


class _HostConfig(Struct, rename="pascal"):
    network_mode: str | None = None


class _Health(Struct, rename="pascal"):
    status: str | None = None
    log: list[dict[str, Any]] | None = None


class _Listed(Struct, rename="pascal"):
    id: str
    names: list[str] | None = None
    image: str | None = None
    labels: dict[str, str] | None = None
    state: str | None = None
    status: str | None = None
    created: int = 0
    ports: list[_Port] | None = None
    network_settings: _Networks | None = None
    host_config: _HostConfig | None = None
    health: _Health | None = None


class _State(Struct, rename="pascal"):
    status: str | None = None
    restarting: bool | None = False
    started_at: str | None = None
    health: _Health | None = None


class _Healthcheck(Struct, rename="pascal"):
    test: list[str] | None = None


class _Config(Struct, rename="pascal"):
    healthcheck: _Healthcheck | None = None
    exposed_ports: dict[str, Any] | None = None
    labels: dict[str, str] | None = None


class _Inspected(Struct, rename="pascal"):
    id: str
    name: str | None = None
    state: _State | None = None
    config: _Config | None = None
    host_config: _HostConfig | None = None
    network_settings: _Networks | None = None


_decode_list = msgspec.json.Decoder(list[_Listed]).decode
_decode_inspected = msgspec.json.Decoder(_Inspected).decode


def listed(octets: bytes, *, tells_health: bool) -> list[Container]:
    """Return the containers of GET /containers/json.

    `tells_health`: the engine's list shows health where there is a healthcheck (Docker does, Podman may not).
    Raises msgspec.DecodeError.
    """
    return [_of_list(one, tells_health) for one in _decode_list(octets)]


def _of_list(one: _Listed, tells_health: bool) -> Container:
    name = next((text.removeprefix("/") for text in one.names or () if text.count("/") <= 1), one.id[:12])
    ports = [(_exposed(port.private_port, port.type), port) for port in one.ports or ()]
    return Container(
        id=one.id,
        name=name,
        image=one.image or "",
        labels=one.labels or {},
        state=(one.state or "").lower(),
        health=_listed_health(one, tells_health),
        networks=_attached(one.network_settings),
        mode=(one.host_config.network_mode if one.host_config else None) or "",
        exposed=tuple(sorted({exposed for exposed, _ in ports if exposed})),
        published=tuple(
            sorted({Published(exposed, _host(port.ip), port.public_port) for exposed, port in ports
                    if exposed and port.public_port})
        ),
        created=one.created,
        is_infra=name.endswith("-infra") and any(word in (one.image or "") for word in _INFRA_IMAGES),
    )  # fmt: skip


def _listed_health(one: _Listed, tells_health: bool) -> str | None:
    if one.health is not None and one.health.status:
        return one.health.status if one.health.status in _HEALTHS else NO_HEALTHCHECK
    if said := _HEALTH_IN_STATUS.search(one.status or ""):
        # Podman shows "(starting)" behind a container that is run without its timers too: it is no answer
        return said[1] if tells_health or said[1] != STARTING else None
    return NO_HEALTHCHECK if tells_health else None


def inspected(octets: bytes, before: Container) -> Container:
    """Return a listed container with what GET /containers/ID/json says of it.

    Raises msgspec.DecodeError.
    """
    one = _decode_inspected(octets)
    state, config = one.state or _State(), one.config or _Config()
    settings = one.network_settings
    ports = [*(config.exposed_ports or ()), *((settings.ports if settings else None) or ())]
    exposed = {*before.exposed, *filter(None, map(_exposed_of_text, ports))}
    return replace(
        before,
        name=(one.name or "").removeprefix("/") or before.name,
        labels=config.labels or before.labels,
        state="restarting" if state.restarting else (state.status or before.state).lower(),
        health=_inspected_health(state, config),
        health_log=_last_words(state.health),
        networks=_attached(settings) or before.networks,
        mode=(one.host_config.network_mode if one.host_config else None) or before.mode,
        exposed=tuple(sorted(exposed)),
        started=state.started_at or "",
    )


def _inspected_health(state: _State, config: _Config) -> str:
    """Return the health; "starting" of a container whose healthcheck is none is no health."""
    status = (state.health.status if state.health else None) or ""
    test = (config.healthcheck.test if config.healthcheck else None) or []
    is_checked = bool(test) and test[0].upper() != "NONE"
    if status == STARTING:
        return STARTING if is_checked else NO_HEALTHCHECK
    if status in _HEALTHS:
        return status
    return STARTING if is_checked and state.status == "created" else NO_HEALTHCHECK


def _last_words(health: _Health | None) -> str:
    log = (health.log if health else None) or []
    output = log[-1].get("Output") if log else None
    text = " ".join(output.split()) if isinstance(output, str) else ""
    return text[-_LOG_CHARACTERS:]


def _attached(settings: _Networks | None) -> tuple[Attached, ...]:
    there = ((settings.networks if settings else None) or {}).items()
    found = [
        Attached(name, one.ip_address or "", one.global_ipv6_address or "") for name, one in there if one
    ]
    return tuple(sorted(found, key=lambda one: one.network))


def _host(text: str | None) -> str:
    """Return an address of the host, "" for none: then it counts as all of them."""
    address = syntax.parse_address(text or "")
    return "" if address is None else str(address)


def _exposed(number: int, kind: str | None) -> ExposedPort | None:
    protocol = (kind or "tcp").upper()
    good = 0 < number < 65536 and protocol in ("TCP", "UDP", "SCTP")
    return ExposedPort(number, protocol) if good else None


def _exposed_of_text(text: str) -> ExposedPort | None:
    number, _, kind = text.partition("/")
    return _exposed(int(number), kind) if number.isascii() and number.isdigit() and len(number) < 6 else None
