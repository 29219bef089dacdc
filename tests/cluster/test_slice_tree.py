"""Which slice an endpoint stands in: a tree that follows from the endpoints, and moves few of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcdns.cluster import slice_tree

UIDS = st.sets(st.integers(0, 10_000), max_size=700).map(lambda numbers: [f"pod-{n}" for n in numbers])


def hashes(uids: list[str]) -> dict[str, str]:
    return {uid: slice_tree.hash_of(uid) for uid in uids}


@given(UIDS)
def test_each_endpoint_stands_in_one_leaf_that_is_not_too_large(uids: list[str]) -> None:
    found = slice_tree.leaves("", hashes(uids))
    assert sorted(uid for leaf in found.values() for uid in leaf) == sorted(uids)
    assert all(0 < len(leaf) <= 100 for leaf in found.values())
    for path, leaf in found.items():
        assert all(slice_tree.leaf_for(found, slice_tree.hash_of(uid)) == path for uid in leaf)
        if path:  # or it would not have been halved
            above, below = slice_tree.united(found, path)
            assert sum(len(found[other]) for other in below) > 100, above


@given(UIDS, st.integers(10_001, 20_000))
def test_one_more_moves_nobody_or_halves_one_leaf(uids: list[str], number: int) -> None:
    before = slice_tree.leaves("", hashes(uids))
    after = slice_tree.leaves("", hashes([*uids, f"pod-{number}"]))
    path = slice_tree.leaf_for(before, slice_tree.hash_of(f"pod-{number}"))
    assert {p: leaf for p, leaf in before.items() if p != path} == {
        p: leaf for p, leaf in after.items() if not p.startswith(path)
    }


@given(UIDS)
def test_no_two_slices_have_one_name(uids: list[str]) -> None:
    found = slice_tree.leaves("", hashes(uids))
    assert len({slice_tree.kept_name(path) for path in found}) == len(found)


def test_hashes_stay_what_they_are() -> None:
    """Slices that are stored were made with them."""
    assert hex(int(slice_tree.hash_of("3f3c1d56-7f0e-4b43-9bb5-0a4ad2f6b0aa"), 2)) == "0xecc6c1ff4bba0a16"


def test_endpoints_of_one_hash_are_not_halved_for_ever() -> None:
    same = dict.fromkeys(range(101), "01" * 32)
    assert slice_tree.leaves("", same) == {"01" * 32: list(range(101))}
