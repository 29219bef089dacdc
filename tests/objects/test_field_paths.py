"""Sets of fields: the algebra, compared with Python's sets of paths, and what is accepted from clients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects.samples import ANY_JSON

from svcdns.objects import field_paths
from svcdns.objects.field_paths import Fields

KEYS = st.sampled_from(["f:a", "f:b", 'k:{"port":80}', 'v:"x"'])
NODES = st.recursive(
    st.just({}),
    lambda inner: st.builds(
        lambda below, itself: {**({".": {}} if itself else {}), **below},
        st.dictionaries(KEYS, inner, min_size=1, max_size=3),
        st.booleans(),
    ),
    max_leaves=8,
)
SETS = st.dictionaries(KEYS, NODES, max_size=4)


def members(fields: Fields) -> set[str]:
    return set(field_paths.paths(fields))


@given(SETS, SETS)
def test_the_algebra_is_that_of_sets(a: Fields, b: Fields) -> None:
    before = copy.deepcopy((a, b))
    assert members(field_paths.union(a, b)) == members(a) | members(b)
    assert members(field_paths.difference(a, b)) == members(a) - members(b)
    assert members(field_paths.intersection(a, b)) == members(a) & members(b)
    assert (a, b) == before, "sets are never changed in place"


@given(SETS, SETS)
def test_no_node_is_left_without_members(a: Fields, b: Fields) -> None:
    """An empty node would be a member; and a result is false if it is empty."""
    for out in (
        field_paths.union(a, b),
        field_paths.difference(a, b),
        field_paths.intersection(a, b),
    ):
        assert bool(out) == bool(members(out))
        assert field_paths.is_fields(out)


@given(SETS)
def test_the_same_set_comes_back_as_the_same_object(a: Fields) -> None:
    assert field_paths.union(a, copy.deepcopy(a)) is a
    assert field_paths.difference(a, {}) is a
    assert field_paths.difference(a, {"f:elsewhere": {}}) is a
    assert not field_paths.difference(a, a)


@given(SETS)
def test_order_is_no_part_of_a_set(a: Fields) -> None:
    assert field_paths.ordered(a) == a
    assert list(field_paths.ordered(a)) == sorted(a)


def test_paths_read_as_in_kubernetes() -> None:
    fields = {
        "f:metadata": {"f:labels": {"f:a.example/b": {}}, "f:finalizers": {'v:"x"': {}}},
        "f:spec": {
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:targetPort": {}}},
        },
    }
    assert list(field_paths.paths(fields)) == [
        ".metadata.labels.a.example/b",
        '.metadata.finalizers[="x"]',
        '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].targetPort',
    ]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "f:a",
        {"a": {}},
        {"f:a": None},
        {"f:a": {".": {"f:b": {}}}},
        {".": {}},
        {"k:80": {}},
        {"k:{": {}},
        {"v:x": {}},
        {"i:x": {}},
        {"f:a": {"f:b": [1]}},
    ],
)
def test_what_is_no_set_is_told(value: Any) -> None:
    assert not field_paths.is_fields(value)


def test_depth_is_bounded() -> None:
    deep: Fields = {}
    for _ in range(5000):
        deep = {"f:a": deep}
    assert not field_paths.is_fields(deep)


@given(ANY_JSON)
def test_any_json_can_be_asked(value: Any) -> None:
    if field_paths.is_fields(value):
        assert field_paths.ordered(value) == value
