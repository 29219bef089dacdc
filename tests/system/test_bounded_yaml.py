"""YAML with bounds of our own: the same with any PyYAML, whatever it bounds or merges itself."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from svcdns.system.bounded_yaml import MOST_REFUSED, Refused, Rules, TooDeep, documents, documents_apart

BODY = Rules(depth=200)
MANIFEST = Rules(depth=100, aliases=1000, keys=100, values=100_000, strict=True)


def read(text: str, rules: Rules = MANIFEST) -> Any:
    (found,) = documents(text, rules)
    return found


@pytest.mark.parametrize("pair", ["[]", "{}"])
@pytest.mark.parametrize("before", ["", "é: ", "- é\n- ", "a: [1]\nb: "])
def test_depth_is_bounded_though_the_parser_reads_ahead(pair: str, before: str) -> None:
    for deep in (201, 999, 1001, 100_000):
        with pytest.raises(TooDeep):
            read(before + pair[0] * deep, BODY)
    level = "[" if pair == "[]" else "{x: "
    inside = 200 - bool(before)
    assert read(before + level * inside + pair[1] * inside, BODY) is not None
    with pytest.raises(TooDeep):
        read(before + level * (inside + 1) + pair[1] * (inside + 1), BODY)


def test_brackets_that_are_text_are_no_depth() -> None:
    text = "[" * 300
    assert read(f"['{text}', \"{text}\"]", BODY) == [text, text]
    with pytest.raises(Refused) as refused:
        read(f"['{text}', \"{text}\", %]", BODY)
    assert not isinstance(refused.value, TooDeep)
    assert (refused.value.document, refused.value.line) == (1, 1)


@pytest.mark.parametrize("rules", [BODY, MANIFEST])
def test_what_comes_later_wins_and_of_a_list_what_is_merged_first(rules: Rules) -> None:
    text = "{<<: [{name: one, port: 1, tier: a}, {name: two, port: 2, zone: b}], name: own}"
    assert read(text, rules) == {"name": "own", "port": 1, "tier": "a", "zone": "b"}
    assert read("{name: own, <<: {name: one, port: 1}}", rules) == {"name": "one", "port": 1}  # as go-yaml


def test_merges_of_merges_are_shared_and_counted_as_often_as_they_are_merged() -> None:
    start = "- &a {k: 1, l: 2}\n- &b {<<: *a, m: 3}\n"
    assert read(start + "- {<<: [*b, *a], o: 4}\n")[2] == {"k": 1, "l": 2, "m": 3, "o": 4}
    assert read(start + "- {<<: [" + "*b, " * 33 + "]}\n")[2] == {"k": 1, "l": 2, "m": 3}
    with pytest.raises(Refused, match="a mapping has more than 100 keys"):
        read(start + "- {<<: [" + "*b, " * 34 + "]}\n")


@pytest.mark.parametrize(
    "text", ["&a {<<: *a}", "&a {b: {<<: *a}}", "&a [{<<: *a}]", "{<<: x}", "{<<: [[a]]}", "{<<: }"]
)
def test_what_is_no_mapping_or_not_complete_is_not_merged(text: str) -> None:
    with pytest.raises(Refused):
        read(text)


def test_aliases_share_what_they_name() -> None:
    found = read("- &a [x]\n- *a\n")
    assert found == [["x"], ["x"]] and found[0] is found[1]


def test_each_rule() -> None:
    for text in (
        "- &a 1\n- *a\n",
        "a: !!set {b}\n",
        "? [a]\n: b\n",
        "~: a\n",
        "a: !!int x\n",
        "a: !!map b\n",
    ):
        with pytest.raises(Refused):
            read(text, BODY)
    assert read("{a: 1, a: 2, 1: x, true: w, 1.5: z, b: !!binary aGk=, =: =}", BODY) == (
        {"a": 2, "1": "x", "true": "w", "1.5": "z", "b": "hi", "=": "="}
    )
    assert read("{1: x, b: !!binary aGk=}") == {"1": "x", "b": "hi"}
    assert list(documents("a\n---\n# nothing\n---\nb: 2026-01-01\n", BODY)) == [
        "a",
        None,
        {"b": "2026-01-01"},
    ]
    assert list(documents("", BODY)) == []


@given(st.text(st.sampled_from("ab:-[]{}&*<!|>'\"#%@? \n\t,0.~é\x00"), max_size=60))
def test_any_text_gives_documents_or_is_refused(text: str) -> None:
    for rules in (BODY, MANIFEST):
        try:
            list(documents(text, rules))
        except Refused as refused:
            assert refused.document >= 1 and str(refused)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_json, st.booleans())
def test_what_was_written_is_read_again(value: Any, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, default_style='"')  # each with its tag
    for rules in (BODY, MANIFEST):
        assert list(documents(text, Rules(rules.depth, 1000, strict=rules.strict))) == [value]


def test_what_is_merged_is_bounded_in_all() -> None:
    rules = Rules(depth=10, aliases=1000, values=1000)
    text = "- &a {" + ", ".join(f"k{number}: 1" for number in range(100)) + "}\n"
    assert len(read(text + "- {<<: *a}\n" * 10, rules)) == 11
    with pytest.raises(Refused, match="more than 1000 merged keys"):
        read(text + "- {<<: *a}\n" * 11, rules)


def apart(text: str) -> list[Any]:
    """Each document: its value, or where it is refused (document, line)."""
    found = documents_apart(text, MANIFEST)
    return [(one.document, one.line) if isinstance(one, Refused) else one for one in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n---\nb: [\n---\nc: 1\n", [{"a": 1}, (2, 4), {"c": 1}]),
        ("a: 1\r\n---\r\nb: [\r\n---\r\nc: 1\r\n", [{"a": 1}, (2, 4), {"c": 1}]),
        ("# only\n---\n'\n--- # two\nc: 1", [(1, 4), {"c": 1}]),
        ("---\n---\na: 'x\n---\nb: |\n  ---\n ---x\n---y: 1\n", [None, (2, 4), (3, 7)]),
        ("a: &x 1\n---\nb: *x\n---\nc: *x\n---\nd: &x [*x]\n", [{"a": 1}, (2, 3), (3, 5), {"d": [[...]]}]),
        ("{\n...\n%YAML 1.1\n%TAG !x! tag:yaml.org,2002:\n---\na: !x!str 1\n", [(1, 2), {"a": "1"}]),
    ],
)
def test_what_is_wrong_with_a_document_ends_with_it(text: str, expected: list[Any]) -> None:
    found = apart(text)
    if {"d": [[...]]} in expected:
        assert (found[:3], found[3]["d"][0] is found[3]["d"]) == (expected[:3], True)
    else:
        assert found == expected


def test_a_text_of_mistakes_is_not_read_to_its_end() -> None:
    assert len(apart("[\n---\n" * 1000)) == MOST_REFUSED + 1


@given(
    st.lists(
        st.sampled_from(["a: 1\n", "[\n", "'\n", "b: {c: [d]}\n", "\t- x\n", "# c\n", "*e\n"]),
        min_size=1,
        max_size=8,
    )
)
def test_good_documents_are_read_whatever_lies_between(parts: list[str]) -> None:
    good = {"a: 1\n": {"a": 1}, "b: {c: [d]}\n": {"b": {"c": ["d"]}}, "# c\n": None}
    found = [*documents_apart("".join(f"---\n{part}" for part in parts), MANIFEST)]
    assert [good[part] for part in parts if part in good] == [
        one for one in found if not isinstance(one, Refused)
    ]
    assert [one.document for one in found if isinstance(one, Refused)] == [
        number for number, part in enumerate(parts, 1) if part not in good
    ]
