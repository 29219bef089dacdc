"""What goes where: cluster IPs, node ports and other addresses, and the endpoints behind each."""

import time
from ipaddress import ip_address, ip_network

import pytest
from cluster.traffic_harness import Run, cluster_ip, endpoint, slice_of

from svcdns.cluster.service_frontends import Here
from svcdns.cluster.traffic_objects import Service, Slice, Unreadable, decoded
from svcdns.cluster.usable_endpoints import Place

ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"
VIP = "TCP 10.96.0.1:80"


def everywhere(where: str) -> tuple[str, str]:
    return where, where


def external(**spec: object) -> dict[str, object]:
    """A Service with a node port, an address of a load balancer and an external IP."""
    made = cluster_ip(
        type="LoadBalancer",
        ports=[{"name": "http", "port": 80, "nodePort": 30080}],
        externalIPs=["198.51.100.7"],
        **spec,
    )
    return {**made, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10", "ipMode": "VIP"}]}}}


OUTER = ("TCP 192.0.2.10:80", "TCP 198.51.100.7:80", "TCP node port 30080 (IPv4)")


def test_a_cluster_ip_leads_to_the_ready_endpoints() -> None:
    run = Run(cluster_ip(), slice_of(endpoint(TWO), endpoint(ONE), endpoint(THREE, ready=False)))

    assert run.shown == {VIP: everywhere("10.0.0.1:8080 10.0.0.2:8080")}


def test_ports_are_joined_by_name_and_may_differ_from_slice_to_slice() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]
    old = slice_of(endpoint(ONE), name="old", ports=[{"name": "http", "port": 8080}])
    new = slice_of(
        endpoint(TWO), name="new", ports=[{"name": "http", "port": 9090}, {"name": "admin", "port": 9091}]
    )

    run = Run(cluster_ip(ports=ports), old, new)

    assert run.shown == {
        VIP: everywhere("10.0.0.1:8080 10.0.0.2:9090"),
        "TCP 10.96.0.1:81": everywhere("10.0.0.2:9091"),
    }


def test_a_port_without_a_name_is_joined_with_one_without_a_name() -> None:
    run = Run(cluster_ip(ports=[{"port": 80}]), slice_of(endpoint(ONE), ports=[{"port": 8080}]))

    assert run.shown == {VIP: everywhere("10.0.0.1:8080")}


def test_one_number_with_two_protocols_is_two_frontends() -> None:
    ports = [
        {"name": name, "port": 53, "protocol": protocol}
        for name, protocol in (("a", "UDP"), ("b", "TCP"), ("c", "SCTP"))
    ]
    of_slice = [{"name": "a", "port": 1, "protocol": "UDP"}, {"name": "b", "port": 2}]

    run = Run(cluster_ip(ports=ports), slice_of(endpoint(ONE), ports=of_slice))

    assert run.shown == {
        "UDP 10.96.0.1:53": everywhere("10.0.0.1:1"),
        "TCP 10.96.0.1:53": everywhere("10.0.0.1:2"),
        "SCTP 10.96.0.1:53": everywhere("refused"),
    }


def test_a_port_of_another_protocol_is_not_joined() -> None:
    run = Run(cluster_ip(), slice_of(endpoint(ONE), ports=[{"name": "http", "port": 80, "protocol": "UDP"}]))

    assert run.shown == {VIP: everywhere("refused")}


def test_each_family_leads_to_endpoints_of_its_own() -> None:
    both = cluster_ip(clusterIPs=["10.96.0.1", "fd00::1"])
    six = slice_of(endpoint("2001:db8::1"), name="six")

    run = Run(both, slice_of(endpoint(ONE)), six)

    assert run.shown == {
        VIP: everywhere("10.0.0.1:8080"),
        "TCP [fd00::1]:80": everywhere("2001:db8::1:8080"),
    }


def test_node_ports_load_balancer_addresses_and_external_ips_lead_there_too() -> None:
    run = Run(external(), slice_of(endpoint(ONE)))

    assert run.shown == dict.fromkeys((VIP, *OUTER), everywhere("10.0.0.1:8080"))
    assert run.problems == []


def test_an_address_whose_load_balancer_is_a_proxy_is_left_alone() -> None:
    made = cluster_ip(type="LoadBalancer")
    made["status"] = {
        "loadBalancer": {"ingress": [{"ip": "192.0.2.10", "ipMode": "Proxy"}, {"hostname": "x"}]}
    }

    assert list(Run(made).shown) == [VIP]


