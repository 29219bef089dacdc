"""UDP through the relay, as a client sees it."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from proxy.relaying import Relaying, connect, free_frontend, rule
from toolbox.lab import ask_again
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.cluster.traffic_plan import UDP, Endpoint, Frontend, Host, Rule, WhenEmpty
from svcdns.proxy.relay import udp


@pytest.fixture
def relaying() -> Iterator[Relaying]:
    with Relaying() as made:
        yield made


def serve(relaying: Relaying, rule: Rule, family: int = 4) -> Frontend:
    return relaying.serve(rule, UDP, family)


@pytest.mark.parametrize("family", [4, 6])
def test_a_client_stays_with_one_endpoint_and_clients_reach_all(relaying: Relaying, family: int) -> None:
    frontend = serve(relaying, rule(*relaying.endpoints("abc", "udp", family)), family)
    seen = set()
    for _ in range(60):
        with connect(frontend) as client:  # connected: it only hears what comes from the frontend
            (who,) = {ask_again(client).who for _ in range(3)}
            seen.add(who)
    assert seen == set("abc")


def test_a_flow_moves_when_its_endpoint_leaves(relaying: Relaying) -> None:
    endpoints = dict(zip("ab", relaying.endpoints("ab", "udp"), strict=True))
    frontend = serve(relaying, rule(*endpoints.values()))
    with connect(frontend) as client:
        first = ask_again(client).who
        other = "b" if first == "a" else "a"
        relaying.apply({frontend: rule(endpoints[other])})
        assert ask_again(client).who == other
        relaying.apply({frontend: rule()})
        with pytest.raises(ConnectionRefusedError):
            ask_again(client)
            ask_again(client)
        relaying.apply({frontend: rule(endpoints[first])})
        assert ask_again(client).who == first


def test_flows_of_endpoints_that_stay_are_left_alone(relaying: Relaying) -> None:
    endpoints = relaying.endpoints("abc", "udp")
    frontend = serve(relaying, rule(*endpoints))
    with connect(frontend) as client:
        before = ask_again(client)
        relaying.apply({frontend: rule(*endpoints, *relaying.endpoints("d", "udp"))})
        assert ask_again(client) == before  # the same port of the relay, so the same flow


def test_an_endpoint_that_refuses_loses_its_flow(relaying: Relaying) -> None:
    dead, gone = relaying.server("dead", "udp")
    frontend = serve(relaying, rule(gone))
    with connect(frontend) as client:
        assert ask_again(client).who == "dead"
        dead.close()
        client.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            ask_again(client)
        wait_for(lambda: relaying.relay.held()["flows"] == 0, "the flow to end")
        relaying.apply({frontend: rule(*relaying.endpoints("a", "udp"))})
        client.settimeout(GUARD_SECONDS)
        assert ask_again(client).who == "a"


def test_idle_flows_end_and_used_ones_stay(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "_LOOK_SECONDS", 0.05)
    frontend = serve(relaying, rule(*relaying.endpoints("a", "udp")))
    with connect(frontend) as client:
        before = ask_again(client)
        with connect(frontend) as idle:
            ask_again(idle)
        assert relaying.relay.held()["flows"] == 2
        monkeypatch.setattr(udp, "UNANSWERED_SECONDS", 0.3)
        monkeypatch.setattr(udp, "IDLE_SECONDS", 0.3)

        def one_is_left() -> bool:
            assert ask_again(client) == before
            return relaying.relay.held()["flows"] == 1

        wait_for(one_is_left, "the idle flow to end")
        wait_for(lambda: relaying.relay.held()["flows"] == 0, "the other one to end")


def test_drop_is_silence_on_udp_too(relaying: Relaying) -> None:
    endpoints = relaying.endpoints("a", "udp")
    frontend = serve(relaying, rule(*endpoints))
    with connect(frontend) as client:
        assert ask_again(client).who == "a"
        relaying.apply({frontend: rule(when_empty=WhenEmpty.DROP)})
        client.settimeout(0.3)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                ask_again(client)
        relaying.apply({frontend: rule(*endpoints)})
        client.settimeout(GUARD_SECONDS)
        assert ask_again(client).who == "a"


def test_a_client_of_many_sockets_stays_with_its_endpoint(relaying: Relaying) -> None:
    frontend = serve(relaying, rule(*relaying.endpoints("abcde", "udp"), affinity_seconds=100))
    seen = set()
    for _ in range(20):
        with connect(frontend) as client:
            seen.add(ask_again(client).who)
    assert len(seen) == 1


def test_the_largest_datagram_passes(relaying: Relaying) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        frontend = serve(relaying, rule(Endpoint(b"\x7f\0\0\1", server.getsockname()[1])))
        with connect(frontend) as client:
            client.send(b"q" * 65_507)
            question, name = server.recvfrom(65_535)
            server.sendto(b"", name)
            server.sendto(question, name)
            assert client.recv(65_535) == b""
            assert client.recv(65_535) == b"q" * 65_507


def test_there_are_only_so_many_flows_and_the_oldest_gives_way() -> None:
    with Relaying(open_files=80) as relaying:
        frontend = serve(relaying, rule(*relaying.endpoints("a", "udp")))
        clients = [connect(frontend) for _ in range(50)]
        answers = [ask_again(client) for client in clients]
        assert relaying.relay.held()["flows"] < 10
        assert ask_again(clients[-1]) == answers[-1]
        assert ask_again(clients[0]).who == "a" and ask_again(clients[0]) != answers[0]
        for client in clients:
            client.close()


def test_services_that_lead_to_each_other_do_not_pass_a_datagram_for_ever(relaying: Relaying) -> None:
    one, other = free_frontend(UDP), free_frontend(UDP)
    to = {frontend: Endpoint(frontend.address, frontend.port) for frontend in (one, other)}
    relaying.relay.replace({one: rule(to[other]), other: rule(to[one])}, Host())
    with connect(one, seconds=0.3) as client:
        client.send(b"x")
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert relaying.relay.held()["flows"] <= 5
