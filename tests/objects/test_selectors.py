"""Label and field selectors: what they select, and what is wrong with a wrong one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects.samples import POD, SERVICE, changed

from svcdns.objects import kinds
from svcdns.objects.errors import StatusError
from svcdns.objects.selectors import FieldSelector, LabelRequirement, LabelSelector, matches_map

LABELS = {"app": "web", "tier": "front", "rank": "7", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("  ", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app=api", False),
        ("none=web", False),
        ("app!=api", True),
        ("none!=web", True),
        ("app!=web", False),
        ("app in (web,api)", True),
        ("app in(api)", False),
        ("none in (web)", False),
        ("app notin (api, db)", True),
        ("none notin (x)", True),
        ("app notin (web)", False),
        ("app", True),
        ("none", False),
        ("!none", True),
        ("! app", False),
        ("empty=", True),
        ("empty in (,a)", True),
        ("app=", False),
        ("rank>6", True),
        ("rank > 7", False),
        ("rank<8", True),
        ("app>1", False),
        ("app=web,tier in (front),!none,rank notin (1)", True),
        ("app=web,tier=back", False),
        ("in=x", False),
        ("notin", False),
        ("example.com/key!=x", True),
    ],
)
def test_label_selectors(text: str, expected: bool) -> None:
    assert LabelSelector.parse(text).matches(LABELS) is expected


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (",", 1),
        ("a,", 3),
        ("a,,b", 3),
        ("=b", 1),
        ("a=b c", 5),
        ("a in", 5),
        ("a in x", 6),
        ("a in (x", 8),
        ("a in (x,y", 10),
        ("a b", 3),
        ("a==!", 4),
        ("!a=b", 3),
        ("a/b/c=d", 1),
        ("a=b/c", 3),
        ("a>x", 3),
        ("a=" + "x" * 64, 3),
        ("(a)", 1),
    ],
)
def test_wrong_label_selectors(text: str, position: int) -> None:
    with pytest.raises(StatusError) as caught:
        LabelSelector.parse(text)
    assert caught.value.code == 400
    assert f"at character {position}:" in caught.value.message


def test_a_huge_selector_is_refused() -> None:
    with pytest.raises(StatusError):
        LabelSelector.parse("a," * 100_000)
    with pytest.raises(StatusError):
        FieldSelector.parse("metadata.name=a," * 100_000, kinds.POD)


keys = st.from_regex(r"([a-z]{1,5}\.[a-z]{1,3}/)?[a-z]([-a-z0-9_.]{0,5}[a-z0-9])?", fullmatch=True)
values = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,5}[A-Za-z0-9])?)?", fullmatch=True)
some_values = st.lists(values, min_size=1, max_size=4, unique=True).map(lambda listed: tuple(sorted(listed)))
requirements = st.one_of(
    st.builds(LabelRequirement, keys, st.sampled_from(["exists", "!"])),
    st.builds(LabelRequirement, keys, st.sampled_from(["=", "!="]), values.map(lambda value: (value,))),
    st.builds(LabelRequirement, keys, st.sampled_from(["in", "notin"]), some_values),
    st.builds(LabelRequirement, keys, st.sampled_from("<>"), st.integers(-99, 99).map(lambda n: (str(n),))),
)


@given(st.lists(requirements, max_size=4).map(lambda listed: LabelSelector(tuple(listed))))
def test_label_selectors_round_trip(selector: LabelSelector) -> None:
    assert LabelSelector.parse(str(selector)) == selector


@given(st.text(alphabet="ab in(),!=<>nt\\\n" + "é", max_size=24))
def test_any_text_gives_a_selector_or_a_status(text: str) -> None:
    for parse in (LabelSelector.parse, lambda given: FieldSelector.parse(given, kinds.POD)):
        try:
            selector = parse(text)
        except StatusError as error:
            assert error.code == 400
        else:
            assert parse(str(selector)) == selector


@given(keys, values, st.dictionaries(keys, values, max_size=3))
def test_not_equal_is_the_opposite_of_equal(key: str, value: str, labels: dict[str, str]) -> None:
    equal, unequal = LabelSelector.parse(f"{key}={value}"), LabelSelector.parse(f"{key}!={value}")
    assert equal.matches(labels) is not unequal.matches(labels)


def test_service_selector() -> None:
    assert matches_map({"app": "web"}, LABELS)
    assert matches_map({}, LABELS)
    assert not matches_map({"app": "web", "x": "y"}, LABELS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("metadata.name=web-0", True),
        ("metadata.name==web-0,metadata.namespace=shop", True),
        ("metadata.namespace!=shop", False),
        ("status.podIP=10.1.0.1", True),
        ("spec.nodeName=", True),
        ("spec.nodeName!=", False),
        ("status.phase!=Failed,status.phase!=Succeeded", True),
        ("spec.hostNetwork=true", False),
    ],
)
def test_field_selectors_of_pods(text: str, expected: bool) -> None:
    assert FieldSelector.parse(text, kinds.POD).matches(POD) is expected


def test_field_selectors_of_services() -> None:
    obj = changed(SERVICE, "spec.type", "NodePort")
    assert FieldSelector.parse("spec.type=NodePort,spec.clusterIP=", kinds.SERVICE).matches(obj)


def test_unsupported_field_tells_the_supported_ones() -> None:
    with pytest.raises(StatusError) as caught:
        FieldSelector.parse("metadata.name=a,spec.ports=x", kinds.SERVICE)
    assert caught.value.code == 400
    assert caught.value.message.endswith(
        'at character 17: field label not supported: "spec.ports"; services can be selected by '
        "metadata.name, metadata.namespace, spec.clusterIP, spec.type"
    )


@pytest.mark.parametrize("text", ["metadata.name", "metadata.name=a=b", "metadata.name=a\\b", "=x", "!"])
def test_wrong_field_selectors(text: str) -> None:
    with pytest.raises(StatusError):
        FieldSelector.parse(text, kinds.POD)


@given(st.text(max_size=12))
def test_field_selectors_escape_their_values(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
    selector = FieldSelector.parse(f"metadata.name={escaped},status.phase!=x", kinds.POD)
    assert selector.exact("metadata.name") == value
    assert selector.exact("status.phase") is None
    assert FieldSelector.parse(str(selector), kinds.POD) == selector
