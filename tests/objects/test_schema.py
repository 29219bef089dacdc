"""Structure: unknown fields, wrong types, nulls, and the wrong kind, as a client sees them."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from objects.samples import ANY_JSON, NAMESPACE, POD, SERVICE, SLICE, changed, spoilt

from svcdns.objects import kinds
from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import Kind
from svcdns.objects.schema import missing, structure
from svcdns.objects.validation import validate

CANT = 'Service in version "v1" cannot be handled as a Service: '
EACH = [
    (kinds.SERVICE, SERVICE),
    (kinds.POD, POD),
    (kinds.ENDPOINTSLICE, SLICE),
    (kinds.NAMESPACE, NAMESPACE),
]
each_kind = pytest.mark.parametrize(("kind", "obj"), EACH, ids=lambda value: getattr(value, "name", ""))


def refused(kind: Kind, body: Any, field_validation: str = "Warn") -> str:
    with pytest.raises(StatusError) as caught:
        structure(kind, body, field_validation)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    return caught.value.message


@each_kind
def test_a_right_object_passes_as_it_is(kind: Kind, obj: dict[str, Any]) -> None:
    assert structure(kind, obj, "Strict") == (obj, ())


def test_unknown_fields_are_dropped_with_a_warning() -> None:
    body = changed(changed(SERVICE, "spec.portz", [1]), "spec.ports.1.prot", {"deep": None})
    assert structure(kinds.SERVICE, body) == (
        SERVICE,
        ('unknown field "spec.ports[1].prot"', 'unknown field "spec.portz"'),
    )
    assert structure(kinds.SERVICE, body, "Ignore") == (SERVICE, ())


def test_strict_refuses_all_unknown_fields_at_once() -> None:
    body = changed(changed(SERVICE, "spec.x", 1), "y", None)
    assert refused(kinds.SERVICE, body, "Strict") == (
        CANT + 'strict decoding error: unknown field "spec.x", unknown field "y"'
    )


def test_wrong_types_name_every_field() -> None:
    body = changed(SERVICE, "spec.ports.0.port", "x")
    body = changed(body, "spec.ports.1.targetPort", [])
    body = changed(body, "metadata.annotations", {"a.example/b": 3})
    body = changed(body, "metadata.creationTimestamp", "yesterday")
    message = refused(kinds.SERVICE, body)
    assert message.startswith(CANT)
    assert set(message.removeprefix(CANT).split(", ")) == {
        'spec.ports[0].port: "x" is not of type "integer"',
        'spec.ports[1].targetPort: [] is not of type "string" or "integer"',
        'metadata.annotations[a.example/b]: 3 is not of type "string"',
        'metadata.creationTimestamp: "yesterday" is not a date and time as 2006-01-02T15:04:05Z',
    }


@pytest.mark.parametrize("value", [80.0, 2**31, -(2**40), True, 1e999])
def test_a_port_is_an_integer_of_32_bits(value: Any) -> None:
    assert "spec.ports[0].port: " in refused(kinds.SERVICE, changed(SERVICE, "spec.ports.0.port", value))


@pytest.mark.parametrize("value", [8080, "http"])
def test_int_or_string_takes_both(value: Any) -> None:
    body = changed(SERVICE, "spec.ports.0.targetPort", value)
    assert structure(kinds.SERVICE, body) == (body, ())


def test_null_is_absent() -> None:
    body = changed(changed(SERVICE, "spec.clusterIP", None), "metadata.creationTimestamp", None)
    body = changed(body, "spec.ports.0.nodePort", None)
    assert structure(kinds.SERVICE, body, "Strict") == (SERVICE, ())
    assert structure(kinds.SERVICE, changed(SERVICE, "spec", None))[0] == changed(SERVICE, "spec", ...)


def test_null_label_is_the_empty_string_as_in_kubernetes() -> None:
    cleaned, _ = structure(kinds.SERVICE, changed(SERVICE, "metadata.labels", {"a": None}))
    assert cleaned["metadata"]["labels"] == {"a": ""}


def test_null_in_a_list_is_refused() -> None:
    assert "spec.ports[0]: null is not" in refused(kinds.SERVICE, changed(SERVICE, "spec.ports", [None]))


def test_managed_fields_are_dropped() -> None:
    body = changed(SERVICE, "metadata.managedFields", [{"fieldsV1": {"f:x": {"deep": 2**99}}}])
    assert structure(kinds.SERVICE, body, "Strict") == (SERVICE, ())


@pytest.mark.parametrize("body", [None, [], "x", 3, True])
def test_a_body_is_an_object(body: Any) -> None:
    assert refused(kinds.SERVICE, body).startswith("the body must be a JSON object of kind Service")


def test_wrong_kind() -> None:
    assert refused(kinds.SERVICE, POD) == (
        'the kind in the data ("Pod") does not match the expected kind ("Service")'
    )
    assert refused(kinds.ENDPOINTSLICE, changed(SLICE, "apiVersion", "v1")) == (
        'the apiVersion in the data ("v1") does not match the expected apiVersion ("discovery.k8s.io/v1")'
    )


def test_missing_kind_is_refused_or_filled_in() -> None:
    body = changed(changed(SERVICE, "kind", ...), "apiVersion", "")
    assert refused(kinds.SERVICE, body) == (
        'kind is missing: expected "Service"; apiVersion is missing: expected "v1"'
    )
    assert structure(kinds.SERVICE, body, fill_kind=True) == (SERVICE, ())
    with pytest.raises(StatusError):
        structure(kinds.SERVICE, POD, fill_kind=True)


def test_unknown_field_validation_is_refused() -> None:
    assert "Ignore, Strict, Warn" in refused(kinds.SERVICE, SERVICE, "Sometimes")


def test_a_pod_needs_no_containers() -> None:
    body = changed(POD, "spec.containers", ...)
    assert structure(kinds.POD, body, "Strict") == (body, ())
    assert list(missing(kinds.POD, body)) == []


def test_missing_required_fields_are_causes() -> None:
    body = changed(SERVICE, "spec.ports.1.port", ...)
    assert structure(kinds.SERVICE, body, "Strict") == (body, ())
    assert [(cause.reason, cause.field) for cause in missing(kinds.SERVICE, body)] == [
        ("FieldValueRequired", "spec.ports[1].port")
    ]


def test_huge_bodies_give_short_answers() -> None:
    wrong = changed(SERVICE, "spec.ports", ["x" * 1000] * 5000)
    assert len(refused(kinds.SERVICE, wrong)) < 10_000
    many = {**SERVICE, **{f"x{i}": 1 for i in range(50_000)}}
    assert len(structure(kinds.SERVICE, many)[1]) == 100


def test_deep_nesting_is_refused_not_followed() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    refused(kinds.SERVICE, changed(SERVICE, "metadata.labels", {"a": 1}) | {"spec": {"ports": deep}})
    assert structure(kinds.SERVICE, {**SERVICE, "x": deep})[1] == ('unknown field "x"',)


def test_lone_surrogates_are_refused() -> None:
    refused(kinds.SERVICE, changed(SERVICE, "metadata.annotations", {"a": "\ud800"})).encode()
    refused(kinds.SERVICE, {**SERVICE, "\ud800": 1, "spec": 3}).encode()


@each_kind
def test_the_body_is_not_changed(kind: Kind, obj: dict[str, Any]) -> None:
    body = changed(changed(obj, "x", 1), "metadata.uid", None)
    before = copy.deepcopy(body)
    structure(kind, body)
    assert body == before


@given(ANY_JSON)
def test_any_json_gives_an_object_or_a_status(body: Any) -> None:
    for kind, _ in EACH:
        with pytest.raises(StatusError):
            structure(kind, body)


@each_kind
def test_whatever_passes_structure_can_be_judged_and_stored(kind: Kind, obj: dict[str, Any]) -> None:
    """No spoilt object raises anything but StatusError on its way to the store."""

    @given(spoilt(obj))
    def judged(body: dict[str, Any]) -> None:
        before = copy.deepcopy(body)
        try:
            cleaned, _ = structure(kind, body, fill_kind=True)
        except StatusError as error:
            msgspec.json.encode(error.as_json())
            return
        whole = default(kind, cleaned, obj)
        assert default(kind, whole) == whole
        for cause in validate(kind, whole, obj):
            msgspec.json.encode(cause.as_json())
        assert structure(kind, whole, "Strict") == (whole, ())
        msgspec.json.encode(whole)
        assert repr(body) == repr(before)

    judged()