def test_external_ips_outside_the_allowed_networks_are_reported() -> None:
    run = Run(cluster_ip(externalIPs=["198.51.100.7", "8.8.8.8"]))

    assert list(run.shown) == [VIP, "TCP 198.51.100.7:80"]
    assert len(run.problems) == 1
    assert "default/web: ExternalIPNotAllowed: externalIPs: 8.8.8.8 " in run.problems[0]


def test_no_external_ip_counts_where_no_network_is_allowed() -> None:
    run = Run(cluster_ip(externalIPs=["198.51.100.7"]), here=Here())

    assert list(run.shown) == [VIP]


def test_source_ranges_guard_the_load_balancers_addresses_only() -> None:
    run = Run(external(loadBalancerSourceRanges=["203.0.113.0/24 ", "10.1.2.3/8"]), slice_of(endpoint(ONE)))

    guarded = {at: run.rule(at).source_ranges for at in (VIP, *OUTER)}

    networks = (ip_network("10.0.0.0/8"), ip_network("203.0.113.0/24"))
    assert guarded == dict.fromkeys((VIP, *OUTER)) | {"TCP 192.0.2.10:80": networks}
    assert run.problems == []


@pytest.mark.parametrize("given", [["here and there"], ["2001:db8::/32"]], ids=["unreadable", "other family"])
def test_source_ranges_that_say_nothing_let_nobody_in(given: list[str]) -> None:
    run = Run(external(loadBalancerSourceRanges=given), slice_of(endpoint(ONE)))

    assert run.rule("TCP 192.0.2.10:80").source_ranges == ()


