"""The objects that there should be for all containers of an engine, and why some containers have none.

    Namespace   of each container, made where it is missing
    Service     headless unless a label says otherwise; its ports are those of all its members
    Pod         one for each container that runs, with its host name below its first Service

A Service finds its members by a label of its own, `NAME.member.svcdns.io/of`, so a container may be in
several.  Pure: nothing here knows what is registered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from svcdns.config.container_engines import ContainerEngine
from svcdns.objects.kinds import POD, SERVICE, Kind
from svcdns.objects.selectors import LabelSelector
from svcdns.objects.service_aliases import ALIASES_ANNOTATION
from svcdns.objects.service_rules import TTL_ANNOTATION

from .addresses import AMBIGUOUS, NO_ADDRESS, NoAddress
from .engine_objects import Container
from .labels import AUTO, HEADLESS, BadLabel, asked, is_enabled, unknown
from .members import NEVER, ONE_OFF, Member, Port, member, place

MANAGED_BY_LABEL, MANAGED_BY = "app.kubernetes.io/managed-by", "svcdns-containers"
ENGINE_LABEL = "svcdns.io/engine"
CONTAINER_ID = "svcdns.io/container-id"
_MEMBER_SUFFIX = ".member.svcdns.io/of"

BAD_LABEL, HOST_NAME_TAKEN, NO_PORT = "BadLabel", "HostNameTaken", "NoPort"
NAMESPACE_NOT_ALLOWED, NAME_CHANGED, UNKNOWN_LABEL = "NamespaceNotAllowed", "NameChanged", "UnknownLabel"
PORTS_DIFFER, NOT_RUNNING, NOT_ENABLED = "PortsDiffer", "NotRunning", "NotEnabled"
QUIET = frozenset({NOT_RUNNING, NOT_ENABLED})
"""Reasons that are as their owner wants it, and no Event."""

Object = dict[str, Any]


class Key(NamedTuple):
    """Which object."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody should know about a container, and about which object it is said."""

    reason: str
    text: str
    about: Key | None = None
    """None: about the container, which has no object."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one container."""

    container: Container
    pod: Key | None
    """None: it has no Pod."""
    services: tuple[Key, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def reason(self) -> str:
        """Why it has no Pod; "" where it has."""
        return self.remarks[0].reason if self.pod is None and self.remarks else ""


@dataclass(slots=True)
class Plan:
    """What there should be."""

    objects: dict[Key, Object] = field(default_factory=dict)
    """As they are applied."""
    kept: set[Key] = field(default_factory=set)
    """Services whose containers don't run now: those that are there stay as they are."""
    outcomes: list[Outcome] = field(default_factory=list)


def plan(
    containers: Iterable[Container], engine: ContainerEngine, name: str, own_networks: Collection[str] = ()
) -> Plan:
    """Return what there should be; `name` is the engine's."""
    made = Plan()
    everyone = {one.id: one for one in sorted(containers, key=lambda one: (one.name, one.id))}
    selector = LabelSelector.parse(engine.constraints)
    members = []
    for container in everyone.values():
        if not _is_wanted(container, engine, selector):
            continue
        found = _member_or_why_not(container, engine, name, everyone, own_networks, made)
        if isinstance(found, Member):
            members.append(found)
        else:
            made.outcomes.append(found)
    chosen, beside = _one_each(members)
    made.outcomes += beside
    services: dict[Key, list[Member]] = {}
    for one in chosen:
        for service in one.services:
            services.setdefault(Key(SERVICE, one.namespace, service), []).append(one)
    remarks: dict[str, list[Remark]] = {}
    for key, among in services.items():
        made.objects[key] = _service(key, among, name, remarks)
    made.kept -= made.objects.keys()
    for one in chosen:
        key = Key(POD, one.namespace, one.pod)
        made.objects[key] = _pod(one, name)
        said = (*_remarks(one, key), *remarks.get(one.container.id, ()))
        of = tuple(Key(SERVICE, one.namespace, service) for service in one.services)
        made.outcomes.append(Outcome(one.container, key, of, said))
    return made


def _is_wanted(container: Container, engine: ContainerEngine, selector: LabelSelector) -> bool:
    """Whether a container is one that anything is said of at all."""
    if container.is_infra or container.labels.get(ONE_OFF, "").lower() == "true":
        return False
    return selector.matches(container.labels)


def _member_or_why_not(
    container: Container,
    engine: ContainerEngine,
    name: str,
    everyone: Mapping[str, Container],
    own_networks: Collection[str],
    made: Plan,
) -> Member | Outcome:
    enabled = is_enabled(container.labels)
    if enabled is False or (enabled is None and engine.expose == "labelled"):
        return _none(container, NOT_ENABLED, "svcdns.io/enable does not say true")
    try:
        asks = asked(container.labels)
        there = place(container, asks, engine)
        if there.namespace == NEVER or (engine.namespaces and there.namespace not in engine.namespaces):
            text = f"namespace {there.namespace} is not one of [[containers]] namespaces"
            return _none(container, NAMESPACE_NOT_ALLOWED, text)
        made.kept.update(Key(SERVICE, there.namespace, service) for service in there.services)
        if not container.is_running:
            return _none(container, NOT_RUNNING, f"it is {container.state or 'not running'}")
        return member(container, asks, there, engine, name, everyone, own_networks)
    except BadLabel as bad:
        return _none(container, BAD_LABEL, str(bad))
    except NoAddress as none:
        if container.state != "running":
            return _none(container, NOT_RUNNING, f"it is {container.state}")
        return _none(container, NO_ADDRESS, str(none))


def _none(container: Container, reason: str, text: str) -> Outcome:
    return Outcome(container, None, remarks=(Remark(reason, text),))


def _one_each(members: Sequence[Member]) -> tuple[list[Member], list[Outcome]]:
    """Return one member for each Pod, the one that started last, and the others with the reason."""
    newest: dict[tuple[str, str], Member] = {}
    for one in members:
        key = (one.namespace, one.pod)
        if key not in newest or _age(one.container) > _age(newest[key].container):
            newest[key] = one
    beside = [
        _none(
            one.container,
            HOST_NAME_TAKEN,
            f"container {newest[one.namespace, one.pod].container.name} started later and has the name "
            f"{one.pod} in namespace {one.namespace}; say another one: svcdns.io/hostname",
        )
        for one in members
        if newest[one.namespace, one.pod] is not one
    ]
    return list(newest.values()), beside


def _age(container: Container) -> tuple[str, int, str]:
    """Return what orders containers by when they started; who is not known to have started comes first."""
    return (
        "" if container.started.startswith("0001") else container.started,
        container.created,
        container.id,
    )


def _remarks(one: Member, key: Key) -> Iterable[Remark]:
    if one.reached.remark:
        yield Remark(AMBIGUOUS, one.reached.remark, key)
    if one.renamed:
        yield Remark(
            NAME_CHANGED, f"{one.renamed}: names in DNS are letters, digits and '-', at most 63", key
        )
    if misspelt := unknown(one.container.labels):
        yield Remark(UNKNOWN_LABEL, f"nothing reads {', '.join(misspelt)}; see docs/containers.md", key)


# Objects


def _metadata(key: Key, engine: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Object:
    made: Object = {
        "name": key.name,
        "namespace": key.namespace,
        "labels": {**labels, MANAGED_BY_LABEL: MANAGED_BY, ENGINE_LABEL: engine},
    }
    return {**made, "annotations": dict(annotations)} if annotations else made


def _member_label(service: str) -> dict[str, str]:
    return {f"{service}{_MEMBER_SUFFIX}": "true"}


def _service(key: Key, among: Sequence[Member], engine: str, remarks: dict[str, list[Remark]]) -> Object:
    ports = _service_ports(key, among, remarks)
    spec: Object = {"selector": _member_label(key.name)}
    cluster_ip = next((one.asked.cluster_ip for one in among if one.asked.cluster_ip != HEADLESS), HEADLESS)
    if cluster_ip != HEADLESS and not ports:
        text = "it asks for a cluster IP and has no port, so its Service is headless; say one: svcdns.io/port"
        remarks.setdefault(among[0].container.id, []).append(Remark(NO_PORT, text, key))
        cluster_ip = HEADLESS
    if cluster_ip != AUTO:
        spec["clusterIP"] = cluster_ip
    if ports:
        spec["ports"] = ports
    if any(one.asked.publish_not_ready for one in among):
        spec["publishNotReadyAddresses"] = True
    ttl = next((one.asked.dns_ttl for one in among if one.asked.dns_ttl), "")
    aliases = ", ".join(dict.fromkeys(one.asked.aliases for one in among if one.asked.aliases))
    annotations = {
        word: text for word, text in ((TTL_ANNOTATION, ttl), (ALIASES_ANNOTATION, aliases)) if text
    }
    metadata = _metadata(key, engine, {}, annotations)
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _service_ports(key: Key, among: Sequence[Member], remarks: dict[str, list[Remark]]) -> list[Object]:
    """Return the ports of all members by their names; of two that differ the first has it."""
    found: dict[str, Port] = {}
    numbers: dict[tuple[int, str], str] = {}
    for one in among:
        for port in one.ports:
            first = found.setdefault(port.name, port)
            same_number = numbers.setdefault((port.number, port.protocol), port.name)
            if (first.number, first.protocol) != (port.number, port.protocol) or same_number != port.name:
                if first is port:
                    del found[port.name]
                text = f"port {port.name}={port.number}/{port.protocol.lower()} differs from another member's"
                remarks.setdefault(one.container.id, []).append(Remark(PORTS_DIFFER, text, key))
    return [
        {"name": one.name, "port": one.number, "protocol": one.protocol, "targetPort": one.name}
        for one in sorted(found.values(), key=lambda port: port.name)
    ]


def _pod(one: Member, engine: str) -> Object:
    key = Key(POD, one.namespace, one.pod)
    labels = dict(one.asked.labels)
    for service in one.services:
        labels |= _member_label(service)
    spec: Object = {"containers": [_container(one)]}
    if one.services:
        spec |= {"hostname": one.hostname, "subdomain": one.services[0]}
    ready = one.readiness
    condition = {"type": "Ready", "status": str(ready.ready), "reason": ready.reason}
    if ready.message:
        condition["message"] = ready.message
    addresses = one.reached.addresses
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(key, engine, labels, {CONTAINER_ID: one.container.id}),
        "spec": spec,
        "status": {
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [condition],
        },
    }


def _container(one: Member) -> Object:
    found: Object = {"name": one.hostname}  # the engine's name of it changes while compose recreates it
    if one.container.image:
        found["image"] = one.container.image[:255]
    if one.ports:
        found["ports"] = [
            {"name": port.name, "containerPort": port.target, "protocol": port.protocol} for port in one.ports
        ]
    return found


def lingering(pod: Object) -> Object:
    """Return the Pod of a container that has ended, which stays a while: not ready."""
    return _not_ready(pod, "Exited", "the container has ended")


def stale(pod: Object) -> Object:
    """Return the Pod of a container that has not been heard of for too long: not ready."""
    return _not_ready(pod, "EngineAway", "its engine does not answer")


def as_applied(pod: Object) -> Object:
    """Return what has to be applied to a registered Pod for it to stay as it is."""
    servers_own = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
    metadata = {key: value for key, value in pod["metadata"].items() if key not in servers_own}
    return {**pod, "metadata": metadata}


def _not_ready(pod: Object, reason: str, message: str) -> Object:
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": message}
    return {**pod, "status": {**pod["status"], "conditions": [condition]}}
