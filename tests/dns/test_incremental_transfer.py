"""IXFR: whoever follows by differences has, after any history, the zone that a whole transfer gives."""

import random
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.query
import dns.zone
import pytest
from toolbox.builders import endpoint_slice, pod, service
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

ZONES = ("cluster.local.", "10.in-addr.arpa.")
SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
PODS = "/api/v1/namespaces/default/pods"
PORTS = [{"name": "http", "port": 80}]
CONFIG = '[dns]\ntransfer_to = ["127.0.0.0/8"]\nreverse_zones = ["10.in-addr.arpa"]\n'


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1, config=CONFIG) as running:
        yield running


def transferred(server: RunningServer, origin: str) -> dns.zone.Zone:
    return follow(server, dns.zone.Zone(origin, relativize=False))


def follow(server: RunningServer, zone: dns.zone.Zone) -> dns.zone.Zone:
    """Bring what a client has to the server's state, by differences where it has something."""
    host, port = server.dns
    dns.query.inbound_xfr(host, zone, port=port, timeout=GUARD_SECONDS, udp_mode=dns.query.UDPMode.NEVER)
    return zone


def lines_of(zone: dns.zone.Zone) -> list[str]:
    return sorted(str(zone.to_text()).splitlines())


def serial_of(zone: dns.zone.Zone) -> int:
    soa = zone.get_rdataset(zone.origin or "@", "SOA")
    assert soa is not None
    return int(soa[0].serial)


def ixfr(server: RunningServer, origin: str, serial: int, **options: Any) -> list[str]:
    """Return the RRs of an IXFR, a line each."""
    host, port = server.dns
    replies = dns.query.xfr(
        host,
        origin,
        rdtype="IXFR",
        serial=serial,
        port=port,
        relativize=False,
        timeout=GUARD_SECONDS,
        **options,
    )
    return [f"{rrset.name} {rrset.ttl} {rr}" for one in replies for rrset in one.answer for rr in rrset]


def is_whole(lines: list[str]) -> bool:
    """Whether this is the whole zone: between two SOAs there is none."""
    return sum("hostmaster" in line for line in lines) == 2


def change(server: RunningServer, rng: random.Random, there: dict[str, set[int]]) -> None:
    """Do something to a Service or one of its Pods."""
    name = rng.choice(sorted(there))
    numbers = there[name]
    what = rng.random()
    if what < 0.45 or not numbers:
        number = rng.randrange(1000)
        if number not in numbers:
            numbers.add(number)
            spec = {"hostname": f"h{number}", "subdomain": name} if number % 3 else {}
            address = str(ip_address(0x0A010000 + number))
            made = pod(f"{name}-{number}", address, app=name, **spec)
            assert server.post(PODS, made).status == 201
    elif what < 0.85:
        number = rng.choice(sorted(numbers))
        numbers.remove(number)
        assert server.delete(f"{PODS}/{name}-{number}").status == 200
    else:
        assert server.delete(f"{SERVICES}/{name}").status == 200
        assert server.post(SERVICES, service(name, clusterIP=rng.choice(["None", ""]))).status == 201


def test_following_by_differences_is_as_good_as_a_whole_transfer(server: RunningServer) -> None:
    rng = random.Random()
    there: dict[str, set[int]] = {"a": set(), "b": set()}
    for name in there:
        assert server.post(SERVICES, service(name, clusterIP="None")).status == 201
    followed = {origin: transferred(server, origin) for origin in ZONES}
    for _ in range(25):
        for _ in range(rng.randrange(1, 5)):
            change(server, rng, there)
        for origin, zone in followed.items():
            assert lines_of(follow(server, zone)) == lines_of(transferred(server, origin))


def test_one_pod_of_many_is_a_few_records(server: RunningServer) -> None:
    """Also where the Service's row is kept in parts: what comes is what changed."""
    assert server.post(SERVICES, service("many", clusterIP="None", selector=None)).status == 201
    addresses = [str(ip_address(0x0A020000 + number)) for number in range(1, 601)]
    ready = {"conditions": {"ready": True}}
    for at in range(0, 600, 300):
        some = [{"addresses": [one], **ready} for one in addresses[at : at + 300]]
        made = endpoint_slice(f"many-{at}", "many", endpoints=some, ports=PORTS)
        assert server.post(SLICES, made).status == 201
    zone = transferred(server, ZONES[0])
    before = serial_of(zone)
    some[0]["addresses"] = ["10.3.0.1"]
    made = endpoint_slice(f"many-{at}", "many", endpoints=some, ports=PORTS)
    assert server.put(f"{SLICES}/many-{at}", made).status == 200
    lines = ixfr(server, ZONES[0], before)
    assert not is_whole(lines)
    assert len(lines) == 4 + 2 * 6, "four SOAs; six records of one endpoint go, six come"
    assert lines_of(follow(server, zone)) == lines_of(transferred(server, ZONES[0]))


def test_what_is_not_known_is_the_whole_zone(server: RunningServer) -> None:
    serial = serial_of(transferred(server, ZONES[0]))
    assert is_whole(ixfr(server, ZONES[0], serial - 1_000_000))
    assert len(ixfr(server, ZONES[0], serial)) == 1, "the SOA alone"


def test_a_restart_keeps_the_history_and_other_settings_end_it(tmp_path: Path) -> None:
    def run(config: str) -> RunningServer:
        return RunningServer(workers=1, data=tmp_path / "data", config=CONFIG + config)

    with run("") as server:
        assert server.post(SERVICES, service("web", clusterIP="None")).status == 201
        before = serial_of(transferred(server, ZONES[0]))
        assert server.post(PODS, pod("web-1", "10.1.0.1", app="web")).status == 201
    with run("") as server:
        assert not is_whole(ixfr(server, ZONES[0], before))
        before = serial_of(transferred(server, ZONES[0]))
    with run("ttl = 7\n") as server:
        assert is_whole(ixfr(server, ZONES[0], before))


def test_changes_while_nobody_could_transfer_are_a_gap(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with RunningServer(workers=1, data=data, config=CONFIG) as server:
        assert server.post(SERVICES, service("web", clusterIP="None")).status == 201
        before = serial_of(transferred(server, ZONES[0]))
        assert server.post(PODS, pod("web-1", "10.1.0.1", app="web")).status == 201
    with RunningServer(workers=1, data=data, config='[dns]\nreverse_zones = ["10.in-addr.arpa"]\n') as server:
        assert server.post(PODS, pod("web-2", "10.1.0.2", app="web")).status == 201
    with RunningServer(workers=1, data=data, config=CONFIG) as server:
        assert server.post(PODS, pod("web-3", "10.1.0.3", app="web")).status == 201
        assert is_whole(ixfr(server, ZONES[0], before))
