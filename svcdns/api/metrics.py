"""What is counted of the API's own requests.

Labels take their values from our kinds and Kubernetes' verbs only, so no client can make them grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.metrics import Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BOUNDS = [*(str(float(bound)) for bound in _BUCKETS), "+Inf"]


class _Durations:
    """How long requests of one sort took."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        """Requests by the first bound that they did not pass."""
        self.seconds = 0.0


class ApiMetrics(Collector):
    """Counters of API requests, registered in the collector registry that is passed in.

    Requests are counted here, and not in metrics of prometheus_client, which take a lock for each number.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Raises ValueError when the registry has these metrics already."""
        self._requests: dict[tuple[str, str, int], int] = {}
        """By verb, resource and code."""
        self._durations: dict[tuple[str, str], _Durations] = {}
        """By verb and resource."""
        registry.register(self)
        self.watches = Gauge(
            "svcdns_api_watches", "Watch streams open now.", ("resource",), registry=registry
        )
        self.slow_watches = Counter(
            "svcdns_api_watches_cut",
            "Watch streams cut off because the client read too slowly.",
            registry=registry,
        )

    def answered(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count one request, in the event loop; `resource` is "" for paths that name none."""
        key = (verb, resource, code)
        self._requests[key] = self._requests.get(key, 0) + 1
        if verb == "watch":
            return
        durations = self._durations.get(key[:2])
        if durations is None:
            durations = self._durations[key[:2]] = _Durations()
        durations.counts[bisect_left(_BUCKETS, seconds)] += 1
        durations.seconds += seconds

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without their values."""
        yield CounterMetricFamily(
            "svcdns_api_requests",
            "API requests answered; a watch counts when it ends.",
            labels=("verb", "resource", "code"),
        )
        yield HistogramMetricFamily(
            "svcdns_api_request_duration_seconds",
            "Time from an API request to its answer, watches apart.",
            labels=("verb", "resource"),
        )

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, in the event loop."""
        requests, times = self.describe()
        assert isinstance(requests, CounterMetricFamily)
        assert isinstance(times, HistogramMetricFamily)
        for (verb, resource, code), count in self._requests.items():
            requests.add_metric((verb, resource, str(code)), count)
        for labels, durations in self._durations.items():
            buckets = list(zip(_BOUNDS, map(float, accumulate(durations.counts)), strict=True))
            times.add_metric(labels, buckets, durations.seconds)
        yield from (requests, times)
