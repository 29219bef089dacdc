"""TCP through the relay, as a client and an endpoint see it."""

import contextlib
import errno
import hashlib
import os
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from proxy.relaying import Relaying, connect, free_frontend, listening, rule, text
from toolbox.lab import ask_again
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.cluster.traffic_plan import Endpoint, Frontend, Host, WhenEmpty
from svcdns.proxy.relay import loop, pipes, tcp

RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def relaying() -> Iterator[Relaying]:
    with Relaying() as made:
        yield made


def ask(frontend: Frontend, seconds: float = GUARD_SECONDS) -> str:
    with connect(frontend, seconds) as client:
        return ask_again(client).who


class Pair:
    """A client's socket and its endpoint's, with the relay in between."""

    def __init__(self, relaying: Relaying) -> None:
        self.listener = listening("tcp")
        self.frontend = relaying.serve(rule(Endpoint(b"\x7f\0\0\1", self.listener.getsockname()[1])))
        self.client = connect(self.frontend)
        self.server, _ = self.listener.accept()
        self.server.settimeout(GUARD_SECONDS)

    def close(self) -> None:
        for one in (self.listener, self.client, self.server):
            one.close()


@pytest.fixture
def pair(relaying: Relaying) -> Iterator[Pair]:
    made = Pair(relaying)
    yield made
    made.close()


@pytest.mark.parametrize("family", [4, 6])
def test_connections_reach_all_endpoints(relaying: Relaying, family: int) -> None:
    frontend = relaying.serve(rule(*relaying.endpoints("abc", family=family)), family=family)
    assert {ask(frontend) for _ in range(100)} == set("abc")


def test_a_server_may_speak_first(pair: Pair) -> None:
    pair.server.sendall(b"220 hello\r\n")
    assert pair.client.recv(100) == b"220 hello\r\n"


