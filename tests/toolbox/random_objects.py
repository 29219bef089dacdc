"""Services, Pods, EndpointSlices and Endpoints at random, of few names, labels and addresses."""

from __future__ import annotations

import random
from typing import Any

NAMESPACES = ["default", "shop", "bank"]
SERVICES = ["a", "b", "c"]
PODS = ["p0", "p1", "p2", "p3", "p4"]
ADDRESSES = ["10.0.0.1", "10.0.0.2", "127.0.0.1", "fd00::1", "fd00::"]


def any_service(rng: random.Random, name: str) -> dict[str, Any]:
    ports = rng.choice(
        [
            [],
            [{"port": 80}],
            [{"name": "http", "port": 80, "targetPort": 8080}],
            [
                {"name": "http", "port": 80, "targetPort": "web"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ],
        ]
    )
    spec: dict[str, Any] = {"ports": ports}
    if rng.random() < 0.7:
        spec["selector"] = rng.choice([{"app": "x"}, {"app": "y"}, {"app": "x", "tier": "1"}])
    kind = rng.choice(["headless", "headless", "cluster", "cluster", "external", "dual"])
    if kind == "headless":
        spec["clusterIP"] = "None"
    elif kind == "external":
        spec = {"type": "ExternalName", "externalName": "example.org"}
    elif not ports:
        spec["ports"] = [{"port": 1}]
    if kind == "dual":
        spec["ipFamilyPolicy"] = "PreferDualStack"
    if rng.random() < 0.2:
        spec["publishNotReadyAddresses"] = True
    metadata: dict[str, Any] = {"name": name, "labels": rng.choice([{}, {"team": "a"}, {"team": "b"}])}
    notes = {"svcdns.io/aliases": rng.choice(["a.home.arpa", "b.home.arpa, a.home.arpa", "*.home.arpa", ""])}
    if rng.random() < 0.3:
        notes["svcdns.io/dns-ttl"] = str(rng.choice([0, 7, 60]))
    if rng.random() < 0.5:
        notes["svcdns.io/ptr"] = "alias"
    metadata["annotations"] = notes
    return {"metadata": metadata, "spec": spec}


def any_pod(rng: random.Random, name: str) -> dict[str, Any]:
    labels = rng.choice([{"app": "x"}, {"app": "y"}, {"app": "x", "tier": "1"}, {}])
    ips = rng.sample(ADDRESSES, rng.choice([0, 1, 1, 1]))
    if ips and rng.random() < 0.3:
        ips = [rng.choice(ADDRESSES[:3]), rng.choice(ADDRESSES[3:])]
    spec: dict[str, Any] = {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 81}]}]}
    if rng.random() < 0.4:
        spec |= {"hostname": rng.choice(["h0", "h1"]), "subdomain": rng.choice(SERVICES)}
    if rng.random() < 0.3:
        spec["containers"] = []
    status: dict[str, Any] = {"podIPs": [{"ip": ip} for ip in ips]}
    if ips:
        status["podIP"] = ips[0]
    if rng.random() < 0.6:
        status["conditions"] = [{"type": "Ready", "status": rng.choice(["True", "False"])}]
    if rng.random() < 0.1:
        status["phase"] = "Succeeded"
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}


def any_slice(rng: random.Random, name: str) -> dict[str, Any]:
    six = rng.random() < 0.3
    pool = ADDRESSES[3:] if six else ADDRESSES[:3]
    endpoints = []
    for _ in range(rng.choice([0, 1, 2, 4])):
        endpoint: dict[str, Any] = {"addresses": [rng.choice(pool)]}
        if rng.random() < 0.4:
            endpoint["hostname"] = rng.choice(["h0", "h1"])
        if rng.random() < 0.5:
            endpoint["conditions"] = {"ready": rng.random() < 0.6}
        endpoints.append(endpoint)
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": rng.choice(SERVICES)}},
        "addressType": "IPv6" if six else "IPv4",
        "endpoints": endpoints,
        "ports": rng.choice([[], [{"name": "http", "port": 8080}], [{"port": 9}]]),
    }


def any_endpoints(rng: random.Random, name: str) -> dict[str, Any]:
    def address() -> dict[str, Any]:
        more = rng.choice([{}, {"hostname": "h0"}, {"targetRef": {"kind": "Pod", "name": "p", "uid": "u"}}])
        return {"ip": rng.choice(ADDRESSES), **more}

    def subset() -> dict[str, Any]:
        fields = rng.choice([("addresses",), ("notReadyAddresses",), ("addresses", "notReadyAddresses")])
        found: dict[str, Any] = {field: [address() for _ in range(rng.choice([1, 1, 2]))] for field in fields}
        ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
        return found | {"ports": rng.choice([[], ports[:1], ports])}

    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"} if rng.random() < 0.1 else {}
    return {
        "metadata": {"name": name, "labels": labels},
        "subsets": [subset() for _ in range(rng.choice([0, 1, 2, 3]))],
    }
