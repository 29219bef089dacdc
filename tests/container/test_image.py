"""The image: what a user of docs/containers.md meets, with podman."""

import http.client
import json
from pathlib import Path
from typing import Any

import pytest
from container.running_container import Podman, RunningContainer, Serve, ask
from dns.message import Message
from dns.rcode import NOERROR
from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS, wait_for

pytestmark = pytest.mark.timeout(900)  # the first test makes the image, and on a new machine its base

SERVICES = "/api/v1/namespaces/default/services"
SVCDNS_USER = 10053
NET_BIND_SERVICE = 1 << 10
"""The right to bind ports below 1024, as a bit of a set of capabilities."""

PUBLISHED_DNS = ("--publish", "127.0.0.1::53/udp", "--publish", "127.0.0.1::53/tcp")
PUBLISHED_API = (
    *("--env", "SVCDNS_API_LISTEN=0.0.0.0:8053", "--env", "SVCDNS_API_INSECURE=true"),
    *("--publish", "127.0.0.1::8053"),
)

POST_FROM_INSIDE = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"})
print(json.dumps(urllib.request.urlopen(request).status))
"""

EVERY_PROCESS = """
import glob, json
texts = [open(path).read() for path in glob.glob("/proc/[0-9]*/status")]
print(json.dumps([dict(line.split(":", 1) for line in text.splitlines()) for text in texts]))
"""

STOP_EVERY_WORKER = """
import glob, json, os, signal, time
paths = glob.glob("/proc/[0-9]*/cmdline")
pids = [path.split("/")[2] for path in paths if b"\\0svcdns.server.worker\\0" in open(path, "rb").read()]
for pid in pids:
    os.kill(int(pid), signal.SIGSTOP)
def goes_on(pid):  # the signal is carried out when each thread has taken it
    files = glob.glob(f"/proc/{pid}/task/*/stat")
    return any(open(file).read().rpartition(")")[2].split()[0] != "T" for file in files)
while any(map(goes_on, pids)):
    time.sleep(0.01)
print(json.dumps(pids))
"""

FILES_WITH_CAPABILITIES = """
import json, os
paths = [os.path.join(at, file) for at, _, files in os.walk("/") for file in files
         if not at.startswith(("/proc", "/sys", "/dev"))]
has = lambda path: "security.capability" in os.listxattr(path, follow_symlinks=False)
print(json.dumps([path for path in paths if os.path.lexists(path) and has(path)]))
"""


def post(where: tuple[str, int], path: str, body: dict[str, Any]) -> int:
    connection = http.client.HTTPConnection(*where, timeout=GUARD_SECONDS)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def addresses(reply: Message) -> list[str]:
    return sorted(record.to_text() for rrset in reply.answer for record in rrset)


@pytest.fixture(scope="module")
def shared(podman: Podman, image: str) -> RunningContainer:
    """A container with DNS and API published, for tests that leave it as it is but for new Services."""
    return RunningContainer(podman, image, *PUBLISHED_DNS, *PUBLISHED_API)


def test_a_service_registered_on_this_machine_is_answered_to_this_machine(shared: RunningContainer) -> None:
    assert post(shared.published("8053/tcp"), SERVICES, service("web", clusterIP="10.96.0.80")) == 201
    for tcp in (False, True):
        reply = shared.ask("web.default.svc.cluster.local", tcp=tcp)
        assert addresses(reply) == ["10.96.0.80"]


def test_plain_questions_are_answered_by_the_compiled_path(shared: RunningContainer) -> None:
    assert "(compiled path)" in shared.execute("svcdns", "version")


def test_the_api_stays_inside_where_nothing_else_is_said(serve: Serve) -> None:
    container = serve(*PUBLISHED_DNS, "--publish", "127.0.0.1::8053")
    assert container.said_addresses() == (("0.0.0.0", 53), ("127.0.0.1", 8053))
    with pytest.raises((OSError, http.client.HTTPException)):
        post(container.published("8053/tcp"), SERVICES, service("web", clusterIP="10.96.0.80"))

    url = f"http://127.0.0.1:8053{SERVICES}"
    assert container.python(POST_FROM_INSIDE, url, json.dumps(service("web", clusterIP="10.96.0.81"))) == 201
    assert "10.96.0.81" in container.execute("svcdns", "query", "web.default.svc.cluster.local")
    assert addresses(container.ask("web.default.svc.cluster.local")) == ["10.96.0.81"]


def test_an_api_away_from_loopback_is_refused_unless_asked_for(podman: Podman, image: str) -> None:
    name = podman.fresh_name("rm", "--force", "--volumes")
    refused = podman.attempt("run", "--name", name, "--env", "SVCDNS_API_LISTEN=0.0.0.0:8053", image)
    assert refused.returncode == 2
    assert "SVCDNS_API_INSECURE=true" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_state_outlives_the_container(podman: Podman, serve: Serve) -> None:
    volume = ("--volume", f"{podman.volume()}:/var/lib/svcdns")
    first = serve(*volume, *PUBLISHED_API)
    assert post(first.published("8053/tcp"), SERVICES, service("web", clusterIP="10.96.0.80")) == 201
    podman.run("kill", first.name)
    podman.run("rm", "--force", first.name)

    second = serve(*volume, *PUBLISHED_DNS)
    assert addresses(second.ask("web.default.svc.cluster.local")) == ["10.96.0.80"]
    podman.run("restart", second.name)
    wait_for(second.is_healthy, "the restarted container to be healthy")
    assert addresses(second.ask("web.default.svc.cluster.local")) == ["10.96.0.80"]


def test_no_process_is_root_or_may_do_more_than_bind_ports(shared: RunningContainer) -> None:
    processes = shared.python(EVERY_PROCESS)
    assert [one["Name"].strip() for one in processes if one["Pid"].strip() == "1"] == ["svcdns"]
    assert len(processes) >= 4  # supervisor, writer, a worker and the one that asks
    for one in processes:
        assert set(one["Uid"].split()) == {str(SVCDNS_USER)}, one
        assert int(one["CapPrm"], 16) in (NET_BIND_SERVICE, 0), one  # those who are handed sockets have none


def test_no_other_program_has_the_right(podman: Podman, image: str) -> None:
    as_root = ("run", "--rm", "--user", "0", "--entrypoint", "python3", image)
    assert json.loads(podman.run(*as_root, "-c", FILES_WITH_CAPABILITIES)) == ["/opt/svcdns/bin/python3"]


def test_a_proxy_beside_it_carries_traffic_by_packet_rules(podman: Podman, image: str) -> None:
    """In the network of the server: here that of its container, else the host's."""
    server = RunningContainer(podman, image, "--network", "none")
    server.execute("svcdns", "add", "web", "--cluster-ip", "--port", "http=8080", "10.0.0.5")
    rights = ("--cap-drop", "ALL", "--cap-add", "NET_ADMIN,NET_RAW,NET_BIND_SERVICE")
    as_root = ("--network", f"container:{server.name}", "--user", "0", "--read-only", *rights)
    name = podman.fresh_name("rm", "--force", "--volumes", "--time", "10")
    podman.run(
        "run", "--detach", "--name", name, *as_root, image, "proxy", "--server", "http://127.0.0.1:8053"
    )

    def status() -> str:
        return podman.attempt("exec", name, "svcdns", "proxy", "status").stdout

    wait_for(lambda: "-> 10.0.0.5:8080" in status(), "traffic to be carried")
    assert "engine     nft" in status()
    podman.run("stop", name)
    taken_back = podman.run("run", "--rm", *as_root, image, "proxy", "--cleanup")
    assert "the table ip svcdns is gone" in taken_back


