"""A signed zone goes out by transfer and comes back from other people's dumps as the same zone."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from toolbox.authorities import Nsd, SecondaryKnot
from toolbox.running_server import RunningServer
from toolbox.served_zones import records
from toolbox.signed_zones import ORIGIN, Nsec3, sign
from toolbox.upstreams import HANG_SECONDS
from toolbox.waiting import wait_for


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_others_transfer_and_dump_is_the_same_zone(need: Callable[..., str], tmp_path: Path) -> None:
    for program in ("dnssec-signzone", "nsd", "knotd", "ldns-read-zone"):
        need(program)
    dig, kdig = need("dig"), need("kdig")
    signed = sign("dnssec-signzone", tmp_path / "signed", Nsec3("ab", opt_out=True))
    expected = records(signed.text)
    (tmp_path / "zones").mkdir()
    (tmp_path / "zones" / f"{ORIGIN}zone").write_text(signed.text)
    config = f'[dns]\nzones = "{tmp_path / "zones"}"\ntransfer_to = ["127.0.0.0/8"]\n'
    with RunningServer(workers=1, config=config) as server:
        host, port = server.dns[0], str(server.dns[1])
        assert records(run(dig, f"@{host}", "-p", port, ORIGIN, "AXFR")) == expected
        assert records(run(dig, f"@{host}", "-p", port, ORIGIN, "AXFR", "+multiline", "+onesoa")) == expected
        assert records(run(kdig, f"@{host}", "-p", port, ORIGIN, "AXFR")) == expected
        with SecondaryKnot(ORIGIN, server.dns) as knot, Nsd(ORIGIN, server.dns) as nsd:
            for secondary in (knot, nsd):
                wait_for(secondary.has_zone, f"{secondary.program} to transfer the zone")
                assert records(secondary.dump()) == expected, secondary.program
    (tmp_path / "dump").write_text(signed.text)
    assert records(run(need("ldns-read-zone"), "-c", str(tmp_path / "dump"))) == expected
