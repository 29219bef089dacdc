"""Sharing addresses among nodes: whatever happens, never two answer for one; and in the end one does.

`Cluster` is an API and some nodes without a machine: each node's steps, renewals and what it has seen of the
Leases come in any order, with any delays; nodes die and come back.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from svcdns.cluster.traffic_objects import Lease, LeaseAnnotations, LeaseMetadata, LeaseSpec
from svcdns.proxy.handover import Handover, Said, Written
from svcdns.proxy.members import NAMESPACE, Members

ADDRESSES = [bytes((192, 168, 77, last)) for last in (200, 202, 208)]
LIFETIME, DURATION = 10.0, 15
NODES = ("a", "b", "c")


def lease(node: str, version: int, said: Said, holder: bool = True) -> Lease:
    texts = " ".join(".".join(map(str, one)) for one in said.claims)
    annotations = LeaseAnnotations("192.168.77.0/24", texts, "true" if said.lasting else "")
    metadata = LeaseMetadata(
        name=node, namespace=NAMESPACE, resource_version=str(version), annotations=annotations
    )
    return Lease(metadata, LeaseSpec(node if holder else None, DURATION))


@dataclass
class Node:
    """One proxy, and the kernel under it: that goes on when the proxy is dead."""

    name: str
    cluster: "Cluster"
    seen: int = 0
    """So many writings of the API it has seen."""
    alive: bool = True
    said: Said = field(default_factory=Said)
    able: frozenset[str] | None = None
    """The nodes that may announce, as this one knows it."""
    kernel: frozenset[bytes] = frozenset()
    until: float | None = 0.0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin with a list of all Leases."""
        self.members = Members(lambda: self.cluster.now)
        self.handover = Handover(self.name, self.members, LIFETIME)
        self.seen = 0
        self.see(len(self.cluster.log))
        self.handover.resume()
        self.alive = True

    def see(self, count: int) -> None:
        newest: dict[str, Lease] = {}
        for one in self.cluster.log[self.seen : self.seen + count]:
            newest[one.metadata.name] = one
        for one in newest.values():
            self.members.put(one)
        self.seen += min(count, len(self.cluster.log) - self.seen)

    def step(self) -> None:
        found = self.handover.step(self.cluster.now, dict.fromkeys(ADDRESSES, self.able))
        self.kernel, self.until, self.said = found.answered, found.until, found.said

    def renew(self, sent_at: float, heard: bool) -> None:
        """Write the Lease, as the last step said; `heard`: the API's answer arrives."""
        version = len(self.cluster.log) + 1
        self.cluster.log.append(lease(self.name, version, self.said))
        if heard:
            self.handover.written = Written(self.said, version, sent_at)

    def leave(self) -> None:
        """End in order."""
        if self.handover.written is not None and not self.handover.written.said.lasting:
            self.kernel = frozenset()
            self.cluster.log.append(lease(self.name, len(self.cluster.log) + 1, Said(), holder=False))
        self.alive = False

    def answers(self) -> frozenset[bytes]:
        """What its kernel answers for now."""
        ended = self.until is not None and self.cluster.now >= self.until
        return frozenset() if ended else self.kernel


@dataclass
class Cluster:
    """The API and its nodes."""

    now: float = 1000.0
    log: list[Lease] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)

    def run(self, seconds: float, cut_off: str = "") -> None:
        """Let all that live do what they do, without delays; one of them may not reach the API."""
        end = self.now + seconds
        while self.now < end:
            for one in self.nodes.values():
                if one.alive:
                    if one.name != cut_off:
                        one.see(len(self.log))
                    one.step()
                    if one.name != cut_off:
                        one.renew(self.now, True)
                        one.see(len(self.log))
                        one.step()
            self.check()
            self.now += 0.5

    def only(self, nodes: frozenset[str] | None) -> None:
        """Let these nodes announce, and all know it."""
        for one in self.nodes.values():
            one.able = nodes

    def check(self) -> None:
        for address in ADDRESSES:
            who = [one.name for one in self.nodes.values() if address in one.answers()]
            assert len(who) <= 1, who

    def announced(self) -> dict[bytes, str]:
        return {address: one.name for one in self.nodes.values() for address in one.answers()}


