"""What a server is and holds, on one page: GET /svcdns/v1/status, and `svcdns status`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from svcdns.config.listening import api_url, dns_endpoints
from svcdns.objects.kinds import ENDPOINTS, STORED
from svcdns.registry.registry import Registry
from svcdns.store.snapshot import read_serving

from .container_metrics import engines_of
from .counters import WRITER, Counters
from .folder import CONTAINERS, ENGINES, forwarder_status, published

_COUNTED = tuple(kind for kind in STORED if kind is not ENDPOINTS)
"""Endpoints that somebody wrote are counted by their addresses, as all endpoints are."""


def overview(registry: Registry, counters: Counters, version: str, warnings: list[str]) -> dict[str, Any]:
    """Return the page as JSON's values."""
    config = registry.settings.config
    return {
        "version": version,
        "data": str(Path(config.data).absolute()),
        "dns": [str(endpoint) for endpoint in dns_endpoints(config)],
        "api": api_url(config),
        "zones": _zones(registry),
        "objects": {kind.plural: registry.count(kind) for kind in _COUNTED},
        "endpoints": registry.endpoint_counts(),
        "upstreams": _upstreams(config.data),
        "processes": _processes(counters),
        "warnings": warnings,
    }


def container_page(data: Path) -> dict[str, Any]:
    """Return what became of containers, as their process has published it: GET /svcdns/v1/containers."""
    rows = published(data, CONTAINERS)
    engines = engines_of(published(data, ENGINES), time.monotonic())
    return {"engines": engines, "containers": rows if isinstance(rows, list) else []}


def _zones(registry: Registry) -> list[dict[str, str]]:
    with registry.store.read() as txn:
        serving = read_serving(txn, registry.store.tables)
    zones = serving.zones if serving is not None else ()
    ours = [{"origin": zone.origin, "kind": zone.kind} for zone in zones]
    below = registry.settings.config.dns.alias_zones
    return [*ours, *({"origin": f"{zone}.", "kind": "aliases"} for zone in below)]


def _upstreams(data: Path) -> list[dict[str, Any]]:
    return [
        {"zone": one["zone"], "upstream": one["upstream"], "up": one["up"] and not one["looped"]}
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