@pytest.mark.parametrize("most_pipes", [pipes.MOST_PIPES, 0], ids=["spliced", "copied"])
def test_much_both_ways_at_once_arrives_as_it_was_sent(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch, most_pipes: int
) -> None:
    lend = pipes.Pipes.lend
    monkeypatch.setattr(pipes.Pipes, "lend", lambda self: lend(self) if most_pipes else None)
    pair = Pair(relaying)
    octets = {side: hashlib.shake_128(side.encode()).digest(1 << 20) for side in ("client", "server")}
    got: dict[str, str] = {}

    def send(side: socket.socket, what: bytes) -> None:
        for _ in range(64):
            side.sendall(what)
        side.shutdown(socket.SHUT_WR)

    def receive(side: socket.socket, name: str) -> None:
        digest = hashlib.sha1()
        while part := side.recv(1 << 18):
            digest.update(part)
        got[name] = digest.hexdigest()

    work = [
        threading.Thread(target=send, args=(pair.client, octets["client"])),
        threading.Thread(target=send, args=(pair.server, octets["server"])),
        threading.Thread(target=receive, args=(pair.client, "client")),
        threading.Thread(target=receive, args=(pair.server, "server")),
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(GUARD_SECONDS)
    assert got == {
        "server": hashlib.sha1(octets["client"] * 64).hexdigest(),
        "client": hashlib.sha1(octets["server"] * 64).hexdigest(),
    }
    pair.close()


@pytest.mark.parametrize("most_pipes", [pipes.MOST_PIPES, 0], ids=["spliced", "copied"])
def test_who_reads_late_gets_all(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch, most_pipes: int
) -> None:
    lend = pipes.Pipes.lend
    monkeypatch.setattr(pipes.Pipes, "lend", lambda self: lend(self) if most_pipes else None)
    pair = Pair(relaying)
    octets = hashlib.shake_128(b"late").digest(48 << 20)
    pair.client.setblocking(False)
    sent = 0
    stuck_at = time.monotonic() + 0.3
    while time.monotonic() < stuck_at:  # until all buffers are full, for as long as nothing moves any more
        with contextlib.suppress(BlockingIOError):
            sent += pair.client.send(octets[sent : sent + 50_000])
            stuck_at = time.monotonic() + 0.3
    assert sent < len(octets)
    got = bytearray()
    while len(got) < len(octets):
        with contextlib.suppress(BlockingIOError):
            sent += pair.client.send(octets[sent : sent + 50_000])
        if select.select([pair.server], [], [], 0)[0]:
            got += pair.server.recv(1 << 18)
    assert hashlib.sha1(got).digest() == hashlib.sha1(octets).digest()
    pair.close()


def test_a_half_close_goes_through_either_way(relaying: Relaying) -> None:
    for first in ("client", "server"):
        pair = Pair(relaying)
        one, other = (pair.client, pair.server) if first == "client" else (pair.server, pair.client)
        one.sendall(b"last words")
        one.shutdown(socket.SHUT_WR)
        assert other.recv(100) == b"last words" and other.recv(100) == b""
        other.sendall(b"x" * 300_000)
        other.close()
        assert sum(iter(lambda side=one: len(side.recv(1 << 16)), 0)) == 300_000
        pair.close()


@pytest.mark.parametrize("first", ["client", "server"])
@pytest.mark.parametrize("state", ["idle", "half closed", "stuck"])
def test_a_reset_goes_through_either_way(relaying: Relaying, pair: Pair, first: str, state: str) -> None:
    one, other = (pair.client, pair.server) if first == "client" else (pair.server, pair.client)
    one.sendall(b"x")
    assert other.recv(1) == b"x"
    if state == "half closed":
        one.shutdown(socket.SHUT_WR)
        assert other.recv(1) == b""
    if state == "stuck":  # the other side reads nothing
        one.settimeout(0.2)
        with pytest.raises(TimeoutError):
            one.sendall(bytes(64 << 20))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    one.close()
    wait_for(lambda: _is_reset(other), "a reset")
    wait_for(lambda: relaying.relay.held()["connections"] == 0, "the connection to be gone")


def _is_reset(one: socket.socket) -> bool:
    """Read what there is; return whether a reset came: an end of stream is none."""
    one.setblocking(False)
    try:
        while one.recv(1 << 20):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    looked = select.poll()
    looked.register(one, 0)
    return any(events & select.POLLERR for _, events in looked.poll(0))


def test_who_reads_nothing_is_sent_no_more_than_buffers_hold(pair: Pair) -> None:
    pair.server.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 256 << 20:
            sent += pair.server.send(bytes(1 << 20))
    assert sent < 64 << 20


def test_an_endpoint_that_refuses_gives_way_to_another(relaying: Relaying) -> None:
    dead, gone = relaying.server("dead")
    dead.close()
    frontend = relaying.serve(rule(gone, *relaying.endpoints("a")))
    assert {ask(frontend) for _ in range(30)} == {"a"}


def test_an_endpoint_that_does_not_answer_gives_way_to_another(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "DIAL_SECONDS", 0.1)
    with socket.socket() as silent:  # its backlog is full: more SYNs are dropped
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for one in fill:
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        there = Endpoint(b"\x7f\0\0\1", silent.getsockname()[1])
        frontend = relaying.serve(rule(there, *relaying.endpoints("a")))
        assert {ask(frontend) for _ in range(6)} == {"a"}
        for one in fill:
            one.close()


def test_a_client_is_reset_where_no_endpoint_takes_it(relaying: Relaying) -> None:
    dead = [relaying.server(name) for name in "abcdefg"]
    frontend = relaying.serve(rule(*(endpoint for _, endpoint in dead)))
    for server, _ in dead:
        server.close()
    with pytest.raises(ConnectionError), connect(frontend) as client:
        client.recv(1)
    wait_for(lambda: relaying.relay.held()["connections"] == 0, "nothing to be left")


def test_without_endpoints_it_is_refused_and_what_is_open_goes_on(relaying: Relaying) -> None:
    frontend = relaying.serve(rule(*relaying.endpoints("a")))
    with connect(frontend) as client:
        assert ask_again(client).who == "a"
        relaying.apply({frontend: rule()})
        with pytest.raises(ConnectionRefusedError):
            ask(frontend)
        assert ask_again(client).who == "a"
        relaying.apply({frontend: rule(*relaying.endpoints("b"))})
        assert ask(frontend) == "b" and ask_again(client).who == "a"
        relaying.apply({frontend: None})
        with pytest.raises(ConnectionRefusedError):
            ask(frontend)
        assert ask_again(client).who == "a"


def test_drop_is_silence_and_what_is_open_goes_on(relaying: Relaying) -> None:
    endpoints = relaying.endpoints("a")
    frontend = relaying.serve(rule(when_empty=WhenEmpty.DROP))
    with pytest.raises(TimeoutError):
        connect(frontend, seconds=0.3)
    relaying.apply({frontend: rule(*endpoints)})
    with connect(frontend) as client:
        assert ask_again(client).who == "a"
        relaying.apply({frontend: rule(when_empty=WhenEmpty.DROP)})
        with pytest.raises(TimeoutError):
            connect(frontend, seconds=0.3)
        assert ask_again(client).who == "a"


def test_a_client_stays_with_its_endpoint_while_that_is_one(relaying: Relaying) -> None:
    endpoints = relaying.endpoints("abcde")
    frontend = relaying.serve(rule(*endpoints, affinity_seconds=3600))
    (first,) = {ask(frontend) for _ in range(20)}
    left = [endpoint for name, endpoint in zip("abcde", endpoints, strict=True) if name != first]
    relaying.apply({frontend: rule(*left, affinity_seconds=3600)})
    (second,) = {ask(frontend) for _ in range(20)}
    assert second != first
    relaying.apply({frontend: rule(*endpoints)})
    assert len({ask(frontend) for _ in range(100)}) == 5


def test_more_connections_than_descriptors_wait_for_others_to_end() -> None:
    with Relaying(open_files=40) as relaying:
        frontend = relaying.serve(rule(*relaying.endpoints("a")))
        clients = []
        while True:
            clients.append(connect(frontend))
            clients[-1].settimeout(3)  # for one that has no turn; others are answered in far less
            try:
                ask_again(clients[-1])
            except TimeoutError:
                break
        assert 3 <= len(clients) < 20
        clients.pop(0).close()
        clients[-1].settimeout(GUARD_SECONDS)
        assert clients[-1].recv(100).startswith(b"a ")
        for client in clients:
            client.close()
        assert ask(frontend) == "a"


def test_a_service_that_leads_to_itself_ends_in_a_reset(relaying: Relaying) -> None:
    one, other = free_frontend(), free_frontend()
    to = {frontend: Endpoint(frontend.address, frontend.port) for frontend in (one, other)}
    relaying.relay.replace({one: rule(to[other]), other: rule(to[one])}, Host())
    with pytest.raises(ConnectionError), connect(one) as client:
        client.recv(1)
    wait_for(lambda: relaying.relay.held()["connections"] == 0, "the circle to end")


def test_a_service_whose_endpoint_is_a_service_is_reached(relaying: Relaying) -> None:
    behind = relaying.serve(rule(*relaying.endpoints("a")))
    frontend = relaying.serve(rule(Endpoint(behind.address, behind.port)))
    assert ask(frontend) == "a"


def test_the_end_of_the_relay_ends_all(relaying: Relaying, pair: Pair) -> None:
    relaying.relay.close()
    assert pair.client.recv(1) == b"" and pair.server.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(pair.frontend)
    assert text(pair.frontend.address).startswith("127.")


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_left_of_clients_and_servers_that_do_as_they_like(relaying: Relaying, seed: int) -> None:
    dice = random.Random(seed)
    listener = listening("tcp")
    frontend = relaying.serve(rule(Endpoint(b"\x7f\0\0\1", listener.getsockname()[1])))
    pairs: list[list[socket.socket]] = []
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1500):
        if len(pairs) < 40 and dice.random() < 0.3:
            client = connect(frontend)
            server, _ = listener.accept()
            for one in (client, server):
                one.setblocking(False)
            pairs.append([client, server])
        elif pairs:
            pair = dice.choice(pairs)
            with contextlib.suppress(OSError, IndexError):
                _do_something(dice, pair)
            if not pair:
                pairs.remove(pair)
    for pair in pairs:
        for one in pair:
            one.close()
    wait_for(lambda: relaying.relay.held()["connections"] == 0, "all connections to end")
    pipes = 2 * 96
    assert len(os.listdir("/proc/self/fd")) <= before + pipes
    with connect(frontend) as client, listener.accept()[0] as server:
        client.sendall(b"still there")
        assert server.recv(100) == b"still there"
    listener.close()


