"""The writer is killed, or stands still, while Pods send heartbeats: nobody is late for it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from toolbox.builders import headless, pod
from toolbox.calls import PODS, SERVICES, fqdn
from toolbox.running_server import RunningServer
from toolbox.stopping import stop
from toolbox.waiting import wait_for

MANY = 50
PERIOD = 5.0
NAMES = [f"web-{n}" for n in range(MANY)]
LIST = [{"namespace": "default", "name": name} for name in NAMES]


def ready_conditions(server: RunningServer) -> dict[str, Any]:
    listed = server.get(PODS).json["items"]
    return {
        one["metadata"]["name"]: next(c for c in one["status"]["conditions"] if c["type"] == "Ready")
        for one in listed
    }


@contextmanager
def beating(server: RunningServer) -> Iterator[None]:
    """Send heartbeats from outside, several in a period; what fails is sent again, as clients do."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(PERIOD / 20):
            try:
                server.post("/svcdns/v1/heartbeats", LIST)
            except OSError:
                continue

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_killed_or_stopped_writer_makes_nobody_late() -> None:
    with RunningServer(workers=1) as server:
        assert server.post(SERVICES, headless("web")).status == 201
        for n, name in enumerate(NAMES):
            made = pod(name, f"10.1.0.{n + 1}")
            made["metadata"]["annotations"] = {"svcdns.io/heartbeat": f"{PERIOD:g}s"}
            assert server.post(PODS, made).status == 201
            server.post("/svcdns/v1/heartbeats", LIST[: n + 1])
        with beating(server):
            before = ready_conditions(server)
            killed = server.writer_pid
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda: server.writer_pid not in (0, killed), "the next writer")
            wait_for(lambda: server.post("/svcdns/v1/heartbeats", LIST).status == 200, "its API")
            stopped = server.writer_pid
            stop(stopped)
            time.sleep(1.5 * PERIOD)  # it stands still for so long
            os.kill(stopped, signal.SIGCONT)
            time.sleep(1.5 * PERIOD)  # in which somebody would be late
            assert ready_conditions(server) == before
            assert len(server.answers(fqdn("web"), tcp=True)) == MANY
        wait_for(lambda: not server.answers(fqdn("web"), tcp=True), "silent Pods to be late")
