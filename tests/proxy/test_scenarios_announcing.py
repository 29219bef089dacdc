"""Two hosts share load balancer addresses: one answers on the LAN for each, whoever dies or is cut off."""

import signal
from collections.abc import Iterator

import pytest
from proxy.announcing_nodes import NODES, Announcing, answered, shares
from proxy.machine import said
from toolbox.lab import Lab
from toolbox.waiting import wait_for

from svcdns.proxy.cleanup import cleanup


@pytest.fixture(scope="module")
def site(lab: Lab, may_change_rules: None) -> Iterator[tuple[Announcing, list[str]]]:
    """Give two nodes that share the addresses of some Services."""
    with Announcing(lab) as made:
        addresses = [
            one
            for number in range(4)
            for one in made.service(f"web{number}", ipFamilies=["IPv6" if number % 2 else "IPv4"])
        ]
        yield made, addresses


def test_one_answers_for_each_whoever_dies_or_is_cut_off(site: tuple[Announcing, list[str]]) -> None:
    announcing, addresses = site
    both, one_only = shares(addresses), shares(addresses, ("node",))
    assert {frozenset(who) for who in both.values()} == {frozenset((one,)) for one in NODES}
    announcing.start("node")
    answered(announcing, one_only)
    with announcing.never_two(addresses):
        announcing.start("second")
        answered(announcing, both)

        announcing.end("second", signal.SIGKILL)
        answered(announcing, one_only)
        announcing.start("second")
        answered(announcing, both)

        announcing.cut_off("second")
        answered(announcing, one_only)
        announcing.join_again("second")
        answered(announcing, both)

        announcing.end("second")
        answered(announcing, one_only)


def test_people_see_who_announces(site: tuple[Announcing, list[str]]) -> None:
    announcing, addresses = site
    announcing.start("second")
    both = shares(addresses)
    answered(announcing, both)

    def shown(name: str) -> bool:
        lines = [line for line in announcing.status(name).splitlines() if "announced" in line]
        return all(
            any(one in line and f"by {min(who)}" in line for line in lines) for one, who in both.items()
        )

    def told() -> set[str]:
        events = announcing.request("GET", "/api/v1/namespaces/default/events")["items"]
        return {one["message"] for one in events if one["reason"] == "Announced"}

    for name in NODES:
        wait_for(lambda name=name: shown(name), f"the status on {name}")  # type: ignore[misc]
    texts = {f"{one} is announced by the node {min(who)}" for one, who in both.items()}
    wait_for(lambda: texts <= told(), "the Events")


def test_connections_arrive_whoever_announces_and_wherever_the_endpoint_is(
    site: tuple[Announcing, list[str]],
) -> None:
    announcing, _ = site
    lab = announcing.lab
    servers = [lab.serve(one, "tcp", 80) for one in (lab.a1, lab.far)]
    for name, host, node in (("near", lab.a1, "node"), ("far", lab.far, "second")):
        for local in (False, True):
            app = f"{name}-{local}".lower()
            announcing.pod(app, host, node)
            more = {"externalTrafficPolicy": "Local"} if local else {}
            (address,) = announcing.service(app, **more)
            announcing.reaches(address, host.short, host_sees_client=local)
            if local:
                answered(announcing, {address: {node}})
    for one in servers:
        one.close()


def test_a_node_whose_proxy_died_is_unknown_and_ready_again(site: tuple[Announcing, list[str]]) -> None:
    announcing, _ = site

    def ready() -> str:
        found = announcing.request("GET", "/api/v1/nodes/second")
        return str(next(one["status"] for one in found["status"]["conditions"] if one["type"] == "Ready"))

    wait_for(lambda: ready() == "True", "the node to be ready")
    announcing.end("second", signal.SIGKILL)
    wait_for(lambda: ready() == "Unknown", "the other node to say that it is unknown")
    announcing.start("second")
    wait_for(lambda: ready() == "True", "the node to be ready again")


def test_cleanup_leaves_nothing(site: tuple[Announcing, list[str]]) -> None:
    announcing, _ = site
    for name in NODES:
        announcing.end(name, signal.SIGKILL)
        machine = announcing.machines[name]
        assert "svcdns_announced" in said(machine, "nft", "list", "tables")
    for machine in announcing.machines.values():
        with machine.entered():
            assert all(one.is_done for one in cleanup())
        assert said(machine, "nft", "list", "tables") == ""
        assert said(machine, "ip", "neigh", "show", "proxy") == ""
