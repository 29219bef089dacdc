"""The forwarder down, stuck or overloaded; loops; who may ask."""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from statistics import median

import pytest
from dns.message import from_wire, make_query
from forward.behaviour.expecting import (
    SERVICES,
    WEB,
    WEB_NAME,
    data,
    errors,
    forwarder_pid,
    has,
    kill_forwarder,
    metric,
    said,
    to,
    wait_for_forwarder,
)
from toolbox.builders import external
from toolbox.misbehaving import Misbehaving
from toolbox.running_server import RunningServer
from toolbox.stopping import stop
from toolbox.upstreams import Unbound, free_port
from toolbox.waiting import wait_for

MANY = 30_000


@pytest.fixture
def lone(upstream: Unbound) -> Iterator[RunningServer]:
    """A server of a test's own."""
    with to(upstream.address) as running:
        assert running.post(SERVICES, WEB).status == 201
        assert running.post(SERVICES, external("ext", "www.example.org")).status == 201
        yield running


def test_a_stuck_forwarder_costs_own_names_nothing_and_others_a_clear_failure(lone: RunningServer) -> None:
    stuck = forwarder_pid(lone)
    stop(stuck)
    try:

        def refused() -> bool:
            reply = lone.ask("www.example.org", use_edns=0, timeout=60)
            return (said(reply), errors(reply)) == ("SERVFAIL", [23])

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(lone.dns)
            asking.setblocking(False)

            def told() -> bool:
                asking.send(make_query("never.example.org", "A", use_edns=0).to_wire())
                while select.select([asking], [], [], 0.05)[0]:
                    reply = from_wire(asking.recv(4096))
                    if (said(reply), errors(reply)) == ("SERVFAIL", [23]):
                        return True
                return False

            wait_for(told, "workers to see that the forwarder is stuck")
        assert refused()
        alias = lone.ask("ext.default.svc.cluster.local", use_edns=0)
        assert (said(alias), data(alias), errors(alias)) == ("SERVFAIL", ["CNAME www.example.org."], [23])
        assert has(alias, "AA")
        assert data(lone.ask(WEB_NAME)) == ["A 10.96.0.10"]
    finally:
        os.kill(stuck, signal.SIGCONT)
    wait_for(lambda: said(lone.ask("www.example.org")) == "NOERROR", "the forwarder to go on")


def test_what_cannot_be_handed_over_costs_own_names_no_time() -> None:
    """One TCP client with much to ask, none of which can be forwarded, takes its turns as others do."""
    with Misbehaving() as upstream, to(upstream.address, workers=1) as server:
        server.post(SERVICES, WEB)
        stop(forwarder_pid(server))
        wait_for(lambda: said(server.ask("x.example.org", tcp=True)) == "SERVFAIL", "the worker to see it")
        question = make_query("x.example.org", "A").to_wire()
        many = (len(question).to_bytes(2) + question) * MANY
        with socket.create_connection(server.dns) as flooding:
            threading.Thread(target=flooding.sendall, args=(many,), daemon=True).start()
            reading = threading.Thread(target=_read_all, args=(flooding, MANY), daemon=True)
            reading.start()
            seconds = []
            while reading.is_alive():
                began = time.monotonic()
                assert data(server.ask(WEB_NAME)) == ["A 10.96.0.10"]
                seconds.append(time.monotonic() - began)
        assert median(seconds) < 0.2, seconds


def _read_all(client: socket.socket, messages: int) -> None:
    stream = client.makefile("rb")
    for _ in range(messages):
        stream.read(int.from_bytes(stream.read(2)))


def test_a_forwarder_that_stays_stuck_is_ended_and_reported(lone: RunningServer) -> None:
    stuck = forwarder_pid(lone)
    stop(stuck)
    wait_for(lambda: process_up(lone, "forwarder") == 0, "the metric")
    assert lone.get("/readyz").status == 200, "own names are answered as ever"
    wait_for(lambda: "the forwarder has shown no life" in lone.log(), "the line in the log")
    wait_for(lambda: forwarder_pid(lone) != stuck, "the next one")
    wait_for(lambda: said(lone.ask("www.example.org")) == "NOERROR", "an answer")
    assert process_up(lone, "forwarder") == 1


def process_up(server: RunningServer, process: str) -> float:
    line = f'svcdns_process_up{{process="{process}"}} '
    return next(
        float(text.removeprefix(line))
        for text in server.get("/metrics").text.splitlines()
        if text.startswith(line)
    )


