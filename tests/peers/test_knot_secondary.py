"""A real secondary: Knot transfers our zones, then both servers answer 1,000 questions alike."""

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from dns.message import Message
from toolbox.running_server import RunningServer
from toolbox.upstreams import free_port
from toolbox.waiting import GUARD_SECONDS, wait_for

ZONES = ("cluster.local.", "in-addr.arpa.", "ip6.arpa.", "example.org.")
CONFIG = """
[services]
cluster_ip_ranges = ["10.96.0.0/16", "fd00:96::/112"]
[dns]
transfer_to = ["127.0.0.0/8"]
short_names = false
"""
ZONE_FILE = """
$TTL 300
@ IN SOA ns hostmaster 7 7200 1800 86400 60
@ IN NS ns
ns IN A 192.0.2.1
www IN CNAME @
@ IN A 192.0.2.10
@ IN MX 10 mail
mail IN A 192.0.2.25
*.apps IN A 192.0.2.80
api.apps IN TXT "not the wildcard"
lab IN NS ns.lab
ns.lab IN A 192.0.2.53
deep.er.still IN A 192.0.2.99
"""


class Knot:
    """A knotd of our own on loopback that is secondary for the zones of one primary."""

    def __init__(self, knotd: str, folder: Path, primary: tuple[str, int]) -> None:
        self.address = ("127.0.0.1", free_port())
        zones = "".join(f"  - domain: {zone}\n    master: primary\n" for zone in ZONES)
        folder.mkdir()
        (folder / "knot.conf").write_text(
            f"server:\n  listen: 127.0.0.1@{self.address[1]}\n  rundir: {folder}\n"
            f"database:\n  storage: {folder}\n"
            f"remote:\n  - id: primary\n    address: {primary[0]}@{primary[1]}\n"
            f"template:\n  - id: default\n    storage: {folder}\n    journal-content: none\n"
            f"zone:\n{zones}"
        )
        self._log = (folder / "log").open("w")
        command = [knotd, "-c", str(folder / "knot.conf")]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def ask(self, name: str, rrtype: str) -> Message:
        return ask(self.address, name, rrtype)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


def ask(address: tuple[str, int], name: str, rrtype: str) -> Message:
    question = dns.message.make_query(name, rrtype, flags=0)
    return dns.query.tcp(question, address[0], port=address[1], timeout=GUARD_SECONDS)


@pytest.fixture(scope="module")
def both(
    need: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningServer, Knot]]:
    knotd = need("knotd")
    folder = tmp_path_factory.mktemp("secondary")
    (folder / "zones").mkdir()
    (folder / "zones" / "example.org.zone").write_text(ZONE_FILE)
    config = CONFIG.replace("[dns]", f'[dns]\nzones = "{folder / "zones"}"')
    with RunningServer(workers=1, config=config) as server:
        register(server)
        knot = Knot(knotd, folder / "knot", server.dns)
        try:
            wait_for(lambda: all(transferred(knot, zone) for zone in ZONES), "Knot to transfer all zones")
            yield server, knot
        finally:
            knot.stop()


def transferred(knot: Knot, zone: str) -> bool:
    try:
        return knot.ask(zone, "SOA").rcode() == dns.rcode.NOERROR
    except OSError:
        return False


def register(server: RunningServer) -> None:
    base = "/api/v1/namespaces/default"
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    dual = {"ipFamilyPolicy": "PreferDualStack"}
    for number in range(20):
        spec = {"selector": {"app": f"a{number % 3}"}, "ports": ports}
        spec |= {"clusterIP": "None"} if number % 2 else dual
        reply = server.post(f"{base}/services", {"metadata": {"name": f"s{number}"}, "spec": spec})
        assert reply.status == 201, reply.text
    external = {"type": "ExternalName", "externalName": "www.example.net"}
    server.post(f"{base}/services", {"metadata": {"name": "out"}, "spec": external})
    for number in range(40):
        spec = {"hostname": f"h{number}", "subdomain": "s1"} if number % 2 else {}
        ips = [{"ip": f"10.1.0.{number}"}, {"ip": f"fd00:1::{number + 1:x}"}]
        pod = {
            "metadata": {"name": f"p{number}", "labels": {"app": f"a{number % 3}"}},
            "spec": spec,
            "status": {"podIP": ips[0]["ip"], "podIPs": ips},
        }
        assert server.post(f"{base}/pods", pod).status == 201


