"""Servers that are not there, are others, ask who one is, never answer or die: one line, and how it goes on.

`svcdns.client` raises a typed error for each.
"""

import asyncio
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.in_process import svcdns
from toolbox.builders import pod
from toolbox.running_server import PYTHONPATH, RunningServer
from toolbox.stopping import stop
from toolbox.waiting import GUARD_SECONDS

from svcdns.api.auth import token_lines
from svcdns.client import ApiError, AsyncClient, Client, Connection, NoServer, Unreachable
from svcdns.objects.kinds import POD, SERVICE

COMMANDS = (
    ["add", "x", "10.0.0.1"],
    ["remove", "x"],
    ["ready", "x"],
    ["why", "x"],
    ["status"],
    ["get"],
    ["get", "pods", "-o", "json"],
    ["get", "pod", "x", "-w"],
    ["delete", "pod", "x"],
)


def said(ran: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one line that a command ended with."""
    assert (ran.returncode, ran.stdout) == (code, ""), ran
    assert ran.stderr.startswith("svcdns: ")
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr.removeprefix("svcdns: ").strip()


@contextmanager
def speaking(answer: Callable[[str], tuple[int, Any]]) -> Iterator[str]:
    """Give the URL of an HTTP server that is no svcdns; `answer` makes status and body from a path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            octets = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

        do_POST = do_PATCH = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as there:
        thread = threading.Thread(target=there.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{there.server_port}"
        finally:
            there.shutdown()
            thread.join()


def kubeconfig(file: Path, url: str) -> str:
    """Write a kubeconfig that names a server; return its path."""
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
    }
    file.write_text(yaml.safe_dump(document))
    return str(file)


# Nobody, and others


def test_nobody_says_where_it_looked_and_how_to_start_one(tmp_path: Path) -> None:
    for command in COMMANDS:
        text = said(svcdns(*command, cwd=tmp_path), 2)
        assert "none runs on svcdns-data, /var/lib/svcdns" in text
        assert "svcdns serve" in text
        text = said(svcdns(*command, "--api", "http://127.0.0.1:1", cwd=tmp_path), 1)
        assert "http://127.0.0.1:1 (--api) can't be reached: connection refused" in text
        assert "svcdns serve" in text


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((200, body) for body in (b"<html>", b"[]", b"{}", b"", b"\xff\xfe", {"message": 5}, {"items": 5})),
        *((404, body) for body in (b"<html>", b"")),
        (500, {"message": "x", "details": [1]}),
    ],
)
def test_something_else_that_speaks_http(tmp_path: Path, status: int, body: Any) -> None:
    with speaking(lambda path: (status, body)) as url:
        for command in COMMANDS:
            ran = svcdns(*command, "--api", url, cwd=tmp_path)
            assert ran.returncode in (1, 2), (command, ran)
            assert ran.stderr.count("\n") == 1, (command, ran)
            assert ran.stderr.startswith("svcdns: "), (command, ran)
        with Client(Connection(url)) as client:
            for call in (partial(client.list, SERVICE), partial(client.explain, "x")):
                with pytest.raises(ApiError):
                    call()
            if status != 200:
                with pytest.raises(ApiError):
                    next(iter(client.watch(SERVICE)))


def test_something_that_speaks_no_http_or_no_tls(tmp_path: Path) -> None:
    with speaking(lambda path: (200, {})) as url:
        text = said(svcdns("get", "--api", url.replace("http:", "https:"), cwd=tmp_path), 1)
    assert "it speaks no TLS; does it want http?" in text


def test_one_that_accepts_and_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        async def ask() -> None:
            async with AsyncClient(Connection(url), seconds=0.2) as client:
                await client.list(SERVICE)

        with pytest.raises(Unreachable, match=r"did not answer within 0\.2 s"):
            asyncio.run(ask())
        with Client(Connection(url), seconds=0.2) as client:
            with pytest.raises(Unreachable, match=r"did not answer within 0\.2 s"):
                client.explain("web")
            monkeypatch.setattr("svcdns.client.Client", partial(Client, seconds=0.2))
        for command in COMMANDS:
            text = said(svcdns(*command, "--api", url, cwd=tmp_path), 1)
            assert text.startswith(f"{url} (--api) did not answer within 0.2 s")