def _do_something(dice: random.Random, pair: list[socket.socket]) -> None:
    """Have one side read, write much or little, half-close, close or reset."""
    side = dice.choice(pair)
    what = dice.choice(["read", "read", "write", "write", "much", "shutdown", "close", "reset"])
    if what == "read":
        side.recv(1 << 20)
    elif what == "write":
        side.send(b"x" * dice.randrange(1, 2000))
    elif what == "much":
        side.send(bytes(4 << 20))
    elif what == "shutdown":
        side.shutdown(socket.SHUT_WR)
    else:
        if what == "reset":
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        side.close()
        pair.remove(side)


def test_where_epoll_has_no_room_a_client_is_reset_and_the_next_one_is_served(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    frontend = relaying.serve(rule(*relaying.endpoints("a")))
    watch = loop.Loop.watch
    for refused in (1, 2):  # the endpoint's side, the client's
        left = iter(range(1, 1000))

        def scarce(self: loop.Loop, *arguments: Any, left: Any = left, refused: int = refused) -> None:
            if next(left) == refused:
                raise OSError(errno.ENOSPC, "no room")
            watch(self, *arguments)

        monkeypatch.setattr(loop.Loop, "watch", scarce)
        with pytest.raises(ConnectionError), connect(frontend) as client:
            client.recv(1)
        monkeypatch.setattr(loop.Loop, "watch", watch)
        assert ask(frontend) == "a"
    wait_for(lambda: relaying.relay.held()["connections"] == 0, "nothing to be left")
