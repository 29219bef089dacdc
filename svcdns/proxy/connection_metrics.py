"""What /metrics shows of the kernel's connections: how full their table is, and flows that were moved."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric

from svcdns.netlink import conntrack


def connection_metrics(forgotten: int | None) -> Iterator[Metric]:
    """Yield them; `forgotten` is `Flows.forgotten`, None for an engine without flows: then nothing."""
    if forgotten is None:
        return
    text = "Flows that were forgotten because their endpoint had left."
    yield Counter("svcdns_proxy_flows_forgotten", text, forgotten)
    if (fill := conntrack.fill()) is not None:
        text = "Connections that the kernel remembers; when there is no room, new ones are dropped."
        yield Gauge("svcdns_proxy_conntrack_entries", text, fill.entries)
        yield Gauge("svcdns_proxy_conntrack_limit", "How many it can remember.", fill.maximum)
