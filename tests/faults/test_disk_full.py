"""A full disk: writes get 507 and change nothing, DNS goes on, and once there is room again all is well.

The data folder lies on a small file system of the test's own (tmpfs), which needs the right to mount.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.builders import service
from toolbox.calls import SERVICES, Calls, fqdn
from toolbox.running_server import RunningServer
from toolbox.small_disk import Ballast, small_disk
from toolbox.waiting import wait_for
from toolbox.witness import Answer, Witness, address, there

from svcdns.server.counters import WRITER

SIZE = "8m"
WORKERS = 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of eight MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, f"size={SIZE}"):
        yield place


@pytest.fixture
def ballast(disk: Path) -> Ballast:
    return Ballast(disk)


@pytest.fixture
def server(disk: Path) -> Iterator[RunningServer]:
    with RunningServer(workers=WORKERS, data=disk / "data") as running:
        yield running


def answers(server: RunningServer, name: str) -> set[Answer]:
    with Witness(server.dns, WORKERS) as witness:
        return set(witness.ask(fqdn(name)).values())


def fill_until_refused(calls: Calls, ballast: Ballast) -> int:
    """Take all room, then write until a write finds none; return how many were done before."""
    ballast.fill()
    for done in range(10_000):
        status, answer = calls.call("POST", SERVICES, service(f"more-{done}"))
        if status != 201:
            assert (status, answer["kind"], answer["reason"]) == (507, "Status", "InsufficientStorage"), (
                answer
            )
            assert "full" in answer["message"]
            return done
    raise AssertionError("the disk is never full")


def test_writes_are_refused_and_answers_go_on(server: RunningServer, ballast: Ballast) -> None:
    calls = Calls(server.api)
    web = there(address(calls.create_service("web")["spec"]["clusterIP"]))
    done = fill_until_refused(calls, ballast)
    before = calls.done("GET", SERVICES)["items"]
    names = {item["metadata"]["name"] for item in before}
    assert names == {"web", *(f"more-{number}" for number in range(done))}
    for _ in range(3):
        status, answer = calls.call("DELETE", f"{SERVICES}/web")
        assert (status, answer["kind"]) == (507, "Status"), answer
        assert answers(server, "web") == {web}
    assert calls.done("GET", SERVICES)["items"] == before
    assert server.log().count("Traceback") == 0

    ballast.drop()
    again = calls.create_service("again")["spec"]["clusterIP"]
    assert answers(server, "again") == {there(address(again))}
    calls.delete(SERVICES, "web")
    assert server.get("/readyz").text == "ok"


def test_processes_that_die_on_a_full_disk_come_back(server: RunningServer, ballast: Ballast) -> None:
    calls = Calls(server.api)
    web = there(address(calls.create_service("web")["spec"]["clusterIP"]))
    fill_until_refused(calls, ballast)
    counters = server.counters()
    for row in (1, 2, WRITER):
        os.kill(counters.get(row, "pid"), signal.SIGKILL)
        wait_for(lambda: counters.get(row, "restarts") == 1, "another process")  # noqa: B023
        assert answers(server, "web") == {web}
    wait_for(counters.ready, "the server to be ready, with the disk still full")
    assert Calls(server.api).call("POST", SERVICES, service("new"))[0] == 507
    ballast.drop()
    assert Calls(server.api).call("POST", SERVICES, service("new"))[0] == 201


def test_the_first_start_waits_for_room_and_says_so(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, "size=64k"):
        server = RunningServer(workers=1, data=place / "data")
        server.launch()
        try:
            text = f"the data in {server.data} can't be written: "
            wait_for(lambda: text in server.log() and "o space left on device" in server.log(), "a line")
            assert "Traceback" not in server.log()
            subprocess.run(["mount", "-o", f"remount,size={SIZE}", str(place)], check=True)
            wait_for(lambda: "svcdns ready: " in server.log(), "the server, with room")
            assert "Traceback" not in server.log()
        finally:
            server.close()
