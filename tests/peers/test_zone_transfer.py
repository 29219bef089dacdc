"""Zone transfer from svcdns, Knot, NSD and BIND: the same records of the same zone files."""

from __future__ import annotations

import dns.message
import dns.rrset
import pytest
from peers.four_servers import FourServers
from peers.zones import ZONES


def transfer(zone: str, rrtype: str = "AXFR", serial: int | None = None) -> bytes:
    """Return a question for a transfer; `serial` is what the client of an IXFR has."""
    asked = dns.message.make_query(zone, rrtype, flags=0)
    if serial is not None:
        asked.authority.append(
            dns.rrset.from_text(f"{zone}.", 0, "IN", "SOA", f"a. b. {serial} 7200 1800 86400 60")
        )
    return asked.to_wire()


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("rrtype", "serial"), [("AXFR", None), ("IXFR", 3)])
def test_a_transfer_has_the_same_records(
    servers: FourServers, zone: str, rrtype: str, serial: int | None
) -> None:
    asked = transfer(zone, rrtype, serial)
    ours, *others = (server.transfer(asked) for server in (servers.ours, *servers.others))
    assert ours[0] == "NOERROR"
    assert ours[1][0] == ours[1][-1] and " soa " in ours[1][0]
    for other in others:
        assert sorted(ours[1]) == sorted(other[1])


@pytest.mark.parametrize(
    ("zone", "rrtype", "serial"),
    [
        ("example.org", "IXFR", 7),
        ("example.org", "IXFR", 8),
        ("example.org", "IXFR", None),
        ("www.example.org", "AXFR", None),
        ("lab.example.org", "AXFR", None),
        ("example.com", "AXFR", None),
        ("example.com", "IXFR", 7),
    ],
)
def test_a_transfer_of_one_message_is_as_others_say(
    servers: FourServers, zone: str, rrtype: str, serial: int | None
) -> None:
    asked = transfer(zone, rrtype, serial)
    ours, *others = (server.transfer(asked) for server in (servers.ours, *servers.others))
    assert ours in others


@pytest.mark.parametrize("serial", [3, 7, 8])
def test_ixfr_over_udp(servers: FourServers, serial: int) -> None:
    ((ours, others),) = servers.replies([transfer("example.org", "IXFR", serial)])
    assert ours.answer in [one.answer for one in others]
    assert ours.rcode == "NOERROR"
