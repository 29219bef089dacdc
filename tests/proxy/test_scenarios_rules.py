"""What Services say of their traffic, end to end: policies, source ranges, affinity, what comes and goes."""

import json
from collections.abc import Iterator

import pytest
from proxy.drained_flow import stays_while_its_endpoint_serves
from proxy.site import CARRIERS, PODS, PORT, SERVICES, Site, answering
from toolbox.lab import Lab, ask_again
from toolbox.waiting import wait_for

PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@pytest.fixture(scope="module", params=CARRIERS)
def site(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Site]:
    with Site(lab, request.param) as made:
        yield made


@PROTOCOLS
def test_external_local_keeps_clients_outside_to_this_node(site: Site, lab: Lab, protocol: str) -> None:
    name = f"external-{protocol}"
    web = site.service(name, [lab.a1, lab.far], type="LoadBalancer", externalTrafficPolicy="Local")
    for address, port in ((web.balancer, 80), (lab.node.addresses[4], web.node_port(protocol))):
        assert site.reaches(lab.client, protocol, address, port, {"a1"}) == {lab.client.addresses[4]}
        for host in (lab.node, lab.a2, lab.b1):
            site.reaches(host, protocol, address, port, {"a1", "far"})
    site.set_ready(name, lab.a1, False)
    site.meets_silence(lab.client, protocol, web.balancer, 80)
    site.meets_silence(lab.client, protocol, lab.node.addresses[4], web.node_port(protocol))
    site.reaches(lab.a2, protocol, web.balancer, 80, {"far"})


@PROTOCOLS
def test_internal_local_keeps_clients_to_this_node(site: Site, lab: Lab, protocol: str) -> None:
    name = f"internal-{protocol}"
    web = site.service(name, [lab.a1, lab.far], internalTrafficPolicy="Local")
    site.reaches(lab.b1, protocol, web.cluster_ip(4), 80, {"a1"})
    site.set_ready(name, lab.a1, False)
    site.meets_silence(lab.b1, protocol, web.cluster_ip(4), 80)


@PROTOCOLS
def test_source_ranges_let_in_whom_they_name(site: Site, lab: Lab, protocol: str) -> None:
    web = site.service(
        f"ranges-{protocol}",
        [lab.a1],
        type="LoadBalancer",
        loadBalancerSourceRanges=[f"{lab.client.addresses[4]}/32"],
    )
    site.reaches(lab.client, protocol, web.balancer, 80, {"a1"})
    site.meets_silence(lab.b1, protocol, web.balancer, 80)
    site.reaches(lab.b1, protocol, web.cluster_ip(4), 80, {"a1"})
    site.change(f"ranges-{protocol}", loadBalancerSourceRanges=None)
    site.reaches(lab.b1, protocol, web.balancer, 80, {"a1"})


@PROTOCOLS
def test_affinity_keeps_a_client_until_its_endpoint_leaves(site: Site, lab: Lab, protocol: str) -> None:
    name = f"sticky-{protocol}"
    hosts = {host.short: host for host in (lab.a1, lab.a2, lab.b1)}
    web = site.service(name, hosts.values(), sessionAffinity="ClientIP")
    address = web.cluster_ip(4)
    wait_for(lambda: _stays(lab, protocol, address), "affinity")
    first = lab.client.ask(protocol, address, 80).who
    site.set_ready(name, hosts[first], False)
    wait_for(lambda: lab.client.ask(protocol, address, 80).who != first, "another endpoint")
    wait_for(lambda: _stays(lab, protocol, address), "affinity to it")
    site.set_ready(name, hosts[first], True)
    site.change(name, sessionAffinity="None")
    site.reaches(lab.client, protocol, address, 80, set(hosts))


def _stays(lab: Lab, protocol: str, address: str) -> bool:
    try:
        return len({lab.client.ask(protocol, address, 80, seconds=2).who for _ in range(20)}) == 1
    except OSError:
        return False


def test_an_open_connection_outlives_its_endpoints_leaving(site: Site, lab: Lab) -> None:
    web = site.service("open", [lab.b2])
    site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"b2"})
    with lab.client.connect("tcp", web.cluster_ip(4), 80) as client:
        assert ask_again(client).who == "b2"
        site.done("DELETE", f"{PODS}/open-b2")
        site.is_refused(lab.client, "tcp", web.cluster_ip(4), 80)
        assert ask_again(client).who == "b2"
        site.done("DELETE", f"{SERVICES}/open")
        site.meets_silence(lab.client, "tcp", web.cluster_ip(4), 80)
        assert ask_again(client).who == "b2"


@pytest.mark.parametrize("frontend", ["cluster IP", "node port", "load balancer"])
def test_a_udp_flow_follows_the_endpoints(site: Site, lab: Lab, frontend: str) -> None:
    name = frontend.replace(" ", "-").lower()
    web = site.service(name, [lab.a1], type="LoadBalancer")
    site.pod(name, lab.b1, ready=False)
    place = {
        "cluster IP": (web.cluster_ip(4), 80),
        "node port": (lab.node.addresses[4], web.node_port("udp")),
        "load balancer": (web.balancer, 80),
    }[frontend]
    site.reaches(lab.client, "udp", *place, {"a1"})
    with lab.client.connect("udp", *place) as client:
        assert ask_again(client).who == "a1"
        for is_a1, who in ((False, "b1"), (True, "a1")):
            site.set_ready(name, lab.b1, not is_a1)
            site.set_ready(name, lab.a1, is_a1)
            wait_for(lambda who=who: answering(client) == who, f"the flow to go to {who}")
        site.set_ready(name, lab.a1, False)
        if site.is_ours:  # kube-proxy 1.37 forgets no flow where no endpoint is left
            wait_for(lambda: answering(client) == "refused", "the flow to be refused")
        site.set_ready(name, lab.b1, True)
        wait_for(lambda: answering(client) == "b1", "the flow to go to b1")