def test_a_source_range_that_cannot_be_read_is_reported() -> None:
    run = Run(external(loadBalancerSourceRanges=["10.0.0.0/33", "10.0.0.0/8"]))

    assert "default/web: InvalidSourceRange: loadBalancerSourceRanges: '10.0.0.0/33' " in run.problems[0]
    assert run.rule("TCP 192.0.2.10:80").source_ranges == (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize("policy", ["internalTrafficPolicy", "externalTrafficPolicy"])
@pytest.mark.parametrize(
    ("endpoints", "local"),
    [
        ([endpoint(ONE, "here"), endpoint(TWO, "there")], "10.0.0.1:8080"),
        ([endpoint(ONE, "there")], "dropped"),
        ([], "refused"),
        ([endpoint("10.88.3.4"), endpoint(TWO)], "10.88.3.4:8080"),
        ([endpoint("10.88.3.4", "there")], "dropped"),
        ([endpoint("127.0.0.1")], "127.0.0.1:8080"),
    ],
    ids=["both", "elsewhere", "none", "network behind us", "says it is elsewhere", "loopback"],
)
def test_policy_local_uses_endpoints_of_this_node_only(
    policy: str, endpoints: list[dict[str, object]], local: str
) -> None:
    run = Run(external(**{policy: "Local"}), slice_of(*endpoints))

    all_of_them = " ".join(sorted(f"{one['addresses'][0]}:8080" for one in endpoints)) or "refused"  # type: ignore[index]
    if policy == "internalTrafficPolicy":
        assert run.shown == {VIP: everywhere(local)} | dict.fromkeys(OUTER, everywhere(all_of_them))
    else:
        assert run.shown == {VIP: everywhere(all_of_them)} | dict.fromkeys(OUTER, (all_of_them, local))


def test_an_address_of_this_host_is_local() -> None:
    here = Here(Place("here", addresses=frozenset({bytes((192, 0, 2, 5))})))

    run = Run(cluster_ip(internalTrafficPolicy="Local"), slice_of(endpoint("192.0.2.5")), here=here)

    assert run.shown == {VIP: everywhere("192.0.2.5:8080")}


DRAINING = {"ready": False, "serving": True, "terminating": True}


def test_terminating_endpoints_are_used_where_none_is_ready() -> None:
    draining = endpoint(ONE, **DRAINING)
    gone = endpoint(TWO, ready=False, serving=False, terminating=True)

    run = Run(cluster_ip(), slice_of(draining, gone))
    assert run.shown == {VIP: everywhere("10.0.0.1:8080")}

    run.take(slice_of(endpoint(THREE, ready=True), draining, gone))
    assert run.shown == {VIP: everywhere("10.0.0.3:8080")}


def test_what_is_open_at_an_endpoint_may_stay_while_that_serves_beside_others() -> None:
    draining = endpoint(ONE, **DRAINING)
    gone = endpoint(TWO, ready=False, serving=False, terminating=True)

    def leaving(*endpoints: dict[str, object]) -> list[str]:
        run = Run(cluster_ip(), slice_of(*endpoints))
        (rule,) = run.traffic.rules().values()
        return [str(ip_address(one.address)) for one in rule.leaving]

    assert leaving(endpoint(THREE), draining, gone) == [ONE]
    assert leaving(endpoint(THREE), gone) == []
    assert leaving(draining, gone) == []  # it gets all connections


def test_the_fallback_to_terminating_endpoints_is_decided_for_this_node_by_itself() -> None:
    run = Run(
        external(externalTrafficPolicy="Local"),
        slice_of(endpoint(ONE, "here", **DRAINING), endpoint(TWO, "there", ready=True)),
    )

    assert run.shown[OUTER[0]] == ("10.0.0.2:8080", "10.0.0.1:8080")


def test_an_endpoint_in_two_slices_counts_once_as_the_better_of_the_two() -> None:
    draining, ready = slice_of(endpoint(ONE, **DRAINING), name="a"), slice_of(endpoint(ONE), name="b")

    for slices in ((draining, ready), (ready, draining)):
        run = Run(cluster_ip(), *slices, slice_of(endpoint(TWO, **DRAINING), name="c"))
        assert run.shown == {VIP: everywhere("10.0.0.1:8080")}


@pytest.mark.parametrize(
    ("hints", "used"),
    [
        ([("zone-a", ""), ("zone-b", "")], "10.0.0.1:8080"),
        ([("zone-b", ""), ("zone-b", "")], "10.0.0.1:8080 10.0.0.2:8080"),
        ([("zone-a", ""), ("", "")], "10.0.0.1:8080 10.0.0.2:8080"),
        ([("zone-a", "here"), ("zone-a", "there")], "10.0.0.1:8080"),
        ([("zone-a", "there"), ("zone-b", "there")], "10.0.0.1:8080"),
        ([("zone-b", "there"), ("zone-b", "")], "10.0.0.1:8080 10.0.0.2:8080"),
    ],
    ids=["zone", "other zone", "one without a hint", "node", "zone where no node", "none for us"],
)
def test_hints_choose_the_endpoints_of_this_node_or_zone(hints: list[tuple[str, str]], used: str) -> None:
    endpoints = [endpoint(ip, "x", *hint) for ip, hint in zip((ONE, TWO), hints, strict=True)]

    assert Run(cluster_ip(), slice_of(*endpoints)).shown == {VIP: everywhere(used)}


def test_session_affinity_has_its_time_and_a_default() -> None:
    assert Run(cluster_ip()).rule(VIP).affinity_seconds == 0
    assert Run(cluster_ip(sessionAffinity="ClientIP")).rule(VIP).affinity_seconds == 10800
    given = {"clientIP": {"timeoutSeconds": 7}}
    run = Run(cluster_ip(sessionAffinity="ClientIP", sessionAffinityConfig=given))
    assert run.rule(VIP).affinity_seconds == 7


@pytest.mark.parametrize(
    "made",
    [
        cluster_ip(address="None"),
        cluster_ip(address=""),
        cluster_ip(type="ExternalName", externalName="example.org"),
        cluster_ip()
        | {"metadata": {"name": "web", "labels": {"service.kubernetes.io/service-proxy-name": ""}}},
        cluster_ip() | {"metadata": {"name": "web", "labels": {"service.kubernetes.io/headless": ""}}},
    ],
    ids=["headless", "no address yet", "ExternalName", "another proxy's", "headless label"],
)
def test_some_services_have_no_frontend(made: dict[str, object]) -> None:
    assert Run(made, slice_of(endpoint(ONE))).shown == {}


def test_slices_that_are_headless_or_hold_host_names_are_ignored() -> None:
    labels = {"kubernetes.io/service-name": "web", "service.kubernetes.io/headless": ""}
    other = slice_of(endpoint(ONE)) | {"metadata": {"name": "web-1", "labels": labels}}
    names = slice_of(endpoint("db.example.org"), name="names", addressType="FQDN")

    assert Run(cluster_ip(), other, names).shown == {VIP: everywhere("refused")}


def test_addresses_of_the_wrong_family_and_ports_without_a_number_are_ignored() -> None:
    wrong = slice_of(endpoint("2001:db8::1"), addressType="IPv4")
    unnumbered = slice_of(endpoint(ONE), name="web-2", ports=[{"name": "http", "port": None}])

    assert Run(cluster_ip(), wrong, unnumbered).shown == {VIP: everywhere("refused")}


def test_null_lists_are_empty() -> None:
    run = Run(cluster_ip(), slice_of(endpoints=None, ports=None), slice_of(endpoint(ONE), name="b"))

    assert run.shown == {VIP: everywhere("10.0.0.1:8080")}


@pytest.mark.parametrize(
    "octets", [b"", b"null", b"[]", b'{"metadata":{}}', b'{"metadata":{"name":"\xff"}}', b"[" * 9999]
)
def test_an_object_that_cannot_be_read_says_so(octets: bytes) -> None:
    for kind in (Service, Slice):
        with pytest.raises(Unreadable):
            decoded(kind, octets)


def test_a_health_check_counts_ready_endpoints_of_this_node() -> None:
    made = external(externalTrafficPolicy="Local", healthCheckNodePort=31000)
    six = slice_of(endpoint("2001:db8::1", "here"), name="six")
    run = Run(
        made, slice_of(endpoint(ONE, "here"), endpoint(TWO, "here", **DRAINING), endpoint(THREE, "x")), six
    )

    assert {port: one.local_endpoints for port, one in run.traffic.health_checks().items()} == {31000: 1}

    changes = run.take(slice_of(endpoint(ONE, "here"), endpoint(TWO, "here")))
    assert {port: one and one.local_endpoints for port, one in changes.health_checks.items()} == {31000: 2}
    changes = run.take(external(externalTrafficPolicy="Cluster", healthCheckNodePort=31000))
    assert changes.health_checks == {31000: None}


def test_the_older_of_two_services_keeps_an_address_until_it_gives_it_up() -> None:
    run = Run(slice_of(endpoint(ONE)), slice_of(endpoint(TWO), name="b", service="b"))
    run.take(
        cluster_ip("b", "10.96.0.2", externalIPs=["198.51.100.7"]), creationTimestamp="2026-01-02T00:00:00Z"
    )
    run.take(cluster_ip("web", externalIPs=["198.51.100.7"]), creationTimestamp="2026-01-01T00:00:00Z")

    assert run.rule("TCP 198.51.100.7:80").service == "default/web"
    assert run.problems == [
        "default/b: AddressTaken: TCP 198.51.100.7:80 belongs to the older Service default/web"
    ]

    run.take(cluster_ip("web"))
    assert run.rule("TCP 198.51.100.7:80").service == "default/b"
    assert run.problems == []


@pytest.mark.alone
def test_what_many_ports_cost_grows_with_their_number_and_not_with_its_square() -> None:
    def seconds(count: int) -> float:
        ports = [{"name": f"p{number}", "port": number} for number in range(1, count + 1)]
        made, one = cluster_ip(ports=ports), slice_of(endpoint(ONE), endpoint(TWO), ports=ports)
        took = []
        for _ in range(5):
            began = time.process_time()
            assert len(Run(made, one).held) == count
            took.append(time.process_time() - began)
        return min(took)

    assert seconds(4000) < 10 * seconds(1000)


def test_nodes_with_a_ready_endpoint_take_connections_from_elsewhere_where_the_policy_is_local() -> None:
    endpoints = [
        endpoint("10.1.0.1", "far"),
        endpoint("10.2.0.1", "gone", ready=False),
        endpoint("10.3.0.1", "ending", ready=False, serving=True, terminating=True),
    ]
    run = Run(cluster_ip(externalTrafficPolicy="Local"), slice_of(*endpoints))
    assert run.traffic.nodes_of("default/web") == {"far"}
    run.take(slice_of(endpoint("10.88.0.9"), endpoint("10.9.0.1")))  # nobody says where: one is here
    assert run.traffic.nodes_of("default/web") == {"here"}
    run.take(slice_of(*endpoints[1:]))
    assert run.traffic.nodes_of("default/web") == {"ending"}
    run.take(slice_of())
    assert run.traffic.nodes_of("default/web") == frozenset()
    run.take(cluster_ip(externalTrafficPolicy="Cluster"))
    assert run.traffic.nodes_of("default/web") is None and run.traffic.nodes_of("default/none") is None
