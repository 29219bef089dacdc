"""What /metrics shows: the workers' counters, the store, the objects and the API's own requests.

The workers only count integers (see svcdns.dns.stats); here these get names and labels, each time
somebody asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.metrics import Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from svcdns.dns import stats
from svcdns.registry.replicated import Sharing
from svcdns.store.environment import Store
from svcdns.tap.memory import Tap, Word

from . import container_metrics
from .counters import WRITER, Counters

_COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """All metrics of the server; `registry` is open to other rooms' own."""

    def __init__(self) -> None:
        """Make an empty set; sources are added by `watch`."""
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
        engines: Callable[[], Any] = lambda: None,
        tap: Tap | None = None,
    ) -> None:
        """Add these: `objects` gives counts by kind, `oldest_reader` an age in seconds at a time.

        `forwarding` gives what the forwarder has published last (see svcdns.server.data_folder), `engines`
        what the process that registers containers has.
        """

        def collect() -> Iterator[Metric]:
            yield from _dns(counters.totals())
            yield from _processes(counters)
            kinds = Gauge("svcdns_objects", "Objects in the registry.", labels=("kind",))
            for kind, count in objects().items():
                kinds.add_metric((kind,), count)
            yield kinds
            yield from _pages(store)
            text = "For how long the slowest reader has not seen the newest commit."
            yield Gauge("svcdns_store_oldest_reader_seconds", text, oldest_reader(time.monotonic()))
            if status := forwarding():
                yield from _forwarding(status)
            yield from container_metrics.metrics(engines())
            if tap is not None:
                yield from _tap(tap)

        self.registry.register(_Collected(collect))

    def watch_sharing(self, sharing: Callable[[], Sharing | None]) -> None:
        """Add how it stands with the etcd that the registry is on."""

        def collect() -> Iterator[Metric]:
            if (now := sharing()) is not None:
                text = "For how long etcd could not be used, 0 while it can."
                yield Gauge("svcdns_etcd_outage_seconds", text, now.outage_seconds)
                text = "Revision of etcd up to which this replica shows what there is."
                yield Gauge("svcdns_etcd_revision", text, now.revision)
                text = "Replicas that live, this one too, as far as it knows."
                yield Gauge("svcdns_etcd_replicas", text, len(now.living))

        self.registry.register(_Collected(collect))

    def render(self) -> tuple[bytes, str]:
        """Return the text of /metrics and its Content-Type."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST


_TAPPED: Mapping[Word, tuple[str, str]] = {
    "records": ("svcdns_tap_records", "Recorded questions that the observer has read."),
    "lost": ("svcdns_tap_lost_records", "Recorded questions that were overwritten before they were read."),
    "lines": ("svcdns_query_log_lines", "Lines of the query log that were written."),
    "lines_lost": ("svcdns_query_log_lost_lines", "Lines of the query log that could not be written."),
    "frames": ("svcdns_dnstap_frames", "Frames of dnstap that were sent."),
    "frames_lost": ("svcdns_dnstap_lost_frames", "Frames of dnstap that could not be sent."),
}
"""Names and help texts of counters, by the words of the tap."""


class _Collected(Collector):
    """Metrics that are made anew each time somebody asks."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def _dns(totals: list[int]) -> Iterator[Metric]:
    labels = ("type", "rcode", "protocol", "zone")
    requests = Counter("svcdns_dns_requests", "DNS messages answered.", labels=labels)
    for count in stats.replies(totals):
        requests.add_metric((count.type, count.rcode, count.protocol, count.zone), count.value)
    yield requests
    yield _batches(totals)
    for at, (name, text) in enumerate(stats.SINGLE.items(), stats.COUNTERS):
        yield Counter(f"svcdns_dns_{name}", text, totals[at])


def _tap(tap: Tap) -> Iterator[Metric]:
    for word, (name, text) in _TAPPED.items():
        yield Counter(name, text, tap.get(word))


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


def _processes(counters: Counters) -> Iterator[Metric]:
    restarts = Counter("svcdns_process_restarts", "Starts after the first one.", labels=("process",))
    up = Gauge("svcdns_process_up", "Whether a process answers.", labels=("process",))
    for row in range(counters.workers + 2):
        name = {WRITER: "writer", counters.forwarder: "forwarder"}.get(row, f"worker-{row - 1}")
        if row == counters.forwarder and counters.get(row, "given_up"):
            continue  # nothing is forwarded
        restarts.add_metric((name,), counters.get(row, "restarts"))
        lives = name != "forwarder" or counters.forwarder_lives()
        up.add_metric((name,), counters.get(row, "ready") if lives else 0)
    yield restarts
    yield up


def _pages(store: Store) -> Iterator[Metric]:
    env, tables = store.env, store.tables
    info, size = env.info(), env.stat()["psize"]
    with store.read() as txn:
        handles = [getattr(tables, name) for name in tables.__slots__]
        stats = [txn.stat(handle) for handle in handles] + [env.stat()]
    used = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
    free = max(0, info["last_pgno"] + 1 - used - 2)
    limit = info["map_size"] // size
    yield Gauge("svcdns_store_page_octets", "Size of a page.", size)
    yield Gauge("svcdns_store_used_pages", "Pages that hold data.", used)
    yield Gauge("svcdns_store_free_pages", "Pages of the file that can be used again, and their list.", free)
    yield Gauge("svcdns_store_limit_pages", "Pages that the store may grow to.", limit)
    yield Gauge("svcdns_store_readers", "Slots of the reader table taken.", info["num_readers"])


def _forwarding(status: dict[str, Any]) -> Iterator[Metric]:
    """Yield how the cache and the upstreams are, as the forwarder published them last."""
    yield Gauge("svcdns_cache_octets", "Octets of the cache.", status["cache"]["octets"])
    yield Gauge("svcdns_cache_entries", "Answers in the cache.", status["cache"]["entries"])
    yield Gauge("svcdns_forward_outstanding", "Questions that wait for upstreams.", status["outstanding"])
    labels = ("zone", "upstream")
    gauges = {
        "up": Gauge("svcdns_upstream_up", "Whether an upstream answers.", labels=labels),
        "looped": Gauge(
            "svcdns_upstream_looped", "Whether it sends our questions back to us.", labels=labels
        ),
        "seconds": Gauge("svcdns_upstream_seconds", "How long it takes to answer, smoothed.", labels=labels),
    }
    text = "Questions asked, by what became of them."
    outcomes = Counter("svcdns_upstream_questions", text, labels=(*labels, "outcome"))
    for one in status["upstreams"]:
        names = (one["zone"], one["upstream"])
        for field, gauge in gauges.items():
            gauge.add_metric(names, float(one[field]))
        for outcome in ("answered", "failed", "servfail", "garbage"):
            outcomes.add_metric((*names, outcome), one[outcome])
    yield from (*gauges.values(), outcomes)
