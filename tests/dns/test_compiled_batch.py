"""A batch of the compiled path: datagrams received, answered, recorded and sent together."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import dns.message
import msgspec
import pytest
from forward.unit.outside_names import every_zone
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.answerer_harness import AnswererHarness, Z
from toolbox.question_packets import OPTS, question
from toolbox.waiting import GUARD_SECONDS

from svcdns.dns import path_choice, stats
from svcdns.dns.access import EVERYBODY, NAMES
from svcdns.dns.answer import Answerer

if os.environ.get("CI") == "true":
    from svcdns.dns import compiled_path  # where it is missing there, all fail
else:
    compiled_path = pytest.importorskip("svcdns.dns.compiled_path", reason="no compiler was there")


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    """Zones and Services of all kinds; no test may change it."""
    with every_zone(tmp_path_factory.mktemp("zones")) as world:
        yield world


def test_of_a_batch_one_question_is_left_for_a_reason(zones: AnswererHarness) -> None:
    """An NXDOMAIN with an OPT may have one; of a flood of them, all others are answered at once."""
    answerer = Answerer(stats.Stats(), explains=True)
    assert answerer.compiled is not None
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        sock.bind(("127.0.0.1", 0))
        batch = compiled_path.Batch(answerer.compiled, sock.fileno(), EVERYBODY, False)
        for _ in range(2):
            for number in range(20):
                client.sendto(question(f"no{number}.default.svc.{Z}", 1, 1, OPTS[1]), sock.getsockname())
            assert batch.receive() == 20
            with zones.snapshots.begin() as snapshot:
                rest = batch.answer(answerer.look_at(snapshot))
            assert [number for number, *_ in rest] == [0]
            assert batch.send() == 0


def batch_of(sock: socket.socket) -> "compiled_path.Batch":
    path = path_choice.compiled(stats.Stats(), 1232)
    return compiled_path.Batch(path, sock.fileno(), EVERYBODY, False)


MEASURE = """
import os, socket
from svcdns.dns import compiled_path, path_choice, stats
from svcdns.dns.access import EVERYBODY

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

