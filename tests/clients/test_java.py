"""Java: fabric8's client with each of its HTTP clients, its models, and two resolvers that Java programs use.

One Maven project (tests/clients/java) is built once; its modules come from where Maven is set up for.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from clients.accepted import lines_of
from clients.resolving import BOTH, CLUSTER_IP, DB, NO_A, NOWHERE, SEARCH, SRV, WEB, Resolving
from toolbox.builders import service
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

from svcdns.objects.kinds import STORED

SOURCE = Path(__file__).parent / "java"
BUILD_SECONDS = 600
SECONDS = 120
pytestmark = pytest.mark.timeout(BUILD_SECONDS + SECONDS)
HTTP_CLIENTS = (
    pytest.param("jdkhttp.JdkHttpClientFactory", id="jdk"),
    pytest.param("vertx.VertxHttpClientFactory", id="vertx"),
    pytest.param("jetty.JettyHttpClientFactory", id="jetty", marks=pytest.mark.soak),
    pytest.param("okhttp.OkHttpClientFactory", id="okhttp"),
)
Java = Callable[..., list[str]]


@pytest.fixture(scope="module")
def java(need: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Java:
    """Return a function: the command that runs a class of the project with arguments."""
    program, maven = need("java"), need("mvn")
    folder = tmp_path_factory.mktemp("java") / "project"
    shutil.copytree(SOURCE, folder)
    command = [maven, "-q", "-B", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS)
    if built.returncode:
        text = "the Java clients can't be built here: " + (built.stdout + built.stderr)[-2000:]
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    classes = f"{folder / 'target' / 'classes'}{os.pathsep}{(folder / 'classpath').read_text().strip()}"
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]  # these programs live for a second
    return lambda *arguments: [program, *quick, "-cp", classes, *map(str, arguments)]


@pytest.fixture(scope="module")
def resolving() -> Iterator[Resolving]:
    with Resolving() as made:
        yield made


class Talking:
    """A program that says a line when something happens."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def line(self) -> str:
        """Return the next line, "" when the program has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def say(self, line: str) -> None:
        """Give it a line of input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@pytest.mark.parametrize("factory", HTTP_CLIENTS)
def test_fabric8_by_each_http_client(java: Java, server: RunningServer, factory: str) -> None:
    command = java("Typed", server.api, f"io.fabric8.kubernetes.client.{factory}")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    # Not by WatchHTTPManager, which it falls back to where there is no WebSocket.
    wanted = ["watches by WatchConnectionManager", "done"]
    assert ended.stdout.splitlines() == wanted, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGTERM, id="stopped", marks=pytest.mark.soak),
    ],
)
def test_an_informer_goes_on_when_the_writer_has_been_started_again(java: Java, sent: signal.Signals) -> None:
    with RunningServer(workers=1) as server:
        command = java(
            "Follow", server.api, "io.fabric8.kubernetes.client.jdkhttp.JdkHttpClientFactory", "default"
        )
        with Talking(command) as informer:
            assert informer.line() == "synced"
            os.kill(server.writer_pid, sent)
            wait_for(lambda: _made(server, "later"), "the next writer")
            assert informer.line() == "add later"


def _made(server: RunningServer, name: str) -> bool:
    try:
        return server.post("/api/v1/namespaces/default/services", service(name)).status in (201, 409)
    except (OSError, http.client.HTTPException):
        return False


def decoded(java: Java, examples: int) -> None:
    """Assert that fabric8's models read what would be stored of so many objects of each kind."""
    lines = lines_of(STORED, examples)
    wrong = '{"apiVersion":"v1","kind":"Service","spec":{"ports":[{"port":"80"}]}}'
    text = "".join(f"{line}\n" for line in [*lines, wrong])
    told = subprocess.run(java("Decode"), input=text.encode(), capture_output=True, check=True)
    *answers, refused = told.stdout.decode().splitlines()
    assert "Cannot coerce String" in refused, "these models read anything"
    assert len(answers) == len(lines) > examples
    names = {kind.name for kind in STORED}
    assert [pair for pair in zip(lines, answers, strict=True) if pair[1] not in names] == []


def test_fabric8_models_decode_what_is_accepted(java: Java) -> None:
    decoded(java, 60)


@pytest.mark.soak
def test_fabric8_models_decode_much_of_what_is_accepted(java: Java) -> None:
    decoded(java, 1000)


def test_resolvers(java: Java, resolving: Resolving) -> None:
    with Talking(java("Resolve", *resolving.dns, *SEARCH)) as program:

        def resolve(resolver: str, rrtype: str, name: str) -> list[str]:
            program.say(f"{resolver} {rrtype} {name}")
            return program.line().split(",")

        assert resolve("jndi", "A", WEB) == resolve("netty", "A", "web") == [CLUSTER_IP]
        records = resolve("jndi", "SRV", SRV)
        assert [record.split()[2] for record in records] == [str(resolving.port)] * 2
        assert sorted(resolve("jndi", "A", record.split()[3])[0] for record in records) == BOTH
        for name in ("db", "db.default", "db.default.svc", DB, f"{DB}.", "alias"):
            assert resolve("netty", "A", name) == BOTH, name

        assert resolve("jndi", "A", NOWHERE) == ["NXDOMAIN"]
        assert resolve("jndi", "AAAA", WEB) == resolve("jndi", "A", NO_A) == ["NODATA"]
        assert resolve("netty", "A", "nowhere") == resolve("netty", "A", f"{NO_A}.") == ["NONE"]

        resolving.follows_flips(lambda: resolve("jndi", "A", DB))
        resolving.follows_flips(lambda: resolve("netty", "A", "db"))