def test_it_becomes_healthy(shared: RunningContainer) -> None:
    wait_for(shared.is_healthy, "the container to be healthy")


def test_it_becomes_healthy_with_another_domain_and_port(serve: Serve) -> None:
    domain = ("--env", "SVCDNS_CLUSTER_DOMAIN=kube.test", "--env", "SVCDNS_DNS_LISTEN=0.0.0.0:5353")
    wait_for(serve(*domain).is_healthy, "the container to be healthy")


def test_it_is_unhealthy_when_dns_does_not_answer(serve: Serve) -> None:
    container = serve()
    wait_for(container.passes_check, "it to be healthy first")
    assert container.python(STOP_EVERY_WORKER)
    assert not container.passes_check()


def test_it_ends_by_itself_when_told_to(serve: Serve) -> None:
    container = serve()
    assert container.stop() == 0, container.log()


def test_it_runs_on_a_read_only_root_with_no_other_right(serve: Serve) -> None:
    few = ("--read-only", "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE")
    container = serve(*few, *PUBLISHED_DNS)
    assert container.ask("dns-version.cluster.local", "TXT").rcode() == NOERROR


def test_it_runs_without_new_privileges_where_port_53_is_free_for_all(serve: Serve) -> None:
    none = ("--security-opt", "no-new-privileges", "--sysctl", "net.ipv4.ip_unprivileged_port_start=53")
    few = ("--read-only", "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE")
    container = serve(*none, *few, *PUBLISHED_DNS)
    assert container.ask("dns-version.cluster.local", "TXT").rcode() == NOERROR


def test_mounted_manifests_and_zones_are_served_on_the_network_of_the_host(
    serve: Serve, tmp_path: Path
) -> None:
    manifests, zones = tmp_path / "manifests", tmp_path / "zones"
    manifests.mkdir()
    zones.mkdir()
    web = service("web", clusterIP="10.96.0.80")
    (manifests / "web.json").write_text(json.dumps(web))
    soa = "@ 60 IN SOA ns hostmaster 1 3600 600 86400 60\n@ 60 IN NS ns\nns 60 IN A 192.0.2.53\n"
    (zones / "site.test.zone").write_text(f"$ORIGIN site.test.\n{soa}www 60 IN A 192.0.2.80\n")
    tmp_path.chmod(0o755)

    container = serve(
        *(
            "--network",
            "host",
            "--env",
            "SVCDNS_DNS_LISTEN=127.0.0.1:0",
            "--env",
            "SVCDNS_API_LISTEN=127.0.0.1:0",
        ),
        *(
            "--volume",
            f"{manifests}:/etc/svcdns/manifests:ro,z",
            "--volume",
            f"{zones}:/etc/svcdns/zones:ro,z",
        ),
    )
    dns, api = container.said_addresses()
    assert addresses(ask(*dns, "web.default.svc.cluster.local")) == ["10.96.0.80"]
    assert addresses(ask(*dns, "www.site.test")) == ["192.0.2.80"]
    assert post(api, SERVICES, service("more", clusterIP="10.96.0.81")) == 201


def test_another_container_resolves_short_names_through_it(podman: Podman, serve: Serve, base: str) -> None:
    network = podman.network()
    server = serve("--network", network, *PUBLISHED_API)
    assert post(server.published("8053/tcp"), SERVICES, service("web", clusterIP="10.96.0.80")) == 201
    address = server.inspect()["NetworkSettings"]["Networks"][network]["IPAddress"]
    found = podman.run(
        *("run", "--rm", "--network", network, "--dns", address),
        *("--dns-search", "default.svc.cluster.local", "--dns-option", "ndots:5"),
        *(base, "getent", "ahostsv4", "web"),
    )
    assert {line.split()[0] for line in found.splitlines()} == {"10.96.0.80"}