class AnyOrder(RuleBasedStateMachine):
    """Never two, in any order of what happens."""

    @initialize()
    def begin(self) -> None:
        self.cluster = started("a", "b")

    def _alive(self) -> list[Node]:
        return [one for one in self.cluster.nodes.values() if one.alive]

    @rule(name=st.sampled_from(NODES))
    def start(self, name: str) -> None:
        known = self.cluster.nodes.get(name)
        if known is None:
            self.cluster.nodes[name] = Node(name, self.cluster)
        elif not known.alive:
            known.start()

    @precondition(lambda self: self._alive())
    @rule(data=st.data(), ends_in_order=st.booleans())
    def end(self, data: st.DataObject, ends_in_order: bool) -> None:
        one = data.draw(st.sampled_from(self._alive()))
        if ends_in_order:
            one.leave()
        one.alive = False

    @precondition(lambda self: self._alive())
    @rule(data=st.data(), count=st.integers(1, 4))
    def see(self, data: st.DataObject, count: int) -> None:
        data.draw(st.sampled_from(self._alive())).see(count)

    @precondition(lambda self: self._alive())
    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self._alive())).step()

    @precondition(lambda self: self._alive())
    @rule(data=st.data(), takes=st.sampled_from((0.0, 0.1, 4.0)), heard=st.booleans())
    def step_and_renew(self, data: st.DataObject, takes: float, heard: bool) -> None:
        one = data.draw(st.sampled_from(self._alive()))
        one.step()
        sent_at = self.cluster.now
        self.cluster.now += takes
        one.renew(sent_at, heard)

    @precondition(lambda self: self._alive())
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """Do all at once, as a node does that is well."""
        one = data.draw(st.sampled_from(self._alive()))
        one.see(100)
        one.step()
        one.renew(self.cluster.now, True)
        one.see(100)
        one.step()

    @rule(seconds=st.sampled_from((0.1, 5.1, 10.0, 15.0)))
    def pass_time(self, seconds: float) -> None:
        self.cluster.now += seconds

    @precondition(lambda self: self._alive())
    @rule(data=st.data(), nodes=st.sampled_from((None, *map(frozenset, NODES))))
    def hear_of_endpoints(self, data: st.DataObject, nodes: frozenset[str] | None) -> None:
        data.draw(st.sampled_from(self._alive())).able = nodes

    @invariant()
    def never_two(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.check()

    def teardown(self) -> None:
        """In the end each address has one node, if one lives and none that is gone answers alone."""
        if not hasattr(self, "cluster"):
            return
        self.cluster.only(None)
        self.cluster.run(40.0)
        gone = [one for one in self.cluster.nodes.values() if not one.alive]
        newest = {one.metadata.name: one for one in self.cluster.log}
        lasting = any(
            one.name in newest and newest[one.name].metadata.annotations.lasting  # type: ignore[union-attr]
            for one in gone
        )
        if self._alive() and not lasting:
            assert self.cluster.announced().keys() == set(ADDRESSES)


AnyOrder.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestAnyOrder = AnyOrder.TestCase


def started(*names: str) -> Cluster:
    cluster = Cluster()
    for name in names:
        cluster.nodes[name] = Node(name, cluster)
        cluster.run(2)
    return cluster


def test_one_node_alone_has_all_and_keeps_them_without_its_proxy() -> None:
    cluster = started("a")
    assert set(cluster.announced().values()) == {"a"}
    cluster.nodes["a"].alive = False
    cluster.run(3600)
    assert len(cluster.announced()) == len(ADDRESSES)


def test_a_proxy_that_was_alone_goes_on_at_once_when_it_is_started_again() -> None:
    cluster = started("a")
    cluster.nodes["a"].start()
    cluster.nodes["a"].step()
    assert len(cluster.announced()) == len(ADDRESSES)


def test_a_second_node_takes_its_share_within_a_step() -> None:
    cluster = started("a", "b")
    assert set(cluster.announced().values()) == {"a", "b"} and len(cluster.announced()) == len(ADDRESSES)


@pytest.mark.parametrize("cut_off", [False, True])
def test_another_takes_over_after_the_lease_and_gives_back(cut_off: bool) -> None:
    cluster = started("a", "b", "c")
    before = cluster.announced()
    cluster.nodes["b"].alive = cut_off
    cluster.run(DURATION - 1, "b")
    assert {one: who for one, who in cluster.announced().items() if who != "b"} == {
        one: who for one, who in before.items() if who != "b"
    }
    cluster.run(3, "b")
    assert "b" not in cluster.announced().values() and len(cluster.announced()) == len(ADDRESSES)
    if not cut_off:
        cluster.nodes["b"].start()
    cluster.run(3)
    assert cluster.announced() == before


def test_one_that_ends_in_order_is_followed_at_once() -> None:
    cluster = started("a", "b")
    cluster.nodes["b"].leave()
    cluster.run(1)
    assert set(cluster.announced().values()) == {"a"} and len(cluster.announced()) == len(ADDRESSES)


def test_only_nodes_that_may_announce_an_address() -> None:
    cluster = started("a", "b")
    for able in (frozenset("a"), frozenset("b")):
        cluster.only(able)
        cluster.run(2)
        assert set(cluster.announced().values()) == able
    cluster.only(frozenset())
    cluster.run(2)
    assert cluster.announced() == {}


def test_who_renews_again_answers_only_when_it_sees_who_took_over() -> None:
    cluster = started("a", "b")
    before = cluster.announced()
    one = cluster.nodes["a"]
    one.alive = False
    cluster.run(DURATION + 2)
    one.step()
    one.renew(cluster.now, True)
    one.step()  # of the list of Leases it has seen nothing yet
    cluster.check()
    assert one.answers() == frozenset()
    one.alive = True
    cluster.run(2)
    assert cluster.announced() == before


def test_of_two_who_each_believe_themselves_the_only_ones_one_has_it() -> None:
    cluster = started("a", "b")
    cluster.only(frozenset())
    cluster.run(1)
    for one in cluster.nodes.values():
        one.able = frozenset({one.name})
        one.step()
        one.renew(cluster.now, True)
    cluster.run(3)
    assert len(cluster.announced()) == len(ADDRESSES)


def test_one_whose_lease_is_deleted_answers_no_more_until_it_has_one_again() -> None:
    cluster = started("a", "b")
    one = cluster.nodes["a"]
    one.members.drop(f"{NAMESPACE}/a")
    one.step()
    assert one.answers() == frozenset()
    cluster.run(2)
    assert "a" in cluster.announced().values()


@given(st.integers(1, 3), st.text(max_size=20))
def test_a_lease_of_others_says_nothing_wrong(version: int, text: str) -> None:
    members = Members(lambda: 0.0)
    good = lease("a", version, Said(frozenset(ADDRESSES)))
    said = LeaseAnnotations("192.168.77.0/24 " + text, "192.168.77.200 " + text)
    members.put(Lease(replace_metadata(good, said), good.spec))
    found = members.get("a")
    assert found is not None and ADDRESSES[0] in found.claims and found.reaches(ADDRESSES[0])


def replace_metadata(one: Lease, annotations: LeaseAnnotations) -> LeaseMetadata:
    return LeaseMetadata(
        name=one.metadata.name,
        namespace=one.metadata.namespace,
        resource_version=one.metadata.resource_version,
        annotations=annotations,
    )
