"""Single packets that no program sends: what the kernel's rules make of them."""

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from proxy.carried import PORT, CarriedNode, carried
from toolbox.lab import SERVICES, Lab, Machine

pytestmark = pytest.mark.usefixtures("may_make_hosts")
ADDRESS, UNASSIGNED = "10.96.0.10", "10.96.7.7"
ACK, RST = 0x10, 0x04
_OUTGOING = 4
_IPV4, _ALL = 0x0800, 3


@pytest.fixture
def node(lab: Lab) -> Iterator[CarriedNode]:
    """Give a node with one Service, on a1."""
    with lab.serve(lab.a1, "tcp", PORT), carried(lab) as made:
        made.has(ADDRESS, endpoints=[lab.a1])
        yield made


def checksum(octets: bytes) -> int:
    """Return the Internet checksum of octets (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(host: Machine, source: tuple[str, int], target: tuple[str, int], flags: int, sequence: int) -> None:
    """Send one segment without a connection."""
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    segment = struct.pack("!HHIIBBHHH", source[1], target[1], sequence, 1, 5 << 4, flags, 1024, 0, 0)
    pseudo = addresses + struct.pack("!BBH", 0, 6, len(segment))
    segment = segment[:16] + checksum(pseudo + segment).to_bytes(2) + segment[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + addresses
    with host.entered(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(header + segment, (target[0], 0))


def resets_sent(host: Machine) -> int:
    """Return how many TCP resets the host has sent."""
    with host.entered():
        lines = [line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()]
    names, values = (line for line in lines if line[0] == "Tcp:")
    return int(values[names.index("OutRsts")])


def test_a_packet_that_conntrack_cannot_place_does_not_reset_the_client(lab: Lab, node: CarriedNode) -> None:
    with lab.client.connect("tcp", ADDRESS, 80) as connected:
        connected.send(b"?\n")
        assert connected.recv(100)
        before = resets_sent(lab.client)
        source, target = (lab.a1.addresses[4], PORT), (lab.client.addresses[4], connected.getsockname()[1])
        send(lab.a1, source, target, ACK, sequence=12345)  # far out of the window, so not translated back
        lab.client.ask("tcp", ADDRESS, 80)  # it has arrived before this
        assert resets_sent(lab.client) == before
        connected.send(b"?\n")
        assert connected.recv(100)


def leaving(tapped: socket.socket) -> Iterator[str]:
    """Yield the destinations of what left by IPv4 since the socket was bound."""
    while True:
        try:
            octets, (_, protocol, kind, *_) = tapped.recvfrom(1 << 16)
        except BlockingIOError:
            return
        if kind == _OUTGOING and protocol == _IPV4:
            yield socket.inet_ntoa(octets[16:20])


def test_nothing_for_our_ranges_leaves_the_node_as_it_is(lab: Lab, node: CarriedNode) -> None:
    """Without routes of our own, everything would go to the default gateway."""
    routes = [f"{network} dev lo" for network in SERVICES]
    lab.node.ip(*(f"route del {route}" for route in routes), "route add default via 192.168.77.2")
    with lab.node.entered():
        tapped = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL))
    try:
        tapped.bind(("eth0", _ALL))
        tapped.setblocking(False)
        for host in (lab.a1, lab.client, lab.node):
            for address, port in ((UNASSIGNED, 80), (ADDRESS, 81)):
                with pytest.raises((ConnectionRefusedError, TimeoutError)):
                    host.ask("tcp", address, port, 0.3)
        for address in (ADDRESS, UNASSIGNED):
            for flags in (RST, ACK):
                send(lab.a1, (lab.a1.addresses[4], 5555), (address, 80), flags, sequence=1)
        with pytest.raises(ConnectionRefusedError):  # by `second`: all before it has passed
            lab.a1.ask("tcp", lab.second.addresses[4], 1)
        left = set(leaving(tapped))
    finally:
        tapped.close()
        lab.node.ip(*(f"route add {route}" for route in routes), "route del default via 192.168.77.2")
    assert lab.second.addresses[4] in left
    assert not [one for one in left if ip_address(one) in ip_network(SERVICES[0])]
