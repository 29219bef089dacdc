"""What the proxy shows of itself: whether it is well, its metrics, and where a Service's traffic goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from svcdns.cluster.traffic import Traffic, frontend_text
from svcdns.cluster.traffic_plan import Destination, Endpoint, Frontend, Rule

from .api_state import ApiState
from .connection_metrics import connection_metrics
from .engine_sync import EngineSync
from .unserved import Problems

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0)
_MOST_SHOWN = 1_000
"""So many frontends at most stand on a page."""


@dataclass(frozen=True, slots=True)
class Status:
    """The parts that it is read from."""

    version: str
    node: str
    sync: EngineSync
    api: ApiState
    traffic: Traffic
    problems: Callable[[], Problems]
    flows_forgotten: Callable[[], int | None] = lambda: None
    """`Flows.forgotten`; None for an engine whose connections the kernel doesn't remember."""
    complaints: Callable[[], tuple[str, ...]] = tuple
    """What of this machine could not be put in order, a line each."""
    announced: Callable[[], Iterable[tuple[bytes, frozenset[str], str]]] = tuple
    """Load balancer addresses, the Services that have each, and the node that announces it ("": none)."""

    def why_unhealthy(self) -> str:
        """Return what keeps the proxy from its work, "" for nothing.  An API that is away doesn't."""
        if self.sync.refusal:
            return f"the engine refuses: {self.sync.refusal}"
        if not self.sync.is_synced:
            return self.api.why_lost or "Services are being listed"
        return ""

    def health(self) -> dict[str, Any]:
        """Return what /healthz says."""
        return {
            "healthy": not self.why_unhealthy(),
            "reason": self.why_unhealthy(),
            "apiConnected": self.api.is_connected,
            "lastSync": self.sync.synced_at,
        }

    def page(self, service: str = "") -> dict[str, Any]:
        """Return the whole status; `service`: of this one only, NAMESPACE/NAME."""
        chosen = [(at, rule) for at, rule in self.sync.in_effect.items() if service in ("", rule.service)]
        problems = {key: found for key, found in self.problems().items() if service in ("", key)}
        return {
            "version": self.version,
            "node": self.node,
            "engine": self.sync.engine.name,
            "healthy": not self.why_unhealthy(),
            "reason": self.why_unhealthy(),
            "api": {
                "connected": self.api.is_connected,
                "reason": self.api.why_lost,
                "revision": self.api.revision,
            },
            "nodeAddresses": [str(ip_address(one)) for one in self.sync.host.node_addresses],
            "localNetworks": [str(one) for one in self.sync.host.local_networks],
            "machine": list(self.complaints()),
            "announced": [
                {"address": str(ip_address(address)), "services": sorted(services), "node": node}
                for address, services, node in self.announced()
                if service in ("", *services)
            ][:_MOST_SHOWN],
            "held": dict(self.sync.engine.held()),
            "services": len(self.traffic.services),
            "frontends": [_shown(at, rule) for at, rule in chosen[:_MOST_SHOWN]],
            "moreFrontends": max(0, len(chosen) - _MOST_SHOWN),
            "problems": [
                {"service": key, "reason": one.reason, "message": one.text}
                for key, found in problems.items()
                for one in found
            ],
        }


def _shown(at: Frontend, rule: Rule) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "frontend": frontend_text(at),
        "service": rule.service,
        "inside": _destination(rule.inside),
    }
    if rule.outside != rule.inside:
        shown["outside"] = _destination(rule.outside)
    if rule.affinity_seconds:
        shown["affinitySeconds"] = rule.affinity_seconds
    if rule.source_ranges is not None:
        shown["sourceRanges"] = [str(one) for one in rule.source_ranges]
    return shown


def _destination(where: Destination) -> dict[str, Any]:
    if not where.endpoints:
        return {"endpoints": [], "whenEmpty": where.when_empty.value}
    return {"endpoints": [_endpoint(one) for one in where.endpoints]}


def _endpoint(one: Endpoint) -> str:
    address = str(ip_address(one.address))
    return f"[{address}]:{one.port}" if ":" in address else f"{address}:{one.port}"


class Metrics(Collector):
    """What /metrics shows."""

    def __init__(self, status: Status) -> None:
        """Read from a status each time that somebody asks."""
        self._status = status
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        duration = Histogram(
            "svcdns_proxy_sync_duration_seconds",
            "Time that the engine took for what it was told at once.",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        status.sync.observe = duration.observe
        self._registry.register(self)

    def render(self) -> tuple[bytes, str]:
        """Return the text of /metrics and its Content-Type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterable[Metric]:
        """Yield what is not counted as it happens."""
        sync, api, traffic = self._status.sync, self._status.api, self._status.traffic
        gauges: Mapping[str, tuple[str, float]] = {
            "api_connected": ("Whether changes of the registry are heard of.", api.is_connected),
            "registry_revision": ("The newest revision that was heard of.", api.revision),
            "healthy": (
                "Whether the engine has done all that it was told.",
                not self._status.why_unhealthy(),
            ),
            "last_sync_timestamp_seconds": ("When the engine was told something last.", sync.synced_at),
            "services": ("Services that were seen.", len(traffic.services)),
            "services_with_problems": (
                "Services that don't get all they ask for.",
                len(self._status.problems()),
            ),
            "frontends": ("Frontends that carry traffic or refuse it.", len(sync.in_effect)),
        }
        for name, (text, value) in gauges.items():
            yield Gauge(f"svcdns_proxy_{name}", text, float(value))
        yield from self._of_engine()
        yield from connection_metrics(self._status.flows_forgotten())

    def _of_engine(self) -> Iterator[Metric]:
        sync = self._status.sync
        yield Counter("svcdns_proxy_engine_refusals", "How often the engine has refused.", sync.refusals)
        held = Gauge("svcdns_proxy_held", "What the engine holds, by its kind.", labels=("engine", "kind"))
        for kind, count in sync.engine.held().items():
            held.add_metric((sync.engine.name, kind), count)
        yield held
