"""Many watchers: how soon they are told, what idle ones cost, what becomes of one that does not read.

Asserted loosely, since other tests run on the same machine; bench/watch.py measures.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from toolbox.builders import pod
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for
from toolbox.watching import Informers, Watchers, cpu_seconds, rss

SERVICES = "/api/v1/namespaces/default/services"
PODS = "/api/v1/namespaces/default/pods"
IDLE = 1_000


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        body = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
        assert running.post(SERVICES, body).status == 201
        yield running


def change(server: RunningServer, number: int, octets: int = 0) -> None:
    annotations = {"round": str(number), "padding": "x" * octets}
    assert server.patch(f"{SERVICES}/web", {"metadata": {"annotations": annotations}}).status == 200


@pytest.mark.alone
def test_one_change_reaches_a_hundred_watchers(server: RunningServer) -> None:
    with Watchers(server, 100, "/api/v1/services") as watchers:
        took = []
        for number in range(20):
            begun = time.perf_counter()
            change(server, number)
            took.append(watchers.all_told(begun))
    assert sorted(took)[len(took) // 2] < 0.25, took


def test_idle_watchers_cost_little(server: RunningServer) -> None:
    pid = server.writer_pid
    before = rss(pid)
    with Watchers(server, IDLE, "/api/v1/services"):
        used, begun = cpu_seconds(pid), time.monotonic()
        wait_for(lambda: time.monotonic() - begun > 3, "a while")  # idle time is what is measured
        share = (cpu_seconds(pid) - used) / (time.monotonic() - begun)
        grown = rss(pid) - before
    assert grown <= 40_000_000, grown
    assert share <= 0.05, share


@pytest.mark.parametrize("web_socket", [False, True], ids=["http", "websocket"])
def test_a_watcher_that_does_not_read_is_cut_off(server: RunningServer, web_socket: bool) -> None:
    """It holds back no other, its memory is bounded, and it sees the end of its connection."""
    pid = server.writer_pid
    with (
        Watchers(server, 1, "/api/v1/services", receive_buffer=4096, web_socket=web_socket) as slow,
        Watchers(server, 1, "/api/v1/services") as brisk,
    ):
        before = rss(pid)
        written = 0
        cut = "svcdns_api_watches_cut_total 1.0"
        begun = time.perf_counter()
        while cut not in server.get("/metrics").text:
            change(server, written, 200_000)
            brisk.all_told(begun)
            written += 1
            assert time.perf_counter() - begun < 2 * GUARD_SECONDS, "it was not cut off"
        assert rss(pid) - before < 60_000_000
        (one,) = slow.sockets
        one.settimeout(GUARD_SECONDS)
        with pytest.raises(ConnectionError):
            _read_on(one)
    told = "a watch of services was cut off: the client reads too slowly"
    wait_for(lambda: told in server.log(), "the line in the log")


def test_those_that_stop_reading_hold_little_and_are_cut_off(server: RunningServer) -> None:
    """Ten lists and ten watches of 40 MB each."""
    pid = server.writer_pid
    fill(server, 400, 100_000)
    server.get(PODS)  # what is allocated once for all
    before = rss(pid)
    with (
        Informers(server.api, 10, PODS, receive_buffer=4096) as watches,
        Informers(server.api, 10, PODS, receive_buffer=4096, watch=False) as lists,
    ):
        peak = [before]

        def cut() -> bool:
            peak.append(rss(pid))
            return "svcdns_api_watches_cut_total 10.0" in server.get("/metrics").text

        wait_for(cut, "the watches to be cut off")
        for one in (*watches.sockets, *lists.sockets):
            one.settimeout(GUARD_SECONDS)
            with pytest.raises(ConnectionError):
                _read_on(one)
    assert max(peak) - before < 20_000_000, "a piece each"


def test_a_restart_brings_all_informers_back(server: RunningServer) -> None:
    fill(server, 300, 5_000)
    count = 0
    for _ in range(2):
        with Informers(server.api, 30, PODS) as informers:
            informers.all_complete()
            count = informers.octets
        killed = server.writer_pid
        os.kill(killed, signal.SIGKILL)
        # It may take connections until that is carried out.
        wait_for(lambda: server.writer_pid != killed, "the next writer")  # noqa: B023
    assert count > 30 * 300 * 5_000


def fill(server: RunningServer, count: int, octets: int) -> None:
    """Register Pods of a size."""
    for number in range(count):
        made = pod(f"p{number}", "10.0.0.1")
        made["metadata"]["annotations"] = {"padding": "x" * octets}
        assert server.post(PODS, made).status == 201


def _read_on(one: socket.socket) -> None:
    """Read what is left in the buffers; an end without a last chunk is a broken connection."""
    last = b""
    while octets := one.recv(1 << 20):
        last = octets[-5:]
    if last != b"0\r\n\r\n":
        raise ConnectionResetError
