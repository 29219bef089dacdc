"""Records: read from octets that anybody may have sent."""

import json

import dns.message
import dns.name
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tap.recording import CLIENT, Recording, question, recorded, reply_to

from svcdns.tap.lines import coredns_line, fields, json_line, text_line
from svcdns.tap.recorder import BY_FORWARDER

LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=4)


def test_what_is_known_of_a_question() -> None:
    packet = question("Web.Default.svc.cluster.local.", "AAAA")
    record = recorded(packet, reply_to(packet, answers=["2001:db8::1"]), took=61_000)
    assert (record.client, record.port, record.protocol) == (*CLIENT, "udp")
    assert (record.name, record.rrtype) == ("web.default.svc.cluster.local.", "AAAA")
    assert (record.rcode, record.answers, record.source) == ("NOERROR", 1, "own")
    assert (record.duration, record.query) == (61_000, packet)


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (("192.0.2.7", 53), ("192.0.2.7", 53)),
        (("2001:db8::1", 53, 0, 0), ("2001:db8::1", 53)),
        (("192.0.2.7", ("192.0.2.7", 53), [(0, 8, b"x")]), ("192.0.2.7", 53)),
        (("fe80::1%2", ("fe80::1%2", 53, 0, 2), []), ("fe80::1%2", 53)),
    ],
)
def test_clients_of_all_sockets(client: tuple[object, ...], expected: tuple[str, int]) -> None:
    record = recorded(question(), reply_to(question()), client)
    assert (record.client, record.port) == expected


@pytest.mark.parametrize(
    ("rcode", "own", "whose", "source"),
    [
        ("NOERROR", True, "own", "own"),
        ("NXDOMAIN", True, "own", "own"),
        ("NOERROR", True, "", "own"),  # an alias of a Service is in no zone of ours
        ("NOERROR", True, "zone", "zone"),
        ("NOERROR", False, "zone", "zone"),  # a referral
        ("NOERROR", False, "", "cache"),
        ("REFUSED", False, "", "none"),
        ("SERVFAIL", False, "own", "none"),
    ],
)
def test_where_an_answer_of_a_worker_came_from(rcode: str, own: bool, whose: str, source: str) -> None:
    packet = question()
    assert recorded(packet, reply_to(packet, rcode, own=own), whose=whose).source == source


def test_what_the_forwarder_answers_is_from_upstreams() -> None:
    packet = question("example.org.")
    assert recorded(packet, reply_to(packet, own=False), by=BY_FORWARDER, whose="").source == "forward"


def test_an_rcode_that_needs_the_opt() -> None:
    packet = question(use_edns=0)
    reply = dns.message.make_response(dns.message.from_wire(packet))
    reply.set_rcode(16)
    assert recorded(packet, reply.to_wire()).rcode == "BADVERS"


@given(LABELS)
def test_no_name_does_anything_to_a_terminal_or_to_json(labels: list[bytes]) -> None:
    packet = question(dns.name.Name([*labels, b""]))  # type: ignore[arg-type]
    record = recorded(packet, reply_to(packet))
    for line in (text_line(record), json_line(record), coredns_line(record)):
        assert line.isascii()
        assert line.isprintable()
    assert dns.name.from_text(json.loads(json_line(record))["qname"]) == dns.name.Name([*labels, b""])


@given(st.binary(min_size=12, max_size=400), st.binary(min_size=12, max_size=60))
def test_octets_of_any_kind_are_shown_as_lines(packet: bytes, reply: bytes) -> None:
    record = recorded(packet, reply)
    for line in (text_line(record), json_line(record), coredns_line(record)):
        assert line.isascii()
        assert line.isprintable()


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_a_question_that_cannot_be_read_has_no_name(cut: int) -> None:
    packet = question()[: 12 + cut]
    record = recorded(packet, packet[:2] + b"\x80\x01" + bytes(8))
    assert (record.name, record.rrtype, record.rcode) == ("", "", "FORMERR")
    assert fields(record)["qname"] is None


def test_a_block_that_is_none_is_left_out() -> None:
    world = Recording()
    world.tap.ring(0).append(b"\xc1garbage", 3)
    assert world.records() == []