def questions(server: RunningServer) -> list[tuple[str, str]]:
    """Names that exist and names that do not, of every sort, with every type."""
    rng = random.Random(7)
    names = [
        "cluster.local.",
        "svc.cluster.local.",
        "default.svc.cluster.local.",
        "dns-version.cluster.local.",
    ]
    names += ["ns.dns.cluster.local.", "dns.cluster.local.", "pod.cluster.local.", "foo.cluster.local."]
    names += ["out.default.svc.cluster.local.", "x.out.default.svc.cluster.local.", "nope.svc.cluster.local."]
    for number in range(22):
        service = f"s{number}.default.svc.cluster.local."
        names += [
            service,
            f"_http._tcp.{service}",
            f"_dns._udp.{service}",
            f"_tcp.{service}",
            f"_no._tcp.{service}",
        ]
        names += [f"10-1-0-{number}.{service}", f"h{number}.s1.default.svc.cluster.local."]
    for number in range(45):
        names += [f"10-1-0-{number}.default.pod.cluster.local.", f"{number}.0.1.10.in-addr.arpa."]
    names += [
        "in-addr.arpa.",
        "10.in-addr.arpa.",
        "96.10.in-addr.arpa.",
        "1.1.96.10.in-addr.arpa.",
        "ip6.arpa.",
    ]
    names += [
        n + "example.org." for n in ("", "www.", "x.apps.", "api.apps.", "apps.", "er.still.", "no.", "mail.")
    ]
    names += [n + "example.org." for n in ("lab.", "host.lab.", "ns.lab.")]
    types = ["A", "AAAA", "SRV", "PTR", "TXT", "NS", "SOA", "MX", "CNAME", "HTTPS"]
    every = [(name, rrtype) for name in names for rrtype in types]
    # An SRV question at an ExternalName is NODATA with us, a CNAME with a plain zone server.
    every = [q for q in every if not (q[0].startswith("out.") and q[1] not in ("A", "AAAA", "CNAME"))]
    return rng.sample(every, 1000)


def sections(reply: Message) -> tuple[object, ...]:
    """What must be equal: rcode, AA, answer and authority as sets (names and data in lower case)."""

    def rrs(section: list[dns.rrset.RRset]) -> set[str]:
        return {f"{s.name} {s.ttl} {s.rdtype} {rdata}".lower() for s in section for rdata in s}

    authority = rrs(reply.authority)
    return reply.rcode(), bool(reply.flags & dns.flags.AA), rrs(reply.answer), authority


def test_a_secondary_answers_as_we_do(both: tuple[RunningServer, Knot]) -> None:
    server, knot = both
    different = []
    for name, rrtype in questions(server):
        ours, theirs = sections(ask(server.dns, name, rrtype)), sections(knot.ask(name, rrtype))
        if ours != theirs:
            different.append(f"{name} {rrtype}\n  ours   {ours}\n  theirs {theirs}")
    assert not different, f"{len(different)} of 1,000 differ:\n" + "\n".join(different[:20])


def test_a_transfer_is_refused_to_those_who_are_not_named() -> None:
    with RunningServer(workers=1) as server:
        question = dns.message.make_query("cluster.local.", "AXFR")
        assert (
            dns.query.tcp(question, server.dns[0], port=server.dns[1], timeout=GUARD_SECONDS).rcode()
            == dns.rcode.REFUSED
        )
