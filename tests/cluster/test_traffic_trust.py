"""What is taken at its word, and what isn't: addresses that a status says, revisions of other servers."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from cluster.traffic_harness import HERE, Run, cluster_ip, endpoint, listed, slice_of

from svcdns.cluster.traffic_objects import Service, Slice, decoded

ONE, TWO = "10.0.0.1", "10.0.0.2"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.0.2.1", "is an address of this machine"),
        ("10.96.0.77", "lies where cluster IPs come from"),
        ("127.0.0.1", "is never a load balancer's"),
        ("169.254.169.254", "is never a load balancer's"),
        ("224.0.0.1", "is never a load balancer's"),
        ("0.0.0.0", "is never a load balancer's"),
        ("fe80::1", "is never a load balancer's"),
        ("203.0.113.7", ""),
    ],
)
def test_a_status_takes_nothing_away_that_others_have(address: str, why: str) -> None:
    """Whoever may write a status can say any address: not those of the machine, or of Services to come."""
    families = {"clusterIPs": ["10.96.0.1", "fd96::1"], "type": "LoadBalancer"}
    made = cluster_ip(**families) | {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
    place = replace(HERE.place, addresses=frozenset([ip_address("192.0.2.1").packed]))
    here = replace(HERE, place=place, cluster_networks=(ip_network("10.96.0.0/12"),))
    run = Run(made, slice_of(endpoint(ONE)), here=here)
    shown = f"TCP [{address}]:80" if ":" in address else f"TCP {address}:80"

    assert (shown in run.shown) == (not why)
    assert [one for one in run.problems if why in one and "LoadBalancerIPNotAllowed" in one] == (
        run.problems if why else []
    )
    named = replace(here, balancer_networks=(ip_network(address),))
    assert shown in Run(made, slice_of(endpoint(ONE)), here=named).shown
    external = replace(here, external_networks=(ip_network(address),))
    assert shown in Run(made, slice_of(endpoint(ONE)), here=external).shown


def test_the_same_revision_of_another_object_is_news() -> None:
    """As from a server whose data are new: it counts from the start."""
    run = Run()
    for uid, port, end in (("a", 80, ONE), ("b", 81, TWO)):
        service = listed(cluster_ip(ports=[{"name": "http", "port": port}]), uid=uid, resourceVersion="7")
        run.traffic.put_service(decoded(Service, service))
        ends = listed(slice_of(endpoint(end)), uid=uid, resourceVersion="8")
        run.traffic.put_slice(decoded(Slice, ends))
        run.take()
        assert run.shown == {f"TCP 10.96.0.1:{port}": (f"{end}:8080", f"{end}:8080")}
