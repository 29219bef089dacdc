"""YAML with bounds of our own: the same with any PyYAML, whatever it bounds or merges itself."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from svcdns.system.bounded_yaml import Refused, Rules, TooDeep, documents

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
