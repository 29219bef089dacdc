"""Addresses and ports: the next free one, never one in use, the just-freed one last."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from svcdns.cluster.allocation import address, dynamic_start, next_free, usable


def in_use(taken: set[int]):
    return lambda start: iter(sorted(n for n in taken if n >= start))


def test_network_and_broadcast_are_not_given_out() -> None:
    numbers = usable(ip_network("10.0.0.0/29"))
    assert [str(address(n, ip_network("10.0.0.0/29"))) for n in numbers] == [
        f"10.0.0.{i}" for i in range(1, 7)
    ]


def test_a_single_address_range_gives_its_address() -> None:
    assert list(usable(ip_network("10.0.0.7/32"))) == [int(ip_address("10.0.0.7"))]


def test_the_subnet_router_anycast_address_is_not_given_out() -> None:
    numbers = usable(ip_network("fd00::/126"))
    assert [n - int(ip_address("fd00::")) for n in numbers] == [1, 2, 3]


def test_the_first_part_of_a_large_range_is_left_for_those_who_ask() -> None:
    numbers = usable(ip_network("10.96.0.0/12"))
    first = next_free(numbers, None, in_use(set()))
    assert first == dynamic_start(numbers) == numbers.start + 256


def test_what_was_just_freed_is_not_handed_out_next() -> None:
    numbers = range(16)
    assert next_free(numbers, 5, in_use({0, 1, 2, 3, 4})) == 6


def test_a_full_range_gives_nothing() -> None:
    assert next_free(range(10), 3, in_use(set(range(10)))) is None


@given(st.sets(st.integers(100, 199)), st.one_of(st.none(), st.integers(90, 210)))
def test_the_answer_is_free_and_found_whenever_there_is_one(taken: set[int], cursor: int | None) -> None:
    numbers = range(100, 200)
    found = next_free(numbers, cursor, in_use(taken))
    if len(taken) == len(numbers):
        assert found is None
    else:
        assert found in numbers
        assert found not in taken
