"""Node ports on loopback addresses, beside the kernel's rules."""

from collections.abc import Iterator

import pytest
from proxy.site import Site
from toolbox.lab import Lab


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with Site(lab, more='node_port_addresses = ["primary", "localhost"]\n') as made:
        yield made


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_node_port_is_there_on_loopback_and_on_the_nodes_address(
    site: Site, lab: Lab, protocol: str, family: int
) -> None:
    name = f"web-{protocol}-{family}"
    web = site.service(name, [lab.a1, lab.far], type="NodePort")
    number = web.node_port(protocol)
    site.reaches(lab.node, protocol, "127.0.0.1" if family == 4 else "::1", number, {"a1", "far"})
    site.reaches(lab.client, protocol, lab.node.addresses[family], number, {"a1", "far"})
    site.set_ready(name, lab.a1, False)
    site.reaches(lab.node, protocol, "127.0.0.1" if family == 4 else "::1", number, {"far"})
    site.set_ready(name, lab.far, False)
    site.is_refused(lab.node, protocol, "127.0.0.1" if family == 4 else "::1", number)


def test_a_client_stays_with_its_endpoint_on_loopback_too(site: Site, lab: Lab) -> None:
    web = site.service("sticky", [lab.a1, lab.a2, lab.b1], type="NodePort", sessionAffinity="ClientIP")
    number = web.node_port("tcp")
    first = site.one_of(lab.node, "tcp", "127.0.0.1", number, {"a1", "a2", "b1"})
    assert {lab.node.ask("tcp", "127.0.0.1", number).who for _ in range(20)} == {first}


def test_other_ports_of_loopback_are_left_alone(site: Site, lab: Lab) -> None:
    site.service("plain", [lab.a1])
    with lab.serve(lab.node, "tcp", 31999, "127.0.0.1", who="a-program-of-the-host"):
        assert lab.node.ask("tcp", "127.0.0.1", 31999).who == "a-program-of-the-host"
