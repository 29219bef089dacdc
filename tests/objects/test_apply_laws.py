"""Laws of server-side apply, about any sequence of managers who apply any configurations."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from objects import samples
from objects.apply_harness import ApplyHarness, port

from svcdns.objects import field_paths, kinds, managed_fields
from svcdns.objects.errors import StatusError
from svcdns.objects.field_sets import everything
from svcdns.objects.schema import structure
from svcdns.objects.schema_tree import schema_of

TEXTS = st.sampled_from(["1", "2"])
PORTS = st.lists(
    st.builds(
        lambda number, rest: port(number, **{k: v for k, v in rest.items() if v is not None}),
        st.sampled_from([80, 81, 443]),
        st.fixed_dictionaries(
            {
                "targetPort": st.sampled_from([None, 8080, "http"]),
                "protocol": st.sampled_from([None, "TCP", "UDP"]),
                "appProtocol": st.sampled_from([None, "http", "grpc"]),
            }
        ),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: (each["port"], each.get("protocol", "TCP")),
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(st.sampled_from("ab"), TEXTS, max_size=2),
        "annotations": st.dictionaries(st.sampled_from("cd"), TEXTS, max_size=2),
        "finalizers": st.lists(st.sampled_from(["e/f", "e/g"]), unique=True),
    },
)
SPECS = st.fixed_dictionaries(
    {"ports": PORTS},
    optional={
        "selector": st.dictionaries(st.sampled_from("ab"), TEXTS, max_size=2),
        "sessionAffinity": st.sampled_from(["None", "ClientIP"]),
        "loadBalancerSourceRanges": st.lists(st.sampled_from(["192.0.2.1/32", "192.0.2.2/32"])),
        "publishNotReadyAddresses": st.booleans(),
    },
)
CONFIGS = st.builds(
    lambda metadata, spec: {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", **metadata},
        "spec": spec,
    },
    METADATA,
    SPECS,
)
STEPS = st.lists(st.tuples(st.sampled_from("abc"), CONFIGS), min_size=1, max_size=5)


def after(steps: list[tuple[str, dict[str, Any]]]) -> ApplyHarness:
    world = ApplyHarness()
    for manager, config in steps:
        world.apply(manager, config, force=True)
    return world


def without_entries(obj: dict[str, Any] | None) -> dict[str, Any]:
    assert obj is not None
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}


@given(STEPS)
def test_applied_twice_is_applied_once(steps: list[tuple[str, dict[str, Any]]]) -> None:
    world = after(steps)
    once, entries = without_entries(world.obj), world.entries
    world.apply(*steps[-1])  # without force: what is there is no conflict
    assert without_entries(world.obj) == once
    assert managed_fields.same_but_times(world.entries, entries)


@given(STEPS)
def test_applying_what_is_there_changes_nothing(steps: list[tuple[str, dict[str, Any]]]) -> None:
    world = after(steps)
    there, entries = without_entries(world.obj), world.owners
    world.apply("newcomer", there)
    assert without_entries(world.obj) == there
    assert {key: value for key, value in world.owners.items() if key != "newcomer"} == entries


@given(CONFIGS, CONFIGS)
def test_of_one_manager_only_its_last_configuration_is_left(a: dict[str, Any], b: dict[str, Any]) -> None:
    """But for the order of what is merged."""

    def sorted_lists(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: sorted_lists(value[key]) for key in sorted(value) if value[key] not in ({}, [])}
        return sorted(map(sorted_lists, value), key=repr) if isinstance(value, list) else value

    left, fresh = ApplyHarness().apply("a", a).apply("a", b), ApplyHarness().apply("a", b)
    assert sorted_lists(without_entries(left.obj)) == sorted_lists(without_entries(fresh.obj))
    assert left.owners == fresh.owners


@given(STEPS, CONFIGS)
def test_who_lets_go_of_all_leaves_what_others_own(
    steps: list[tuple[str, dict[str, Any]]], config: dict[str, Any]
) -> None:
    world = after(steps)
    others, before = world.owners, without_entries(world.obj)
    assert world.obj is not None
    try:
        world.apply("guest", config)
    except StatusError as error:
        assert error.code == 409 and error.causes
        return
    assert {key: value for key, value in world.owners.items() if key != "guest"} == others
    world.apply("guest", {**config, "metadata": {"name": "web", "namespace": "shop"}, "spec": {}})
    for fields in others.values():
        held = field_paths.intersection(fields, everything(schema_of(kinds.SERVICE), before))
        assert not field_paths.difference(held, everything(schema_of(kinds.SERVICE), world.obj))


@given(STEPS)
def test_who_owns_a_field_finds_it_in_the_object(steps: list[tuple[str, dict[str, Any]]]) -> None:
    world = ApplyHarness()
    for manager, config in steps:
        world.apply(manager, config, force=True)
        held = everything(schema_of(kinds.SERVICE), without_entries(world.obj))
        for fields in world.owners.values():
            assert not list(field_paths.paths(field_paths.difference(fields, held)))


@given(st.sampled_from([samples.SERVICE, samples.POD, samples.SLICE]).flatmap(samples.spoilt), st.booleans())
def test_any_body_is_applied_or_refused(body: dict[str, Any], force: bool) -> None:
    kind = kinds.by_manifest(str(body.get("apiVersion")), str(body.get("kind")))
    if kind not in (kinds.SERVICE, kinds.POD, kinds.ENDPOINTSLICE):
        return
    whole = {kinds.SERVICE: samples.SERVICE, kinds.POD: samples.POD}.get(kind, samples.SLICE)
    try:
        config, _ = structure(kind, body, "Ignore")
        config = {**config, "metadata": {**config.get("metadata", {}), "name": "x"}}  # as the API does
        ApplyHarness(kind).apply("a", config).apply("a", whole)
        ApplyHarness(kind).create("a", whole).apply("b", config, force=force).apply("b", config)
    except StatusError as error:
        assert error.code in (400, 409)
