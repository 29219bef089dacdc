"""Promise 6 on the DNS side: whatever comes in over real sockets, each worker says what RFC 1035, 6891 and
9619 want, or nothing, and goes on; none dies, none keeps a descriptor.

Each bad message is followed on the same socket by a question with a known answer.  A worker reads its
socket in order, so what came back before that answer is all that the bad message will ever get.
"""

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from dns import message, rcode
from toolbox.calls import Calls, fqdn
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for
from toolbox.witness import Answer, Witness, address, make_question, read_answer, there, wire_name

WORKERS = 2
KNOWN = 0xBEEF
PACKETS = 20_000
BATCH = 100
A_IN = b"\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
OPT_VERSION_1 = b"\0\0\x29\x04\xd0\0\1\0\0\0\0"


def header(
    flags: int = 0x0100, questions: int = 1, answers: int = 0, authority: int = 0, additional: int = 0
) -> bytes:
    counts = (questions, answers, authority, additional)
    return b"\x12\x34" + flags.to_bytes(2) + b"".join(count.to_bytes(2) for count in counts)


WEB = wire_name(fqdn("web"))
GOOD = header() + WEB + A_IN

SILENT = {
    **{f"{size} octets": GOOD[:size] for size in range(12)},
    "a response": header(0x8180) + WEB + A_IN,
    "half a response": header(0x8180)[:12],
    "a response with another opcode": header(0x8980 | 5 << 11) + WEB + A_IN,
}

