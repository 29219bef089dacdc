"""Values made from the official schema: mostly of the right shape, sometimes not at all.

objects_of(SERVICE)      a strategy for Services as a clumsy client would write them
"""

from typing import Any

from hypothesis import strategies as st

from svcdns.objects import openapi
from svcdns.objects.kinds import Kind

NAMES = ("a", "web", "db-0", "x" * 63, "x" * 64, "Web", "a.b", "-", "", "ü", "a/b", "..", "a\nb", "kube-dns")
TEXTS = (
    *NAMES,
    *("None", "ClusterIP", "ExternalName", "NodePort", "LoadBalancer", "Headless", "TCP", "UDP", "SCTP"),
    *("10.96.0.77", "10.1.0.1", "fd00::1", "::ffff:1.2.3.4", "1.2.3", "010.0.0.1", "0.0.0.0", "300.1.1.1"),
    *("IPv4", "IPv6", "SingleStack", "PreferDualStack", "RequireDualStack", "Local", "Cluster", "ClientIP"),
    *("Running", "Failed", "Ready", "True", "False", "www.example.org", "2024-01-01T00:00:00Z", "1h", "\0"),
    *("http", "80", "kubernetes.io/service-name", "svcdns.io/ready", "true", "😀", "\ud7ff", "9" * 400),
)
NUMBERS = (0, 1, -1, 53, 80, 8080, 30000, 65535, 65536, 2**31 - 1, 2**31, 2**63 - 1, -(2**63), 10**30)
DEEPEST = 7
QUANTITIES = (
    "1",
    "0.5",
    "1.5Gi",
    "100m",
    "1e3",
    "+1",
    "-1",
    "Pi",
    "1.5 Gi",
    "abc",
    "",
    "1E",
    "1e-12",
    1,
    0.25,
)
TIMES = (
    *("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z", "2026-01-01T01:00:00.5+01:00"),
    *("0001-01-01T00:00:00Z", "2026-01-01t00:00:00z", "2026-06-30T23:59:60Z", "2026-02-30T00:00:00Z", ""),
)

HINTS: dict[str, tuple[Any, ...]] = {
    "type": ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Ready", "x"),
    "clusterIP": ("None", "", "10.96.7.7", "10.96.7.8", "1.2.3.4", "x"),
    "clusterIPs": (["None"], [], ["10.96.7.7"], ["10.96.7.7", "fd00::1"], ["10.96.7.9", "10.96.7.9"]),
    "externalIPs": (["192.0.2.1"], ["127.0.0.1"], []),
    "externalName": ("www.example.org", "a..b", "x" * 300),
    "ipFamilies": (["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv4", "IPv4"], []),
    "ipFamilyPolicy": ("SingleStack", "PreferDualStack", "RequireDualStack", "x"),
    "protocol": ("TCP", "UDP", "SCTP", "tcp"),
    "port": (80, 53, 0, 65536),
    "nodePort": (30000, 30001, 80),
    "targetPort": (8080, "http", "", 0, "x" * 16),
    "phase": ("Running", "Pending", "Failed", "Succeeded", "Unknown", "x"),
    "podIP": ("10.1.0.1", "fd00::1", "010.1.0.1", ""),
    "podIPs": ([{"ip": "10.1.0.1"}], [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}], [{"ip": "x"}], [{}], []),
    "hostname": ("db-0", "Db", "x" * 64, ""),
    "subdomain": ("a", "web", "a.b"),
    "addresses": (["192.0.2.1"], ["fd00::1"], ["192.0.2.1", "192.0.2.2"], ["127.0.0.1"], []),
    "addressType": ("IPv4", "IPv6", "FQDN"),
    "status": ("True", "False", "Unknown", "x"),
    "labels": ({"app": "a"}, {"kubernetes.io/service-name": "a"}, {"x y": "z"}, {}),
    "deletionTimestamp": ("2024-01-01T00:00:00Z", "x"),
    "resourceVersion": ("1", "0", "", "x"),
    "finalizers": (["a/b"], ["x"]),
    "conditions": ([{"type": "Ready", "status": "True"}], [{"type": "Ready"}], {"ready": False}, []),
}
"""Values of properties that decide much, by their names; right and wrong ones."""

