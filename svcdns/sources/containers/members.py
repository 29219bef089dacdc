"""A container as a member of Services: in which namespace, under which names, with which ports, how ready.

Compose's and podman-compose's labels say project, service and number of a replica; identity comes from them
and from the container's id, never from its name, which compose changes while it recreates (`ID_NAME`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from svcdns.config.container_engines import ContainerEngine

from . import engine_objects
from .addresses import Reached, reached
from .engine_objects import Container, ExposedPort
from .labels import MOST_PORTS, Asked, AskedPort

PROJECT, SERVICE, NUMBER = (
    f"com.docker.compose.{word}" for word in ("project", "service", "container-number")
)
ONE_OFF = "com.docker.compose.oneoff"
_LONGEST = 63
_DIGEST = 5
NEVER = "kube-system"
"""The namespace that no container gets into."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a member, by its name: where clients reach it, and what the Service calls it."""

    name: str
    number: int
    protocol: str
    target: int
    """Where the Pod listens: another one where the port is published."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a container is ready, and why."""

    ready: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """What a container that runs comes to."""

    container: Container
    asked: Asked
    namespace: str
    services: tuple[str, ...]
    hostname: str
    pod: str
    """The name of its Pod."""
    reached: Reached
    ports: tuple[Port, ...]
    readiness: Readiness
    renamed: str = ""
    """Which of its names had to be changed to be names in DNS."""


@dataclass(frozen=True, slots=True)
class Place:
    """The names that a container has, whether it runs or not."""

    namespace: str
    services: tuple[str, ...]
    hostname: str
    renamed: str


def dns_label(text: str) -> str:
    """Return a name as a DNS label: lower case, '-' for what DNS has not, cut to 63 with a hash of it all."""
    plain = re.sub("[^a-z0-9-]", "-", text.lower()).strip("-")
    if len(plain) <= _LONGEST:
        return plain
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:_DIGEST]
    return f"{plain[: _LONGEST - _DIGEST - 1].rstrip('-')}-{digest}"


def place(container: Container, asks: Asked, engine: ContainerEngine) -> Place:
    """Return the names of a container."""
    labels = container.labels
    own_name = container.name if re.search("[A-Za-z0-9]", container.name) else container.id[:12]
    namespace = engine.namespace or asks.namespace or labels.get(PROJECT) or "default"
    services = asks.services if asks.services is not None else (labels.get(SERVICE) or own_name,)
    hostname = asks.hostname or _replica(labels) or own_name
    written = (namespace, *services, hostname)
    made = [dns_label(one) or "x" for one in written]
    renamed = ", ".join(
        f"{one[:80]} is {name}" for one, name in zip(written, made, strict=True) if one != name
    )
    return Place(made[0], tuple(dict.fromkeys(made[1:-1])), made[-1], renamed)


def _replica(labels: Mapping[str, str]) -> str:
    service, number = labels.get(SERVICE, ""), labels.get(NUMBER, "")
    return f"{service}-{number}" if service and number.isascii() and number.isdigit() else ""


def member(
    container: Container,
    asks: Asked,
    there: Place,
    engine: ContainerEngine,
    name: str,
    others: Mapping[str, Container],
    own_networks: Collection[str],
) -> Member:
    """Return what a container that runs comes to; `name` is the engine's.  Raises NoAddress."""
    where = reached(container, asks, engine, others, own_networks)
    return Member(
        container,
        asks,
        there.namespace,
        there.services,
        there.hostname,
        dns_label(f"{there.hostname}-{name}") if engine.prefix_engine else there.hostname,
        where,
        _ports(container, asks, where),
        _readiness(container, asks),
        there.renamed,
    )


def _ports(container: Container, asks: Asked, where: Reached) -> tuple[Port, ...]:
    """Return the ports: as labelled, else all that are exposed; published ones have the host's number."""
    wanted = asks.ports
    if wanted is None:
        exposed = container.exposed[:MOST_PORTS]
        wanted = tuple(AskedPort(f"{one.protocol.lower()}-{one.number}", *_of(one)) for one in exposed)
    if not where.is_published:
        return tuple(Port(one.name, one.number, one.protocol, one.number) for one in wanted)
    published = {one.port: one.number for one in reversed(container.published)}
    targets = ((one, published.get(ExposedPort(one.number, one.protocol))) for one in wanted)
    return tuple(Port(one.name, one.number, one.protocol, number) for one, number in targets if number)


def _of(port: ExposedPort) -> tuple[int, str]:
    return port.number, port.protocol


def _readiness(container: Container, asks: Asked) -> Readiness:
    if asks.ready != "health":
        return Readiness(asks.ready == "always", "ByLabel", f"svcdns.io/ready={asks.ready}")
    if container.state == "paused":
        return Readiness(False, "Paused", "the container is paused")
    if container.state == "restarting":
        return Readiness(False, "Restarting", "the container is being restarted")
    if container.health == engine_objects.HEALTHY:
        return Readiness(True, "Healthy", "its healthcheck succeeds")
    if container.health == engine_objects.STARTING:
        return Readiness(False, "HealthStarting", "its healthcheck has not succeeded yet")
    if container.health == engine_objects.UNHEALTHY:
        return Readiness(False, "Unhealthy", container.health_log or "its healthcheck fails")
    return Readiness(True, "Running", "the container runs and has no healthcheck")
