"""NOTIFY: all zones at the start, then those that change; one at a time, and again where nobody answers."""

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import dns.message
import dns.opcode
import dns.rdatatype
import pytest
from toolbox.builders import service
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

SERVICES = "/api/v1/namespaces/default/services"


class Secondary:
    """A socket where NOTIFYs arrive."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(GUARD_SECONDS)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.sock.getsockname()[1]}"

    def next(self, *, answers: bool = True) -> tuple[str, int]:
        """Return the zone and the serial of the next one."""
        packet, who = self.sock.recvfrom(4096)
        told = dns.message.from_wire(packet)
        assert told.opcode() == dns.opcode.NOTIFY
        assert told.question[0].rdtype == dns.rdatatype.SOA
        if answers:
            self.sock.sendto(dns.message.make_response(told).to_wire(), who)
        return str(told.question[0].name), told.answer[0][0].serial

    def both(self, before: Mapping[str, int], *, answers: bool = True) -> dict[str, int]:
        """Return the serials of both zones, newer than before; what is told twice counts once.

        An answer that is late, here or there, finds that the same has been told again.
        """
        found: dict[str, int] = {}
        while len(found) < 2:
            zone, serial = self.next(answers=answers)
            if serial > before.get(zone, -1):
                found[zone] = serial
        return found


@pytest.fixture
def secondary() -> Iterator[Secondary]:
    made = Secondary()
    yield made
    made.sock.close()


def config(secondary: Secondary, zones: Path) -> str:
    return (
        f'[dns]\ntransfer_to = ["127.0.0.1"]\nnotify = ["{secondary.address}"]\n'
        f'reverse_zones = ["10.in-addr.arpa"]\nzones = "{zones}"\n'
    )


def test_all_zones_at_the_start_then_those_that_change(secondary: Secondary, tmp_path: Path) -> None:
    with RunningServer(workers=1, config=config(secondary, tmp_path)) as server:
        at_start = secondary.both({})
        assert set(at_start) == {"cluster.local.", "10.in-addr.arpa."}
        assert server.post(SERVICES, service("web", clusterIP="10.96.0.10")).status == 201
        changed = secondary.both(at_start)
        assert all(changed[zone] > at_start[zone] for zone in at_start)
        assert server.ask("cluster.local", "SOA").answer[0][0].serial == changed["cluster.local."]


def test_who_does_not_answer_is_told_again_and_misses_no_change(secondary: Secondary, tmp_path: Path) -> None:
    with RunningServer(workers=1, config=config(secondary, tmp_path)) as server:
        first = secondary.both({}, answers=False)
        assert server.post(SERVICES, service("web", clusterIP="10.96.0.10")).status == 201
        assert secondary.both({}, answers=False) == first, "one at a time: the change waits"
        assert secondary.both(first).keys() == first.keys()
