"""The filter that lets the kernel drop: what it keeps is what the networks say, and the kernel takes it."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.proxy.relay.picking import ClientTest
from svcdns.proxy.relay.silence import Instruction, TooLong, attach, program

NETWORKS = {
    4: st.builds(
        lambda n, p: IPv4Network((n, p), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
    ),
    6: st.builds(
        lambda n, p: IPv6Network((n, p), strict=False), st.integers(0, 2**128 - 1), st.integers(0, 128)
    ),
}
OFFSETS = {4: 12, 6: 8}


def keeps(instructions: list[Instruction], source: IPv4Address | IPv6Address) -> bool:
    """Run the program as the kernel would (Documentation/networking/filter.rst)."""
    header = bytes(OFFSETS[source.version]) + source.packed + bytes(40)
    at, accumulator = 0, 0
    while True:
        code, true, false, operand = instructions[at]
        at += 1
        if code == 0x20:  # ld
            offset = operand - 0xFFF00000
            accumulator = int.from_bytes(header[offset : offset + 4], "big")
        elif code == 0x54:  # and
            accumulator &= operand
        elif code == 0x15:  # jeq
            at += true if accumulator == operand else false
        elif code == 0x05:  # ja
            at += operand
        else:
            assert code == 0x06
            return operand > 0


@st.composite
def cases(draw: Any) -> tuple[list[ClientTest], IPv4Address | IPv6Address]:
    version = draw(st.sampled_from([4, 6]))
    networks = st.lists(NETWORKS[version], max_size=4).map(tuple)
    tests = draw(st.lists(st.builds(ClientTest, networks, st.booleans()), max_size=3))
    named = [network for test in tests for network in test.networks]
    if named and draw(st.booleans()):
        network = draw(st.sampled_from(named))
        return tests, network[draw(st.integers(0, network.num_addresses - 1))]
    kind = IPv4Address if version == 4 else IPv6Address
    return tests, kind(draw(st.integers(0, 2 ** (32 if version == 4 else 128) - 1)))


@given(cases())
def test_kept_is_what_passes_all_tests(case: tuple[list[ClientTest], IPv4Address | IPv6Address]) -> None:
    tests, source = case
    expected = all(any(source in network for network in test.networks) == test.wanted for test in tests)
    assert keeps(program(source.version, tests), source) == expected


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_kernel_takes_it_and_goes_by_it(family: socket.AddressFamily, kind: socket.SocketKind) -> None:
    loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
    other = ip_network("192.0.2.0/24" if family == socket.AF_INET else "2001:db8::/32")
    with socket.socket(family, kind) as server:
        server.bind((loopback, 0))
        if kind == socket.SOCK_STREAM:
            server.listen()
        for networks, wanted, heard in (
            ((other, ip_network(loopback)), True, True),
            ((other,), True, False),
            ((ip_network(loopback),), False, False),
            ((other,), False, True),
            ((), True, False),
        ):
            assert attach(server, [ClientTest(networks, wanted)])
            assert _is_heard(server, kind) == heard, (networks, wanted)
        assert attach(server, [])
        assert _is_heard(server, kind)


def test_too_many_networks_are_said_to_be_too_many() -> None:
    tests = [ClientTest(tuple(IPv4Network((number << 8, 24)) for number in range(2000)), True)]
    with pytest.raises(TooLong):
        program(4, tests)
    with socket.socket() as server:
        assert not attach(server, tests)


def _is_heard(server: socket.socket, kind: socket.SocketKind) -> bool:
    server.settimeout(0.2)
    with socket.socket(server.family, kind) as client:
        client.settimeout(0.2)
        try:
            client.connect(server.getsockname())
            if kind == socket.SOCK_DGRAM:
                client.send(b"x")
                return server.recv(1) == b"x"
            server.accept()[0].close()
        except TimeoutError:
            return False
    return True