texts = st.sampled_from(TEXTS)
numbers = st.sampled_from(NUMBERS)
scalars = st.one_of(
    st.none(), st.booleans(), numbers, st.floats(allow_nan=False, allow_infinity=False), texts
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
"""Any JSON value."""


SAMPLES: dict[str, dict[str, Any]] = {
    "Service": {"spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80}]}},
    "Pod": {"metadata": {"labels": {"app": "a"}}, "status": {"podIP": "10.1.0.1"}},
    "Endpoints": {"subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]},
    "EndpointSlice": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
        "ports": [{"port": 80}],
    },
    "Namespace": {},
    "Node": {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}},
    "Lease": {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}},
    "Event": {"involvedObject": {"kind": "Pod", "name": "a"}, "reason": "Ready", "message": "a"},
    "events.k8s.io/v1 Event": {
        "regarding": {"kind": "Pod", "namespace": "a", "name": "a"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Normal",
        "reason": "Ready",
        "action": "Start",
        "reportingController": "a/b",
        "reportingInstance": "a",
    },
}
"""What is accepted; a few parts of it are replaced."""


def _sample(kind: Kind) -> dict[str, Any]:
    return SAMPLES.get(f"{kind.api_version} {kind.name}") or SAMPLES.get(kind.name, {})


def objects_of(kind: Kind) -> st.SearchStrategy[Any]:
    """Return a strategy for objects of a kind: good ones, such with a few odd parts, and wild ones."""
    schema = openapi.schemas()[openapi.component(kind)]
    some = {name: node for name, node in schema["properties"].items() if name not in ("apiVersion", "kind")}

    @st.composite
    def make(draw: st.DrawFn) -> Any:
        if draw(st.integers(0, 5)) == 0:
            return draw(_value(schema, 0))
        metadata = {"name": draw(st.sampled_from(NAMES[:3]))}
        made = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
        made = _merged(made, _sample(kind))
        for _ in range(draw(st.integers(0, 3))):
            name = draw(st.sampled_from(sorted(some)))
            made = _merged(made, {name: draw(_right(some[name], 1))})
        return made

    return make()


def _merged(one: Any, other: Any) -> Any:
    """Return `one` with the parts of `other`, lists item by item."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{key: _merged(one.get(key), value) for key, value in other.items()}}
    if isinstance(one, list) and isinstance(other, list):
        return (
            [_merged(a, b) for a, b in zip(one, other, strict=False)] + one[len(other) :] + other[len(one) :]
        )
    return other


def fragments_of(kind: Kind) -> st.SearchStrategy[Any]:
    """Return a strategy for merge patches: parts of an object, with directives and nulls."""
    schema = openapi.schemas()[openapi.component(kind)]
    directives = st.sampled_from(
        ["$patch", "$setElementOrder/ports", "$retainKeys", "$deleteFromPrimitiveList/x"]
    )
    odd = st.dictionaries(directives, anything, max_size=1)
    return st.tuples(_value(schema, 1), odd).map(
        lambda pair: {**pair[0], **pair[1]} if isinstance(pair[0], dict) else pair[0]
    )


def json_patches() -> st.SearchStrategy[Any]:
    """Return a strategy for JSON patches."""
    paths = st.sampled_from(
        ["", "/", "/spec", "/spec/ports/0", "/spec/ports/-", "/spec/ports/99", "/metadata/labels", "/status",
         "/metadata/name", "/metadata/labels/a~1b", "/spec/clusterIP", "/kind", "~2", "spec"]
    )  # fmt: skip
    operations = st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "nope"]), "path": paths},
        optional={"value": anything, "from": paths},
    )
    return st.lists(operations | anything, max_size=4)


def _value(schema: dict[str, Any], depth: int, name: str = "") -> st.SearchStrategy[Any]:
    """Return a strategy for one node of the schema, the property `name`; a few are something else."""
    right = st.sampled_from(HINTS[name]) if name in HINTS else st.deferred(lambda: _right(schema, depth))
    return st.integers(0, 31).flatmap(lambda dice: anything if dice == 0 else right)


def _right(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if reference := schema.get("$ref"):
        if reference.endswith(".Quantity"):
            return st.sampled_from(QUANTITIES)
        return _right(openapi.schemas()[reference.rpartition("/")[2]], depth)
    if parts := schema.get("allOf"):
        return _right(parts[0], depth)
    if depth > DEEPEST:
        return scalars
    match schema.get("type"):
        case "object" if properties := schema.get("properties"):
            return _some_of(properties, depth)
        case "object":
            inner = schema.get("additionalProperties")
            return st.dictionaries(
                texts, _value(inner, depth + 1) if isinstance(inner, dict) else anything, max_size=2
            )
        case "array":
            return st.lists(_value(schema["items"], depth + 1), max_size=3)
        case "integer" | "number":
            return numbers
        case "boolean":
            return st.booleans()
        case "string" if "enum" in schema:
            return st.sampled_from([*schema["enum"], "Foo"])
        case "string":
            return st.sampled_from(TIMES) if schema.get("format") == "date-time" else texts
    return st.one_of(texts, numbers)  # int-or-string, quantities


def _some_of(properties: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    """Return a strategy for objects with a few of their properties, near the root with more."""
    names = st.lists(st.sampled_from(sorted(properties)), max_size=3, unique=True)

    @st.composite
    def make(draw: st.DrawFn) -> Any:
        made = {name: draw(_value(properties[name], depth + 1, name)) for name in draw(names)}
        if draw(st.integers(0, 60)) == 0:
            made[draw(texts)] = draw(anything)
        return made

    return make()


def plain_objects_of(kind: Kind) -> st.SearchStrategy[Any]:
    """Return a strategy for objects that are accepted more often than not, however odd some values are.

    All that the schema requires is there; words are short names, numbers are small.
    """
    schema = openapi.schemas()[openapi.component(kind)]
    parts = [name for name in ("spec", "status", "endpoints", "ports") if name in schema["properties"]]

    @st.composite
    def make(draw: st.DrawFn) -> Any:
        made = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": "web"}}
        made = _merged(made, _sample(kind))
        for name in parts:
            made = _merged(made, {name: draw(_plain(schema["properties"][name], 1))})
        return made

    return make()


def _plain(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if parts := schema.get("allOf"):
        return _plain(parts[0], depth)
    if reference := schema.get("$ref"):
        if reference.endswith(".Quantity"):
            return st.sampled_from(QUANTITIES[:7])
        return _plain(openapi.schemas()[reference.rpartition("/")[2]], depth)
    match schema.get("type"):
        case "object" if "properties" in schema:
            return _plain_fields(schema, depth)
        case "object":
            inner = schema.get("additionalProperties")
            values = _plain(inner, depth + 1) if isinstance(inner, dict) else st.just("a")
            return st.dictionaries(st.sampled_from(["cpu", "memory", "a"]), values, max_size=2)
        case "array":
            return st.lists(_plain(schema["items"], depth + 1), max_size=2)
        case "integer" | "number":
            return st.sampled_from([0, 1, 80])
        case "boolean":
            return st.booleans()
        case "string" if "enum" in schema:
            return st.sampled_from(schema["enum"])
        case "string":
            times = schema.get("format") == "date-time"
            return st.sampled_from(TIMES[:4] if times else ("a", "", "10.1.0.1", "True"))
    return st.sampled_from([80, "http"])


def _plain_fields(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    properties, required = schema["properties"], schema.get("required", [])
    names = st.lists(st.sampled_from(sorted(properties)), max_size=2 if depth < DEEPEST else 0, unique=True)

    @st.composite
    def make(draw: st.DrawFn) -> Any:
        chosen = dict.fromkeys([*(name for name in required if draw(st.integers(0, 4))), *draw(names)])
        return {name: draw(_plain(properties[name], depth + 1)) for name in chosen}

    return make()
