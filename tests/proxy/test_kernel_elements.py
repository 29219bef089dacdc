"""What changes in the kernel's table when frontends change: exactly what has to, whatever came before."""

import sys
from collections import Counter
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant
from hypothesis.stateful import rule as step
from proxy.carried import ADDRESSES, NODE_OF_THE_LAB, frontend

from svcdns.cluster.traffic_plan import Destination, Endpoint, Host, Rule, WhenEmpty
from svcdns.proxy.kernel_elements import Contents, Key, Operations, Value
from svcdns.proxy.kernel_rules import LAYOUTS
from svcdns.proxy.kernel_slots import differences, reorder

endpoints = st.builds(
    Endpoint, st.integers(1, 6).map(lambda last: bytes((10, 244, 0, last))), st.sampled_from((80, 81))
)
sorted_endpoints = st.frozensets(endpoints).map(lambda found: tuple(sorted(found)))
destinations = st.builds(Destination, sorted_endpoints, st.sampled_from(WhenEmpty))
networks = st.sampled_from(("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/17", "192.0.2.1", "::/0"))
ranges = st.none() | st.lists(networks.map(ip_network), max_size=3).map(tuple)
seconds = st.sampled_from((0, 0, 60, 3600))
rules = st.builds(Rule, st.just("default/web"), destinations, destinations, seconds, ranges) | st.builds(
    lambda one, sticky, allowed: Rule("default/web", one, one, sticky, allowed), destinations, seconds, ranges
)
FRONTENDS = (
    frontend("10.96.0.1"),
    frontend("10.96.0.1", 81),
    frontend("10.96.0.1", 80, "udp"),
    frontend("10.96.0.2"),
    frontend("", 30080, family=4),
    frontend("", 30080, "udp", family=4),
)
some_networks = st.lists(networks.map(ip_network), max_size=3).map(tuple)
addresses = st.lists(st.integers(1, 3).map(lambda last: bytes((192, 168, 0, last))), unique=True).map(tuple)
hosts = st.builds(Host, addresses, some_networks, some_networks, some_networks)


class TableModel:
    """What a kernel would make of operations, and would refuse."""

    def __init__(self) -> None:
        """Begin with the sets and chains that are there always."""
        self.elements: dict[str, dict[Key, Value]] = {one.name: {} for one in LAYOUTS[4].sets()}
        self.chains = set(LAYOUTS[4].chains())

    def do(self, operations: Operations) -> None:
        """Do them; what the kernel would refuse fails the test."""
        for one in operations.sets:
            assert one.name not in self.elements
            self.elements[one.name] = {}
        self.chains |= operations.chains.keys()
        for name in operations.emptied:
            self.elements[name].clear()
        for name, keys in operations.removed.items():
            for key in keys:
                del self.elements[name][key]
        for name, pairs in operations.added.items():
            for key, value in pairs:
                assert key not in self.elements[name]
                self.elements[name][key] = value
        self.chains -= set(operations.gone_chains)
        for name in operations.gone_sets:
            del self.elements[name]

    def unordered(self) -> dict[str, object]:
        """Return all elements; slots without their numbers, which depend on what came before."""
        return {
            name: Counter((key[:-4], value) for key, value in found.items() if isinstance(key, bytes))
            if name.endswith("_slots")
            else found
            for name, found in self.elements.items()
        }

    def check(self) -> None:
        """What verdicts lead to exists, and slots have no gaps."""
        for name, found in self.elements.items():
            for value in found.values():
                if isinstance(value, str) and value.startswith("goto "):
                    assert value.removeprefix("goto ") in self.chains
            if name.endswith("_slots"):
                numbers: dict[bytes, list[int]] = {}
                for key in found:
                    assert isinstance(key, bytes)
                    numbers.setdefault(key[:-4], []).append(int.from_bytes(key[-4:], sys.byteorder))
                assert all(sorted(some) == list(range(len(some))) for some in numbers.values())


