"""Keys: order, prefixes and round trips, for any name that fits into 255 octets."""

from bisect import bisect_left

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from svcdns.wire.key import (
    MAX_NAME_OCTETS,
    BadName,
    above,
    key_of,
    key_of_labels,
    key_of_wire,
    labels_of_key,
    parent_keys,
    text_of_key,
    wire_of,
    wire_of_key,
)

LMDB_KEY_OCTETS = 511
GENERATION_OCTETS = 4
AWKWARD = st.sampled_from([0, 1, 2, ord("a"), ord("A"), ord("."), 255])
LABELS = st.one_of(st.lists(AWKWARD, min_size=1, max_size=6).map(bytes), st.binary(min_size=1, max_size=63))


def _octets(labels: list[bytes]) -> int:
    return sum(1 + len(label) for label in labels) + 1


NAMES = st.lists(LABELS, max_size=12).filter(lambda labels: _octets(labels) <= MAX_NAME_OCTETS)


def _wire(labels: list[bytes]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _is_at_or_below(labels: list[bytes], ancestor: list[bytes]) -> bool:
    lowered = [label.lower() for label in labels]
    return not ancestor or lowered[-len(ancestor) :] == [label.lower() for label in ancestor]


def test_the_documented_example() -> None:
    assert key_of("web.default.svc.Cluster.LOCAL.") == b"local\0cluster\0svc\0default\0web\0"
    assert key_of("") == key_of(".") == b""
    assert text_of_key(b"") == "."


@given(NAMES)
def test_labels_and_wire_come_back_in_lower_case(labels: list[bytes]) -> None:
    key = key_of_labels(labels)
    assert key == key_of_wire(_wire(labels))
    lowered = [label.lower() for label in labels]
    assert labels_of_key(key) == lowered
    assert wire_of_key(key) == _wire(lowered)
    assert key_of_labels(labels_of_key(key)) == key


@given(NAMES)
def test_a_key_with_the_prefix_of_a_generation_fits_into_lmdb(labels: list[bytes]) -> None:
    assert len(key_of_labels(labels)) + GENERATION_OCTETS <= LMDB_KEY_OCTETS


@pytest.mark.parametrize("octet", [0, 1])
def test_the_longest_name_gives_a_key_of_504_octets(octet: int) -> None:
    label = bytes((octet,)) * 63
    longest = [label, label, label, label[:61]]
    assert _octets(longest) == MAX_NAME_OCTETS
    assert len(key_of_labels(longest)) == 504


@given(NAMES, NAMES)
def test_a_key_is_a_prefix_exactly_of_the_name_and_its_descendants(
    one: list[bytes], other: list[bytes]
) -> None:
    for labels, ancestor in ((one, other), ([*one, *other], other), ([*one, *other], one)):
        assume(_octets(labels) <= MAX_NAME_OCTETS)
        is_prefix = key_of_labels(labels).startswith(key_of_labels(ancestor))
        assert is_prefix == _is_at_or_below(labels, ancestor)


@given(st.lists(NAMES, max_size=30), NAMES)
def test_one_look_tells_whether_a_name_exists_is_empty_or_is_not_there(
    zone: list[list[bytes]], asked: list[bytes]
) -> None:
    for name in [asked, *(name[1:] for name in zone)]:
        stored = sorted(key_of_labels(labels) for labels in zone)
        key = key_of_labels(name)
        at = bisect_left(stored, key)
        found = stored[at] if at < len(stored) else None
        exists_or_empty = found is not None and found.startswith(key)
        assert exists_or_empty == any(_is_at_or_below(labels, name) for labels in zone)


@given(NAMES)
def test_parents_are_the_names_without_their_first_labels(labels: list[bytes]) -> None:
    expected = [key_of_labels(labels[at:]) for at in range(len(labels))]
    assert parent_keys(key_of_labels(labels)) == expected


@given(NAMES)
def test_the_name_above_is_the_one_without_the_first_label(labels: list[bytes]) -> None:
    assert above(key_of_labels(labels)) == key_of_labels(labels[1:]), "and above the root is the root"


@given(st.text(max_size=80))
def test_text_gives_a_name_or_a_reason(text: str) -> None:
    try:
        wire = wire_of(text)
    except BadName as bad:
        assert str(bad)
        return
    assert len(wire) <= MAX_NAME_OCTETS
    assert key_of(text) == key_of_wire(wire)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a..b", "empty label"),
        ("..", "empty label"),
        ("x" * 64, "longer than 63 octets"),
        ("é" * 32, "longer than 63 octets"),
        (".".join(["x" * 60] * 5), "longer than 255 octets"),
    ],
)
def test_names_that_are_none_are_refused(text: str, reason: str) -> None:
    with pytest.raises(BadName, match=reason):
        wire_of(text)


def test_text_for_people_escapes_what_is_not_plain() -> None:
    assert text_of_key(key_of_labels([b"a.b", b"\0\x01 \xff", b"C;"])) == r"a\.b.\000\001\032\255.c\;."
