"""A process' own Pod: registering it, saying that it lives, taking it away.

Rules:

* registering again changes nothing, whoever did it before: a process that starts anew takes its Pod over;
* a Service that is there stays as it is, and the Pod is given the labels by which that one finds its Pods;
* only the process that registered last takes the Pod away: one that ends late leaves its successor's alone.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from svcdns.objects.kinds import POD, SERVICE

from . import calls
from .exchange import ApiError, Call, Mistake, Object, Request
from .registration import APP, make_namespace

HEARTBEAT_SECONDS = 10
PROBE_SECONDS = 2
"""A process that has just begun is not to wait for the kubelet's ten seconds until it is answered."""
_OFTEN = {"periodSeconds": PROBE_SECONDS}
_LATE_AFTER = 3
"""Heartbeats that may be missed."""
_INSTANCE = "svcdns.io/instance"
_LONGEST_NAME = 63
_TRIES = 5
_KINDS = re.compile(r"(?P<kind>https?|tcp|grpc)(?::(?P<port>[^:/]*))?(?P<path>/.*)?")


@dataclass(frozen=True, slots=True)
class OwnPod:
    """What a process says of itself."""

    service: str
    address: str
    ports: Mapping[str, int] = field(default_factory=dict)
    """Numbers by name; the Service that is made has them too."""
    namespace: str = "default"
    name: str = ""
    """"" is made of the Service, the host and the first port."""
    labels: Mapping[str, str] = field(default_factory=dict)
    cluster_ip: bool = False
    probe: Mapping[str, Any] | None = None
    """A readinessProbe that the server is to run (`probe_of`)."""
    heartbeat_seconds: int = HEARTBEAT_SECONDS
    expire_seconds: int = 300
    """It is taken away when no heartbeat came for so long."""
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    """Tells this process from those before and after it."""

    @property
    def pod_name(self) -> str:
        """Return what its Pod is called."""
        return self.name or _made_name(self.service, socket.gethostname(), next(iter(self.ports.values()), 0))


def probe_of(text: str) -> dict[str, Any]:
    """Return the readinessProbe that is meant by http:/path, http:8081/path, tcp, tcp:5432 or grpc:5000.

    It is asked every PROBE_SECONDS.  Without a port it is that of the Pod's first port.  Raises Mistake.
    """
    found = _KINDS.fullmatch(text)
    if found is None:
        raise _no_probe(text)
    kind, path = found["kind"], found["path"] or ""
    port: int | str = _number(found["port"], text) if found["port"] else ""
    if kind.startswith("http"):
        return {"httpGet": {"path": path or "/", "port": port, "scheme": kind.upper()}, **_OFTEN}
    if path:
        raise _no_probe(text)
    return {"tcpSocket" if kind == "tcp" else "grpc": {"port": port}, **_OFTEN}


def own_address(url: str) -> str:
    """Return the address of this machine by which it talks to a server.  Raises Mistake."""
    parts = urlsplit(url)
    try:
        where = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM)[0]
        with socket.socket(where[0], socket.SOCK_DGRAM) as one:
            one.connect(where[4])  # of a datagram socket: nothing is sent
            return str(one.getsockname()[0]).partition("%")[0]
    except OSError as wrong:
        why = (wrong.strerror or str(wrong)).lower()
        raise Mistake(f"this machine's own address can't be found out ({why}); say it: --address") from None


def register(own: OwnPod) -> Call[Object]:
    """Register the Pod, and its Service and namespace where they are not there; return the Pod.

    Raises ApiError.
    """
    yield from make_namespace(own.namespace)
    service = yield from calls.get(SERVICE, own.namespace, own.service)
    if service is None:
        service = yield from calls.apply(_service(own))
    pod: Object = yield from calls.apply(_pod(own, service))
    return pod


def beat(own: OwnPod) -> Call[bool]:
    """Say that the process lives; return whether its Pod is there (else it is to be registered again)."""
    path = calls.path(POD, own.namespace, own.pod_name, "heartbeat")
    response = yield Request("POST", path)
    if response.status == 404:
        return False
    if not 200 <= response.status < 300:
        response.json()  # raises ApiError
    return True


def deregister(own: OwnPod) -> Call[bool]:
    """Take the Pod away, unless another process has registered it since; return whether it was there."""
    for _ in range(_TRIES):
        pod = yield from calls.get(POD, own.namespace, own.pod_name)
        if pod is None or _instance_of(pod) != own.instance:
            return False
        as_seen = {"preconditions": {"resourceVersion": pod["metadata"]["resourceVersion"]}}
        response = yield Request("DELETE", calls.path(POD, own.namespace, own.pod_name), as_seen)
        if response.status == 404:
            return False
        if response.status != 409:  # it has changed meanwhile: see whose it is now
            response.json()
            return True
    raise ApiError(409, "Conflict", f"Pod {own.pod_name} changes all the time")


def _service(own: OwnPod) -> Object:
    spec: Object = {"selector": {APP: own.service}}
    if own.ports:
        spec["ports"] = [
            {"name": name, "port": number, "targetPort": name} for name, number in own.ports.items()
        ]
    if not own.cluster_ip:
        spec["clusterIP"] = "None"
    metadata = {"name": own.service, "namespace": own.namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _pod(own: OwnPod, service: Object) -> Object:
    selector = (service.get("spec") or {}).get("selector") or {APP: own.service}
    container: Object = {"name": "process", "image": "none"}
    if own.ports:
        container["ports"] = [{"name": name, "containerPort": number} for name, number in own.ports.items()]
    if own.probe:
        container["readinessProbe"] = _with_port(own.probe, own.ports)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": own.pod_name,
            "namespace": own.namespace,
            "labels": {**own.labels, **selector},
            "annotations": {
                "svcdns.io/heartbeat": f"{own.heartbeat_seconds * _LATE_AFTER}s",
                "svcdns.io/expire-after": f"{own.expire_seconds}s",
                _INSTANCE: own.instance,
            },
        },
        "spec": {"containers": [container]},
        "status": {"podIP": str(ip_address(own.address))},
    }


def _with_port(probe: Mapping[str, Any], ports: Mapping[str, int]) -> dict[str, Any]:
    """Return a probe with the first port where it says none.  Raises Mistake."""
    first = next(iter(ports.values()), None)
    filled: dict[str, Any] = {}
    for kind, asked in probe.items():
        if isinstance(asked, Mapping) and not asked.get("port", 1):
            if first is None:
                raise Mistake("the probe names no port, and neither does --port")
            asked = {**asked, "port": first}
        filled[kind] = asked
    return filled


def _instance_of(pod: Object) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(_INSTANCE, ""))


def _made_name(service: str, host: str, port: int) -> str:
    """Return a name that a Pod can have, the same each time on this host."""
    words = "-".join([service, host.partition(".")[0].lower(), *([str(port)] if port else [])])
    return re.sub(r"[^a-z0-9-]+", "-", words)[:_LONGEST_NAME].strip("-")


def _number(given: str, text: str) -> int:
    if not given.isdigit() or not 0 < int(given) < 65536:
        raise _no_probe(text)
    return int(given)


def _no_probe(text: str) -> Mistake:
    return Mistake(
        f"{text!r} is no probe; allowed: such as http:/healthz, http:8081/, tcp, tcp:5432, grpc:5000"
    )
