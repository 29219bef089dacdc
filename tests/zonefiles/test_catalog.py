"""The catalog zone (RFC 9432) says which zones are served, whatever comes, goes or is configured."""

from pathlib import Path

import dns.zone
from dns.query import UDPMode, inbound_xfr
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

OURS = {"cluster.local.", "10.in-addr.arpa."}
FILE = "@ 60 IN SOA ns hostmaster 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n"


def config(zones: Path, catalog: str = "catalog.example", reverse: str = "10.in-addr.arpa") -> str:
    zones.mkdir(exist_ok=True)
    return (
        f'[dns]\ntransfer_to = ["127.0.0.1"]\nzones = "{zones}"\ncatalog_zone = "{catalog}"\n'
        f'reverse_zones = ["{reverse}"]\n'
    )


def catalog(server: RunningServer, origin: str = "catalog.example.") -> tuple[set[str], int]:
    """Return the members, and the serial."""
    zone = dns.zone.Zone(origin, relativize=False)
    host, port = server.dns
    inbound_xfr(host, zone, port=port, timeout=GUARD_SECONDS, udp_mode=UDPMode.NEVER)
    version = zone.get_rdataset(f"version.{origin}", "TXT")
    assert version is not None
    assert [str(one) for one in version] == ['"2"']
    members = [(name, rdata) for name, _, rdata in zone.iterate_rdatas("PTR")]
    assert all(str(name).endswith(f".zones.{origin}") for name, _ in members)
    assert len({name for name, _ in members}) == len(members)
    return {str(rdata.target) for _, rdata in members}, zone.get_soa().serial


def test_it_follows_the_zones_and_its_serial_moves(tmp_path: Path) -> None:
    zones = tmp_path / "zones"
    with RunningServer(workers=1, config=config(zones)) as server:
        members, first = catalog(server)
        assert members == OURS
        (zones / "example.org.zone").write_text(FILE)
        wait_for(lambda: catalog(server)[0] == OURS | {"example.org."}, "the zone that has come")
        second = catalog(server)[1]
        (zones / "example.org.zone").unlink()
        wait_for(lambda: catalog(server)[0] == OURS, "the zone that has gone")
        assert first < second < catalog(server)[1]


def test_other_settings_are_seen_at_the_next_start(tmp_path: Path) -> None:
    zones, data = tmp_path / "zones", tmp_path / "data"
    with RunningServer(workers=1, data=data, config=config(zones)) as server:
        _, first = catalog(server)
    with RunningServer(workers=1, data=data, config=config(zones)) as server:
        assert catalog(server) == (OURS, first), "nothing has changed"
    with RunningServer(workers=1, data=data, config=config(zones, reverse="11.in-addr.arpa")) as server:
        assert catalog(server)[0] == {"cluster.local.", "11.in-addr.arpa."}
    with RunningServer(workers=1, data=data, config=config(zones, catalog="other.example")) as server:
        assert catalog(server, "other.example.")[0] == OURS
        assert server.ask("catalog.example", "SOA").answer == []
    with RunningServer(workers=1, data=data, config=config(zones, catalog="")) as server:
        assert server.ask("other.example", "SOA").answer == []


def test_a_zone_file_of_its_name_is_refused(tmp_path: Path) -> None:
    zones = tmp_path / "zones"
    zones.mkdir()
    (zones / "catalog.example.zone").write_text(FILE)
    with RunningServer(workers=1, config=config(zones)) as server:
        assert catalog(server)[0] == OURS
        assert "catalog.example. is dns.catalog_zone, which follows from the others" in server.log()
