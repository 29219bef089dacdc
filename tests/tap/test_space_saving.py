"""Space-Saving: what comes often is found, and no count is more wrong than is said."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from svcdns.tap.space_saving import SpaceSaving, together

NAMES = st.lists(st.sampled_from("abcdefghijklmnop"), max_size=300)
CAPACITY = 5


def counted(names: list[str], capacity: int = CAPACITY) -> SpaceSaving:
    made = SpaceSaving(capacity)
    for name in names:
        made.add(name)
    return made


@given(NAMES)
def test_counts_are_at_most_as_wrong_as_is_said(names: list[str]) -> None:
    real = Counter(names)
    found = counted(names).top(CAPACITY)
    assert all(one.times - one.error <= real[one.name] <= one.times for one in found)
    assert [one.times for one in found] == sorted((one.times for one in found), reverse=True)


@given(NAMES)
def test_whatever_comes_often_enough_is_found(names: list[str]) -> None:
    often = {name for name, count in Counter(names).items() if count > len(names) / CAPACITY}
    assert often <= {one.name for one in counted(names).top(CAPACITY)}


@given(NAMES)
def test_where_all_have_room_counts_are_exact(names: list[str]) -> None:
    assert {one.name: one.times for one in counted(names, 20).top(20)} == dict(Counter(names))
    halves = together([counted(names[::2], 20), counted(names[1::2], 20)], 20)
    assert {one.name: one.times for one in halves.top(20)} == dict(Counter(names))


@given(NAMES)
def test_what_is_counted_beside_goes_with_its_name(names: list[str]) -> None:
    real = Counter(names)
    found = SpaceSaving(CAPACITY)
    for name in names:
        found.add(name, 1, 0, 1, 0.5)
    for one in found.top(CAPACITY):
        assert one.failed == 2 * one.took <= real[one.name], "never what another one had"
        assert one.failed >= one.times - one.error