path = path_choice.compiled(stats.Stats(), 1232)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
kept = compiled_path.Batch(path, sock.fileno(), EVERYBODY, False)
before = resident()
batches = [compiled_path.Batch(path, sock.fileno(), EVERYBODY, False) for _ in range(16)]
print((resident() - before) // len(batches))
"""
"""Prints the octets that a batch takes."""


def test_a_batch_takes_memory_only_for_what_it_has_received() -> None:
    """Buffers for 64 messages each way are half a MiB, which an idle worker has no use for.

    In a process of its own, where nothing else takes memory meanwhile.
    """
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, timeout=GUARD_SECONDS
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 300_000


def test_a_batch_that_received_nothing_takes_no_reply() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        batch = compiled_path.Batch(
            path_choice.compiled(stats.Stats(), 1232), sock.fileno(), EVERYBODY, False
        )
        assert batch.receive() == 0
        assert batch.answer(None) == []
        for number in (-1, 0, 64):
            with pytest.raises(ValueError):
                batch.put(number, b"reply")
        assert batch.send() == 0


def test_a_batch_that_is_answered_twice_sends_the_last_replies(zones: AnswererHarness) -> None:
    """Each is as long as itself, whoever has made it; there is none where the last answer had none."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        sock.bind(("127.0.0.1", 0))
        client.connect(sock.getsockname())
        client.settimeout(GUARD_SECONDS)
        packets = [question(f"web.default.svc.{Z}", 1), question(f"four.default.svc.{Z}", 1)]
        for packet in packets:
            client.send(packet)
        batch = batch_of(sock)
        assert batch.receive() == 2
        with zones.snapshots.begin() as snapshot:
            batch.put(0, b"short")
            assert batch.answer(zones.answerer.look_at(snapshot)) == []
        assert batch.send() == 0
        for packet in packets:
            assert dns.message.from_wire(client.recv(9000)).answer, packet
        client.send(packets[0])
        assert batch.receive() == 1
        with zones.snapshots.begin() as snapshot:
            assert batch.answer(zones.answerer.look_at(snapshot)) == []
            assert len(batch.answer(None)) == 1
        assert batch.recorded(0, 1)[0] == 0


@pytest.mark.parametrize("method", ["receive", "answer", "put", "recorded", "send"])
def test_what_answer_calls_may_not_use_the_batch(method: str) -> None:
    """It would be told of messages that another call has thrown away."""
    arguments = {"answer": (None,), "put": (0, b"reply"), "recorded": (0, 1)}.get(method, ())

    class Meddling(dict[str, int]):
        def __missing__(self, address: str) -> int:
            getattr(batch, method)(*arguments)
            return NAMES

    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        sock.bind(("127.0.0.1", 0))
        client.sendto(question(f"web.default.svc.{Z}", 1), sock.getsockname())
        path = path_choice.compiled(stats.Stats(), 1232)
        batch = compiled_path.Batch(path, sock.fileno(), Meddling(), False)
        assert batch.receive() == 1
        with pytest.raises(RuntimeError, match="being answered"):
            batch.answer(None)
        assert batch.send() == 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([None, b"", b"r", b"r" * 300, b"r" * 70_000]), min_size=1, max_size=64),
    st.integers(0, 70),
    st.sampled_from([1, 2, 16, 64, 1000, 1 << 40]),
)
def test_what_is_recorded_of_a_batch(replies: list[bytes | None], first: int, step: int) -> None:
    """Of those that have a reply, the first and each so manyth, with address and port of the client."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, ExitStack() as stack:
        sock.bind(("127.0.0.1", 0))
        batch = batch_of(sock)
        clients = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        for client in clients:
            client.bind(("127.0.0.1", 0))
        ports = [client.getsockname()[1] for client in clients]
        for number, _ in enumerate(replies):
            clients[number % 3].sendto(b"q" * number, sock.getsockname())
        assert batch.receive() == len(replies)
        batch.answer(None)
        for number, reply in enumerate(replies):
            if reply is not None:
                batch.put(number, reply)
        records, encoded = batch.recorded(first, step)
        questions, replied = msgspec.msgpack.decode(b"\x92" + encoded)
    expected = [number for number, reply in enumerate(replies) if reply][first::step]
    assert records == len(expected)
    assert questions == [[b"q" * number, ["127.0.0.1", ports[number % 3]]] for number in expected]
    assert replied == [[replies[number], None] for number in expected]


def test_recorded_takes_no_other_numbers() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        batch = batch_of(sock)
        for arguments in ((), (0,), (-1, 1), (0, 0), (0, -1), (0, 1, 2)):
            with pytest.raises(ValueError):
                batch.recorded(*arguments)
        with pytest.raises(TypeError):
            batch.recorded("0", 1)  # type: ignore[arg-type]
        assert batch.recorded(0, 1)[0] == 0


def test_what_cant_be_sent_is_counted(zones: AnswererHarness) -> None:
    """Each reply that the kernel does not take, and the batch ends."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        sock.bind(("127.0.0.1", 0))
        for _ in range(3):
            client.sendto(question(f"web.default.svc.{Z}", 1), sock.getsockname())
        batch = batch_of(sock)
        assert batch.receive() == 3
        with zones.snapshots.begin() as snapshot:
            assert batch.answer(zones.answerer.look_at(snapshot)) == []
        sock.close()
        assert batch.send() == 3
        assert batch.send() == 0


def test_a_datagram_longer_than_a_buffer_is_cut(zones: AnswererHarness) -> None:
    """And answered as Python answers it; an empty one is there as well."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        sock.bind(("127.0.0.1", 0))
        client.connect(sock.getsockname())
        packets = [
            b"",
            question(f"web.default.svc.{Z}", 1) + bytes(9000),
            question(f"web.default.svc.{Z}", 1),
        ]
        for packet in packets:
            client.send(packet)
        batch = compiled_path.Batch(
            path_choice.compiled(stats.Stats(), 1232), sock.fileno(), EVERYBODY, False
        )
        assert batch.receive() == len(packets)
        with zones.snapshots.begin() as snapshot:
            rest = batch.answer(zones.answerer.look_at(snapshot))
        assert [(number, packet) for number, packet, *_ in rest] == [(0, b""), (1, packets[1][:4096])]
        assert {client_address for _, _, client_address, _, _ in rest} == {client.getsockname()}
        batch.put(1, b"r" * 5000)
        assert batch.send() == 0
        client.settimeout(GUARD_SECONDS)
        assert client.recv(9000) == b"r" * 5000
        assert dns.message.from_wire(client.recv(9000)).answer
