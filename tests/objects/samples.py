"""Objects that are right, for tests to take and spoil."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop", "annotations": {"a.example/b": "c"}},
    "spec": {
        "selector": {"app": "web"},
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "dns", "port": 53, "targetPort": 8053, "protocol": "UDP"},
        ],
    },
}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {
        "hostname": "web-0",
        "subdomain": "web",
        "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}],
    },
    "status": {"podIP": "10.1.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
}
SLICE: dict[str, Any] = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "web-a", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.1.0.9"], "conditions": {"ready": True}, "hostname": "one"}],
    "ports": [{"name": "http", "port": 8080}],
}
NAMESPACE: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def changed(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with one field set; a path such as "spec.ports.0.port"; value ... removes it."""
    out = copy.deepcopy(obj)
    *parents, last = [int(word) if word.isdigit() else word for word in path.split(".")]
    place: Any = out
    for word in parents:
        place = place.setdefault(word, {}) if isinstance(place, dict) else place[word]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return out


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in an object but the object's own."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, element in inner:
        yield (*path, key)
        yield from places(element, (*path, key))


@st.composite
def spoilt(draw: st.DrawFn, obj: dict[str, Any]) -> dict[str, Any]:
    """A right object in which a few values are replaced by any JSON."""
    out = copy.deepcopy(obj)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(out))))
        place: Any = out
        for word in path[:-1]:
            place = place[word]
        place[path[-1]] = draw(ANY_JSON)
    return out
