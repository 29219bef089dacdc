"""svcdns register: a process is in the registry for as long as it runs, and runs whatever happens."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toolbox.running_server import SOURCE, RunningServer, svcdns
from toolbox.waiting import GUARD_SECONDS, wait_for

NAME = "web.default.svc.cluster.local"
WAITING = "import signal, sys, time\nprint('here', flush=True)\n"
"""A command that says that it runs; what follows says how it ends."""
SLEEPS = WAITING + "time.sleep(3600)\n"
REPORTS = (
    "import signal, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('told', flush=True), sys.exit(7)))\n"
    "signal.signal(signal.SIGUSR1, lambda *_: print('usr1', flush=True))\n"
    "print('here', flush=True)\n"
    "while True: signal.pause()\n"
)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as made:
        yield made


@pytest.fixture(autouse=True)
def empty(server: RunningServer) -> Iterator[None]:
    yield
    server.start() if server.process is None else None
    for kind in ("services", "pods"):
        server.delete(f"/api/v1/namespaces/default/{kind}")


class Registered:
    """`svcdns register` as it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def said(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def tell(self, number: int) -> None:
        self.process.send_signal(number)

    def code(self) -> int:
        return self.process.wait(GUARD_SECONDS)


@contextmanager
def registered(api: str, *arguments: str, run: str = SLEEPS, **environ: str) -> Iterator[Registered]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SVCDNS_")}
    command = [sys.executable, "-m", "svcdns", "register", *(["--api", api] if api else []), *arguments]
    command += ["--", sys.executable, "-c", run] if run else []
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, "PYTHONPATH": str(SOURCE), **environ},
    )
    try:
        yield Registered(process)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=GUARD_SECONDS)


def url(server: RunningServer) -> str:
    return server.api


def test_a_process_answers_for_as_long_as_it_runs(server: RunningServer) -> None:
    with registered(url(server), "--service", "web", "--port", "http=8080", run=REPORTS) as one:
        assert one.line() == "here"
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its address")
        (record,) = server.answers(f"_http._tcp.{NAME}", "SRV")
        assert record.split()[2] == "8080"
        one.tell(signal.SIGTERM)
        assert one.line() == "told"
        assert server.answers(NAME) == [], "it had left the registry before it was told"
        assert one.code() == 7
        assert one.said().splitlines() == [
            f"svcdns: registered as Pod {pod_name()} of Service web",
        ]


def pod_name() -> str:
    from socket import gethostname

    from svcdns.client.own_pod import _made_name

    return _made_name("web", gethostname(), 8080)


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (WAITING + "sys.exit(0)", 0),
        (WAITING + "sys.exit(3)", 3),
        (WAITING + "import os; os.kill(os.getpid(), 9)", 137),
    ],
)
def test_the_exit_code_is_the_commands(server: RunningServer, run: str, code: int) -> None:
    with registered(url(server), "-s", "web", "-p", "8080", run=run) as one:
        assert one.code() == code
    assert server.answers(NAME) == []


def test_signals_are_passed_on(server: RunningServer) -> None:
    with registered(url(server), "-s", "web", run=REPORTS) as one:
        assert one.line() == "here"
        one.tell(signal.SIGUSR1)
        assert one.line() == "usr1"
        one.tell(signal.SIGINT)  # it has no handler of its own: Python ends by it
        assert one.code() in (1, 130)


def test_a_command_that_is_not_there(server: RunningServer) -> None:
    ran = svcdns("register", "--api", url(server), "-s", "web", "--", "/no/such/command")
    assert (ran.returncode, ran.stderr) == (127, "svcdns: /no/such/command: command not found\n")
    ran = svcdns("register", "--api", url(server), "-s", "web", "--", "/")
    assert (ran.returncode, ran.stderr) == (126, "svcdns: /: permission denied\n")
    assert server.answers(NAME) == []


def test_without_a_server_the_command_runs_and_is_registered_when_there_is_one() -> None:
    with RunningServer(workers=1) as later:
        later.stop()
        with registered("", "--data", str(later.data), "-s", "web", run=REPORTS) as one:
            assert one.line() == "here"
            assert one.process.stderr is not None
            first = one.process.stderr.readline()
            assert first.startswith("svcdns: not registered, tried again: which server? none runs on ")
            later.start()
            while not (line := one.process.stderr.readline()).startswith("svcdns: registered as Pod web-"):
                assert line.startswith("svcdns: not registered"), "another reason, while it starts"
            wait_for(lambda: later.answers(NAME) == ["127.0.0.1"], "its address")
            later.kill()
            one.tell(signal.SIGTERM)
            assert one.code() == 7, "a server that is gone keeps nobody from ending"


def test_it_is_registered_again_when_it_was_forgotten(server: RunningServer) -> None:
    with registered(url(server), "-s", "web", "--heartbeat", "1") as one:
        assert one.line() == "here"
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its address")
        server.delete("/api/v1/namespaces/default/pods")
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its address again")


