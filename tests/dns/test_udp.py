"""Questions through a real UDP socket."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import dns.message
import dns.rcode
import pytest
from tap.recording import Recording
from toolbox.answerer_harness import AnswererHarness, Z, rrset
from toolbox.waiting import GUARD_SECONDS

from svcdns.dns import path_choice, stats
from svcdns.dns.access import FORWARD, NAMES
from svcdns.dns.answer import Answerer
from svcdns.dns.forward_link import ForwardLink, UdpQuestion
from svcdns.dns.udp import UdpListener
from svcdns.store.snapshot import NO_SNAPSHOT, Begin, Snapshot


@pytest.fixture(autouse=True, params=[path_choice.COMPILED, path_choice.PYTHON])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, need: Callable[..., str]) -> str:
    """Each test is run by the compiled path and by Python's."""
    if request.param == path_choice.COMPILED:
        need(module="svcdns.dns.compiled_path")
    monkeypatch.setenv(path_choice.VARIABLE, request.param)
    assert path_choice.in_use() == request.param
    return str(request.param)


T = TypeVar("T")


def bound(host: str, family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((host, 0))
    return sock


def query(name: str) -> bytes:
    return dns.message.make_query(name, "A").to_wire()


async def while_serving(
    world: AnswererHarness,
    sock: socket.socket,
    client: Callable[[], T],
    begin: Begin | None = None,
    **more: Any,
) -> T:
    """Run a blocking client in a thread while the listener, made with `more`, answers in the loop."""
    listener = UdpListener(sock, begin or world.snapshots.begin, world.answerer, world.counters, **more)
    listener.start()
    try:
        return await asyncio.wait_for(asyncio.to_thread(client), GUARD_SECONDS)
    finally:
        listener.close()


def ask(address: tuple[str, int], packet: bytes, family: int = socket.AF_INET) -> tuple[bytes, str]:
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(GUARD_SECONDS)
        client.sendto(packet, address)
        reply, source = client.recvfrom(65535)
        return reply, source[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_answers_come_from_the_address_that_was_asked(world: AnswererHarness, host: str) -> None:
    with bound(host) as sock:
        port = sock.getsockname()[1]
        asked = ["127.0.0.1"] if host == "127.0.0.1" else ["127.0.0.1", "127.0.0.2", "127.1.2.3"]

        def client() -> list[tuple[bytes, str]]:
            return [ask((address, port), query(f"web.default.svc.{Z}")) for address in asked]

        replies = await while_serving(world, sock, client)
    assert [source for _, source in replies] == asked
    assert all(dns.message.from_wire(reply).answer for reply, _ in replies)


async def test_ipv6_and_mapped_ipv4_on_one_wildcard_socket(world: AnswererHarness) -> None:
    try:
        sock = bound("::", socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with sock:
        port = sock.getsockname()[1]

        def client() -> list[str]:
            packet = query(f"web.default.svc.{Z}")
            return [
                ask(("::1", port), packet, socket.AF_INET6)[1],
                ask(("127.0.0.3", port), packet)[1],
            ]

        assert (await while_serving(world, sock, client)) == ["::1", "127.0.0.3"]


class Link(ForwardLink):
    """Takes questions for the forwarder, or takes none."""

    def __init__(self, *, takes: bool) -> None:
        super().__init__(None)
        self.given: list[tuple[bytes, Any, Any, int]] = []
        self._takes = takes

    def forward_udp(self, questions: Iterable[UdpQuestion], listener: int) -> bool:
        self.given += [(packet, client, there, listener) for packet, client, there in questions]
        return self._takes


@pytest.mark.parametrize("takes", [True, False], ids=["taken", "not taken"])
@pytest.mark.parametrize(
    ("host", "asked", "ancillary"),
    [
        ("127.0.0.1", "127.0.0.1", []),
        ("0.0.0.0", "127.0.0.4", [(socket.IPPROTO_IP, 8, bytes(4) + bytes((127, 0, 0, 4)) + bytes(4))]),
        ("::", "::1", [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, bytes(15) + b"\1" + bytes(4))]),
    ],
)
async def test_what_is_outside_is_handed_over(
    world: AnswererHarness, host: str, asked: str, ancillary: list[tuple[int, int, bytes]], takes: bool
) -> None:
    """With all that it takes to answer from there; what the forwarder does not take is a SERVFAIL."""
    link = Link(takes=takes)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packets = [number.to_bytes(2) + query("www.example.com")[2:] for number in range(2)]
    world.answerer = Answerer(world.counters, forwards=True)
    with bound(host, family) as sock, socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(GUARD_SECONDS)
        client.connect((asked, sock.getsockname()[1]))

        def ask_all() -> list[bytes]:
            for packet in [*packets, query(f"web.default.svc.{Z}")]:
                client.send(packet)
            return [client.recv(4096) for _ in range(1 if takes else 3)]

        me = client.getsockname()
        rights = {me[0]: NAMES | FORWARD}
        came = await while_serving(world, sock, ask_all, rights=rights, forward_link=link, number=5)
    assert link.given == [(packet, me, ancillary, 5) for packet in packets]
    replies = [dns.message.from_wire(one) for one in came]
    assert [one.id for one in replies if one.rcode() == dns.rcode.SERVFAIL] == ([] if takes else [0, 1])
    assert [len(one.answer) for one in replies if one.rcode() == dns.rcode.NOERROR] == [1]


async def test_many_at_once_and_silence_between(world: AnswererHarness) -> None:
    with bound("127.0.0.1") as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(sock.getsockname())
        client.settimeout(GUARD_SECONDS)
        # More than a batch waits before the listener begins.
        for number in range(80):
            client.send(b"")
            client.send(number.to_bytes(2) + query(f"web.default.svc.{Z}")[2:])

        def receive() -> list[int]:
            return [int.from_bytes(client.recv(4096)[:2]) for _ in range(80)]

        assert (await while_serving(world, sock, receive)) == list(range(80))
    slots = world.counters.slots
    assert slots[stats.SILENT] == 80
    assert slots[stats.BATCH_COUNT] >= 3
    assert sum(slots[stats.BATCHES : stats.BATCH_NANOSECONDS]) == slots[stats.BATCH_COUNT]


async def test_snapshot_begins_after_receipt(world: AnswererHarness) -> None:
    """A write that is committed while a question waits is seen by its answer."""
    with bound("127.0.0.1") as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(sock.getsockname())
        client.settimeout(GUARD_SECONDS)
        client.send(query(f"late.default.svc.{Z}"))

        def begin() -> Snapshot:
            # The datagram has been received: nothing is left in the socket.
            with pytest.raises(BlockingIOError):
                sock.recv(1, socket.MSG_PEEK)
            world.put(f"late.default.svc.{Z}", rrset("A", "10.96.0.50"))
            return world.snapshots.begin()

        reply = await while_serving(world, sock, lambda: client.recv(4096), begin)
    assert dns.message.from_wire(reply).answer


async def test_no_store_yet_is_servfail(world: AnswererHarness) -> None:
    with bound("127.0.0.1") as sock:
        address = sock.getsockname()
        reply, _ = await while_serving(world, sock, lambda: ask(address, query(Z)), lambda: NO_SNAPSHOT)
    assert dns.message.from_wire(reply).rcode() == dns.rcode.SERVFAIL


def test_what_cant_be_sent_is_counted(world: AnswererHarness) -> None:
    class Full:
        """A socket whose send buffer is full."""

        def __init__(self) -> None:
            self.waiting = [(query(Z), ("127.0.0.1", 9)), (query(Z), ("127.0.0.1", 9))]

        def getsockname(self) -> tuple[str, int]:
            return ("127.0.0.1", 1)

        def setblocking(self, _: bool) -> None:
            pass

        def recvfrom(self, _: int) -> object:
            if not self.waiting:
                raise BlockingIOError
            return self.waiting.pop()

        def sendto(self, *_: object) -> None:
            raise BlockingIOError

    listener = UdpListener(Full(), world.snapshots.begin, world.answerer, world.counters)  # type: ignore[arg-type]
    listener._read()
    assert world.counters.slots[stats.DROPPED] == 2


@pytest.mark.parametrize(
    ("host", "asked"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::", "127.0.0.1")],
)
async def test_what_is_answered_is_recorded(world: AnswererHarness, host: str, asked: str) -> None:
    """Each question and its reply, octet for octet, whoever has answered; one without a reply is none."""
    recording = Recording()
    packets = [query(f"web.default.svc.{Z}"), b"\0" * 3, query(f"no.default.svc.{Z}"), query("example.com")]
    packets.append(dns.message.make_query(f"web.default.svc.{Z}", "TYPE9999").to_wire())
    family, of_socket = (socket.AF_INET6,) * 2 if ":" in host else (socket.AF_INET,) * 2
    mapped = f"::ffff:{asked}" if family == socket.AF_INET6 and ":" not in asked else asked
    with bound(host, of_socket) as sock, socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(GUARD_SECONDS)
        client.connect((mapped, sock.getsockname()[1]))

        def ask_all() -> list[bytes]:
            for packet in packets:
                client.send(packet)
            return [client.recv(65535) for _ in range(len(packets) - 1)]

        replies = await while_serving(world, sock, ask_all, recorder=recording.recorder)
        port = client.getsockname()[1]
    found = recording.records()
    by_query = {record.query: record for record in found}
    assert {(record.client, record.port, record.protocol) for record in found} == {(mapped, port, "udp")}
    assert sorted(record.reply for record in found) == sorted(replies)
    assert [by_query[packet].rcode for packet in packets if len(packet) > 3] == [
        "NOERROR",
        "NXDOMAIN",
        "REFUSED",
        "NOERROR",
    ]
    assert all(record.query[:2] == record.reply[:2] and record.duration > 0 for record in found)


async def test_one_of_so_many_is_recorded(world: AnswererHarness) -> None:
    """Each has the same chance, in batches and alone; where nobody wants to know, none is."""
    recording, packet = Recording(sample=4), query(f"web.default.svc.{Z}")
    with bound("127.0.0.1") as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(GUARD_SECONDS)
        client.connect(sock.getsockname())

        def ask_many() -> None:
            for size in (1, 3, 16) * 100:
                for _ in range(size):
                    client.send(packet)
                for _ in range(size):
                    client.recv(512)

        await while_serving(world, sock, ask_many, recorder=recording.recorder)
        found = recording.records()
        assert len(found) == pytest.approx(2000 / 4, rel=0.3)
        assert {(record.sample, record.query) for record in found} == {(4, packet)}
        recording.sample = 0
        recording.recorder.refresh()
        await while_serving(world, sock, ask_many, recorder=recording.recorder)
        assert recording.records() == []


async def test_a_failing_begin_costs_no_listener(world: AnswererHarness) -> None:
    """An error of the store makes SERVFAILs, and the next batch is answered again."""
    failures = [True]

    def begin() -> Snapshot:
        if failures.pop() if failures else False:
            raise OSError("no reader slot")
        return world.snapshots.begin()

    with bound("127.0.0.1") as sock:
        address = sock.getsockname()
        packet = query(f"web.default.svc.{Z}")
        replies = await while_serving(
            world, sock, lambda: [ask(address, packet)[0], ask(address, packet)[0]], begin
        )
    rcodes = [dns.message.from_wire(reply).rcode() for reply in replies]
    assert rcodes == [dns.rcode.SERVFAIL, dns.rcode.NOERROR]


def test_identity_of_each_answerer(world: AnswererHarness) -> None:
    world.answerer = Answerer(world.counters, identity="worker-7")
    packet = dns.message.make_query("id.server", "TXT", rdclass="CH").to_wire()
    with world.snapshots.begin() as snapshot:
        assert b"worker-7" in (world.answerer.answer(packet, snapshot) or b"")
