"""The rows of a headless Service whose endpoints differ in their ports."""

from ipaddress import ip_address

from svcdns.names.cluster_names import ClusterNames
from svcdns.names.packed import find
from svcdns.names.service_rows import (
    EndpointRow,
    Port,
    ServiceFacts,
    endpoint_name_row,
    endpoint_row,
    service_rows,
)
from svcdns.wire import codes

NAMES = ClusterNames("cluster.local")
HTTP = Port("http", "TCP", 80)


def endpoint(number: int, *ports: Port) -> EndpointRow:
    address = ip_address(f"10.0.0.{number}")
    return endpoint_row(NAMES, ("default", "web"), f"10-0-0-{number}", address, ports, 5)


def rrs(row: bytes, rrtype: int) -> int:
    """Return how many RRs of a type a row has."""
    section = find(row, rrtype)
    return 0 if section is None else section.count


def test_a_port_that_not_all_endpoints_have_leads_to_those_that_have_it() -> None:
    facts = ServiceFacts("default", "web", 5, headless=True)
    rows = service_rows(NAMES, facts, [endpoint(1, HTTP), endpoint(2)])
    assert (rrs(rows[b""], codes.A), rrs(rows[b""], codes.SRV)) == (2, 1)
    port = rows[b"_tcp\0_http\0"]
    assert (rrs(port, codes.A), rrs(port, codes.SRV)) == (1, 1)
    both = service_rows(NAMES, facts, [endpoint(1, HTTP), endpoint(2, HTTP)])
    assert both[b""] == both[b"_tcp\0_http\0"]


def test_an_endpoints_own_name_has_what_the_service_of_it_alone_has() -> None:
    facts = ServiceFacts("default", "web", 5, headless=True)
    for ports in ((), (HTTP,), (HTTP, Port("dns", "UDP", 53))):
        alone = [endpoint(1, *ports)]
        assert endpoint_name_row(alone) == service_rows(NAMES, facts, alone)[b""]
    assert endpoint_name_row([]) is None
