"""The clock of a running server is set by an hour, to and fro: no Pod flaps, none goes early, nothing hangs.

Its processes read another wall clock (`toolbox.shifted_clock`); the machine's own is left alone, and so is
the monotonic one, by which waiting goes.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import headless, lease, pod
from toolbox.calls import PODS, SERVICES, fqdn
from toolbox.running_server import RunningServer
from toolbox.shifted_clock import Clock
from toolbox.waiting import wait_for

HOUR = 3600
PERIOD = 6.0
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
LIST = [{"namespace": "default", "name": "beaten"}]
JUMPS = (HOUR, -HOUR, 0)


@pytest.fixture
def clock(tmp_path: Path, need: Callable[..., str]) -> Clock:
    return Clock(tmp_path, need("gcc"))


@contextmanager
def accepting() -> Iterator[tuple[int, list[float]]]:
    """Give the port of a server that accepts, and when it did."""
    accepted: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return
                accepted.append(time.monotonic())

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], accepted
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def beating(name: str, ip: str, **more: str) -> dict[str, Any]:
    made = pod(name, ip)
    made["metadata"]["annotations"] = {"svcdns.io/heartbeat": f"{PERIOD:g}s", **more}
    return made


@contextmanager
def living(server: RunningServer) -> Iterator[Callable[[], int]]:
    """Send heartbeats and renew Leases, by times an hour off; give how often all of it has been done."""
    over, rounds = threading.Event(), 0

    def live() -> None:
        nonlocal rounds
        while not over.wait(PERIOD / 20):
            assert server.post("/svcdns/v1/heartbeats", LIST).json["refused"] == []
            for name, off in (("past", -HOUR), ("future", HOUR)):
                now = datetime.fromtimestamp(time.time() + off, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                assert server.patch(f"{LEASES}/{name}", {"spec": {"renewTime": now}}).status == 200
            rounds += 1

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield lambda: rounds
    finally:
        over.set()
        thread.join()


def register(server: RunningServer, port: int) -> None:
    """Register one Pod of each kind that something waits for."""
    assert server.post(SERVICES, headless("web")).status == 201
    pods = [
        beating("beaten", "127.0.0.2"),
        beating("past", "127.0.0.3"),
        beating("future", "127.0.0.4"),
        beating("silent", "127.0.0.5", **{"svcdns.io/expire-after": f"{HOUR // 2}s"}),
        pod("leaving", "127.0.0.6"),
    ]
    probe = {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 10}
    pods.append(
        pod("probed", "127.0.0.1", containers=[{"name": "c", "image": "none", "readinessProbe": probe}])
    )
    for name in ("past", "future"):
        assert server.post(LEASES, lease(name, leaseDurationSeconds=int(PERIOD))).status == 201
    for made in pods:
        assert server.post(PODS, made).status == 201


def clock_of(server: RunningServer) -> float:
    """Return what time the server has."""
    made = {"metadata": {"name": "when"}, "spec": {"ports": [{"port": 1}]}}
    stamp = server.post(f"{SERVICES}?dryRun=All", made).json["metadata"]["creationTimestamp"]
    return datetime.fromisoformat(stamp).timestamp()


def versions(server: RunningServer) -> dict[str, str]:
    return {
        one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in server.get(PODS).json["items"]
    }


def live_on(server: RunningServer, offset: int, rounds: Callable[[], int], accepted: list[float]) -> None:
    """Let a time pass in which somebody would be late, once the server has the time that was set."""
    wait_for(lambda: abs(clock_of(server) - time.time() - offset) < HOUR / 10, f"a clock at {offset:+d}")
    begun, began, probes = rounds(), time.monotonic(), len(accepted)
    wait_for(lambda: time.monotonic() - began > 1.5 * PERIOD, "heartbeats to be missed")
    wait_for(lambda: rounds() > begun + 1, "heartbeats to be answered")
    wait_for(lambda: len(accepted) > probes + 1, "probes")


def test_nobody_flaps_or_goes_early_and_nothing_hangs(clock: Clock) -> None:
    with accepting() as (port, accepted), RunningServer(workers=1, environ=clock.environ) as server:
        register(server, port)
        staying = {"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"}
        with living(server) as rounds:
            grace = {"gracePeriodSeconds": HOUR // 2}
            assert server.delete(f"{PODS}/leaving", grace).status == 200
            wait_for(
                lambda: set(server.answers(fqdn("web"))) == staying, "who is in time, probed, silent, leaving"
            )
            before = versions(server)
            assert before.keys() == {"beaten", "past", "future", "silent", "leaving", "probed"}
            for offset in JUMPS:
                clock.set(offset)
                server.delete(f"{PODS}/leaving", grace)  # again, as kubectl does that was interrupted
                live_on(server, offset, rounds, accepted)
                assert versions(server) == before, f"{offset:+d}"
                assert set(server.answers(fqdn("web"))) == staying
            clock.set(-HOUR)
            assert server.delete(f"{PODS}/leaving", {"gracePeriodSeconds": 1}).status == 200
            wait_for(lambda: "leaving" not in versions(server), "a shorter grace period to end")
        wait_for(lambda: server.answers(fqdn("web")) == ["127.0.0.1"], "who is silent now to be late")
