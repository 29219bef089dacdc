"""What a server is and holds, on one page: GET /svcdns/v1/status, and `svcdns status`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from svcdns.cluster.traffic_objects import NODE_UNKNOWN, PROXY_ENDED, PROXY_RUNNING
from svcdns.config.listening import api_url, dns_endpoints
from svcdns.objects.kinds import ENDPOINTS, NODE, STORED
from svcdns.registry.reading import read_all
from svcdns.registry.registry import Registry
from svcdns.store.snapshot import read_serving

from .container_metrics import engines_of
from .counters import WRITER, Counters
from .data_folder import CONTAINERS, ENGINES, forwarder_status, published
from .object_counts import Counts

_COUNTED = tuple(kind for kind in STORED if kind is not ENDPOINTS)
"""Endpoints that somebody wrote are counted by their addresses, as all endpoints are."""


def overview(
    registry: Registry, counters: Counters, counts: Counts, version: str, warnings: list[str]
) -> dict[str, Any]:
    """Return the page as JSON's values."""
    config, objects = registry.settings.config, counts.objects.get()
    return {
        "version": version,
        "data": str(Path(config.data).absolute()),
        "dns": [str(endpoint) for endpoint in dns_endpoints(config)],
        "api": api_url(config),
        "zones": _zones(registry),
        "objects": {kind.plural: objects[kind.name] for kind in _COUNTED},
        "endpoints": counts.endpoints.get(),
        "upstreams": _upstreams(config.data),
        "processes": _processes(counters),
        "nodes": _nodes(registry),
        "warnings": warnings,
    }


def container_page(data: Path) -> dict[str, Any]:
    """Return what became of containers, as their process has published it: GET /svcdns/v1/containers."""
    rows = published(data, CONTAINERS)
    engines = engines_of(published(data, ENGINES), time.monotonic())
    return {"engines": engines, "containers": rows if isinstance(rows, list) else []}


def _nodes(registry: Registry) -> dict[str, bool]:
    """Return the nodes that proxies keep, and whether the proxy of each ended in order."""
    found = {}
    for octets in read_all(registry.store, NODE).items:
        node = json.loads(octets)
        conditions = (node.get("status") or {}).get("conditions") or ()
        reasons = {one.get("reason") for one in conditions if one.get("type") == "Ready"}
        if reasons & {PROXY_RUNNING, PROXY_ENDED, NODE_UNKNOWN}:
            found[node["metadata"]["name"]] = PROXY_ENDED in reasons
    return found


def _zones(registry: Registry) -> list[dict[str, str]]:
    with registry.store.read() as txn:
        serving = read_serving(txn, registry.store.tables)
    zones = serving.zones if serving is not None else ()
    ours = [{"origin": zone.origin, "kind": zone.kind} for zone in zones]
    below = registry.settings.config.dns.alias_zones
    return [*ours, *({"origin": f"{zone}.", "kind": "aliases"} for zone in below)]


_OF_UPSTREAM = ("zone", "upstream", "looped", "answered", "failed", "servfail", "garbage", "seconds")
"""What the page says of each: its outcomes are counted since the forwarder started; `seconds` to a reply."""


def _upstreams(data: Path) -> list[dict[str, Any]]:
    return [
        {field: one[field] for field in _OF_UPSTREAM} | {"up": one["up"] and not one["looped"]}
        for one in forwarder_status(data).get("upstreams", [])
    ]


def _processes(counters: Counters) -> list[dict[str, Any]]:
    """Return each process that is meant to run, and whether it answers."""
    rows = [(WRITER, "writer")]
    rows += [(row, f"worker-{row - 1}") for row in range(1, counters.workers + 1)]
    found = [{"name": name, "up": bool(counters.get(row, "ready"))} for row, name in rows]
    if not counters.get(counters.forwarder, "given_up"):
        found.append({"name": "forwarder", "up": counters.forwarder_lives()})
    return found
