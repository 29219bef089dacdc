"""SCTP through packet rules: by packets that no kernel has to speak, and by sockets where one does.

Few kernels have SCTP sockets, but all of nf_tables translate its packets: an INIT and the INIT ACK that
answers it are written here by hand (RFC 9260 section 3.3), with checksums (CRC32c) that are looked at.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from proxy.carried import PORT, CarriedNode, carried
from toolbox.lab import Lab, Machine

pytestmark = pytest.mark.usefixtures("may_make_hosts")
ADDRESS, CLIENT_PORT = "10.96.0.10", 40_001
INIT, INIT_ACK = 1, 2
_SECONDS = 5.0


def has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


@pytest.fixture
def node(lab: Lab) -> Iterator[CarriedNode]:
    """Give a node with one Service of SCTP, on a1."""
    with carried(lab) as made:
        made.has(ADDRESS, protocol="sctp", endpoints=[lab.a1])
        yield made


def crc32c(octets: bytes) -> int:
    """Return the checksum of SCTP (RFC 9260 appendix A)."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def packet(source: int, target: int, tag: int, chunk: int) -> bytes:
    """Return a packet with an INIT or INIT ACK; verification tag of the receiver, 7 as one's own."""
    body = struct.pack("!BBHIIHHI", chunk, 0, 20, 7, 65_536, 1, 1, 1)
    head = struct.pack("!HHI", source, target, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + body)) + body


@contextlib.contextmanager
def raw(host: Machine, address: str) -> Iterator[socket.socket]:
    with host.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP)
    with made:
        made.bind((address, 0))
        made.settimeout(_SECONDS)
        yield made


def received(one: socket.socket, chunk: int) -> tuple[str, int, int]:
    """Return from which address and port a chunk came, to which port; its checksum is right."""
    while True:
        octets, (address, _) = one.recvfrom(2000)
        said = octets[(octets[0] & 15) * 4 :]
        if said[12] == chunk:
            source, target = struct.unpack("!HH", said[:4])
            assert struct.unpack("<I", said[8:12])[0] == crc32c(said[:8] + bytes(4) + said[12:])
            return address, source, target


@pytest.mark.parametrize("host", ["client", "b1"])
def test_an_association_is_led_to_an_endpoint_and_its_answer_back(
    lab: Lab, node: CarriedNode, host: str
) -> None:
    client = {"client": lab.client, "b1": lab.b1}[host]
    own = client.addresses[4]
    with raw(client, own) as asking, raw(lab.a1, lab.a1.addresses[4]) as serving:
        asking.sendto(packet(CLIENT_PORT, 80, 0, INIT), (ADDRESS, 0))
        seen = received(serving, INIT)
        assert seen == (own, CLIENT_PORT, PORT)
        serving.sendto(packet(PORT, CLIENT_PORT, 7, INIT_ACK), (own, 0))
        assert received(asking, INIT_ACK) == (ADDRESS, 80, CLIENT_PORT)


def test_without_endpoints_it_is_refused(lab: Lab, node: CarriedNode) -> None:
    node.has(ADDRESS, protocol="sctp", endpoints=[])
    with lab.client.entered():
        errors = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with errors, raw(lab.client, lab.client.addresses[4]) as asking:
        errors.settimeout(_SECONDS)
        asking.sendto(packet(CLIENT_PORT, 80, 0, INIT), (ADDRESS, 0))
        while True:
            octets, _ = errors.recvfrom(2000)
            if octets[20] == 3 and octets[37] == socket.IPPROTO_SCTP:  # unreachable, about SCTP
                break


@pytest.mark.skipif(not has_sctp(), reason="this kernel has no sockets of SCTP")
def test_a_socket_is_carried(lab: Lab, node: CarriedNode) -> None:
    with lab.a1.entered():
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    listening.bind((lab.a1.addresses[4], PORT))
    listening.listen()

    def serve() -> None:
        accepted, _ = listening.accept()
        with accepted:
            accepted.sendall(accepted.recv(100).upper())

    with listening:
        threading.Thread(target=serve, daemon=True).start()
        with lab.client.entered():
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
        with client:
            client.settimeout(_SECONDS)
            client.connect((ADDRESS, 80))
            client.sendall(b"hello")
            assert client.recv(100) == b"HELLO"