# KUBECONFIG


def test_a_kubernetes_cluster_in_kubeconfig_is_not_written_to(tmp_path: Path) -> None:
    asked = []

    def cluster(path: str) -> tuple[int, Any]:
        asked.append(path)
        return 200, {"gitVersion": "v1.34.1", "items": [], "metadata": {}}

    with speaking(cluster) as url:
        file = kubeconfig(tmp_path / "config", url)
        for command in COMMANDS:
            text = said(svcdns(*command, cwd=tmp_path, KUBECONFIG=file), 2)
            assert f"KUBECONFIG: {url} is Kubernetes v1.34.1, not svcdns; unset KUBECONFIG" in text
        assert set(asked) == {"/version"}
        found = Connection(url, "KUBECONFIG")

        async def add() -> None:
            async with AsyncClient(found) as client:
                await client.add("x", ["10.0.0.1"])

        with pytest.raises(NoServer, match="not svcdns"):
            asyncio.run(add())
        with pytest.raises(NoServer, match="not svcdns"), Client(found) as client:
            client.add("x", ["10.0.0.1"])


def test_kubeconfig_wins_over_the_server_here_and_says_so(tmp_path: Path) -> None:
    with RunningServer(workers=1) as here, RunningServer(workers=1) as there:
        environ = {"KUBECONFIG": kubeconfig(tmp_path / "config", there.api), "SVCDNS_DATA": str(here.data)}
        ran = svcdns("add", "x", "10.0.0.1", cwd=tmp_path, **environ)
        assert ran.returncode == 0
        assert ran.stderr.startswith(
            f"svcdns: asking {there.api} (KUBECONFIG); for the server on this machine"
        )
        assert here.api in ran.stderr
        assert (
            here.answers("x.default.svc.cluster.local"),
            there.answers("x.default.svc.cluster.local"),
        ) == (
            [],
            ["10.0.0.1"],
        )
        environ["KUBECONFIG"] = kubeconfig(tmp_path / "config", here.api)
        assert svcdns("get", cwd=tmp_path, **environ).stderr == "svcdns: no services in namespace default\n"


# TLS and tokens


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates, made as a user makes them."""
    folder = tmp_path_factory.mktemp("tls")
    assert svcdns("certs", "init", cwd=folder).returncode == 0
    return folder


OF_DEFAULT = token_lines.new_token()
"""A token that is good for the namespace `default` only."""


@pytest.fixture(scope="module")
def secure(made: Path) -> Iterator[tuple[RunningServer, Path, str]]:
    """A server with TLS and a token, the CA's file, and the token."""
    token = token_lines.new_token()
    tokens = made / "tokens"
    lines = [
        token_lines.made(token, "reader", "view", ()),
        token_lines.made(OF_DEFAULT, "tenant", "edit", ["default"]),
    ]
    tokens.write_text("\n".join(line.line() for line in lines))
    config = f"""\
[api]
tls_cert = "{made}/certs/server.crt"
tls_key = "{made}/certs/server.key"
tokens = "{tokens}"
"""
    with RunningServer(workers=1, config=config) as running:
        yield running, made / "certs" / "ca.crt", token


def test_who_asks_has_to_be_shown(secure: tuple[RunningServer, Path, str], tmp_path: Path) -> None:
    server, ca, token = secure
    here = {"SVCDNS_DATA": str(server.data)}
    trusting = {**here, "SVCDNS_CA": str(ca)}
    for command in COMMANDS:
        text = said(svcdns(*command, cwd=tmp_path, **here), 1)
        assert "its certificate is not to be trusted" in text
        assert "SVCDNS_CA=FILE" in text
        text = said(svcdns(*command, cwd=tmp_path, **trusting), 1)
        assert "it asks who you are; show it with SVCDNS_TOKEN=" in text
        text = said(svcdns(*command, cwd=tmp_path, **trusting, SVCDNS_TOKEN="wrong"), 1)
        assert "the token is not one of the server's" in text
    for wrong in ("wr\u00e9ng", "a\nb"):
        text = said(svcdns("get", cwd=tmp_path, **trusting, SVCDNS_TOKEN=wrong), 2)
        assert text.startswith("SVCDNS_TOKEN: is no token")
    assert svcdns("get", cwd=tmp_path, **trusting, SVCDNS_TOKEN=token).returncode == 0
    text = said(svcdns("add", "x", "10.0.0.1", cwd=tmp_path, **trusting, SVCDNS_TOKEN=token), 1)
    assert "reader" in text
    assert "(asked https://" in text