@PROTOCOLS
def test_endpoints_that_terminate_serve_where_no_other_does(site: Site, lab: Lab, protocol: str) -> None:
    name = f"fallback-{protocol}"
    web = site.service(name, type="NodePort", externalTrafficPolicy="Local")
    for host in (lab.a1, lab.far):
        site.pod(name, host, lingers=True)
    node_port = (lab.node.addresses[4], web.node_port(protocol))
    site.reaches(lab.b1, protocol, web.cluster_ip(4), 80, {"a1", "far"})
    site.done("DELETE", f"{PODS}/{name}-a1")
    site.reaches(lab.b1, protocol, web.cluster_ip(4), 80, {"far"})
    site.reaches(lab.client, protocol, *node_port, {"a1"})  # decided for this node by itself
    site.done("DELETE", f"{PODS}/{name}-far")
    site.reaches(lab.b1, protocol, web.cluster_ip(4), 80, {"a1", "far"})
    site.let_go(name, lab.a1)
    site.reaches(lab.b1, protocol, web.cluster_ip(4), 80, {"far"})
    site.meets_silence(lab.client, protocol, *node_port)


def test_the_same_node_is_preferred_where_it_has_an_endpoint(site: Site, lab: Lab) -> None:
    web = site.service("near", [lab.a1, lab.far], trafficDistribution="PreferSameNode")
    site.reaches(lab.b1, "tcp", web.cluster_ip(4), 80, {"a1"}, tries=20)
    site.set_ready("near", lab.a1, False)
    site.reaches(lab.b1, "tcp", web.cluster_ip(4), 80, {"far"})


def test_a_port_by_name_has_the_number_that_each_pod_gives_it(site: Site, lab: Lab) -> None:
    ports = [{"name": "tcp", "port": 80, "targetPort": "web", "protocol": "TCP"}]
    web = site.service("named", ports=ports)
    with lab.serve(lab.b1, "tcp", 9090, who="b1-at-9090"):
        for host, number in ((lab.a1, PORT), (lab.b1, 9090)):
            site.pod("named", host, ports=[{"name": "web", "containerPort": number}])
        site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"a1", "b1-at-9090"})


def test_a_health_check_node_port_says_whether_there_are_endpoints_here(site: Site, lab: Lab) -> None:
    web = site.service("checked", [lab.a1], type="LoadBalancer", externalTrafficPolicy="Local")
    number = web.shown["spec"]["healthCheckNodePort"]

    def answer() -> tuple[int, int] | None:
        try:
            with lab.client.connect("tcp", lab.node.addresses[4], number, seconds=2) as client:
                client.sendall(b"GET / HTTP/1.0\r\nHost: node\r\n\r\n")
                text = b"".join(iter(lambda: client.recv(4096), b"")).decode()
        except OSError:
            return None
        head, _, body = text.partition("\r\n\r\n")
        return int(head.split()[1]), json.loads(body)["localEndpoints"]

    wait_for(lambda: answer() == (200, 1), "a healthy node")
    site.set_ready("checked", lab.a1, False)
    wait_for(lambda: answer() == (503, 0), "an unhealthy node")


def test_ports_and_types_change_as_a_whole(site: Site, lab: Lab) -> None:
    web = site.service("moving", [lab.a1], type="NodePort")
    address, number = web.cluster_ip(4), web.node_port("tcp")
    site.reaches(lab.client, "tcp", lab.node.addresses[4], number, {"a1"})
    site.change("moving", ports=[{"name": "tcp", "port": 8888, "targetPort": 8080, "protocol": "TCP"}])
    site.reaches(lab.client, "tcp", address, 8888, {"a1"})
    site.is_refused(lab.client, "tcp", address, 80)
    site.change("moving", type="ClusterIP")
    site.reaches(lab.client, "tcp", address, 8888, {"a1"})
    site.is_refused(lab.client, "tcp", lab.node.addresses[4], number)


def test_two_services_share_no_traffic(site: Site, lab: Lab) -> None:
    one, other = site.service("left", [lab.a1]), site.service("right", [lab.b1])
    site.reaches(lab.client, "tcp", one.cluster_ip(4), 80, {"a1"})
    site.reaches(lab.client, "tcp", other.cluster_ip(4), 80, {"b1"})


@pytest.mark.parametrize("turns", [40, pytest.param(1000, marks=pytest.mark.soak)])
def test_after_a_write_that_waited_the_first_connection_is_right(site: Site, lab: Lab, turns: int) -> None:
    if not site.is_ours:
        pytest.skip("kube-proxy tells nobody how far it is")
    web = site.service(f"waited-{turns}", [lab.a1, lab.b1])
    site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"a1", "b1"})
    for turn in range(turns):
        leaving, staying = (lab.a1, lab.b1) if turn % 2 else (lab.b1, lab.a1)
        site.set_ready(f"waited-{turns}", staying, True)
        site.set_ready(f"waited-{turns}", leaving, False, waits=True)
        assert lab.node.ask("tcp", web.cluster_ip(4), 80).who == staying.short, f"turn {turn}"


def test_a_udp_flow_stays_while_its_endpoint_serves_and_moves_when_that_is_gone(site: Site, lab: Lab) -> None:
    stays_while_its_endpoint_serves(site, lab)
