"""The three kinds of patch. The strategic merges were compared with what `kubectl patch --local` gives."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects.samples import ANY_JSON, POD, SERVICE, changed

from svcdns.objects import kinds
from svcdns.objects.errors import StatusError
from svcdns.objects.patches import MOST_OPERATIONS, PATCH_TYPES, apply_patch, check_document

PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), PLAIN | st.lists(PLAIN, max_size=2), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | PLAIN, max_size=3),
    max_leaves=8,
)


def patched(patch_type: str, obj: dict[str, Any], document: Any, kind: kinds.Kind = kinds.SERVICE) -> Any:
    """Apply a patch; neither the object nor the patch may be changed by it."""
    before = copy.deepcopy((obj, document))
    try:
        check_document(patch_type, document)
        return apply_patch(kind, obj, patch_type, document)
    finally:
        assert (obj, document) == before


def refused(patch_type: str, obj: dict[str, Any], document: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        patched(patch_type, obj, document)
    return caught.value


class TestMerge:
    @pytest.mark.parametrize(
        ("target", "patch", "result"),
        [
            ({"a": "b"}, {"a": "c"}, {"a": "c"}),
            ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
            ({"a": "b"}, {"a": None}, {}),
            ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
            ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
            ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
            ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
            ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
            ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
            ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ],
    )
    def test_the_examples_of_rfc_7386(self, target: Any, patch: Any, result: Any) -> None:
        assert patched("merge", target, patch) == result

    @given(OBJECTS, OBJECTS)
    def test_applied_twice_is_applied_once(self, obj: dict[str, Any], patch: dict[str, Any]) -> None:
        once = patched("merge", obj, patch)
        assert patched("merge", once, patch) == once

    @given(OBJECTS)
    def test_an_empty_patch_changes_nothing(self, obj: dict[str, Any]) -> None:
        assert patched("merge", obj, {}) == obj

    @given(OBJECTS, OBJECTS)
    def test_the_difference_of_two_objects_leads_from_one_to_the_other(self, a: Any, b: Any) -> None:
        a, b = without_nulls(a), without_nulls(b)
        assert patched("merge", a, difference(a, b)) == b

    @pytest.mark.parametrize("document", [[], None, "x", 1])
    def test_a_patch_is_an_object(self, document: Any) -> None:
        assert refused("merge", SERVICE, document).code == 400
        assert refused("strategic", SERVICE, document).code == 400


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


def difference(a: Any, b: Any) -> Any:
    """Return the merge patch from one object to another."""
    if not isinstance(a, dict) or not isinstance(b, dict):
        return b
    changed_keys = {key: difference(a.get(key), b[key]) for key in b if a.get(key) != b[key] or key not in a}
    return {**changed_keys, **{key: None for key in a if key not in b}}


class TestJson:
    def test_operations(self) -> None:
        patch = [
            {"op": "test", "path": "/spec/ports/0/port", "value": 80},
            {"op": "replace", "path": "/spec/ports/0/port", "value": 8080},
            {"op": "add", "path": "/metadata/annotations/b~1c", "value": "1"},
            {"op": "remove", "path": "/spec/ports/1"},
            {"op": "copy", "from": "/spec/selector", "path": "/metadata/labels"},
            {"op": "move", "from": "/metadata/annotations/b~1c", "path": "/metadata/annotations/d"},
        ]
        out = patched("json", SERVICE, patch)
        assert out["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
        assert out["metadata"]["annotations"] == {"a.example/b": "c", "d": "1"}
        assert out["metadata"]["labels"] == {"app": "web"}

    def test_a_value_is_not_changed_by_later_operations(self) -> None:
        patch = [
            {"op": "add", "path": "/spec/selector", "value": {}},
            {"op": "add", "path": "/spec/selector/a", "value": "b"},
        ]
        assert patched("json", SERVICE, patch)["spec"]["selector"] == {"a": "b"}

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "test", "path": "/spec/ports/0/port", "value": 81},
            {"op": "test", "path": "/spec/nothing", "value": 1},
            {"op": "remove", "path": "/spec/nothing"},
            {"op": "replace", "path": "/spec/nothing", "value": 1},
            {"op": "add", "path": "/spec/nothing/x", "value": 1},
            {"op": "add", "path": "/spec/ports/9", "value": {}},
            {"op": "add", "path": "/spec/ports/x", "value": {}},
            {"op": "add", "path": "/kind/x", "value": {}},
            {"op": "copy", "from": "/nothing", "path": "/x"},
            {"op": "move", "from": "/spec", "path": "/spec/x"},
        ],
        ids=str,
    )
    def test_what_does_not_fit_the_object_is_422(self, operation: dict[str, Any]) -> None:
        error = refused("json", SERVICE, [operation])
        assert (error.code, error.reason) == (422, "Invalid")
        assert "operation 0" in error.message

    @pytest.mark.parametrize(
        "document",
        [
            {},
            "x",
            None,
            [1],
            [{}],
            [{"op": "jump", "path": "/a"}],
            [{"op": "add", "path": "a", "value": 1}],
            [{"op": "add", "path": "/a~2", "value": 1}],
            [{"op": "add", "path": 3, "value": 1}],
            [{"op": "add", "path": "/a"}],
            [{"op": "add", "value": 1}],
            [{"op": "copy", "path": "/a"}],
            [{"op": ["add"], "path": "/a"}],
            [{"op": "remove", "path": ""}],
            [{"op": "replace", "path": "", "value": []}],
        ],
        ids=str,
    )
    def test_malformed_patches_are_400(self, document: Any) -> None:
        assert refused("json", SERVICE, document).code == 400

    def test_huge_patches_are_413(self) -> None:
        operation = {"op": "test", "path": "/kind", "value": "Service"}
        assert patched("json", SERVICE, [operation] * 100) == SERVICE
        assert refused("json", SERVICE, [operation] * (MOST_OPERATIONS + 1)).code == 413

    def test_doubling_by_copy_is_413(self) -> None:
        patch = [{"op": "copy", "from": "/spec", "path": f"/spec/x{i}"} for i in range(60)]
        assert refused("json", SERVICE, patch).code == 413


def ports(*numbers: int) -> dict[str, Any]:
    return {"spec": {"ports": [{"port": number} for number in numbers]}}


def order(*numbers: int) -> list[dict[str, int]]:
    return [{"port": number} for number in numbers]


class TestStrategic:
    def test_lists_merge_by_their_key_and_maps_by_theirs(self) -> None:
        patch = {
            "metadata": {"labels": {"a": "b"}, "annotations": {"a.example/b": None}},
            "spec": {"ports": [{"port": 53, "targetPort": 9053}], "selector": {"tier": "front"}},
        }
        out = patched("strategic", SERVICE, patch)
        assert out["metadata"] == {
            "name": "web",
            "namespace": "shop",
            "annotations": {},
            "labels": {"a": "b"},
        }
        assert out["spec"]["selector"] == {"app": "web", "tier": "front"}
        assert out["spec"]["ports"] == [
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "dns", "port": 53, "targetPort": 9053, "protocol": "UDP"},
        ]

    @pytest.mark.parametrize(
        ("before", "patch", "after"),
        [
            (ports(80, 81), {"spec": {"ports": [{"port": 90}]}}, ports(90, 80, 81)),
            (ports(80, 81), {"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}, ports(81)),
            (ports(80), {"spec": {"ports": [{"port": 82, "$patch": "delete"}]}}, ports(80)),
            (ports(80, 81), {"spec": {"ports": [{"$patch": "replace"}, {"port": 90}]}}, ports(90)),
            (ports(80, 81), {"spec": {"$setElementOrder/ports": order(81, 80)}}, ports(81, 80)),
            (
                ports(80, 81, 82),
                {"spec": {"ports": [{"port": 90}], "$setElementOrder/ports": order(82, 90, 80)}},
                ports(81, 82, 90, 80),
            ),
            (
                ports(83, 81),
                {"spec": {"ports": [{"port": 81}], "$setElementOrder/ports": order(84, 81, 82)}},
                ports(83, 81),
            ),
            (ports(80), {"spec": {"ports": None}}, {"spec": {}}),
            (ports(), {"spec": {"ports": [{"port": 80, "name": None}]}}, ports(80)),
            ({"spec": {}}, {"spec": {"ports": [{"port": 81, "$patch": "delete"}]}}, ports()),
            (
                {"spec": {"externalIPs": ["1.1.1.1"]}},
                {"spec": {"externalIPs": ["2.2.2.2"]}},
                {"spec": {"externalIPs": ["2.2.2.2"]}},
            ),
            (
                {"spec": {"selector": {"a": "1", "b": "2"}}},
                {"spec": {"selector": {"$patch": "replace", "c": "3"}}},
                {"spec": {"selector": {"c": "3"}}},
            ),
            (
                {"spec": {"selector": {"a": "1", "b": "2"}}},
                {"spec": {"selector": {"$patch": "delete"}}},
                {"spec": {"selector": {}}},
            ),
            (
                {"spec": {"selector": {"a": "1", "b": "2"}}},
                {"spec": {"selector": {"$retainKeys": ["b", "c"], "c": "3"}}},
                {"spec": {"selector": {"b": "2", "c": "3"}}},
            ),
        ],
    )
    def test_directives(self, before: Any, patch: Any, after: Any) -> None:
        assert patched("strategic", before, patch) == after

    @pytest.mark.parametrize(
        ("before", "patch", "after"),
        [
            ("ab", {"finalizers": ["x/c"]}, "cab"),
            ("ab", {"finalizers": ["x/b"]}, "ab"),
            ("ab", {"finalizers": ["x/b", "x/a"]}, "ba"),
            ("abc", {"$deleteFromPrimitiveList/finalizers": ["x/b", "x/z"]}, "ac"),
            (
                "ab",
                {"finalizers": ["x/c"], "$setElementOrder/finalizers": ["x/a", "x/c", "x/b"]},
                "acb",
            ),
            ("abc", {"$setElementOrder/finalizers": ["x/c", "x/a"]}, "bca"),
        ],
    )
    def test_lists_of_plain_values_merge_as_sets(self, before: str, patch: Any, after: str) -> None:
        obj = {"metadata": {"finalizers": [f"x/{letter}" for letter in before]}}
        out = patched("strategic", obj, {"metadata": patch})
        assert "".join(value[-1] for value in out["metadata"]["finalizers"]) == after

    def test_nested_lists_of_a_pod(self) -> None:
        obj = changed(POD, "spec.containers.0.env", [{"name": "A", "value": "1"}])
        obj = changed(obj, "spec.volumes", [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}])
        patch = {
            "spec": {
                "containers": [
                    {"name": "c", "env": [{"name": "B", "value": "2"}, {"name": "A", "$patch": "delete"}]}
                ],
                "volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}],
            },
            "status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Q", "status": "True"}]},
        }
        out = patched("strategic", obj, patch, kinds.POD)
        assert out["spec"]["containers"][0]["env"] == [{"name": "B", "value": "2"}]
        assert out["spec"]["containers"][0]["image"] == "i"
        assert out["spec"]["volumes"] == [
            {"name": "v", "hostPath": {"path": "/x"}},
            {"name": "w", "emptyDir": {}},
        ]
        assert out["status"]["conditions"] == [
            {"type": "Ready", "status": "False"},
            {"type": "Q", "status": "True"},
        ]

    @pytest.mark.parametrize(
        "patch",
        [
            {"$patch": "jump"},
            {"spec": {"ports": [{"name": "x"}]}},
            {"spec": {"ports": [1]}},
            {"spec": {"ports": [{"port": 80, "$patch": "jump"}]}},
            {"spec": {"ports": [{"port": {}}]}},
            {"spec": {"$setElementOrder/ports": "x"}},
            {"spec": {"$setElementOrder/ports": [3]}},
            {"spec": {"selector": {"$retainKeys": ["a"], "b": "c"}}},
            {"spec": {"selector": {"$retainKeys": 1}}},
            {"metadata": {"finalizers": [{}]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": 1}},
        ],
        ids=str,
    )
    def test_malformed_patches_are_400(self, patch: Any) -> None:
        assert refused("strategic", changed(SERVICE, "metadata.finalizers", ["x/a"]), patch).code == 400

    @given(OBJECTS, OBJECTS)
    def test_outside_the_schema_it_is_a_merge_patch(self, obj: Any, patch: Any) -> None:
        obj, patch = without_nulls(obj), without_nulls(patch)
        assert patched("strategic", obj, patch) == patched("merge", obj, patch)

    def test_many_elements_take_no_quadratic_time(self) -> None:
        many = ports(*range(60_000))
        assert patched("strategic", many, many) == many


def test_unknown_patch_type() -> None:
    assert refused("apply", SERVICE, {}).code == 400


def test_deep_patches_are_refused() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    for patch_type in ("merge", "strategic"):
        with pytest.raises(StatusError) as caught:
            apply_patch(kinds.SERVICE, SERVICE, patch_type, deep)
        assert caught.value.code == 400


WORDS = "spec ports port metadata finalizers selector replace $patch $retainKeys $setElementOrder/ports"
FIELDS = st.sampled_from([*WORDS.split(), "$deleteFromPrimitiveList/finalizers"])
PATCHES = st.recursive(
    PLAIN | st.sampled_from(["replace", "delete", "merge"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=16,
)


@given(st.sampled_from(PATCH_TYPES), ANY_JSON | PATCHES | PATCHES.map(lambda patch: {"spec": patch}))
def test_any_json_as_a_patch_gives_an_object_or_a_status(patch_type: str, document: Any) -> None:
    obj = changed(SERVICE, "metadata.finalizers", ["x/a"])
    try:
        assert isinstance(patched(patch_type, obj, document), dict)
    except StatusError as error:
        assert error.code in (400, 413, 422)


POINTERS = st.sampled_from(["", "/spec", "/spec/ports", "/spec/ports/0", "/spec/ports/-", "/x", "/x/y"])
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "copy", "move", "remove", "replace", "test"]),
        "path": POINTERS,
        "from": POINTERS,
        "value": ANY_JSON,
    }
)


@given(st.lists(OPERATIONS, max_size=5))
def test_any_json_patch_gives_an_object_or_a_status(document: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(document)
    try:
        assert isinstance(apply_patch(kinds.SERVICE, SERVICE, "json", document), dict)
    except StatusError as error:
        assert error.code in (400, 413, 422)
    assert repr(document) == repr(before)