def test_who_may_write_in_one_namespace_only(secure: tuple[RunningServer, Path, str], tmp_path: Path) -> None:
    server, ca, _ = secure
    environ = {"SVCDNS_DATA": str(server.data), "SVCDNS_CA": str(ca), "SVCDNS_TOKEN": OF_DEFAULT}
    added = svcdns("add", "mine", "10.4.1.1", "--port", "http=80", cwd=tmp_path, **environ)
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.startswith("mine.default.svc is registered")
    assert server.answers("mine.default.svc.cluster.local") == ["10.4.1.1"]
    again = svcdns("add", "mine", "10.4.1.2", "--port", "more=81", cwd=tmp_path, **environ)
    assert (again.returncode, again.stderr) == (0, "")
    assert svcdns("get", "pods", "-l", "app=none", cwd=tmp_path, **environ).returncode == 0
    text = said(svcdns("get", "service", "nope", cwd=tmp_path, **environ), 1)
    assert "service/nope is not there in namespace default" in text
    elsewhere = said(svcdns("add", "mine", "10.4.1.1", "-n", "other", cwd=tmp_path, **environ), 1)
    assert "cannot" in elsewhere
    assert svcdns("remove", "mine", cwd=tmp_path, **environ).returncode == 0


def test_a_ca_that_is_none_names_the_variable(
    secure: tuple[RunningServer, Path, str], tmp_path: Path
) -> None:
    server, ca, _ = secure
    for file, expected in (
        (ca.with_name("server.key"), "SVCDNS_CA: the certificates can't be used"),
        (tmp_path / "none", f"SVCDNS_CA: {tmp_path}/none: no such file or directory"),
    ):
        ran = svcdns("get", cwd=tmp_path, SVCDNS_DATA=str(server.data), SVCDNS_CA=str(file))
        assert said(ran, 2).startswith(expected)


# A server that dies


def test_a_server_killed_in_the_middle_of_apply(tmp_path: Path) -> None:
    long = "x" * 60  # so that fewer than all lines have room in the pipe: it waits for who reads them
    pods = [pod(f"p{number}-{long}", f"10.4.0.{number}") for number in range(1, 201)]
    (tmp_path / "pods.yaml").write_text("\n---\n".join(map(json.dumps, pods)))
    with RunningServer(workers=1) as server:
        command = [sys.executable, "-m", "svcdns", "apply", "-f", "pods.yaml", "--api", server.api]
        apply = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pipesize=4096,
        )
        assert apply.stdout is not None
        first = apply.stdout.readline()
        writer = server.writer_pid
        stop(writer)  # so that nothing more is applied until it is dead
        server.kill()
        os.kill(writer, signal.SIGKILL)
        out, err = apply.communicate(timeout=GUARD_SECONDS)
        applied = (first + out).count(" applied\n")
        assert 0 < applied < 200
        assert apply.returncode == 1
        assert err.startswith(f"svcdns: {server.api} (--api) can't be reached: ")
        assert f"{200 - applied} of 200 objects may not be applied; say it again" in err
        assert err.count("\n") == 1
        server.start()
        with Client(Connection(server.api)) as client:
            assert len(client.list(POD)) >= applied
        again = svcdns("apply", "-f", "pods.yaml", "--api", server.api, cwd=tmp_path)
        assert (again.returncode, again.stdout.count(" applied\n")) == (0, 200)