class Changes(RuleBasedStateMachine):
    """Frontends come, change and go; the table follows."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.contents = Contents(LAYOUTS[4])
        self.table = TableModel()
        self.wanted: dict[object, Rule] = {}
        self.host = Host()

    @step(changed=st.dictionaries(st.sampled_from(FRONTENDS), rules | st.none(), max_size=3))
    def change(self, changed: dict[object, Rule | None]) -> None:
        """Change some frontends."""
        plan = self.contents.plan(changed)  # type: ignore[arg-type]
        self.contents.plan(dict.fromkeys(FRONTENDS))  # a plan that is not carried out changes nothing
        self.table.do(plan.operations)
        self.contents.accept(plan)
        self.wanted |= {one: rule for one, rule in changed.items() if rule}
        for one, rule in changed.items():
            if rule is None:
                self.wanted.pop(one, None)

    @step(host=hosts)
    def change_host(self, host: Host) -> None:
        """Be another host."""
        plan = self.contents.plan({}, host)
        self.table.do(plan.operations)
        self.contents.accept(plan)
        self.host = host

    @invariant()
    def is_as_if_it_began_with_this(self) -> None:
        """What came before leaves no trace, but for the order of slots and chains that are kept."""
        fresh = TableModel()
        fresh.do(Contents(LAYOUTS[4]).plan(self.wanted, self.host).operations)  # type: ignore[arg-type]
        assert self.table.unordered() == fresh.unordered()
        assert fresh.chains <= self.table.chains
        assert {name: size for name, size in self.contents.sizes.items() if size} == {
            name: len(found) for name, found in self.table.elements.items() if found
        }
        self.table.check()

    @invariant()
    def nothing_is_done_for_no_change(self) -> None:
        """The same again is no work for the kernel."""
        same = self.contents.plan(self.wanted, self.host).operations  # type: ignore[arg-type]
        assert same == Operations()


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=25, stateful_step_count=15)


@given(sorted_endpoints, sorted_endpoints)
def test_differences_are_what_left_and_what_came(
    old: tuple[Endpoint, ...], new: tuple[Endpoint, ...]
) -> None:
    left, came = differences(old, new)
    assert set(left) == set(old) - set(new)
    assert set(came) == set(new) - set(old)
    assert len(left) == len(set(left))
    assert len(came) == len(set(came))


@given(st.permutations([Endpoint(bytes((10, 0, 0, last)), 80) for last in range(20)]), st.data())
def test_slots_move_as_little_as_they_can(slots: list[Endpoint], data: st.DataObject) -> None:
    left = data.draw(st.lists(st.sampled_from(slots), unique=True))
    came = [Endpoint(bytes((10, 0, 1, last)), 80) for last in range(data.draw(st.integers(0, 12)))]
    after, changed = reorder(tuple(slots), left, came)
    assert sorted(after) == sorted(set(slots) - set(left) | set(came))
    moved: list[Endpoint | None] = list(slots) + [None] * max(len(after) - len(slots), 0)
    for slot, endpoint in changed.items():
        moved[slot] = endpoint
    assert [one for one in moved if one] == list(after)
    assert len(changed) <= 2 * len(left) + len(came)


@pytest.mark.parametrize("sticky", [0, 3600])
@pytest.mark.parametrize("count", [10, 5000])
def test_a_flip_is_a_handful_of_elements_however_many_endpoints_there_are(count: int, sticky: int) -> None:
    one = frontend(ADDRESSES[4]["cluster"])
    everyone = tuple(Endpoint(number.to_bytes(4), 80) for number in range(count))
    contents = Contents(LAYOUTS[4])

    def elements(found: tuple[Endpoint, ...]) -> int:
        both = Destination(found)
        plan = contents.plan({one: Rule("default/web", both, both, sticky)})
        contents.accept(plan)
        operations = plan.operations
        changes = (*operations.removed.values(), *operations.added.values())
        return sum(len(some) for some in changes) + len(operations.chains)

    assert elements(everyone) > 2 * count
    middle = count // 2
    assert elements(everyone[:middle] + everyone[middle + 1 :]) <= 9
    assert elements(everyone) <= 9


def test_a_family_has_only_what_is_its_own_of_the_host() -> None:
    operations = Contents(LAYOUTS[6]).plan({}, NODE_OF_THE_LAB).operations
    assert operations.added.keys() == {"local_networks", "ranges", "same_networks", "node_addresses"}
    assert operations.added["node_addresses"] == [(ip_address("fd77::1").packed, b"")]