ANSWERED = {
    "header only": (header(), rcode.FORMERR),
    "no question": (header(questions=0), rcode.FORMERR),
    "two questions": (header(questions=2) + (WEB + A_IN) * 2, rcode.FORMERR),
    "65,535 questions": (header(questions=0xFFFF) + WEB + A_IN, rcode.FORMERR),
    "no end of the name": (header() + WEB[:-1], rcode.FORMERR),
    "name cut in a label": (header() + WEB[:3], rcode.FORMERR),
    "no type": (header() + WEB, rcode.FORMERR),
    "half a class": (header() + WEB + A_IN[:3], rcode.FORMERR),
    "pointer to itself": (header() + b"\xc0\x0c" + A_IN, rcode.FORMERR),
    "two pointers in a ring": (header() + b"\xc0\x0e\xc0\x0c" + A_IN, rcode.FORMERR),
    "label and pointer in a ring": (header() + b"\1a\xc0\x0c" + A_IN, rcode.FORMERR),
    "pointer into nowhere": (header() + b"\xff\xff" + A_IN, rcode.FORMERR),
    "label of 64": (header() + b"\x40" + b"a" * 64 + b"\0" + A_IN, rcode.FORMERR),
    "label of 191": (header() + b"\xbf" + b"a" * 191 + b"\0" + A_IN, rcode.FORMERR),
    "name of 256": (header() + (b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\0" + A_IN, rcode.FORMERR),
    "name of 3,000": (header() + (b"\1a") * 1_500 + b"\0" + A_IN, rcode.FORMERR),
    "two OPTs": (header(additional=2) + WEB + A_IN + OPT + OPT, rcode.FORMERR),
    "half an OPT": (header(additional=1) + WEB + A_IN + OPT[:5], rcode.FORMERR),
    "OPT promised, none there": (header(additional=1) + WEB + A_IN, rcode.FORMERR),
    "options longer than the OPT": (
        header(additional=1) + WEB + A_IN + OPT[:-2] + b"\0\6\0\x0a\0\x20ab",
        rcode.FORMERR,
    ),
    "OPT of another name": (header(additional=1) + WEB + A_IN + b"\1a" + OPT, rcode.FORMERR),
    "EDNS version 1": (header(additional=1) + WEB + A_IN + OPT_VERSION_1, rcode.BADVERS),
    **{f"opcode {code}": (header(code << 11) + WEB + A_IN, rcode.NOTIMP) for code in (1, 2, 3, 4, 5, 6, 15)},
    **{
        f"class {kind}": (header() + WEB + b"\0\1" + kind.to_bytes(2), rcode.REFUSED) for kind in (0, 2, 3, 4)
    },
    "a name of others": (header() + wire_name("www.example.com") + A_IN, rcode.REFUSED),
    "transfer over UDP": (header() + wire_name("cluster.local") + b"\0\xfc\0\1", rcode.REFUSED),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=WORKERS) as running:
        yield running


@pytest.fixture(scope="module")
def expected(server: RunningServer) -> Answer:
    calls = Calls(server.api)
    ip = calls.create_service("web")["spec"]["clusterIP"]
    calls.close()
    return there(address(ip))


@pytest.fixture
def witness(server: RunningServer) -> Iterator[Witness]:
    """Sockets to all workers; afterwards these are the same processes as before."""
    pids = server.worker_pids
    with Witness(server.dns, WORKERS) as made:
        yield made
    counters = server.counters()
    assert server.worker_pids == pids
    assert [counters.get(row, "restarts") for row in range(WORKERS + 1)] == [0] * (WORKERS + 1)
    assert "Traceback" not in server.log()


def replies(sock: socket.socket, packets: list[bytes], expected: Answer) -> list[bytes]:
    """Send some messages and the known question; return what came back before its answer."""
    known = make_question(fqdn("web"), number=KNOWN)
    for packet in (*packets, known):
        sock.send(packet)
    found = []
    while (reply := sock.recv(1 << 16))[:2] != known[:2]:
        found.append(reply)
    assert read_answer(known, reply) == expected
    return found


@pytest.mark.parametrize("case", SILENT)
def test_silence(witness: Witness, expected: Answer, case: str) -> None:
    for sock in witness.sockets.values():
        assert replies(sock, [SILENT[case]], expected) == []


@pytest.mark.parametrize("case", ANSWERED)
def test_what_is_answered(witness: Witness, expected: Answer, case: str) -> None:
    packet, code = ANSWERED[case]
    for sock in witness.sockets.values():
        (reply,) = replies(sock, [packet], expected)
        assert reply[:2] == packet[:2]
        assert reply[2] & 0xF8 == 0x80 | packet[2] & 0x78, "QR, and the opcode as asked"
        assert reply[2] & 1 == packet[2] & 1, "RD as asked"
        assert whole_rcode(reply) == code
        assert reply[6:8] == b"\0\0", "no answers"
        assert OPT[:3] not in reply or OPT[:3] in packet, "no OPT to who sent none"


def whole_rcode(reply: bytes) -> int:
    """Return the rcode, with its upper bits from the OPT where the reply has one."""
    is_update = reply[2] & 0x78 == 5 << 3  # its sections mean something else
    return reply[3] & 15 if is_update else message.from_wire(reply).rcode()


@pytest.mark.parametrize("size", [513, 4_097, 9_000, 65_507])
def test_large_datagrams(witness: Witness, expected: Answer, size: int) -> None:
    for sock in witness.sockets.values():
        found = replies(sock, [GOOD + b"x" * (size - len(GOOD))], expected)
        assert all(reply[3] & 15 in (rcode.NOERROR, rcode.FORMERR) for reply in found)


def test_random_octets(witness: Witness, expected: Answer) -> None:
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    for _ in range(PACKETS // BATCH // WORKERS):
        for sock in witness.sockets.values():
            found = replies(sock, [noise(dice) for _ in range(BATCH)], expected)
            assert len(found) <= BATCH, f"seed {seed}"


def noise(dice: random.Random) -> bytes:
    """Return random octets, or a message with some octets changed; never the known question's ID."""
    if dice.random() < 0.2:
        return b"\x12\x34" + dice.randbytes(dice.randrange(100))
    packet = bytearray(dice.choice([GOOD, *(packet for packet, _ in ANSWERED.values())]))
    for _ in range(dice.randrange(1, 4)):
        packet[dice.randrange(2, len(packet))] = dice.randrange(256)
    return bytes(packet[: dice.choice([len(packet), dice.randrange(2, len(packet))])])


# TCP


def tcp(server: RunningServer) -> socket.socket:
    return socket.create_connection(server.dns, timeout=GUARD_SECONDS)


def framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(2) + packet


def receive(sock: socket.socket) -> bytes:
    """Return the next message, b"" when the server has closed the connection."""
    with sock.makefile("rb", buffering=0) as stream:
        length = stream.read(2)
        if not length or len(length) < 2:
            return b""
        whole = b""
        while len(whole) < int.from_bytes(length):
            part = stream.read(int.from_bytes(length) - len(whole))
            if not part:
                return b""
            whole += part
        return whole


@pytest.mark.parametrize("case", [*SILENT, *ANSWERED])
def test_over_tcp(server: RunningServer, witness: Witness, expected: Answer, case: str) -> None:
    """The connection is closed for what is no message, or goes on with the next one."""
    packet = SILENT.get(case) or ANSWERED.get(case, (b"", 0))[0]
    known = make_question(fqdn("web"), number=KNOWN)
    with tcp(server) as sock:
        sock.sendall(framed(packet) + framed(known))
        reply = receive(sock)
        if case in ANSWERED:
            assert whole_rcode(reply) == ANSWERED[case][1]
            reply = receive(sock)
        if reply:
            assert read_answer(known, reply) == expected
    assert set(witness.ask(fqdn("web")).values()) == {expected}


def descriptors(server: RunningServer) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in server.worker_pids)


def test_clients_that_promise_and_wait_are_let_go(
    server: RunningServer, witness: Witness, expected: Answer
) -> None:
    """One octet, a length of 65,535 with nothing or little behind it, and nothing at all."""
    before = descriptors(server)
    known = make_question(fqdn("web"), number=KNOWN)
    slow = [tcp(server) for _ in range(40)]
    for number, sock in enumerate(slow):
        sock.sendall([b"\0", b"\xff\xff", b"\xff\xff" + known, b""][number % 4])
    with tcp(server) as sock:
        sock.sendall(framed(known))
        assert read_answer(known, receive(sock)) == expected
    assert set(witness.ask(fqdn("web")).values()) == {expected}
    for sock in slow:
        assert receive(sock) == b""
        sock.close()
    wait_for(lambda: descriptors(server) <= before, "the connections to be forgotten")


def test_connections_that_break_in_the_middle(
    server: RunningServer, witness: Witness, expected: Answer
) -> None:
    before = descriptors(server)
    known = make_question(fqdn("web"), number=KNOWN)
    for size in range(0, len(known) + 2, 3):
        with tcp(server) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # ends by RST
            sock.sendall(framed(known)[:size])
    assert set(witness.ask(fqdn("web")).values()) == {expected}
    wait_for(lambda: descriptors(server) <= before, "the connections to be forgotten")
