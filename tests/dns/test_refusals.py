"""Who is refused by an access list is named in the log, once for its network."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolbox.answerer_harness import AnswererHarness, Z
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.dns import refusals
from svcdns.dns.access import FORWARD, NAMES, TRANSFER
from svcdns.dns.answer import Answerer
from svcdns.dns.refusals import Refusals
from svcdns.dns.stats import UDP
from svcdns.system.client_networks import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("nobody", ""),
    ],
)
def test_the_network_of_a_client(address: str, network: str) -> None:
    assert network_of(address) == network


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == refusals.__name__]


def test_once_a_network_and_list_and_again_after_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    found = Refusals(lambda: clock[0])
    for last in range(50):
        found.log(f"203.0.113.{last}", FORWARD)
    found.log("203.0.113.1", NAMES)
    found.log("2001:db8::1", TRANSFER)
    assert len(lines(caplog)) == 3
    assert lines(caplog)[0] == (
        "203.0.113.0 asked for names that are not ours and is refused by acl.forward; "
        'to allow its network, add "203.0.113.0/24" to forward in [acl]'
    )
    assert "transfer_to" in lines(caplog)[2] and "2001:db8::/64" in lines(caplog)[2]
    clock[0] += refusals.FORGET_SECONDS
    found.log("203.0.113.1", FORWARD)
    assert len(lines(caplog)) == 4


def test_forged_addresses_fill_neither_memory_nor_log(caplog: pytest.LogCaptureFixture) -> None:
    found = Refusals()
    for number in range(5000):
        found.log(f"10.{number >> 8}.{number & 255}.1", NAMES)
    assert len(lines(caplog)) == refusals.MOST + 1
    for _ in range(5000):
        found.note(b"", NAMES)
    assert len(found.waiting) <= 64


@given(st.lists(st.tuples(st.binary(max_size=3), st.ip_addresses(), st.booleans()), max_size=64))
def test_in_a_batch_each_refusal_finds_its_client(messages: list[tuple[bytes, object, bool]]) -> None:
    found = Refusals()
    named: list[str] = []
    found.log = lambda address, right: named.append(address)  # type: ignore[method-assign]
    batch = [(bytes(bytearray(packet)) + bytes(4), (str(client), 1)) for packet, client, _ in messages]
    for (packet, _), (_, _, refused) in zip(batch, messages, strict=True):
        if refused:
            found.note(packet, NAMES)
    found.of_batch(batch)
    assert named == [str(client) for _, client, refused in messages if refused]
    assert not found.waiting


def test_who_is_answered_is_not_noted(world: AnswererHarness) -> None:
    answerer = Answerer(world.counters, forwards=True)
    for name, rights, refused in [
        (f"web.default.svc.{Z}", NAMES, 0),
        (f"web.default.svc.{Z}", NAMES | FORWARD, 0),
        (f"web.default.svc.{Z}", FORWARD, NAMES),
        ("example.org", NAMES, FORWARD),
        ("example.org", FORWARD | NAMES, 0),
    ]:
        with world.snapshots.begin() as snapshot:
            answerer.answer(dns.message.make_query(name, "A").to_wire(), snapshot, UDP, rights)
        assert [right for _, right in answerer.refusals.waiting] == ([refused] if refused else [])
        answerer.refusals.waiting.clear()


@contextmanager
def refusing() -> Iterator[RunningServer]:
    """Give a server on loopback, to which 127.0.0.9 is a stranger."""
    config = '[acl]\nnames = ["any", "!127.0.0.9"]\n'
    with RunningServer(workers=1, config=config) as running:
        yield running


@pytest.mark.parametrize("tcp", [False, True])
def test_a_stranger_is_named_in_the_log_of_a_server(tcp: bool, tmp_path: Path) -> None:
    send = dns.query.tcp if tcp else dns.query.udp
    with refusing() as running:
        host, port = running.dns
        for name in (f"kubernetes.default.svc.{Z}", f"a.{Z}"):
            reply = send(
                dns.message.make_query(name, "A"), host, port=port, source="127.0.0.9", timeout=GUARD_SECONDS
            )
            assert reply.rcode() == dns.rcode.REFUSED
        wait_for(lambda: "refused by acl.names" in running.log(), "the line")
        assert not running.answers("kubernetes.default.svc." + Z)
        [line] = [line for line in running.log().splitlines() if "refused by acl" in line]
        assert "127.0.0.9 asked for our own names" in line and '"127.0.0.0/24" to names in [acl]' in line
        assert logging.getLevelName(logging.WARNING) in line
