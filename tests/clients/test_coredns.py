"""CoreDNS with svcdns as its API server: what it learns by watching, it answers as svcdns does.

Only names and types that exist in both are compared: CoreDNS says NXDOMAIN for some types of names that
exist, has no NS of its own at the apex, and doesn't know ns.dns.  Needs `coredns` in PATH:
go install github.com/coredns/coredns@v1.15.0
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.reversename
import pytest
from toolbox.running_server import RunningServer
from toolbox.upstreams import free_port
from toolbox.waiting import GUARD_SECONDS, wait_for

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAM = shutil.which("coredns")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="coredns is not in PATH")

COREFILE = """
.:{port} {{
    bind 127.0.0.1
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        endpoint {api}
        pods verified
        ttl 5
    }}
}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    no_zone_files = '[dns]\nzones = "nowhere"\n'  # CoreDNS doesn't know ours
    with RunningServer(workers=1, config=no_zone_files, arguments=["--manifests", str(EXAMPLES)]) as running:
        yield running


@pytest.fixture(scope="module")
def coredns(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Where CoreDNS answers, once it knows the objects of the examples."""
    folder = tmp_path_factory.mktemp("coredns")
    address = ("127.0.0.1", free_port())
    (folder / "Corefile").write_text(COREFILE.format(port=address[1], api=server.api))
    assert PROGRAM is not None
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "-conf", str(folder / "Corefile")], stdout=log, stderr=log, env=os.environ
        )
        try:

            def knows() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    return ask(address, "web.default.svc.cluster.local", "A").startswith("NOERROR\nweb.")
                except (OSError, dns.exception.DNSException):
                    return False

            wait_for(knows, "CoreDNS to answer")
            yield address
        finally:
            process.kill()
            process.wait()


def ask(address: tuple[str, int], name: str, rrtype: str) -> str:
    """Return rcode, answers with TTLs, the owner of the SOA, and additionals, as text."""
    question = dns.message.make_query(name, rrtype)
    reply = dns.query.udp(question, address[0], port=address[1], timeout=GUARD_SECONDS)
    if reply.flags & dns.flags.TC:
        reply = dns.query.tcp(question, address[0], port=address[1], timeout=GUARD_SECONDS)
    lines = [dns.rcode.to_text(reply.rcode())]
    for section in (reply.answer, reply.additional):
        lines += sorted(f"{rrset.name} {rrset.ttl} {rdata.to_text()}" for rrset in section for rdata in rrset)
    return "\n".join([*lines, *(f"authority {rrset.name}" for rrset in reply.authority)])


def same(server: RunningServer, coredns: tuple[str, int], name: str, rrtype: str) -> bool:
    return ask(coredns, name, rrtype) == ask(server.dns, name, rrtype)


def names(server: RunningServer) -> Iterator[tuple[str, str]]:
    """Yield the names and types that the registry's objects make, and some that they don't."""
    for service in server.get("/api/v1/services").json["items"]:
        metadata, spec = service["metadata"], service["spec"]
        owner = f"{metadata['name']}.{metadata['namespace']}.svc.cluster.local"
        yield from ((owner, rrtype) for rrtype in ("A", "AAAA", "SRV", "CNAME"))
        for port in spec.get("ports", []):
            yield f"_{port.get('name', '')}._{port['protocol'].lower()}.{owner}", "SRV"
        for address in spec.get("clusterIPs", []):
            if address != "None":
                yield str(dns.reversename.from_address(address)), "PTR"
    for piece in server.get("/apis/discovery.k8s.io/v1/endpointslices").json["items"]:
        metadata = piece["metadata"]
        service = metadata["labels"]["kubernetes.io/service-name"]
        for endpoint in piece["endpoints"]:
            if "hostname" in endpoint:
                owner = f"{endpoint['hostname']}.{service}.{metadata['namespace']}.svc.cluster.local"
                yield from ((owner, rrtype) for rrtype in ("A", "AAAA", "SRV"))
            for address in endpoint["addresses"]:
                yield str(dns.reversename.from_address(address)), "PTR"
    for pod in server.get("/api/v1/pods").json["items"]:
        dashed = pod["status"]["podIP"].replace(".", "-").replace(":", "-")
        yield f"{dashed}.{pod['metadata']['namespace']}.pod.cluster.local", "A"
    for name in (
        "",
        "svc.",
        "default.svc.",
        "pod.",
        "nope.default.svc.",
        "nope.svc.",
        "web.nope.svc.",
        "nope.",
    ):
        yield from ((f"{name}cluster.local", rrtype) for rrtype in ("A", "AAAA", "SRV"))
    yield "250.255.96.10.in-addr.arpa", "PTR"
    yield "dns-version.cluster.local", "TXT"


def test_answers_are_the_same(server: RunningServer, coredns: tuple[str, int]) -> None:
    asked = list(names(server))
    assert len(asked) > 80
    different = [
        f"{name} {rrtype}\nCoreDNS: {ask(coredns, name, rrtype)}\nsvcdns: {ask(server.dns, name, rrtype)}"
        for name, rrtype in asked
        if not same(server, coredns, name, rrtype)
    ]
    assert different == []


def headless(name: str) -> dict[str, Any]:
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80, "name": "http"}]}
    return {"metadata": {"name": name}, "spec": spec}


def test_changes_arrive_by_watch(server: RunningServer, coredns: tuple[str, int]) -> None:
    space, owner = "/api/v1/namespaces/default", "late.default.svc.cluster.local"
    assert server.post(f"{space}/services", headless("late")).status == 201
    for number in (1, 2):
        metadata = {"name": f"late-{number}", "labels": {"app": "late"}}
        address = f"10.244.9.{number}"
        pod = {"metadata": metadata, "status": {"podIP": address, "podIPs": [{"ip": address}]}}
        assert server.post(f"{space}/pods", pod).status == 201
    assert len(server.answers(owner)) == 2
    wait_for(lambda: same(server, coredns, owner, "A"), "CoreDNS to see two Pods")
    not_ready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert server.patch(f"{space}/pods/late-1/status", not_ready).status == 200
    assert server.answers(owner) == ["10.244.9.2"]
    wait_for(lambda: same(server, coredns, owner, "A"), "CoreDNS to see one Pod")
    assert server.delete(f"{space}/services/late").status == 200
    wait_for(lambda: ask(coredns, owner, "A").startswith("NXDOMAIN"), "CoreDNS to see no Service")


def test_watches_resume_after_the_writer_died(server: RunningServer, coredns: tuple[str, int]) -> None:
    before = server.writer_pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: server.writer_pid not in (0, before), "a new writer")
    wait_for(lambda: server.get("/readyz").status == 200, "the new writer to be ready")
    space, owner = "/api/v1/namespaces/default", "after.default.svc.cluster.local"
    spec = {"ports": [{"port": 80}], "clusterIP": "10.96.7.7"}
    made = server.post(f"{space}/services", {"metadata": {"name": "after"}, "spec": spec})
    assert made.status == 201
    wait_for(lambda: same(server, coredns, owner, "A"), "CoreDNS to see what was created since")
    assert ask(coredns, owner, "A").endswith("10.96.7.7")
