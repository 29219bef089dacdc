"""What people type by mistake: one clear line, the right exit code, and nothing is written; or it works."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli.in_process import svcdns
from cli.test_help import command_at, commands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toolbox.running_server import RunningServer
from toolbox.running_server import svcdns as whole_svcdns

from svcdns.client import Client, Connection
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE

Run = Callable[..., subprocess.CompletedProcess[str]]
LONG = "Way-too-long." * 6


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1, config="[api]\nhints = false\n") as running:  # they have tests of their own
        with Client(Connection(running.api)) as client:
            client.add("keep", ["10.2.0.1"], ports={"http": 80}, cluster_ip="10.96.7.7")
            client.add("bare", ["10.2.0.2"])
        yield running


@pytest.fixture
def run(server: RunningServer, tmp_path: Path) -> Run:
    def call(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return svcdns(*arguments, cwd=tmp_path, stdin=stdin, SVCDNS_DATA=str(server.data))

    return call


def registered(server: RunningServer) -> list[object]:
    with Client(Connection(server.api)) as client:
        return [client.list(kind) for kind in (SERVICE, POD, NAMESPACE)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # an empty variable of a script: once that meant all of them
        (["delete", "pod", ""], "no pod is called ''"),
        (["delete", "service", "."], "no service is called '.'"),
        (["delete", "service", ".."], "no service is called '..'"),
        (["delete", "pod", "x", "-n", "../default"], "no pod is called '../default'"),
        (["delete", "pod", "keep-10-2-0-1/status"], "no pod is called 'keep-10-2-0-1/status'"),
        (["remove", ""], "the name of a Service can't be ''"),
        (["remove", "keep", ""], "'' is no address"),
        (["ready", ""], "no pod is called ''"),
        (["unready", "..", "--because", "x"], "no pod is called '..'"),
        (["get", "pod", ".."], "no pod is called '..'"),
        (["get", "pod", "\udcff"], r"no pod is called '\udcff'"),
        (["get", "-n", "\udcff"], r"'\udcff' can't be sent anywhere: it is no UTF-8"),
        (["get", "-l", "app=\udcff"], "it is no UTF-8"),
        (["why", "\udcff"], "it is no UTF-8"),
        (["add", "", "10.0.0.1"], "the name of a Service can't be ''"),
        (["add", "x", "10.0.0.1", "-n", ".."], "the name of a namespace can't be '..'"),
        (["add", "x", ""], "'' is no address"),
        (["add", "x", "10.0.0.1", "--cluster-ip="], "'' is no address"),
        # names
        (
            ["add", "My_Cache", "10.0.0.1"],
            "a-z, 0-9 and - inside, at most 63 of them; did you mean my-cache?",
        ),
        (["add", "my cache", "10.0.0.1"], "did you mean my-cache?"),
        (["add", "Größe", "10.0.0.1"], "did you mean grosse?"),
        (["add", "\U0001f600", "10.0.0.1"], "at most 63 of them"),
        (["add", LONG[:64], "10.0.0.1"], f"did you mean {LONG.lower().replace('.', '-')[:63]}?"),
        (["add", "\x1b[31mred", "10.0.0.1"], r"can't be '\x1b[31mred'; allowed"),
        (["add", "x", "10.0.0.1", "-n", "My Shop"], "a namespace can't be 'My Shop'; allowed"),
        (["add", "x", "10.0.0.1", "--host-name", "DB_0"], "did you mean db-0?"),
        # ports
        (["add", "x", "--port", "0"], "port port-0 can't be 0; allowed: 1..65535"),
        (["add", "x", "--port", "http=70000"], "port http can't be 70000; allowed: 1..65535"),
        (["add", "x", "--port", "http="], "'http=' is no port; allowed: such as redis=6379, or 6379"),
        (["add", "x", "--port", "=80"], "'=80' is no port"),
        (["add", "x", "--port", "http=\u0668\u0660"], "is no port"),
        (["add", "x", "--port", "http=80/udp"], "'http=80/udp' is no port"),
        (["add", "x", "--port", "HTTP=80"], "the name of a port can't be 'HTTP'"),
        (["add", "x", "--port", "http=80", "--port", "http=81"], "http is said twice, with 80 and 81"),
        (["add", "keep", "--port", "web=80"], "Service keep has port 80 already, called http"),
        (["add", "x", "10.0.0.1", "--cluster-ip"], "has at least one port; say it: --port http=80"),
        # addresses
        (["add", "x", "10.0.0.0/24"], "is no address but a network; say one address of it"),
        (["add", "x", "10.0.0.1:80"], "say its port apart, 10.0.0.1 --port 80"),
        (["add", "x", "[2001:db8::1]:80"], "say its port apart, 2001:db8::1 --port 80"),
        (["add", "x", "db.example.org"], "a host name answers nothing here; say where it is"),
        (["add", "x", "fe80::1%eth0"], "one with a zone is good on one machine only"),
        (["add", "x", "010.0.0.1"], "must not have leading 0s"),
        (["add", "x", "0.0.0.0"], "is no address of one host"),
        (["add", "x", "10.0.0.1", "10.0.0.999"], "'10.0.0.999' is no address"),
        (["add", "bare", "--cluster-ip=10.96.8.8"], "Service bare is there and headless; remove it first"),
        (["add", "keep", "--cluster-ip=10.96.8.8"], "Service keep is there with 10.96.7.7; remove it first"),
        # what does not go together, or is nothing
        (["get", "pod", "keep", "-l", "a=b"], "NAME and --selector exclude each other"),
        (["get", "pod", "keep", "-A"], "NAME and --all-namespaces exclude each other; say --namespace NS"),
        (["get", "-o", "xml"], "'xml' is not one of"),
        (["get", "--namespce", "x"], "--namespace"),
        (["stauts"], "Did you mean 'status'?"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    run: Run, server: RunningServer, arguments: list[str], expected: str
) -> None:
    before = registered(server)
    ran = run(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("svcdns: ")
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.strip().isprintable()
    assert expected in ran.stderr
    assert registered(server) == before


WORDS = st.one_of(
    st.sampled_from(["", "-", "--", "..", "/", "a b", "x" * 300, "\x1b[31m", "\udcff", "\n", "-1", "9" * 30]),
    st.sampled_from(
        ["pods", "odd", "10.0.0.1", "10.0.0.0/8", "http=80", "a=b", "=", "json", "http://", "[::1"]
    ),
    st.text("ab\u00e9%?#/.:=-", max_size=5),
)
OPTIONS = {
    path: sorted(
        {opt for one in command_at(path).params for opt in one.opts if opt.startswith("-")}
        - {"-w", "--watch"}
    )
    for path in commands()
    if path not in ((), ("serve",), ("upgrade",), ("reload",))  # these would start, or change, a server
    and path[0] not in ("proxy", "register")  # which stay, or change this machine
    and path != ("query",)  # which would ask whoever is at an address
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), path=st.sampled_from(sorted(OPTIONS)))
def test_no_words_are_a_traceback(run: Run, data: st.DataObject, path: tuple[str, ...]) -> None:
    option = st.sampled_from(OPTIONS[path]) if OPTIONS[path] else WORDS
    words = data.draw(st.lists(st.one_of(WORDS, option), max_size=5).filter(lambda given: "-" not in given))
    ran = run(*path, *words)
    assert ran.returncode in (0, 1, 2)
    assert all(line.isprintable() for line in (ran.stdout + ran.stderr).splitlines())


def test_a_cluster_ip_that_is_taken_names_its_holder(run: Run) -> None:
    ran = run("add", "late", "--port", "http=80", "--cluster-ip=10.96.7.7", "10.2.0.9")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "svcdns: --cluster-ip=10.96.7.7: Service default/keep has this address\n"
    chosen = run("add", "chosen", "--port", "http=80", "--cluster-ip=10.96.7.8", "10.2.0.9")
    assert chosen.stdout == "chosen.default.svc.cluster.local answers 10.96.7.8\n"
    outside = run("add", "outside", "--port", "http=80", "--cluster-ip=192.0.2.1", "10.2.0.9")
    assert outside.returncode == 1
    assert "192.0.2.1" in outside.stderr


def test_an_address_that_is_a_cluster_ip_is_warned_of(run: Run) -> None:
    ran = run("add", "behind", "10.96.7.7", "10.2.0.8")
    assert ran.returncode == 0
    assert ran.stderr == (
        "svcdns: warning: 10.96.7.7 is the cluster IP of Service default/keep: say where something runs\n"
    )


def test_twenty_adds_at_once_are_one_service_with_all_addresses_and_ports(
    run: Run, server: RunningServer
) -> None:
    def add(number: int) -> bool:
        with Client(Connection(server.api)) as client:
            added = client.add(
                "many", [f"10.3.0.{number}"], ports={f"p{number}": 1000 + number}, namespace="new"
            )
            return added.is_new

    with ThreadPoolExecutor(20) as threads:
        made = list(threads.map(add, range(1, 21)))
    assert made.count(True) == 1
    assert len(server.answers("many.new.svc.cluster.local", tcp=True)) == 20
    with Client(Connection(server.api)) as client:
        (service,) = client.list(SERVICE, "new")
        assert sorted(port["port"] for port in service["spec"]["ports"]) == list(range(1001, 1021))
        with ThreadPoolExecutor(20) as threads:
            same = threads.map(lambda _: add(1), range(20))
        assert not any(same)
        assert len(client.list(POD, "new")) == 20


def test_an_address_that_was_not_added_is_named(run: Run) -> None:
    ran = run("remove", "keep", "10.2.0.77")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "svcdns: nothing was added to keep in namespace default at 10.2.0.77\n"


def test_a_port_gets_another_number(run: Run, server: RunningServer) -> None:
    run("add", "moved", "--port", "a=1", "--port", "b=2", "10.2.0.7")
    assert run("add", "moved", "--port", "a=3").returncode == 0
    table = run("get", "service", "moved").stdout
    assert "2/TCP" in table
    assert "3/TCP" in table
    assert "1/TCP" not in table


# Files


def test_all_mistakes_of_a_folder_at_once_and_the_good_ones_are_applied(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    good = "{{apiVersion: v1, kind: Service, metadata: {{name: {}}}, spec: {{clusterIP: None}}}}"
    (folder / "a.yaml").write_text(good.format("good-1"))
    (folder / "b.yaml").write_text("apiVersion: [v1")
    (folder / "c.yaml").write_text(good.format("bad").replace("clusterIP", "clusterIPP"))
    (folder / "d.yaml").write_text(good.format("good-2"))
    (folder / "e.yaml").write_bytes(bytes(range(256)))
    (folder / "f.json").write_text("")
    ran = run("apply", "-f", "folder")
    assert ran.returncode == 1
    assert ran.stdout == "service/good-1 applied\nservice/good-2 applied\n"
    named = [line.split(":")[1].split(",")[0].strip() for line in ran.stderr.splitlines()]
    assert [name for name in named if name != "folder/f.json"] == [
        "folder/b.yaml",
        "folder/c.yaml",
        "folder/e.yaml",
    ]
    assert ran.stderr.replace("\n", "").isprintable()


def noted(name: str, note: str) -> str:
    """Return a Pod with an annotation."""
    return f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, annotations: {{a: {note}}}}}}}"


@pytest.mark.parametrize("size", [2_000_000, 9 << 20])
def test_a_large_file_is_one_line(run: Run, tmp_path: Path, size: int) -> None:
    (tmp_path / "large.yaml").write_text(noted("large", "x" * size))
    ran = run("apply", "-f", "large.yaml")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("svcdns: large.yaml")
    assert len(ran.stderr) < 1000


def test_a_large_file_of_many_objects_is_applied(run: Run, tmp_path: Path) -> None:
    note = "x" * 200_000
    (tmp_path / "large.yaml").write_text("\n---\n".join(noted(f"big-{n}", note) for n in range(10)))
    ran = run("apply", "-f", "large.yaml")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count(" applied\n") == 10


def test_what_comes_through_a_pipe(server: RunningServer, tmp_path: Path) -> None:
    def piped(text: str) -> subprocess.CompletedProcess[str]:
        return whole_svcdns("apply", "-f", "-", cwd=tmp_path, stdin=text, SVCDNS_DATA=str(server.data))

    empty = piped("")
    assert (empty.returncode, empty.stdout) == (2, "")
    assert empty.stderr == "svcdns: --filename: -: holds no object; allowed: Kubernetes' YAML or JSON\n"
    text = piped("hello")
    assert (text.returncode, text.stdout) == (1, "")
    assert text.stderr.startswith("svcdns: standard input, document 1: is no Kubernetes object")
    good = piped("{apiVersion: v1, kind: Service, metadata: {name: piped}, spec: {clusterIP: None}}")
    assert (good.returncode, good.stdout, good.stderr) == (0, "service/piped applied\n", "")


def test_a_pipe_that_the_shell_makes(server: RunningServer, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    text = "{apiVersion: v1, kind: Service, metadata: {name: fifo}, spec: {clusterIP: None}}"
    writer = threading.Thread(target=fifo.write_text, args=(text,))
    writer.start()
    ran = svcdns("apply", "-f", "fifo", cwd=tmp_path, SVCDNS_DATA=str(server.data))
    writer.join()
    assert (ran.returncode, ran.stdout) == (0, "service/fifo applied\n")


# What is in another namespace, or nowhere


def test_what_is_elsewhere_is_named(run: Run) -> None:
    run("add", "far", "-n", "away", "10.2.0.5")
    hint = "there is one in away: -n away"
    for arguments in (
        ["get", "service", "far"],
        ["get", "service", "far", "-o", "yaml"],
        ["delete", "service", "far"],
        ["remove", "far"],
        ["ready", "far"],
        ["unready", "far-10-2-0-5"],
    ):
        ran = run(*arguments)
        assert ran.returncode in (1, 2), arguments
        assert (ran.stdout, ran.stderr.count("\n")) == ("", 1), arguments
        assert hint in ran.stderr, arguments
    empty = run("get", "endpointslices", "-n", "nowhere")
    assert empty.returncode == 0
    assert "no endpointslices in namespace nowhere, which is not there; there are some in" in empty.stderr
    assert run("remove", "far", "-n", "away").returncode == 0
