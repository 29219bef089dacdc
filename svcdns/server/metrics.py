"""What /metrics shows: the workers' counters, the store, the objects and the API's own requests.

The workers only count integers (see svcdns.dns.stats); here these get names and labels, each time
somebody asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from svcdns.dns import stats
from svcdns.store.environment import Store

from .counters import WRITER, Counters

_COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """All metrics of the server; `registry` is open to other rooms' own."""

    def __init__(self) -> None:
        """Make an empty set; sources are added by `watch_*`."""
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.commits = Histogram(
            "svcdns_commit_duration_seconds",
            "Time of a group of writes from its first write to its durable commit.",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )

    def watch(
        self,
        counters: Counters,
        store: Store,
        objects: Callable[[], Mapping[str, int]],
        oldest_reader: Callable[[float], float],
        forwarding: Callable[[], dict[str, Any]],
    ) -> None:
        """Show these too: `objects` gives counts by kind, `oldest_reader` an age in seconds at a time.

        `forwarding` gives what the forwarder has told last (see svcdns.server.folder).
        """
        self.registry.register(_Workers(counters))
        self.registry.register(_StoreAndObjects(store, objects, oldest_reader))
        self.registry.register(_Forwarding(forwarding))

    def render(self) -> tuple[bytes, str]:
        """Return the text of /metrics and its Content-Type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Workers(Collector):
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        totals = self._counters.totals()
        labels = ("type", "rcode", "protocol", "zone")
        requests = CounterMetricFamily("svcdns_dns_requests", "DNS messages answered.", labels=labels)
        for count in stats.replies(totals):
            requests.add_metric((count.type, count.rcode, count.protocol, count.zone), count.value)
        yield requests
        yield _batches(totals)
        for at, (name, text) in enumerate(stats.SINGLE.items(), stats.COUNTERS):
            yield CounterMetricFamily(f"svcdns_dns_{name}", text, value=totals[at])
        yield from self._processes()

    def _processes(self) -> Iterable[Metric]:
        restarts = CounterMetricFamily(
            "svcdns_process_restarts", "Starts after the first one.", labels=("process",)
        )
        up = GaugeMetricFamily("svcdns_process_up", "Whether a process answers.", labels=("process",))
        for row in range(self._counters.workers + 2):
            name = {WRITER: "writer", self._counters.forwarder: "forwarder"}.get(row, f"worker-{row - 1}")
            if row == self._counters.forwarder and self._counters.get(row, "given_up"):
                continue  # nothing is forwarded
            restarts.add_metric((name,), self._counters.get(row, "restarts"))
            lives = name != "forwarder" or self._counters.forwarder_lives()
            up.add_metric((name,), self._counters.get(row, "ready") if lives else 0)
        yield restarts
        yield up


def _batches(totals: list[int]) -> HistogramMetricFamily:
    buckets, sofar = [], 0
    for at, bound in enumerate((*stats.BATCH_BOUNDS, float("inf"))):
        sofar += totals[stats.BATCHES + at]
        buckets.append(("+Inf" if bound == float("inf") else str(bound), float(sofar)))
    return HistogramMetricFamily(
        "svcdns_dns_batch_duration_seconds",
        "Time from the receipt of a batch of up to 64 UDP questions to its last reply.",
        buckets=buckets,
        sum_value=totals[stats.BATCH_NANOSECONDS] / 1e9,
    )


class _Forwarding(Collector):
    """The cache and the upstreams, as the forwarder told last."""

    def __init__(self, told: Callable[[], dict[str, Any]]) -> None:
        self._told = told

    def collect(self) -> Iterable[Metric]:
        told = self._told()
        if not told:
            return
        cache = told["cache"]
        yield GaugeMetricFamily("svcdns_cache_octets", "Octets of the cache.", value=cache["octets"])
        yield GaugeMetricFamily("svcdns_cache_entries", "Answers in the cache.", value=cache["entries"])
        yield GaugeMetricFamily(
            "svcdns_forward_outstanding", "Questions that wait for upstreams.", value=told["outstanding"]
        )
        yield from self._upstreams(told["upstreams"])

    def _upstreams(self, upstreams: list[dict[str, Any]]) -> Iterable[Metric]:
        labels = ("zone", "upstream")
        up = GaugeMetricFamily("svcdns_upstream_up", "Whether an upstream answers.", labels=labels)
        looped = GaugeMetricFamily(
            "svcdns_upstream_looped", "Whether it sends our questions back to us.", labels=labels
        )
        seconds = GaugeMetricFamily(
            "svcdns_upstream_seconds", "How long it takes to answer, smoothed.", labels=labels
        )
        outcomes = CounterMetricFamily(
            "svcdns_upstream_questions",
            "Questions asked, by what became of them.",
            labels=(*labels, "outcome"),
        )
        for one in upstreams:
            names = (one["zone"], one["upstream"])
            up.add_metric(names, float(one["up"]))
            looped.add_metric(names, float(one["looped"]))
            seconds.add_metric(names, one["seconds"])
            for outcome in ("answered", "failed", "servfail", "garbage"):
                outcomes.add_metric((*names, outcome), one[outcome])
        yield from (up, looped, seconds, outcomes)


class _StoreAndObjects(Collector):
    def __init__(
        self,
        store: Store,
        objects: Callable[[], Mapping[str, int]],
        oldest_reader: Callable[[float], float],
    ) -> None:
        self._store = store
        self._objects = objects
        self._oldest_reader = oldest_reader

    def collect(self) -> Iterable[Metric]:
        objects = GaugeMetricFamily("svcdns_objects", "Objects in the registry.", labels=("kind",))
        for kind, count in self._objects().items():
            objects.add_metric((kind,), count)
        yield objects
        yield from self._pages()
        yield GaugeMetricFamily(
            "svcdns_store_oldest_reader_seconds",
            "For how long the slowest reader has not seen the newest commit.",
            value=self._oldest_reader(time.monotonic()),
        )

    def _pages(self) -> Iterable[Metric]:
        env, tables = self._store.env, self._store.tables
        info = env.info()
        size = env.stat()["psize"]
        with self._store.read() as txn:
            handles = [getattr(tables, name) for name in tables.__slots__]
            stats = [txn.stat(handle) for handle in handles] + [env.stat()]
        used = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        taken = info["last_pgno"] + 1
        yield GaugeMetricFamily("svcdns_store_page_octets", "Size of a page.", value=size)
        yield GaugeMetricFamily("svcdns_store_used_pages", "Pages that hold data.", value=used)
        free = max(0, taken - used - 2)
        yield GaugeMetricFamily(
            "svcdns_store_free_pages", "Pages of the file that can be used again, and their list.", value=free
        )
        limit = info["map_size"] // size
        yield GaugeMetricFamily("svcdns_store_limit_pages", "Pages that the store may grow to.", value=limit)
        yield GaugeMetricFamily(
            "svcdns_store_readers", "Slots of the reader table taken.", value=info["num_readers"]
        )
