"""What is counted of the API's own requests.

Labels take their values from our kinds and Kubernetes' verbs only, so no client can make them grow.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


_Series = tuple[Counter, Histogram | None]
"""The count of requests of one sort, and their durations; None: these are not kept."""


class ApiMetrics:
    """Counters of API requests, registered in the collector registry that is passed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Raises ValueError when the registry has these metrics already."""
        labels = ("verb", "resource", "code")
        self.requests = Counter(
            "svcdns_api_requests",
            "API requests answered; a watch counts when it ends.",
            labels,
            registry=registry,
        )
        self.durations = Histogram(
            "svcdns_api_request_duration_seconds",
            "Time from an API request to its answer, watches apart.",
            ("verb", "resource"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.watches = Gauge(
            "svcdns_api_watches", "Watch streams open now.", ("resource",), registry=registry
        )
        self.slow_watches = Counter(
            "svcdns_api_watches_cut",
            "Watch streams cut off because the client read too slowly.",
            registry=registry,
        )
        self._of: dict[tuple[str, str, int], _Series] = {}

    def answered(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count one request; `resource` is "" for paths that name none."""
        counter, duration = self._of.get((verb, resource, code)) or self._series(verb, resource, code)
        counter.inc()
        if duration is not None:
            duration.observe(seconds)

    def _series(self, verb: str, resource: str, code: int) -> _Series:
        """Return what counts such requests; looked up once, since by labels it takes as long as all else."""
        duration = None if verb == "watch" else self.durations.labels(verb, resource)
        found = self.requests.labels(verb, resource, str(code)), duration
        self._of[verb, resource, code] = found
        return found
