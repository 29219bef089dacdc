"""Ten mistakes of somebody who has never read a page of documentation, each found by what a command says.

In each, dig gets no answer (or not the one that was expected), and one command leads on: the one that was
typed, or `svcdns why` with the name that was asked for.
"""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from cli.in_process import mistake, svcdns
from toolbox.running_server import RunningServer
from toolbox.running_server import svcdns as whole_svcdns
from toolbox.scripted_upstream import Query, ScriptedUpstream

Run = Callable[..., subprocess.CompletedProcess[str]]
Dig = Callable[[str], list[str]]

SERVICE = (
    "{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: {clusterIP: None, selector: {app: %s}}}"
)
POD = "{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {app: %s}}, status: {podIP: 10.1.0.1}}"
SUFFIX = "svc.cluster.local"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1, config='[dns]\nzones = "none"\n') as running:
        yield running


@pytest.fixture
def run(server: RunningServer, tmp_path: Path) -> Run:
    return at(server, tmp_path)


def at(server: RunningServer, folder: Path) -> Run:
    """Return what runs a command as somebody on the server's machine."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return svcdns(*arguments, cwd=folder, SVCDNS_DATA=str(server.data))

    return call


@pytest.fixture
def dig(server: RunningServer, need: Callable[..., str]) -> Dig:
    need("dig")
    return lambda name: dug(server, name)


def dug(server: RunningServer, name: str) -> list[str]:
    """Return what `dig +short` prints."""
    host, port = server.dns
    command = ["dig", f"@{host}", "-p", str(port), "+short", "+time=30", "+tries=1", name]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()


@dataclass(frozen=True)
class Planted:
    """A mistake: what is typed first (manifests, or commands), what is asked for, and what then says it."""

    mistake: str
    asked: str
    finds: Sequence[str]
    """The command that finds it."""
    says: str
    manifests: Sequence[str] = ()
    typed: Sequence[Sequence[str]] = ()
    answers: Sequence[str] = ()


MISTAKES = [
    Planted(
        "a wrong label",
        asked=f"m1.default.{SUFFIX}",
        manifests=[SERVICE % ("m1", "m1"), POD % ("m1-1", "m-1")],
        finds=["why", "m1"],
        says="selector app=m1 matches no Pod; Pod m1-1 has app=m-1",
    ),
    Planted(
        "no selector",
        asked=f"m2.default.{SUFFIX}",
        manifests=["{apiVersion: v1, kind: Service, metadata: {name: m2}, spec: {clusterIP: None}}"],
        finds=["why", "m2"],
        says="Service m2 has no selector and no EndpointSlice: give it spec.selector",
    ),
    Planted(
        "the namespace forgotten where the name is asked for",
        asked=f"m3.default.{SUFFIX}",
        typed=[["add", "m3", "-n", "m3shop", "10.1.0.3"]],
        finds=["why", "m3"],
        says="namespace default has no Service m3; there is one in namespace m3shop: m3.m3shop.svc",
    ),
    Planted(
        "the namespace forgotten where something is added",
        asked=f"m4.m4shop.{SUFFIX}",
        typed=[["add", "m4", "-n", "m4shop", "10.1.0.4"]],
        finds=["add", "m4", "10.1.0.44"],
        says="this Service is new; namespace m4shop has one of that name too: -n m4shop",
        answers=["10.1.0.4"],
    ),
    Planted(
        "a Pod without an address",
        asked=f"m5.default.{SUFFIX}",
        manifests=[
            SERVICE % ("m5", "m5"),
            "{apiVersion: v1, kind: Pod, metadata: {name: m5-1, labels: {app: m5}}}",
        ],
        finds=["why", "m5"],
        says="Pod m5-1 has no address: set status.podIP",
    ),
    Planted(
        "a name that is nearly right",
        asked=f"mm6.default.{SUFFIX}",
        typed=[["add", "m6", "10.1.0.6"]],
        finds=["why", f"mm6.default.{SUFFIX}"],
        says="namespace default has no Service mm6; did you mean m6?",
    ),
    Planted(
        "a field in the wrong place",
        asked=f"m7.default.{SUFFIX}",
        manifests=["{apiVersion: v1, kind: Service, metadata: {name: m7}, clusterIP: None, spec: {}}"],
        finds=["apply", "-f", "m.yaml"],
        says='unknown field "clusterIP" (it belongs under spec)',
    ),
]


@pytest.mark.parametrize("planted", MISTAKES, ids=lambda one: one.mistake.replace(" ", "-"))
def test_a_mistake_says_itself(run: Run, dig: Dig, tmp_path: Path, planted: Planted) -> None:
    if planted.manifests:
        (tmp_path / "m.yaml").write_text("\n---\n".join(planted.manifests))
        run("apply", "-f", "m.yaml")
    for command in planted.typed:
        assert run(*command).returncode == 0
    assert dig(planted.asked) == list(planted.answers)
    found = run(*planted.finds)
    assert planted.says in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


def test_a_name_nearly_right_is_asked_about_from_the_query_on(run: Run) -> None:
    name = f"nearlyright.default.{SUFFIX}"
    asked = run("query", name)
    assert asked.returncode == 1
    assert "NXDOMAIN" in asked.stdout
    assert asked.stderr == f"svcdns: no answer; why: svcdns why {name}\n"


def test_an_asker_outside_the_access_list(tmp_path: Path, need: Callable[..., str]) -> None:
    need("dig")
    with RunningServer(workers=1, config='[acl]\nnames = ["loopback", "!127.0.1.0/24"]\n') as server:
        run = at(server, tmp_path)
        assert run("add", "inside", "10.1.0.8").returncode == 0
        name = f"inside.default.{SUFFIX}"
        command = ["dig", "@127.0.0.1", "-p", str(server.dns[1]), "-b", "127.0.1.1", name]
        dug = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        assert "status: REFUSED" in dug
        assert "EDE: 18 (Prohibited)" in dug
        assert run("why", name).stdout.startswith(f"{name}.  10.1.0.8\n"), "the name itself is right"


def test_a_query_that_is_refused_names_the_access_list(tmp_path: Path) -> None:
    def refuse(query: Query) -> list[bytes]:
        reply = dns.message.make_response(query.message)
        reply.set_rcode(dns.rcode.REFUSED)
        return [reply.to_wire()]

    with ScriptedUpstream(refuse) as upstream:
        ran = svcdns("query", "web", cwd=tmp_path, SVCDNS_DNS_LISTEN=f"127.0.0.1:{upstream.port}")
    assert ran.returncode == 1
    assert "is this machine in the server's access list ([acl], docs/config.md)? svcdns why web" in ran.stderr


def test_the_data_folder_of_another_server(run: Run, server: RunningServer, tmp_path: Path) -> None:
    with RunningServer(workers=1) as other:
        assert run("add", "mine", "10.1.0.9").returncode == 0
        there = at(other, tmp_path)
        refused = there("get", "service", "mine")
        assert refused.returncode == 1
        assert f"(asked {other.api}, the server on {other.data})" in refused.stderr
        said = there("status").stdout
        assert str(other.data) in said
        assert other.api in said
        assert "{}:{}".format(*other.dns) in said
    gone = there("get", "service", "mine")
    assert gone.returncode == 2
    assert f"none runs on {other.data}" in gone.stderr


def test_a_port_in_use_names_the_program(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = "{}:{}".format(*taken.getsockname())
        ran = whole_svcdns("serve", "--dns", listen, "--api", "127.0.0.1:0", "--data", tmp_path / "data")
    assert ran.returncode == 1
    assert listen in ran.stderr
    assert f"(process {os.getpid()})" in ran.stderr


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("", ["--cluster-iprange", "10.0.0.0/8"], "did you mean cluster_ip_ranges of [services]?"),
        ("", ["--datta", "x"], "--data"),
        (
            '[dns]\nlissten = ["127.0.0.1:0"]',
            [],
            "svcdns.toml:2: unknown key 'lissten' in [dns]; did you mean listen?",
        ),
        ("[dns]\nlisten = 5", [], "svcdns.toml:2: dns.listen: 5 is no list of texts"),
        ("[dnss]\nttl = 5", [], "svcdns.toml:1: unknown section [dnss]; did you mean [dns]?"),
        ('[dns]\nttl = "soon"', [], "svcdns.toml:2: dns.ttl"),
        ("ttl = 5", [], "did you mean ttl in [dns]?"),
    ],
)
def test_a_wrong_option_names_the_nearest(
    tmp_path: Path, text: str, arguments: list[str], expected: str
) -> None:
    (tmp_path / "svcdns.toml").write_text(text)
    said = mistake("serve", "--config", "svcdns.toml", *arguments, cwd=tmp_path)
    assert expected in said


def test_a_variable_that_is_no_option_is_warned_of(tmp_path: Path) -> None:
    ran = svcdns(
        "check", cwd=tmp_path, SVCDNS_DNS_TLL="30", SVCDNS_PORT="tcp://10.0.0.1:53", SVCDNS_TOKEN="x"
    )
    assert ran.returncode == 0
    warned = [line for line in ran.stderr.splitlines() if "SVCDNS_" in line]
    assert len(warned) == 1
    assert "did you mean SVCDNS_DNS_TTL?" in warned[0]
