"""Objects as the API gives them, put into a Traffic, and its rules as texts."""

import json
from ipaddress import ip_address, ip_network
from itertools import count
from typing import Any

from toolbox.builders import endpoint_slice, service

from svcdns.cluster.service_frontends import Here
from svcdns.cluster.traffic import Traffic, frontend_text
from svcdns.cluster.traffic_objects import Service, Slice, decoded
from svcdns.cluster.traffic_plan import Changes, Destination, Endpoint, Frontend, Rule, WhenEmpty
from svcdns.cluster.usable_endpoints import Place

Object = dict[str, Any]
HERE = Here(Place("here", "zone-a", (ip_network("10.88.0.0/16"),)), (ip_network("198.51.100.0/24"),))
PORTS = [{"name": "http", "port": 8080, "protocol": "TCP"}]
_revisions = count(1)


def listed(obj: Object, **metadata: Any) -> bytes:
    """The octets of an object as a server sends it."""
    given = {"namespace": "default", "uid": f"uid-{obj['metadata']['name']}"}
    given |= {"resourceVersion": str(next(_revisions)), "creationTimestamp": "2026-01-01T00:00:00Z"}
    return json.dumps({**obj, "metadata": {**given, **obj["metadata"], **metadata}}).encode()


def cluster_ip(name: str = "web", address: str = "10.96.0.1", **spec: Any) -> Object:
    """A Service as it is once it has its address."""
    return service(name, **{"clusterIP": address, "clusterIPs": [address], **spec})


def endpoint(address: str, node: str = "", zone: str = "", for_node: str = "", **conditions: bool) -> Object:
    """An endpoint of a slice; zone and for_node are hints."""
    hints: Object = {"forZones": [{"name": zone}]} if zone else {}
    hints |= {"forNodes": [{"name": for_node}]} if for_node else {}
    made = {
        "addresses": [address],
        "conditions": conditions,
        "nodeName": node or None,
        "hints": hints or None,
    }
    return {key: value for key, value in made.items() if value is not None}


def slice_of(*endpoints: Object, name: str = "web-1", service: str = "web", **more: Any) -> Object:
    """A slice with these endpoints, and http 8080 where nothing else is said."""
    first = endpoints[0]["addresses"][0] if endpoints else "10.0.0.1"
    return endpoint_slice(name, service, first, **{"endpoints": list(endpoints), "ports": PORTS, **more})


class Run:
    """A Traffic that is told of objects, and what it has told so far, as an engine has it."""

    def __init__(self, *objects: Object, here: Here = HERE) -> None:
        self.traffic = Traffic(here)
        self.held: dict[Frontend, Rule] = {}
        self.take(*objects)

    def take(self, *objects: Object, **metadata: Any) -> Changes:
        for obj in objects:
            if obj["kind"] == "Service":
                self.traffic.put_service(decoded(Service, listed(obj, **metadata)))
            else:
                self.traffic.put_slice(decoded(Slice, listed(obj, **metadata)))
        return self.changes()

    def changes(self) -> Changes:
        changes = self.traffic.changes()
        for frontend, rule in changes.rules.items():
            if rule is None:
                del self.held[frontend]
            else:
                self.held[frontend] = rule
        assert self.held == self.traffic.rules()
        return changes

    @property
    def shown(self) -> dict[str, tuple[str, str]]:
        """By frontend: where clients on this node go, and where all others go."""
        return {
            frontend_text(at): (_shown(rule.inside), _shown(rule.outside)) for at, rule in self.held.items()
        }

    @property
    def problems(self) -> list[str]:
        return sorted(
            f"{name}: {one.reason}: {one.text}" for name, of in self.traffic.problems.items() for one in of
        )

    def rule(self, text: str) -> Rule:
        return next(rule for at, rule in self.held.items() if frontend_text(at) == text)


def _shown(where: Destination) -> str:
    if not where.endpoints:
        return "dropped" if where.when_empty is WhenEmpty.DROP else "refused"
    return " ".join(_endpoint(one) for one in where.endpoints)


def _endpoint(one: Endpoint) -> str:
    return f"{ip_address(one.address)}:{one.port}"
