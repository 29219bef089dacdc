"""Other people's servers around a zone of ours: who transfers it, or validates it.

with SecondaryKnot(origin, address) as knot: ...          # transfers it; knot.dump() is what Knot writes
with Validator(anchor, origin, address) as unbound: ...   # asks for it and trusts its key
"""

import subprocess

from toolbox.upstreams import HANG_SECONDS, HOST, Daemon, free_port
from toolbox.waiting import wait_for


class Validator(Daemon):
    """unbound, which asks one server for one zone and trusts that zone's key."""

    program = "unbound"
    ready = "start of service"

    def __init__(self, anchor: str, origin: str, server: tuple[str, int]) -> None:
        """`anchor` is a DNSKEY record of `origin`, whose server is at this address and port."""
        super().__init__()
        self._anchor = anchor
        self._origin = origin
        self._server = server

    def _configure(self) -> list[str]:
        self.port = free_port()
        file = self.folder / "unbound.conf"
        file.write_text(
            "server:\n"
            f'  directory: "{self.folder}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n'
            '  use-syslog: no\n  logfile: ""\n  verbosity: 1\n  val-log-level: 2\n'
            f"  do-daemonize: no\n  num-threads: 1\n  port: {self.port}\n  interface: {HOST}\n"
            "  do-not-query-localhost: no\n  aggressive-nsec: no\n  qname-minimisation: no\n"
            '  module-config: "validator iterator"\n'
            f'  trust-anchor: "{self._anchor}"\n'
            "remote-control:\n  control-enable: no\n"
            f'stub-zone:\n  name: "{self._origin}"\n  stub-addr: {self._server[0]}@{self._server[1]}\n'
        )
        return ["-d", "-p", "-c", str(file)]


class SecondaryKnot(Daemon):
    """Knot, which transfers one zone from a server."""

    program = "knotd"
    ready = "server started"

    def __init__(self, origin: str, primary: tuple[str, int]) -> None:
        super().__init__()
        self._origin = origin
        self._primary = primary

    def has_zone(self) -> bool:
        """Say whether the zone is there."""
        return self._control("zone-read", self._origin, "@", "SOA").returncode == 0

    def dump(self) -> str:
        """Return the zone as Knot writes it."""
        done = self._control("-b", "zone-flush", self._origin)
        assert done.returncode == 0, done.stderr
        return (self.folder / f"{self._origin}zone").read_text()

    def _control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = self._path.replace("knotd", "knotc")
        command = [program, "-s", str(self.folder / "knot.sock"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)

    def _configure(self) -> list[str]:
        self.port = free_port()
        file = self.folder / "knot.conf"
        file.write_text(
            f"server:\n  listen: {HOST}@{self.port}\n  rundir: {self.folder}\n"
            f"database:\n  storage: {self.folder}\n"
            f"remote:\n  - id: primary\n    address: {self._primary[0]}@{self._primary[1]}\n"
            f"template:\n  - id: default\n    storage: {self.folder}\n    journal-content: none\n"
            f"zone:\n  - domain: {self._origin}\n    master: primary\n    file: {self._origin}zone\n"
            "log:\n  - target: stdout\n    any: info\n"
        )
        return ["-c", str(file)]


class Nsd(Daemon):
    """NSD, which transfers one zone from a server."""

    program = "nsd"
    ready = "nsd started"

    def __init__(self, origin: str, primary: tuple[str, int]) -> None:
        super().__init__()
        self._origin = origin
        self._primary = primary

    def has_zone(self) -> bool:
        """Say whether the zone is there."""
        return "served-serial: none" not in self._control("zonestatus", self._origin)

    def dump(self) -> str:
        """Return the zone as NSD writes it."""
        self._control("write", self._origin)
        file = self.folder / "zone"
        wait_for(file.exists, "NSD to write the zone")
        return file.read_text()

    def _control(self, *arguments: str) -> str:
        command = [f"{self._path}-control", "-c", str(self.folder / "nsd.conf"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _configure(self) -> list[str]:
        self.port = free_port()
        file = self.folder / "nsd.conf"
        file.write_text(
            f'server:\n  ip-address: {HOST}@{self.port}\n  username: ""\n  server-count: 1\n  verbosity: 1\n'
            f'  zonesdir: "{self.folder}"\n  pidfile: "{self.folder}/pid"\n  xfrdfile: "{self.folder}/xfrd"\n'
            f'  zonelistfile: "{self.folder}/list"\n  xfrdir: "{self.folder}"\n'
            '  database: ""\n  cookie-secret-file: ""\n'
            f'remote-control:\n  control-enable: yes\n  control-interface: "{self.folder}/nsd.sock"\n'
            f'zone:\n  name: "{self._origin}"\n  zonefile: zone\n'
            f"  request-xfr: AXFR {self._primary[0]}@{self._primary[1]} NOKEY\n"
        )
        return ["-d", "-c", str(file)]
