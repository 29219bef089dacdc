"""A server whose answers are on disk starts and answers, be the disk full or read-only.

Writes get 507, /readyz is 200 and says why, and once the disk takes writes again all is as it was.  The data
folder lies on a small file system of the test's own (tmpfs), which needs the right to mount.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toolbox.calls import SERVICES, Calls, fqdn, service
from toolbox.running_server import RunningServer
from toolbox.small_disk import Ballast, remount, small_disk
from toolbox.upstreams import free_port
from toolbox.waiting import GUARD_SECONDS, wait_for
from toolbox.witness import Answer, Witness, address, there

from svcdns.server.counters import WRITER

WORKERS = 2
NO_SPACE = "no space left on device"
READ_ONLY = "read-only file system"


class FixedServer(RunningServer):
    """A server whose ports are known without addresses.json, which a full disk may not take."""

    def __init__(self, data: Path) -> None:
        config = '[forward]\nupstreams = ["127.0.0.1:9"]\n'  # so that there is a forwarder, and its cache
        self._dns_port, self._api_port = free_port(), free_port()
        api = ("--api", f"127.0.0.1:{self._api_port}")
        dns = (f"127.0.0.1:{self._dns_port}",)
        super().__init__(workers=WORKERS, data=data, dns=dns, config=config, arguments=api)

    def _addresses(self) -> dict[str, Any] | None:
        return {"dns": [f"127.0.0.1:{self._dns_port}"], "api": f"127.0.0.1:{self._api_port}"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of eight MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, "size=8m"):
        yield place


@pytest.fixture
def server(disk: Path) -> Iterator[FixedServer]:
    """One that was stopped after "web" had been registered."""
    made = FixedServer(disk / "data")
    try:
        made.start()
        Calls(made.api).create_service("web", clusterIP="10.96.0.80")
        assert made.stop() == 0
        yield made
    finally:
        made.close()


WEB = there(address("10.96.0.80"))


def answers(server: RunningServer, name: str = "web") -> set[Answer]:
    with Witness(server.dns, WORKERS) as witness:
        return set(witness.ask(fqdn(name)).values())


def refused(server: RunningServer, why: str) -> None:
    """Every write gets 507, which says why; reads and /readyz are answered."""
    calls = Calls(server.api)
    for method, path, body in (
        ("POST", SERVICES, service("new")),
        ("POST", SERVICES, service("other", clusterIP="None")),
        ("DELETE", f"{SERVICES}/web", None),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "more"}}),
    ):
        status, answer = calls.call(method, path, body)
        assert (status, answer["kind"], answer["reason"]) == (507, "Status", "InsufficientStorage"), answer
        assert why in answer["message"]
    names = [item["metadata"]["name"] for item in calls.done("GET", SERVICES)["items"]]
    assert names == ["web"]
    ready = server.get("/readyz")
    assert (ready.status, ready.text) == (200, f"ok; writes are refused: {why}")
    assert f"[!]writes are refused: {why}\n" in server.get("/readyz?verbose").text
    assert server.get("/livez").text == "ok"


def accepted_again(server: RunningServer) -> None:
    wait_for(lambda: server.get("/readyz").text == "ok", "the server to be well")
    calls = Calls(server.api)
    again = calls.create_service("again")["spec"]["clusterIP"]
    assert answers(server, "again") == {there(address(again))}
    calls.delete(SERVICES, "web")
    wait_for((server.data / "addresses.json").exists, "addresses.json")
    told = json.loads((server.data / "addresses.json").read_text())
    assert told["dns"] == [f"{server.dns[0]}:{server.dns[1]}"]


def test_on_a_full_disk(server: FixedServer, disk: Path) -> None:
    ballast = Ballast(disk)
    ballast.fill()
    server.start()
    assert answers(server) == {WEB}
    calls = Calls(server.api)
    status = 201
    for number in range(10_000):  # pages of the file that are free take some
        status, answer = calls.call("POST", SERVICES, service(f"more-{number}"))
        if status != 201:
            assert (status, answer["reason"]) == (507, "InsufficientStorage"), answer
            calls.close()
            break
        calls.call("DELETE", f"{SERVICES}/more-{number}") if number % 2 else None
    assert status == 507
    assert server.get("/readyz").text == f"ok; writes are refused: {NO_SPACE}"
    assert server.stop() == 0
    server.start()  # from now on nothing fits at all
    assert answers(server) == {WEB}
    assert Calls(server.api).call("POST", SERVICES, service("new"))[0] == 507
    assert "Traceback" not in server.log()
    ballast.drop()
    accepted_again(server)


@pytest.mark.parametrize("row", [WRITER, 1, 3])
def test_processes_killed_on_a_full_disk_come_back(server: FixedServer, disk: Path, row: int) -> None:
    Ballast(disk).fill()
    server.start()
    counters = server.counters()
    for times in (1, 2):
        os.kill(counters.get(row, "pid"), signal.SIGKILL)
        wait_for(lambda: counters.get(row, "restarts") == times and counters.ready(), "another process")  # noqa: B023
        assert answers(server) == {WEB}
    assert "Traceback" not in server.log()


def test_the_supervisor_killed_on_a_full_disk_leaves_room_for_another(
    server: FixedServer, disk: Path
) -> None:
    Ballast(disk).fill()
    server.start()
    server.kill()
    server.start()
    assert answers(server) == {WEB}


def test_other_settings_on_a_full_disk_wait_for_room(server: FixedServer, disk: Path) -> None:
    """The answers stay what they were: what is half made anew is never served."""
    calls: Calls
    server.start()
    calls = Calls(server.api)
    for number in range(300):
        calls.create_service(f"more-{number}", clusterIP="None")
    calls.close()
    server.stop()
    ballast = Ballast(disk)
    ballast.fill()
    server._environ["SVCDNS_DNS_TTL"] = "77"
    server.start()
    assert answers(server) == {WEB}
    if server.get("/readyz").text != "ok":
        refused_text = server.get("/readyz").text
        assert refused_text == f"ok; writes are refused: {NO_SPACE}"
        assert Calls(server.api).call("POST", SERVICES, service("new"))[0] == 507
    ballast.drop()
    wait_for(lambda: server.ask(fqdn("web")).answer[0].ttl == 77, "the new settings")
    accepted_again(server)


def test_a_manifest_on_a_full_disk_waits_for_room(server: FixedServer, disk: Path) -> None:
    manifest = server.folder / "more.yaml"
    big = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "told"},
        "spec": {"clusterIP": "10.96.0.81"},
    }
    big["metadata"]["annotations"] = {"much": "x" * 200_000}  # type: ignore[index]
    big["spec"]["ports"] = [{"port": 80}]  # type: ignore[index]
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "Service", **big}))
    ballast = Ballast(disk)
    ballast.fill()
    server._environ["SVCDNS_MANIFESTS"] = str(manifest)
    server.start()
    assert answers(server) == {WEB}
    assert server.get("/readyz").text == f"ok; writes are refused: {NO_SPACE}"
    ballast.drop()
    wait_for(lambda: answers(server, "told") == {there(address("10.96.0.81"))}, "the manifest")
    accepted_again(server)


def test_on_a_read_only_file_system(server: FixedServer, disk: Path) -> None:
    remount(disk, "ro")
    server.start()
    assert answers(server) == {WEB}
    refused(server, READ_ONLY)
    counters = server.counters()
    for row in (WRITER, 1):
        os.kill(counters.get(row, "pid"), signal.SIGKILL)
        wait_for(lambda: counters.get(row, "restarts") == 1 and counters.ready(), "another process")  # noqa: B023
    refused(server, READ_ONLY)
    assert "Traceback" not in server.log()
    other = FixedServer(server.data)
    other.launch()
    assert other.process is not None
    assert other.process.wait(GUARD_SECONDS) == 1
    assert "is in use by another svcdns" in other.log()
    other.close()
    remount(disk, "rw")
    accepted_again(server)
    wait_for(lambda: readers(server) >= 1, "readers that the writer sees")
    assert "Traceback" not in server.log()


def readers(server: RunningServer) -> int:
    """Return how many slots of the store's reader table are taken."""
    found = re.search(r"^svcdns_store_readers (\d+)", server.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_a_read_only_file_system_without_a_lock_file(server: FixedServer, disk: Path) -> None:
    for name in ("lock", "lock.mdb"):
        (server.data / name).unlink()
    remount(disk, "ro")
    server.start()
    assert answers(server) == {WEB}
    refused(server, READ_ONLY)
    remount(disk, "rw")
    accepted_again(server)


def test_no_answers_on_a_read_only_file_system_say_so_in_one_line(disk: Path) -> None:
    remount(disk, "ro")
    server = FixedServer(disk / "data")
    server.launch()
    assert server.process is not None
    assert server.process.wait(GUARD_SECONDS) == 1
    (line,) = server.log().splitlines()
    assert line.startswith(f"svcdns: data folder {server.data} can't be used: {READ_ONLY}")
    server.close()


def test_an_upgrade_on_a_full_disk(server: FixedServer, disk: Path) -> None:
    Ballast(disk).fill()
    server.start()
    before = server.worker_pids
    assert server.process is not None
    server.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "svcdns upgraded" in server.log(), "the upgrade")
    assert not set(before) & set(server.worker_pids)
    assert answers(server) == {WEB}
