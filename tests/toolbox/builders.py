"""Objects to register, in JSON shape, as a user would write them: what a test does not say is usual.

service("db", clusterIP="None")        selects the Pods with the label app=db
pod("db-0", "10.1.0.1", "db", ready=True)
"""

from typing import Any

Object = dict[str, Any]


def service(
    name: str = "web", *, namespace: str = "", labels: dict[str, str] | None = None, **spec: Any
) -> Object:
    """A Service that selects `app=NAME` and, without `ports`, has one: http, 80 -> 8080."""
    ports = spec.pop("ports", [{"name": "http", "port": 80, "targetPort": 8080}])
    made = _object("Service", name, namespace=namespace, labels=labels)
    return made | {"spec": {"selector": {"app": name}, "ports": ports, **spec}}


def headless(name: str = "web", **spec: Any) -> Object:
    """A Service whose name answers with the addresses of its endpoints."""
    return service(name, clusterIP="None", **spec)


def external(name: str, target: str) -> Object:
    """A Service that is an alias of `target`."""
    made = _object("Service", name)
    return made | {"spec": {"type": "ExternalName", "externalName": target}}


def pod(
    name: str = "web-1",
    ip: str = "10.1.0.1",
    app: str = "web",
    ready: bool | None = None,
    **spec: Any,
) -> Object:
    """A Pod with what a kubelet would report: its address, and its Ready condition (None: not yet)."""
    status: Object = {"podIP": ip}
    if ready is not None:
        status["conditions"] = [ready_condition(ready)]
    containers = [{"name": "main", "image": "none"}]
    return _object("Pod", name, labels={"app": app}) | {
        "spec": {"containers": containers, **spec},
        "status": status,
    }


def ready_condition(ready: bool) -> dict[str, str]:
    """The condition of a Pod that says whether it is ready."""
    return {"type": "Ready", "status": str(ready)}


def endpoint_slice(name: str, service: str, *addresses: str, **more: Any) -> Object:
    """A slice of the user's own for a Service; its family is that of the first address."""
    labels = {"kubernetes.io/service-name": service}
    made = _object("EndpointSlice", name, labels=labels) | {"apiVersion": "discovery.k8s.io/v1"}
    family = "IPv6" if addresses and ":" in addresses[0] else "IPv4"
    endpoints = [{"addresses": list(addresses)}] if addresses else []
    return made | {"addressType": family, "endpoints": endpoints, "ports": [], **more}


def node(name: str = "here", address: str = "192.0.2.1", **spec: Any) -> Object:
    """A Node with what a kubelet would report: its address, and that it is ready."""
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    status = {"addresses": addresses, "conditions": [ready_condition(True)]}
    return _object("Node", name) | {"spec": spec, "status": status}


def lease(name: str = "leader", holder: str = "one", **spec: Any) -> Object:
    """A Lease that somebody holds for 15 seconds."""
    held = {"holderIdentity": holder, "leaseDurationSeconds": 15, **spec}
    return _object("Lease", name) | {"apiVersion": "coordination.k8s.io/v1", "spec": held}


def newer_event(name: str, **more: Any) -> Object:
    """An Event about the Node `here`, as events.k8s.io/v1 has it."""
    made = _object("Event", name) | {
        "apiVersion": "events.k8s.io/v1",
        "regarding": {"kind": "Node", "name": "here"},
    }
    said = {"reason": "Starting", "action": "Start", "note": "it starts", "type": "Normal"}
    who = {"reportingController": "example.org/controller", "reportingInstance": "controller-1"}
    return made | said | who | {"eventTime": "2026-01-01T00:00:00.000000Z", **more}


def namespace(name: str) -> Object:
    """A Namespace."""
    return _object("Namespace", name)


def _object(kind: str, name: str, **metadata: Any) -> Object:
    given = {key: value for key, value in metadata.items() if value}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **given}}
