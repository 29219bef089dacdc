"""Metrics of engines whose containers are registered, from what their process publishes (engines.json)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily, Metric

from svcdns.sources.containers.published import ALIVE_SECONDS, LAG_BOUNDS

_ENGINE = ("engine",)


def engines_of(published: Any, now: float) -> list[dict[str, Any]]:
    """Return how each engine fares; none is up of a process that has published nothing for long.

    `now` is of the monotonic clock.
    """
    if not isinstance(published, Mapping) or not isinstance(published.get("engines"), list):
        return []
    is_old = now - float(published.get("at", 0)) > 3 * ALIVE_SECONDS
    gone = {"up": False, "why": "the process that registers containers does not run"} if is_old else {}
    return [{**one, **gone} for one in published["engines"]]


def metrics(published: Any) -> Iterator[Metric]:
    """Yield the metrics; nothing where no engine is configured."""
    now = time.monotonic()
    if not (engines := engines_of(published, now)):
        return
    up = Gauge("svcdns_containers_up", "Whether an engine of containers answers.", labels=_ENGINE)
    age = Gauge(
        "svcdns_containers_list_age_seconds", "Since all containers were listed last.", labels=_ENGINE
    )
    registered = Gauge("svcdns_containers_registered", "Containers that have a Pod.", labels=_ENGINE)
    labels = ("engine", "reason")
    skipped = Gauge("svcdns_containers_skipped", "Containers that have no Pod, by reason.", labels=labels)
    resyncs = Counter(
        "svcdns_containers_resyncs", "Complete lists, by what gave rise to them.", labels=labels
    )
    text = "Events of an engine, by what they say has happened."
    events = Counter("svcdns_containers_events", text, labels=("engine", "action"))
    writes = Counter(
        "svcdns_containers_writes", "Objects that were changed, made or deleted.", labels=_ENGINE
    )
    lag = HistogramMetricFamily(
        "svcdns_containers_lag_seconds", "From an event to the acknowledged write.", labels=_ENGINE
    )
    for one in engines:
        name = (one["engine"],)
        up.add_metric(name, one["up"])
        if one["listed"]:
            age.add_metric(name, max(0.0, now - one["listed"]))
        registered.add_metric(name, one["registered"])
        writes.add_metric(name, one["writes"])
        for family, key in ((skipped, "skipped"), (resyncs, "resyncs"), (events, "events")):
            for word, count in one[key].items():
                family.add_metric((*name, word), count)
        lag.add_metric(name, _buckets(one["lag"]["buckets"]), one["lag"]["sum"])
    yield from (up, age, registered, skipped, resyncs, events, writes, lag)


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    sofar, buckets = 0, []
    for bound, count in zip((*map(str, LAG_BOUNDS), "+Inf"), counts, strict=True):
        sofar += count
        buckets.append((bound, float(sofar)))
    return buckets
