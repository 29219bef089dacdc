"""Endpoints that go on to be answered though none is ready: the Pods that were ready last.

For Services with the annotation `svcdns.io/when-none-ready: last`.  Such an endpoint is kept: `ready: true`
and `serving: false` in its slice, as Kubernetes shows endpoints that are published whatever their readiness.
So DNS, proxies and all others who read slices do the same, a restart finds what was, and nothing else
remembers.

    one is ready, or comes to be      nobody is kept
    the last ready ones go            they are kept, those that stay endpoints and are not leaving
    a kept one is deleted, or leaves  it is kept no more, and nobody in its place

Pure; endpoints are those of generated slices, and are never changed in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from .endpoints import (
    WHEN_NONE_READY,
    answers_with_all,
    has_ready,
    is_generated,
    prefers_same_node,
    publishes_not_ready,
    same_node_hints,
)

WHEN_NONE_LAST = "last"

Endpoint = dict[str, Any]


def keeps_last(service: Mapping[str, Any]) -> bool:
    """Return whether the Pods of a Service that were ready last go on to be answered when none is ready."""
    annotations = service["metadata"].get("annotations") or {}
    return annotations.get(WHEN_NONE_READY) == WHEN_NONE_LAST and not publishes_not_ready(service)


def is_kept(endpoint: Endpoint) -> bool:
    """Return whether an endpoint is answered though it is not ready."""
    conditions = endpoint.get("conditions") or {}
    return bool(conditions.get("ready")) and conditions.get("serving") is False


def is_ready(endpoint: Endpoint) -> bool:
    """Return whether the Pod of an endpoint is ready, and not leaving."""
    conditions = endpoint["conditions"]
    return bool(conditions["serving"] and not conditions["terminating"])


def shows_not_ready(service: Mapping[str, Any], slices: list[dict[str, Any]]) -> bool:
    """Return whether a Service answers endpoints that are not ready because it has no ready one."""
    if answers_with_all(service):
        return not any(map(has_ready, slices))
    return bool(kept_pods(service, slices))


def kept_pods(service: Mapping[str, Any], slices: list[dict[str, Any]]) -> list[str]:
    """Return the names of a Service's Pods that are answered though they are not ready."""
    if not keeps_last(service):
        return []
    endpoints = chain.from_iterable(one["endpoints"] or [] for one in slices if is_generated(one))
    return list(dict.fromkeys(one["targetRef"]["name"] for one in endpoints if is_kept(one)))


def as_it_is(service: Mapping[str, Any], endpoint: Endpoint) -> Endpoint:
    """Return an endpoint of a Service that keeps the last ones as it would stand if it were not kept."""
    return _shown(service, endpoint, is_ready(endpoint))


def answered(endpoints: Iterable[Endpoint]) -> set[str]:
    """Return the uids of the Pods whose endpoints are answered: they are ready, or kept."""
    return {one["targetRef"]["uid"] for one in endpoints if one["conditions"]["ready"]}


def kept(service: Mapping[str, Any], endpoints: list[Endpoint], last: set[str]) -> list[Endpoint]:
    """Return the endpoints of a slice with those kept whose Pods' uids are in `last`, and no others."""

    def shown(endpoint: Endpoint) -> Endpoint:
        stays = endpoint["targetRef"]["uid"] in last and not endpoint["conditions"]["terminating"]
        return _shown(service, endpoint, stays or is_ready(endpoint))

    return [shown(one) for one in endpoints]


def _shown(service: Mapping[str, Any], endpoint: Endpoint, ready: bool) -> Endpoint:
    """Return an endpoint that slices call ready, or not."""
    conditions = endpoint["conditions"]
    if conditions["ready"] == ready:
        return endpoint
    made = {key: value for key, value in endpoint.items() if key != "hints"}
    made["conditions"] = {**conditions, "ready": ready}
    if ready and prefers_same_node(service) and endpoint.get("nodeName"):
        made["hints"] = same_node_hints(endpoint["nodeName"])
    return made
