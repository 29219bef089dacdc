"""What is to be probed of a Pod: its containers' probes with Kubernetes' defaults, as values.

Rules:

* startupProbe and readinessProbe of containers, and of init containers that run beside them (restartPolicy
  Always); livenessProbes are the business of whoever restarts the process;
* what can't be probed (an unknown named port) is said in words and is not ready; exec probes are left out,
  such a container goes by what is reported of its Pod;
* the target is the Pod's own address: `host` of a probe is not a target here, it is the Host header.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
_KINDS = ("httpGet", "tcpSocket", "grpc")
_WHICH = ("startupProbe", "readinessProbe")


@dataclass(frozen=True, slots=True)
class HttpGet:
    """GET a path; a status from 200 to 399 is success."""

    port: int
    path: str = "/"
    scheme: str = "http"
    host: str = ""
    """The Host header, "" for the address."""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """Connect to a port."""

    port: int


@dataclass(frozen=True, slots=True)
class Grpc:
    """Ask grpc.health.v1.Health for a service ("" for the server as a whole)."""

    port: int
    service: str = ""


@dataclass(frozen=True, slots=True)
class NotRun:
    """A probe that can't be run here, and why."""

    why: str


Check = HttpGet | TcpSocket | Grpc | NotRun


@dataclass(frozen=True, slots=True)
class Probe:
    """What to ask and how often; times in seconds."""

    check: Check
    initial_delay: int = 0
    period: int = 10
    timeout: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class ContainerProbes:
    """The probes of one container; it has at least one."""

    container: str
    startup: Probe | None
    readiness: Probe | None


def is_probed(pod: Object) -> bool:
    """Return whether a Pod has anything to be probed."""
    return any(_probes(container) for container in _running(pod))


def probes_of(pod: Object) -> tuple[ContainerProbes, ...]:
    """Return the containers of a Pod that have probes."""
    return tuple(
        ContainerProbes(
            str(container.get("name", "")),
            _probe(container, container.get("startupProbe")),
            _probe(container, container.get("readinessProbe")),
        )
        for container in _running(pod)
        if _probes(container)
    )


def _running(pod: Object) -> Iterator[Object]:
    """Yield the containers that run as long as the Pod does."""
    spec = pod.get("spec") or {}
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            yield container
    yield from spec.get("containers") or []


def _probes(container: Object) -> bool:
    return any((container.get(which) or {}).get(kind) for which in _WHICH for kind in _KINDS)


def _probe(container: Object, given: Object | None) -> Probe | None:
    """Return a probe with the kubelet's defaults; 0 means the default for all but the delay."""
    if not given or not any(given.get(kind) for kind in _KINDS):
        return None
    return Probe(
        _check(container, given),
        given.get("initialDelaySeconds") or 0,
        given.get("periodSeconds") or 10,
        given.get("timeoutSeconds") or 1,
        given.get("successThreshold") or 1,
        given.get("failureThreshold") or 3,
    )


def _check(container: Object, given: Object) -> Check:
    try:
        if http := given.get("httpGet"):
            return _http(container, http)
        if tcp := given.get("tcpSocket"):
            return TcpSocket(_port(container, tcp.get("port")))
        grpc = given["grpc"]
        return Grpc(_port(container, grpc.get("port")), grpc.get("service") or "")
    except _NoPort as none:
        return NotRun(str(none))


def _http(container: Object, http: Object) -> HttpGet:
    path = http.get("path") or "/"
    headers = tuple((one["name"], one.get("value", "")) for one in http.get("httpHeaders") or [])
    host = next((value for name, value in headers if name.lower() == "host"), http.get("host") or "")
    return HttpGet(
        _port(container, http.get("port")),
        path if path.startswith("/") else f"/{path}",
        (http.get("scheme") or "HTTP").lower(),
        host,
        tuple((name, value) for name, value in headers if name.lower() != "host"),
    )


class _NoPort(Exception):
    """A port that is none; the text says which there are."""


def _port(container: Object, given: Any) -> int:
    """Return the number of a port that is given as one, or by its name.  Raises _NoPort."""
    if isinstance(given, int):
        number: Any = given
    else:
        named = _named(container.get("ports") or [])
        number = named.get(str(given), int(given) if str(given).isdigit() else 0)
        if not number:
            known = ", ".join(named) or "none has a name"
            raise _NoPort(f"container {container.get('name')} has no port named {given}; its ports: {known}")
    if not 0 < number < 65536:
        raise _NoPort(f"port {given} is none: allowed are 1 to 65535")
    return int(number)


def _named(ports: Sequence[Object]) -> dict[str, int]:
    return {port["name"]: port.get("containerPort", 0) for port in ports if port.get("name")}
