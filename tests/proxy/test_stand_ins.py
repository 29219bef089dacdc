"""Which address of the host stands in for an endpoint at a loopback address."""

from collections import Counter
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy.carried import frontend

from svcdns.cluster.traffic_plan import SCTP, TCP, Destination, Endpoint, Frontend, Host, Rule, WhenEmpty
from svcdns.proxy.stand_ins import PORTS, Loopback, StandIns, all_loopback, carried


def octets(text: str) -> bytes:
    return ip_address(text).packed


FIRST, SECOND, SIXTH = map(octets, ("10.88.0.1", "192.0.2.1", "2001:db8::1"))
HOST = Host(lasting_addresses=(FIRST, SECOND, SIXTH))
WEB = frontend("10.96.0.1")
LOOPBACK = [Loopback(TCP, Endpoint(bytes((127, 0, 0, last)), 8080)) for last in range(1, 200)]
some_loopback = st.sets(st.sampled_from(LOOPBACK), max_size=20)
addresses = st.sampled_from(
    [bytes((127, 0, 0, 1)), bytes((126, 255, 255, 255)), bytes((128, 0, 0, 0)), bytes((127, 255, 255, 255))]
)


def free(_: Frontend) -> bool:
    return True


def planned(stand_ins: StandIns, wanted: set[Loopback], host: Host = HOST) -> dict[Loopback, Frontend]:
    """Plan for one frontend that needs these, and have it done."""
    users = Counter(wanted)
    users.subtract({*stand_ins.points})
    chosen = stand_ins.plan(users, host)
    stand_ins.accept(users, chosen)
    return chosen


@given(st.lists(some_loopback, max_size=6))
def test_each_endpoint_has_one_of_its_own_that_stays_while_it_does(steps: list[set[Loopback]]) -> None:
    stand_ins = StandIns(free)
    before: dict[Loopback, Frontend] = {}
    for wanted in steps:
        now = planned(stand_ins, wanted)
        assert now.keys() == wanted and stand_ins.missing == 0
        assert len({*now.values()}) == len(now)
        assert all(point.address == FIRST and point.port in PORTS for point in now.values())
        assert all(now[one] == before[one] for one in now.keys() & before.keys())
        before = now


@given(some_loopback)
def test_after_a_restart_it_is_the_same(wanted: set[Loopback]) -> None:
    assert planned(StandIns(free), wanted) == planned(StandIns(free), wanted)


def test_a_port_that_another_program_has_is_left_alone() -> None:
    (one,) = LOOPBACK[:1]
    (first,) = planned(StandIns(free), {one}).values()
    (other,) = planned(StandIns(lambda point: point != first), {one}).values()
    assert other.port != first.port
    none_is_free = StandIns(lambda point: False)
    assert planned(none_is_free, {one}) == {} and none_is_free.missing == 1


def test_it_moves_only_when_its_address_goes() -> None:
    stand_ins = StandIns(free)
    first = planned(stand_ins, {LOOPBACK[0]})
    more = Host(lasting_addresses=(octets("10.0.0.1"), FIRST))
    assert planned(stand_ins, {LOOPBACK[0]}, more) == first
    (moved,) = planned(stand_ins, {LOOPBACK[0]}, Host(lasting_addresses=(SECOND,))).values()
    assert moved.address == SECOND
    assert planned(stand_ins, {LOOPBACK[0]}, Host()) == {}
    assert stand_ins.missing == 1
    assert planned(stand_ins, {LOOPBACK[0]}, HOST) == first


@pytest.mark.parametrize("family", [4, 6])
def test_a_family_has_addresses_of_its_own(family: int) -> None:
    one = Loopback(TCP, Endpoint(octets("127.0.0.1" if family == 4 else "::1"), 80))
    (point,) = planned(StandIns(free), {one}).values()
    assert (point.family, point.address) == (family, FIRST if family == 4 else SIXTH)


@given(st.sets(st.builds(Endpoint, addresses, st.integers(1, 3))))
def test_loopback_endpoints_are_found_among_others(found: set[Endpoint]) -> None:
    there = Destination(tuple(sorted(found)))
    rule = Rule("default/web", there, there)
    assert all_loopback(WEB, rule) == {Loopback(TCP, one) for one in found if one.address[0] == 127}
    assert not all_loopback(WEB._replace(protocol=SCTP), rule)


def test_the_host_is_led_to_the_endpoint_and_others_to_its_stand_in() -> None:
    here, there = LOOPBACK[0].endpoint, Endpoint(octets("10.244.0.5"), 8080)
    both, local = Destination(tuple(sorted((here, there)))), Destination((here,), WhenEmpty.DROP)
    rule = Rule("default/web", both, local, 60)
    points = {LOOPBACK[0]: Frontend(4, FIRST, TCP, 61_000)}
    stand_in = Endpoint(FIRST, 61_000)
    found = carried(WEB, rule, points)
    assert found.own == both
    assert found.inside.endpoints == tuple(sorted((stand_in, there)))
    assert found.outside == Destination((stand_in,), WhenEmpty.DROP)
    assert found.affinity_seconds == 60


def test_without_a_stand_in_others_are_led_elsewhere_where_there_is_an_elsewhere() -> None:
    here, there = LOOPBACK[0].endpoint, Endpoint(octets("10.244.0.5"), 8080)
    both, alone = Destination(tuple(sorted((here, there)))), Destination((here,))
    assert carried(WEB, Rule("default/web", both, both), {}).inside.endpoints == (there,)
    assert carried(WEB, Rule("default/web", alone, alone), {}).inside.endpoints == (here,)
