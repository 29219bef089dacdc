"""Watches bring revisions in pieces: what is handed on is whole."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from svcdns.etcd.messages import Change, KeyValue, whole_revisions


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4))), st.data())
def test_whatever_the_pieces_only_whole_revisions_are_handed_on(
    counts: list[tuple[int, int]], data: st.DataObject
) -> None:
    changes, revision = list[Change](), 0
    for gap, size in counts:
        revision += gap
        changes += [change(revision, n) for n in range(size)]
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(changes) - 1)))))
    pieces = [changes[a:b] for a, b in zip([0, *cuts], [*cuts, len(changes)], strict=True)]
    waiting, handed = list[Change](), list[list[Change]]()
    for number, piece in enumerate(pieces, 1):
        waiting += piece
        whole = whole_revisions(waiting, more_follows=number < len(pieces))
        handed.append(waiting[:whole])
        del waiting[:whole]
    assert [one for batch in handed for one in batch] == changes, "all of them, in order"
    for before, after in pairwise(handed):
        assert not {one.mod_revision for one in before} & {one.mod_revision for one in after}


def change(revision: int, number: int) -> Change:
    return Change("PUT", KeyValue(b"%d" % number, b"", 1, revision, 1, 0), revision)
