"""How connections are spread over endpoints, who stays with one and for how long, what changes as a whole."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from proxy.site import CARRIERS, PORT, Site
from toolbox.lab import Lab
from toolbox.waiting import wait_for

PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@pytest.fixture(scope="module", params=CARRIERS)
def site(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Site]:
    with Site(lab, request.param) as made:
        yield made


@pytest.mark.parametrize("picks", [600, pytest.param(3000, marks=pytest.mark.soak)])
def test_connections_are_spread_evenly(site: Site, lab: Lab, picks: int) -> None:
    web = site.service(f"even-{picks}", [lab.a1, lab.a2, lab.b1])
    address = web.cluster_ip(4)
    site.reaches(lab.client, "tcp", address, 80, {"a1", "a2", "b1"})
    found = Counter(lab.client.ask("tcp", address, 80).who for _ in range(picks))
    share = picks / 3
    chi_square = sum((found[name] - share) ** 2 / share for name in ("a1", "a2", "b1"))
    assert chi_square < 27, found  # two degrees of freedom: by chance once in 700,000


@PROTOCOLS
def test_affinity_ends_when_the_client_was_away(site: Site, lab: Lab, protocol: str) -> None:
    config = {"clientIP": {"timeoutSeconds": 1}}
    more = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}
    web = site.service(f"brief-{protocol}", [lab.a1, lab.a2, lab.b1], **more)
    address = web.cluster_ip(4)
    wait_for(lambda: _who(lab, protocol, address), "an answer")
    wait_for(lambda: _stays(lab, protocol, address), "affinity, with no pause of a second")

    def is_another() -> bool:
        before = _who(lab, protocol, address)
        time.sleep(2.2)  # away: it is what this is about
        return _who(lab, protocol, address) != before

    wait_for(is_another, "another endpoint, after being away")


@PROTOCOLS
def test_affinity_outlives_a_restart_of_the_proxy(site: Site, lab: Lab, protocol: str) -> None:
    web = site.service(f"kept-{protocol}", [lab.a1, lab.a2, lab.b1], sessionAffinity="ClientIP")
    address = web.cluster_ip(4)
    clients = (lab.client, lab.b2, lab.node)
    wait_for(lambda: _who(lab, protocol, address), "an answer")
    before = [client.ask(protocol, address, 80).who for client in clients]
    site.restart_carrier()
    marker = site.service(f"after-{protocol}", [lab.a1])
    site.reaches(lab.client, protocol, marker.cluster_ip(4), 80, {"a1"})
    for _ in range(10):
        assert [client.ask(protocol, address, 80).who for client in clients] == before


def test_a_port_changes_its_protocol_as_a_whole(site: Site, lab: Lab) -> None:
    def port(protocol: str) -> list[dict[str, object]]:
        return [{"name": "one", "port": 80, "targetPort": PORT, "protocol": protocol}]

    web = site.service("swapped", [lab.a1], type="NodePort", ports=port("TCP"))
    address, (shown,) = web.cluster_ip(4), web.shown["spec"]["ports"]
    places = ((address, 80), (lab.node.addresses[4], shown["nodePort"]))
    for one, other in (("tcp", "udp"), ("udp", "tcp"), ("tcp", "udp")):
        for place in places:
            site.reaches(lab.client, one, *place, {"a1"})
            site.is_refused(lab.client, other, *place)
        (wanted,) = port(other.upper())
        site.change("swapped", ports=[{**wanted, "nodePort": shown["nodePort"]}])


def _who(lab: Lab, protocol: str, address: str) -> str:
    try:
        return lab.client.ask(protocol, address, 80, seconds=2).who
    except OSError:
        return ""


def _stays(lab: Lab, protocol: str, address: str) -> bool:
    return "" not in (found := {_who(lab, protocol, address) for _ in range(20)}) and len(found) == 1
