"""Links between workers and the forwarder: what goes in comes out as it was."""

import socket
from collections.abc import Iterator
from itertools import product

import dns.flags
import dns.message
import pytest
from dns import rrset
from dns.edns import GenericOption
from hypothesis import given
from hypothesis import strategies as st

from svcdns.dns.forward_link import (
    ForwardLink,
    ForwardReply,
    ForwardRequest,
    receive_replies,
    receive_requests,
    send,
)
from svcdns.dns.udp import ask_for_addresses, from_there
from svcdns.server.sockets import link
from svcdns.wire.question import parse

CLIENT = ("192.0.2.1", 40_000)
QUESTION = b"\x11\x22\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1"
GUARD_SECONDS = 30

Ends = tuple[socket.socket, socket.socket]
"""The worker's and the forwarder's."""


@pytest.fixture(scope="module")
def shared_ends() -> Iterator[Ends]:
    made = link()
    yield made
    for end in made:
        end.close()


V4 = st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 65535))
V6 = st.tuples(
    st.ip_addresses(v=6).map(str) | st.sampled_from(["fe80::1%eth0", "fe80::1%3", "::1"]),
    st.integers(0, 65535),
    st.integers(0, (1 << 20) - 1),
    st.integers(0, (1 << 32) - 1),
)
ANCILLARY = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.binary(max_size=64)), max_size=3)
ERRAND = st.builds(
    ForwardRequest,
    packet=st.binary(max_size=600),
    came=st.floats(0, 1e9),
    client=V4 | V6,
    listener=st.integers(0, 100),
    ancillary=ANCILLARY,
    request_id=st.integers(0, (1 << 63) - 1),
)


@given(st.lists(ERRAND, max_size=5))
def test_errands_arrive_as_they_were_sent(shared_ends: Ends, sent: list[ForwardRequest]) -> None:
    worker, forwarder = shared_ends
    assert all(send(worker, errand) for errand in sent)
    assert receive_requests(forwarder, 10) == sent
    assert receive_requests(forwarder, 10) == []


@given(st.lists(st.builds(ForwardReply, st.integers(0, (1 << 63) - 1), st.binary(max_size=600)), max_size=5))
def test_replies_arrive_as_they_were_sent(shared_ends: Ends, sent: list[ForwardReply]) -> None:
    worker, forwarder = shared_ends
    assert all(send(forwarder, reply) for reply in sent)
    assert receive_replies(worker, 10) == sent


def test_messages_of_the_largest_size(ends: Ends) -> None:
    worker, forwarder = ends
    longest = bytes(range(256)) * 256
    errand = ForwardRequest(longest[:65535], 1.0, ("f" * 39 + "%" + "e" * 15, 65535, 1 << 20, 1 << 32), 999)
    answer = ForwardReply((1 << 63) - 1, longest[:65535])
    assert send(worker, errand)
    assert send(forwarder, answer)
    assert receive_requests(forwarder, 1) == [errand]
    assert receive_replies(worker, 1) == [answer]


def test_no_more_than_asked_for_are_taken(ends: Ends) -> None:
    worker, forwarder = ends
    sent = [ForwardRequest(b"%d" % number, 1.0, CLIENT) for number in range(10)]
    assert all(send(worker, errand) for errand in sent)
    assert receive_requests(forwarder, 4) == sent[:4]
    assert receive_requests(forwarder, 100) == sent[4:]


@pytest.mark.parametrize(
    ("family", "wildcard", "host"),
    [(socket.AF_INET, "0.0.0.0", "127.0.0.5"), (socket.AF_INET6, "::", "::1")],
)
def test_a_reply_finds_its_client_by_what_the_errand_says(
    ends: Ends, family: socket.AddressFamily, wildcard: str, host: str
) -> None:
    """From the address that was asked, though the socket is bound to all of them."""
    worker, forwarder = ends
    with (
        socket.socket(family, socket.SOCK_DGRAM) as server,
        socket.socket(family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((wildcard, 0))
        ask_for_addresses(server)
        server.settimeout(GUARD_SECONDS)
        client.settimeout(GUARD_SECONDS)
        client.connect((host, server.getsockname()[1]))  # a reply from elsewhere is not received
        client.send(QUESTION)
        packet, ancillary, _, address = server.recvmsg(4096, 64)
        assert ForwardLink(worker).forward_udp([(packet, address, from_there(ancillary))], 3)
        (errand,) = receive_requests(forwarder, 10)
        assert (errand.packet, errand.listener, errand.request_id) == (QUESTION, 3, 0)
        assert tuple(errand.client) == address == client.getsockname()
        server.sendmsg([b"reply"], errand.ancillary, 0, errand.client)
        assert client.recv(100) == b"reply"


async def test_a_question_travels_without_its_padding(ends: Ends) -> None:
    worker, forwarder = ends
    for padding, edns in product((0, 1000, 60_000), (True, False)):
        query = dns.message.make_query("wWw.example.com", "MX", use_edns=0 if edns else -1, payload=1400)
        if edns:
            query.use_edns(0, dns.flags.DO, 1400, options=[GenericOption(12, bytes(padding))])
        elif padding:
            query.additional.append(
                rrset.from_text("x.", 0, "IN", "TXT", " ".join(["x" * 250] * (padding // 251)))
            )
        query.flags |= dns.flags.CD
        wire = query.to_wire(max_size=65535)
        assert len(wire) > padding * 0.7
        assert ForwardLink(worker).forward_tcp(wire, CLIENT, lambda _: None)
        (errand,) = receive_requests(forwarder, 10)
        assert len(errand.packet) < 300 or len(errand.packet) < padding
        got, sent = parse(errand.packet), parse(wire)
        assert (got.name, got.rrtype, got.edns) == (sent.name, sent.rrtype, sent.edns)
        assert errand.packet[:6] == wire[:6]


DATAGRAM = st.tuples(st.binary(min_size=12, max_size=280), V4 | V6, ANCILLARY)


@given(st.lists(DATAGRAM, min_size=1, max_size=64), st.integers(0, 9))
def test_a_batch_arrives_whole_and_in_order(
    shared_ends: Ends,
    questions: list[tuple[bytes, tuple[str | int, ...], list[tuple[int, int, bytes]]]],
    listener: int,
) -> None:
    worker, forwarder = shared_ends
    assert ForwardLink(worker).forward_udp(questions, listener)
    came = receive_requests(forwarder, 1)
    assert receive_requests(forwarder, 1) == [], "it is one message"
    assert [(each.packet, tuple(each.client), each.ancillary) for each in came] == questions
    assert {(each.listener, each.request_id) for each in came} == {(listener, 0)}
