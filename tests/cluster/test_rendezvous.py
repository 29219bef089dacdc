"""Which node answers for an address: all agree, and a change of nodes moves no more than it has to."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from svcdns.cluster.rendezvous import owner

ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
NODES = st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=1, max_size=8, unique=True)


@given(ADDRESSES, NODES, st.randoms())
def test_one_of_the_nodes_has_it_in_whatever_order_they_are_known(address, nodes, random) -> None:  # type: ignore[no-untyped-def]
    chosen = owner(address, nodes)
    random.shuffle(nodes)
    assert chosen in nodes and owner(address, nodes) == chosen


@given(ADDRESSES, NODES)
def test_a_node_that_leaves_moves_only_its_own_addresses(address: bytes, nodes: list[str]) -> None:
    leaves, *stay = nodes
    before = owner(address, nodes)
    assert before == leaves or owner(address, stay) == before


def test_nobody_has_it_where_nobody_may() -> None:
    assert owner(bytes(4), []) == ""


def test_addresses_are_spread_over_nodes() -> None:
    shares = Counter(owner(number.to_bytes(4), ["a", "b", "c"]) for number in range(3000))
    assert all(850 < share < 1150 for share in shares.values())
