"""In what order stand-ins of loopback endpoints come and go, and what a refusal leaves."""

from collections.abc import Iterator, Mapping

import pytest
from proxy.carried import frontend

from svcdns.cluster.traffic_plan import Destination, Endpoint, Frontend, Host, Rule
from svcdns.proxy import loopback
from svcdns.proxy.engine import EngineError
from svcdns.proxy.loopback import WithLoopback

ADDRESS = bytes((127, 9, 9, 9))
"""Taken for an address of the machine that others can be led to."""
HOST = Host(lasting_addresses=(ADDRESS,))
WEB, API = frontend("10.96.0.1"), frontend("10.96.0.2")
GONE = EngineError("no room")


def rule(*last: int) -> Rule:
    there = Destination(tuple(Endpoint(bytes((127, 0, 0, one)), 8080) for one in last))
    return Rule("default/web", there, there)


class Recording:
    """An engine and a relay that note what they are told."""

    name = "nft"

    def __init__(self, *_: object) -> None:
        self.refuses = False
        self.host = Host()
        self.rules: dict[Frontend, Rule] = {}

    def replace(self, rules: Mapping[Frontend, Rule], host: Host) -> None:
        self.rules = dict(rules)
        self.host = host

    def apply(self, changed: Mapping[Frontend, Rule | None], host: Host | None = None) -> None:
        if self.refuses and changed:
            raise GONE
        self.host = host or self.host
        for at, one in changed.items():
            self.rules.pop(at, None)
            if one is not None:
                self.rules[at] = one

    def held(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        pass


@pytest.fixture
def kernel() -> Recording:
    return Recording()


@pytest.fixture
def relay(kernel: Recording, monkeypatch: pytest.MonkeyPatch) -> Recording:
    made = GuardedRelay(kernel)
    monkeypatch.setattr(loopback, "Relay", lambda: made)
    return made


class GuardedRelay(Recording):
    """Holds each listener against what the kernel guards at that moment, and leads to."""

    def __init__(self, kernel: Recording) -> None:
        super().__init__()
        self.kernel = kernel

    def apply(self, changed: Mapping[Frontend, Rule | None], host: Host | None = None) -> None:
        assert changed.keys() <= {*self.kernel.host.relays}, "an unguarded port"
        led_to = {
            (one.address, one.port)
            for found in self.kernel.rules.values()
            for one in (*found.inside.endpoints, *found.outside.endpoints)
        }
        gone = {at for at, one in changed.items() if one is None}
        assert not {(at.address, at.port) for at in gone} & led_to, "closed while clients are led to it"
        super().apply(changed, host)


@pytest.fixture
def engine(kernel: Recording, relay: Recording) -> Iterator[WithLoopback]:
    made = WithLoopback(kernel, node_ports=False)
    made.replace({}, HOST)
    yield made
    made.close()


def listening(kernel: Recording, relay: Recording) -> list[Endpoint]:
    """Return the endpoints that are stood in for, all being consistent."""
    assert {*relay.rules} == {*kernel.host.relays}
    return sorted(found.inside.endpoints[0] for found in relay.rules.values())


def test_it_is_guarded_first_used_last_and_closed_when_nobody_is_led_there(
    engine: WithLoopback, kernel: Recording, relay: Recording
) -> None:
    for one, other in (((1,), (1, 2)), ((2, 3), (3,)), ((), (4,))):
        engine.apply({WEB: rule(*one), API: rule(*other)})
        assert [at.address[3] for at in listening(kernel, relay)] == sorted({*one, *other})
    engine.apply({WEB: None, API: None})
    assert listening(kernel, relay) == []


def test_a_relay_is_started_when_there_is_something_for_it(
    kernel: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback, "Relay", lambda: pytest.fail("a relay for nothing"))
    engine = WithLoopback(kernel, node_ports=False)
    there = Destination((Endpoint(bytes((10, 0, 0, 1)), 80),))
    engine.replace({WEB: Rule("default/web", there, there)}, HOST)
    engine.apply({WEB: None})
    engine.apply({}, Host())


def test_what_the_kernel_refuses_leaves_no_listener(
    engine: WithLoopback, kernel: Recording, relay: Recording
) -> None:
    engine.apply({WEB: rule(1)})
    kernel.refuses = True
    with pytest.raises(EngineError):
        engine.apply({WEB: rule(2)})
    assert [found.inside.endpoints[0].address[3] for found in relay.rules.values()] == [1]
    kernel.refuses = False
    engine.apply({WEB: rule(2)})
    assert [at.address[3] for at in listening(kernel, relay)] == [2]


def test_another_address_of_the_host_is_taken_over_by_all(
    engine: WithLoopback, kernel: Recording, relay: Recording
) -> None:
    engine.apply({WEB: rule(1, 2)})
    other = bytes((127, 9, 9, 8))
    engine.apply({}, Host(lasting_addresses=(other,)))
    assert {at.address for at in relay.rules} == {other}
    assert {one.address for one in kernel.rules[WEB].inside.endpoints} == {other}
    changed, before = engine.as_carried({}, {})
    assert changed == {WEB: kernel.rules[WEB]}
    assert {one.address for one in before[WEB].inside.endpoints} == {ADDRESS}


def test_who_forgets_flows_is_told_where_connections_end(engine: WithLoopback, kernel: Recording) -> None:
    engine.apply({WEB: rule(1)})
    changed, before = engine.as_carried({WEB: rule(1)}, {})
    assert changed == {WEB: kernel.rules[WEB]} and before == {}
    first = kernel.rules[WEB]
    engine.apply({WEB: None})
    assert engine.as_carried({WEB: None}, {WEB: rule(1)}) == ({WEB: None}, {WEB: first})