def test_a_killed_forwarder_comes_back(lone: RunningServer) -> None:
    for _ in range(3):
        kill_forwarder(lone)
        assert data(lone.ask(WEB_NAME)) == ["A 10.96.0.10"]
        wait_for_forwarder(lone)
        wait_for(lambda: data(lone.ask("www.example.org")) == ["A 192.0.2.10"], "an answer")


def test_a_tcp_client_is_told_when_the_forwarder_died_with_its_question() -> None:
    with (
        Misbehaving("silent") as upstream,
        to(upstream.address, workers=1) as server,
        socket.create_connection(server.dns, timeout=60) as client,
    ):
        question = make_query("lost.example.org", "A", use_edns=0).to_wire()
        client.sendall(len(question).to_bytes(2) + question)
        wait_for(lambda: any("lost" in str(asked.question[0]) for asked in upstream.asked), "the question")
        kill_forwarder(server)
        octets = b""
        while len(octets) < 2 or len(octets) < 2 + int.from_bytes(octets[:2]):
            octets += client.recv(4096) or pytest.fail("closed without an answer")
        reply = from_wire(octets[2:])
        assert (said(reply), errors(reply)) == ("SERVFAIL", [23])


def test_one_client_cannot_take_all_the_room() -> None:
    config = "[forward]\noutstanding = 20\noutstanding_per_client = 5\nupstreams = ['{}']\n"
    with Misbehaving("silent") as upstream, RunningServer(config=config.format(upstream.address)) as server:
        server.post(SERVICES, WEB)
        with _client("127.0.0.1", server) as greedy:
            for number in range(30):
                greedy.send(make_query(f"n{number}.example.org", "A", use_edns=0).to_wire())
            refused = [_next(greedy) for _ in range(25)]
            assert {(said(reply), *errors(reply)) for reply in refused} == {("SERVFAIL", 23)}
            with _client("127.0.0.2", server) as modest:
                modest.send(make_query("other.example.org", "A", use_edns=0).to_wire())
                wait_for(
                    lambda: any("other" in str(asked.question[0]) for asked in upstream.asked), "a flight"
                )
            assert data(server.ask(WEB_NAME)) == ["A 10.96.0.10"]
            assert metric(server, "svcdns_dns_forward_refused_total") >= 0


def _client(address: str, server: RunningServer) -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.bind((address, 0))
    client.connect(server.dns)
    client.settimeout(60)
    return client


def _next(client: socket.socket) -> object:
    return from_wire(client.recv(4096))


def test_a_loop_is_found_and_reported() -> None:
    """Two servers that forward to each other; each is by itself a sane configuration."""
    place = f"127.0.0.1:{free_port()}"
    with to(place) as first, to("{}:{}".format(*first.dns), dns=(place,)) as second:
        wait_for(lambda: "forwarding loop" in second.log(), "the loop to be reported")
        wait_for(lambda: metric(second, "svcdns_upstream_looped") == 1, "the metric")
        reply = second.ask("new.example.org", use_edns=0)
        assert (said(reply), errors(reply)) == ("SERVFAIL", [22])
        second.post(SERVICES, WEB)
        assert data(second.ask(WEB_NAME)) == ["A 10.96.0.10"]


def test_strangers_get_own_names_and_nothing_else(upstream: Unbound) -> None:
    config = (
        f'[forward]\nupstreams = ["{upstream.address}"]\n[acl]\nforward = ["loopback", "!127.0.0.8/29"]\n'
    )
    with RunningServer(config=config) as server:
        server.post(SERVICES, WEB)
        with _client("127.0.0.9", server) as stranger:
            stranger.send(make_query("www.example.org", "A", use_edns=0).to_wire())
            reply = _next(stranger)
            assert (said(reply), errors(reply)) == ("REFUSED", [18])
            assert not has(reply, "RA")
            stranger.send(make_query(WEB_NAME, "A").to_wire())
            reply = _next(stranger)
            assert data(reply) == ["A 10.96.0.10"]
            assert not has(reply, "RA")
        assert has(server.ask(WEB_NAME), "RA")
        assert data(server.ask("www.example.org")) == ["A 192.0.2.10"]


def test_networks_can_be_kept_from_own_names(upstream: Unbound) -> None:
    with to(upstream.address, '[acl]\nnames = ["any", "!127.0.0.8/29"]\n') as server:
        server.post(SERVICES, WEB)
        with _client("127.0.0.9", server) as stranger:
            stranger.send(make_query(WEB_NAME, "A", use_edns=0).to_wire())
            reply = _next(stranger)
            assert (said(reply), errors(reply)) == ("REFUSED", [18])
        assert data(server.ask(WEB_NAME)) == ["A 10.96.0.10"]
