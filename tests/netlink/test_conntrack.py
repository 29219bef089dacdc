"""The table of connections: what the kernel has in it, found by its filter, and forgotten."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netlink.sockets import socket_on
from toolbox.hosts import Host, remove

from svcdns.netlink import conntrack, wire

UDP, TCP = 17, 6
RULES = """
table ip to { chain out { type nat hook output priority -100;
  ip daddr 127.96.0.0/16 udp dport 53 dnat to 127.0.0.1:5353
}
}
table ip6 to { chain out { type nat hook output priority -100;
  ip6 daddr fd96::/108 udp dport 53 dnat to [::1]:5353
}
}
"""


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    made = Host()
    try:
        made.ip("route add fd96::/108 dev lo")
        subprocess.run(made.command("nft", "-f", "-"), input=RULES, text=True, check=True)
        yield made
    finally:
        remove(made)


def send(host: Host, *to: str, port: int = 53) -> int:
    """Send a datagram to each from one socket; return its port."""
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    with host.entered(), socket.socket(family, socket.SOCK_DGRAM) as sender:
        for address in to:
            with contextlib.suppress(ConnectionRefusedError):
                sender.sendto(b"x", (address, port))
        number: int = sender.getsockname()[1]
    return number


@pytest.mark.parametrize(
    ("family", "to", "answering"),
    [(conntrack.IPV4, "127.96.0.7", "127.0.0.1"), (conntrack.IPV6, "fd96::7", "::1")],
)
def test_a_flow_says_where_it_was_sent_and_who_answers(
    host: Host, family: int, to: str, answering: str
) -> None:
    source_port = send(host, to)
    with socket_on(host, wire.NETFILTER) as asked:
        (flow,) = conntrack.flows(asked, family, UDP)
        assert not list(conntrack.flows(asked, family, TCP))
    assert (flow.source_port, flow.destination, flow.destination_port) == (
        source_port,
        ip_address(to).packed,
        53,
    )
    assert (flow.answering, flow.answering_port) == (ip_address(answering).packed, 5353)


@pytest.mark.parametrize("family", [conntrack.IPV4, conntrack.IPV6])
def test_flows_to_one_address_and_port(host: Host, family: int) -> None:
    one, *others = ["127.96.0.1", "127.96.0.2"] if family == conntrack.IPV4 else ["fd96::1", "fd96::2"]
    send(host, one, *others)
    send(host, one, port=54)
    with socket_on(host, wire.NETFILTER) as asked:
        assert len(list(conntrack.flows(asked, family, UDP))) > 1
        to = (ip_address(one).packed, 53)
        (flow,) = conntrack.flows(asked, family, UDP, to)
        assert (flow.destination, flow.destination_port) == to


def test_a_forgotten_flow_is_gone_others_stay_and_once_more_is_no_failure(host: Host) -> None:
    send(host, "127.96.0.1", "127.96.0.2")
    with socket_on(host, wire.NETFILTER) as asked:
        one, other = sorted(conntrack.flows(asked, conntrack.IPV4, UDP), key=lambda flow: flow.destination)
        assert conntrack.delete(asked, [one]) == 1
        assert list(conntrack.flows(asked, conntrack.IPV4, UDP)) == [other]
        assert conntrack.delete(asked, [one, one]) == 0


def test_a_flow_of_another_number_is_not_forgotten(host: Host) -> None:
    send(host, "127.96.0.1")
    with socket_on(host, wire.NETFILTER) as asked:
        (flow,) = conntrack.flows(asked, conntrack.IPV4, UDP)
        other = flow._replace(key=flow.key[:-4] + bytes(octet ^ 1 for octet in flow.key[-4:]))
        assert conntrack.delete(asked, [other]) == 0
        assert list(conntrack.flows(asked, conntrack.IPV4, UDP)) == [flow]


def test_how_full_the_table_is(host: Host) -> None:
    send(host, "127.96.0.1", "127.96.0.2")
    with host.entered():
        fill = conntrack.fill()
    assert fill is not None and fill.entries == 2 and fill.maximum > 2


addresses = st.sampled_from([(conntrack.IPV4, 4), (conntrack.IPV6, 16)]).flatmap(
    lambda one: st.tuples(st.just(one[0]), *[st.binary(min_size=one[1], max_size=one[1])] * 3)
)
ports = st.integers(0, 65535)


def packed(flow: conntrack.Flow, spread: bool) -> bytes:
    """Return the message of a flow; `spread`: with an attribute that the kernel has there sometimes."""

    def one(direction: int, source: bytes, source_port: int, to: bytes, port: int) -> bytes:
        first = 1 if flow.family == conntrack.IPV4 else 3
        ip = [wire.attribute(first, source), wire.attribute(first + 1, to)]
        transport = [
            wire.attribute(1, bytes((flow.protocol,))),
            wire.attribute(2, source_port.to_bytes(2, "big")),
            wire.attribute(3, port.to_bytes(2, "big")),
        ]
        return conntrack.packed_tuple(direction, flow.family, ip, transport)

    there = one(1, flow.source, flow.source_port, flow.destination, flow.destination_port)
    back = one(2, flow.answering, flow.answering_port, flow.source, flow.source_port)
    rest = wire.attribute(3, b"\0\0\1\x8a") + wire.attribute(12, b"\1\2\3\4")
    zone = wire.attribute(18, b"\0\5") if spread else b""
    return bytes((flow.family, 0, 0, 0)) + there + zone + back + rest


@given(addresses, ports, ports, ports, st.sampled_from([UDP, TCP, 132]))
def test_any_flow_reads_the_same_wherever_its_attributes_stand(
    found: tuple[int, bytes, bytes, bytes], source_port: int, port: int, answering_port: int, protocol: int
) -> None:
    family, source, to, answering = found
    flow = conntrack.Flow(family, protocol, source, source_port, to, port, answering, answering_port, b"")
    together, spread = (conntrack.read_flow(packed(flow, how)) for how in (False, True))
    assert together is not None and spread is not None
    assert together._replace(key=b"") == spread._replace(key=b"") == flow
    number, zone = wire.attribute(12, b"\1\2\3\4"), wire.attribute(18, b"\0\5")
    assert together.key.endswith(number)
    assert spread.key == together.key.removesuffix(number) + zone + number


@given(st.sampled_from([2, 10, 7]), st.binary(max_size=250))
def test_octets_of_any_kind_are_a_flow_or_none_or_malformed(family: int, octets: bytes) -> None:
    with contextlib.suppress(wire.Malformed):
        conntrack.read_flow(bytes((family,)) + octets)


@given(st.integers(0, 150), st.integers(0, 255))
def test_a_flow_with_one_octet_changed_is_read_or_malformed(at: int, value: int) -> None:
    flow = conntrack.Flow(2, UDP, b"\x0a\0\0\1", 5, b"\x0a\0\0\2", 53, b"\x0a\0\0\3", 54, b"")
    octets = bytearray(packed(flow, False))
    octets[1 + at % (len(octets) - 1)] = value
    with contextlib.suppress(wire.Malformed):
        conntrack.read_flow(bytes(octets))