def test_a_process_that_is_stopped_is_late_and_one_that_goes_on_is_not(server: RunningServer) -> None:
    with registered(url(server), "-s", "web", "--heartbeat", "1") as one:
        assert one.line() == "here"
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its address")
        one.tell(signal.SIGSTOP)
        wait_for(lambda: server.answers(NAME) == [], "it is late")
        one.tell(signal.SIGCONT)
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "it lives")


def test_who_ends_late_does_not_take_its_successor_away(server: RunningServer) -> None:
    with registered(url(server), "-s", "web", "--name", "web-1", run=REPORTS) as first:
        assert first.line() == "here"
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "the first")
        with registered(url(server), "-s", "web", "--name", "web-1", "--address", "10.0.0.9") as second:
            assert second.line() == "here"
            wait_for(lambda: server.answers(NAME) == ["10.0.0.9"], "the second")
            first.tell(signal.SIGTERM)
            assert first.code() == 7
            assert server.answers(NAME) == ["10.0.0.9"]


def test_a_service_that_is_there_stays_and_takes_the_pod_in(server: RunningServer) -> None:
    spec = {"selector": {"tier": "front"}, "ports": [{"port": 80, "targetPort": "http"}]}
    made = server.post(
        "/api/v1/namespaces/default/services", {"metadata": {"name": "web"}, "spec": spec}
    ).json
    with registered(url(server), "-s", "web", "-p", "http=8080", "--label", "tier=back") as one:
        assert one.line() == "here"

        def endpoints() -> list[str]:
            items = server.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices").json["items"]
            return [each["addresses"][0] for one in items for each in one["endpoints"] or []]

        wait_for(lambda: endpoints() == ["127.0.0.1"], "the Pod among its endpoints")
        now = server.get("/api/v1/namespaces/default/services/web").json
        assert now["spec"] == made["spec"]


def test_a_virtual_address_for_who_wants_one(server: RunningServer) -> None:
    with registered(url(server), "-s", "web", "-p", "80", "--cluster-ip") as one:
        assert one.line() == "here"
        wait_for(lambda: server.answers(NAME), "an address")
        assert server.answers(NAME)[0].startswith("10.")


def test_a_namespace_of_its_own(server: RunningServer) -> None:
    with registered(url(server), "-s", "web", "-n", "shop") as one:
        assert one.line() == "here"
        wait_for(lambda: server.answers("web.shop.svc.cluster.local") == ["127.0.0.1"], "its address")


def test_without_a_command_it_stays_until_it_is_ended(server: RunningServer) -> None:
    with registered(url(server), "-s", "web", run="") as one:
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its address")
        one.tell(signal.SIGTERM)
        assert one.code() == 0
    assert server.answers(NAME) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-s", "web", "--address", "here"], "--address: 'here' is no address; allowed: such as 10.0.0.5"),
        (["-s", "web", "--probe", "http:/x"], "--probe names no port, and there is no --port"),
        (
            ["-s", "web", "-p", "1", "--probe", "ping"],
            "--probe: 'ping' is no probe; allowed: such as http:/",
        ),
        (["-s", "web", "--probe", "tcp:70000"], "--probe: 'tcp:70000' is no probe"),
        (["-s", "web", "--probe", "tcp:1/x"], "--probe: 'tcp:1/x' is no probe"),
        (["-s", "web", "-p", "http=x"], "http=x"),
    ],
)
def test_mistakes_are_said_before_anything_runs(arguments: list[str], text: str, tmp_path: Path) -> None:
    ran = svcdns("register", *arguments, "--", sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert ran.returncode == 2
    assert text in ran.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "port", "probe"),
    [
        ("http:/healthz", None, {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}}),
        ("https:8443/", None, {"httpGet": {"path": "/", "port": 8443, "scheme": "HTTPS"}}),
        ("http", None, {"httpGet": {"path": "/", "port": 8080, "scheme": "HTTP"}}),
        ("tcp", None, {"tcpSocket": {"port": 8080}}),
        ("tcp:5432", None, {"tcpSocket": {"port": 5432}}),
        ("grpc:5000", None, {"grpc": {"port": 5000}}),
    ],
)
def test_probes_as_they_are_written(text: str, port: int | None, probe: dict[str, object]) -> None:
    from svcdns.client.own_pod import OwnPod, _pod, probe_of

    own = OwnPod("web", "10.0.0.1", {"http": 8080}, probe=probe_of(text))
    assert _pod(own, {})["spec"]["containers"][0]["readinessProbe"] == {**probe, "periodSeconds": 2}


def test_from_python(server: RunningServer) -> None:
    from svcdns.client import Connection, OwnPod, registered

    said: list[str] = []
    with registered(OwnPod("web", "10.0.0.3", {"http": 80}), Connection(url(server)), said.append):
        wait_for(lambda: server.answers(NAME) == ["10.0.0.3"], "its address")
    assert server.answers(NAME) == []
    assert len(said) == 1
    assert json.dumps(said)
