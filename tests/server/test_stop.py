"""A stop waits for no client, and questions are answered until the API has ended."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

FAKE = (sys.executable, str(Path(__file__).with_name("fake_server.py")))
SERVICES = "/api/v1/namespaces/default/services"
PATIENT = """
import sys
from svcdns.cli import main
from svcdns.server import crew
crew.STOP_SECONDS = 40
main.main(sys.argv[1:])
"""
"""A server that gives its processes long to end: some take a while on a busy machine, who waits takes all."""
HEAD = "Host: 127.0.0.1\r\nContent-Type: application/json\r\n"

UNFINISHED = {
    "half a body": f"POST {SERVICES} HTTP/1.1\r\n{HEAD}Content-Length: 1000\r\n\r\n{{",
    "half a chunk": f"POST {SERVICES} HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n3e8\r\n{{",
    "half a patch": f"PATCH {SERVICES}/web HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Content-Type: application/merge-patch+json\r\nContent-Length: 1000\r\n\r\n{",
    "half a body of a delete": f"DELETE {SERVICES}/web HTTP/1.1\r\n{HEAD}Content-Length: 1000\r\n\r\n{{",
    "half a review": f"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews HTTP/1.1\r\n{HEAD}"
    "Content-Length: 1000\r\n\r\n{",
    "a body that nobody reads": f"POST /nowhere HTTP/1.1\r\n{HEAD}Content-Length: 1000\r\n\r\n{{",
    "a body that is too large": f"POST {SERVICES} HTTP/1.1\r\n{HEAD}Content-Length: 99999999\r\n\r\n{{",
    "half a head": f"POST {SERVICES} HTTP/1.1\r\nHost:",
    "nothing": "",
    "a watch": f"GET {SERVICES}?watch=1 HTTP/1.1\r\n{HEAD}\r\n",
}


def connected(server: RunningServer, text: str) -> socket.socket:
    host, _, port = server.api.removeprefix("http://").rpartition(":")
    made = socket.create_connection((host, int(port)), timeout=GUARD_SECONDS)
    made.sendall(text.encode())
    return made


def patient() -> RunningServer:
    return RunningServer(workers=1, command=(sys.executable, "-c", PATIENT))


def stops_by_itself(server: RunningServer) -> bool:
    """Stop it; return whether all of its processes ended without being killed."""
    assert server.stop() == 0
    assert "Traceback" not in server.log()
    return "did not end in time" not in server.log()


@pytest.mark.parametrize("case", UNFINISHED)
def test_a_stop_waits_for_nobody_who_does_not_send(case: str) -> None:
    with patient() as server:
        clients = [connected(server, UNFINISHED[case]) for _ in range(3)]
        server.get("/readyz")  # by now the server has taken in what came before
        assert stops_by_itself(server)
        for client in clients:
            client.close()


def test_who_has_sent_half_a_body_is_told_why_it_ends() -> None:
    with RunningServer(workers=1) as server, connected(server, UNFINISHED["half a body"]) as client:
        server.get("/readyz")
        server.stop()
        answer = client.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"the server is stopping" in answer


def test_a_stop_waits_for_no_watcher_that_does_not_read() -> None:
    with patient() as server:
        big = {"metadata": {"name": "big", "annotations": {"much": "x" * 200_000}}}
        big["spec"] = {"clusterIP": "None"}
        assert server.post(SERVICES, big).status == 201
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            host, _, port = server.api.removeprefix("http://").rpartition(":")
            client.connect((host, int(port)))
            client.sendall(UNFINISHED["a watch"].encode())
            for number in range(60):
                patch = {"metadata": {"labels": {"n": str(number)}}}
                assert server.patch(f"{SERVICES}/big", patch).status == 200
            assert stops_by_itself(server)


# With stand-ins for the children


@pytest.fixture
def running() -> Iterator[RunningServer]:
    with RunningServer(command=FAKE, workers=2) as server:
        yield server


def test_questions_are_answered_until_the_writer_has_ended(running: RunningServer) -> None:
    (running.data / "slow-writer").touch()
    pids = running.worker_pids
    assert running.process is not None
    running.process.send_signal(signal.SIGTERM)
    wait_for((running.data / "told").exists, "the writer to be told")
    for _ in range(20):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(GUARD_SECONDS)
            one.sendto(b"who", running.dns)
            assert int(one.recv(512).split()[1]) in pids
    (running.data / "go").touch()
    assert running.process.wait(GUARD_SECONDS) == 0
    assert "did not end in time" not in running.log()


def test_a_worker_that_dies_during_a_stop_is_not_waited_for(running: RunningServer) -> None:
    (running.data / "slow-writer").touch()
    pids = running.worker_pids
    assert running.process is not None
    running.process.send_signal(signal.SIGTERM)
    wait_for((running.data / "told").exists, "the writer to be told")
    os.kill(pids[0], signal.SIGKILL)
    (running.data / "go").touch()
    assert running.process.wait(GUARD_SECONDS) == 0
