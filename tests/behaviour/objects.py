"""What can be registered, as kind, namespace ("" for a Namespace) and JSON shape; and a zone file."""

from collections.abc import Iterable
from typing import Any

from toolbox import builders

from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, POD, SERVICE, Kind

Object = tuple[Kind, str, dict[str, Any]]
FILE = """
$ORIGIN {origin}.
@ 60 SOA ns1.example.org. hostmaster.example.org. 1 7200 1800 86400 30
@ 60 NS ns1.example.org.
{records}
"""


def namespace(name: str, **labels: str) -> Object:
    return NAMESPACE, "", {"metadata": {"name": name, "labels": labels}}


def service(
    name: str = "web", *, ns: str = "default", notes: dict[str, str] | None = None, **spec: Any
) -> Object:
    """A Service that selects `app=NAME`; without `ports` it has http, 80 -> 8080; `notes` are annotations."""
    body = builders.service(name, **spec)
    body["metadata"]["annotations"] = notes or {}
    return SERVICE, ns, body


def headless(name: str = "db", **more: Any) -> Object:
    return service(name, clusterIP="None", **more)


def external(name: str, target: str, *, ns: str = "default") -> Object:
    return SERVICE, ns, {"metadata": {"name": name}, "spec": {"type": "ExternalName", "externalName": target}}


def pod(
    name: str,
    *ips: str,
    app: str = "web",
    ns: str = "default",
    ready: bool | None = None,
    phase: str = "",
    **spec: Any,
) -> Object:
    body = builders.pod(name, ips[0], app, ready, **spec)
    body["status"]["podIPs"] = [{"ip": ip} for ip in ips]
    if phase:
        body["status"]["phase"] = phase
    return POD, ns, body


def endpoint(*addresses: str, hostname: str = "", ready: bool | None = None, pod: str = "") -> dict[str, Any]:
    """One endpoint of a slice; `ready` None leaves its readiness unknown."""
    made: dict[str, Any] = {"addresses": list(addresses)}
    if hostname:
        made["hostname"] = hostname
    if ready is not None:
        made["conditions"] = {"ready": ready}
    if pod:
        made["targetRef"] = {"kind": "Pod", "name": pod, "namespace": "default"}
    return made


def port(number: int, name: str = "", protocol: str = "TCP") -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": protocol}


def endpoint_slice(
    name: str,
    service: str,
    *endpoints: dict[str, Any],
    ports: Iterable[dict[str, Any]] = (),
    ns: str = "default",
) -> Object:
    """A slice of the user's own; its family is that of the first address."""
    family = "IPv6" if ":" in endpoints[0]["addresses"][0] else "IPv4"
    labels = {"kubernetes.io/service-name": service}
    body = {"addressType": family, "endpoints": list(endpoints), "ports": list(ports)}
    return ENDPOINTSLICE, ns, {"metadata": {"name": name, "labels": labels}, **body}
