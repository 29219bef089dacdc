"""Authoritative servers of others that load the same zone files: Knot, NSD and BIND on loopback.

    with ExitStack() as running:
        named = running.enter_context(NamedZones({"example.org": text}))
        named.address   # "127.0.0.1:PORT", UDP and TCP

One process and one thread each, so that replies come in the order of questions; zone transfer is open to
loopback.  All give additional records, none an NS set that nobody needs, as far as they can be told.
"""

from collections.abc import Mapping

from toolbox.upstreams import HOST, Daemon, free_port


class _Zones(Daemon):
    """A server of zone files, which stand in its folder as `ORIGIN.zone`."""

    def __init__(self, zones: Mapping[str, str]) -> None:
        """`zones`: texts of zone files by origin, without the last dot."""
        super().__init__()
        self._origins = tuple(zones)
        for origin, text in zones.items():
            (self.folder / f"{origin}.zone").write_text(text)


class KnotZones(_Zones):
    """Knot DNS."""

    program = "knotd"
    ready = "server started"

    def _configure(self) -> list[str]:
        self.port = free_port()
        file = self.folder / "knot.conf"
        file.write_text(
            f"server:\n  listen: {HOST}@{self.port}\n  rundir: {self.folder}\n"
            "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
            f"database:\n  storage: {self.folder}\n"
            "acl:\n  - id: all\n    address: 127.0.0.0/8\n    action: transfer\n"
            f"template:\n  - id: default\n    storage: {self.folder}\n    zonefile-sync: -1\n"
            "    journal-content: none\n    zonefile-load: whole\n    semantic-checks: off\n    acl: all\n"
            "log:\n  - target: stdout\n    any: info\n"
            "zone:\n" + "".join(f"  - domain: {o}\n    file: {o}.zone\n" for o in self._origins)
        )
        return ["-c", str(file)]


class NsdZones(_Zones):
    """NSD."""

    program = "nsd"
    ready = "nsd started"

    def _configure(self) -> list[str]:
        self.port = free_port()
        file = self.folder / "nsd.conf"
        places = ("zonelistfile", "xfrdfile", "pidfile")
        file.write_text(
            f"server:\n  ip-address: {HOST}@{self.port}\n  server-count: 1\n"
            f'  username: ""\n  chroot: ""\n  zonesdir: "{self.folder}"\n  database: ""\n'
            f'  xfrdir: "{self.folder}"\n  logfile: ""\n  minimal-responses: yes\n'
            "  round-robin: no\n  rrl-ratelimit: 0\n"
            + "".join(f'  {place}: "{self.folder / place}"\n' for place in places)
            + "remote-control:\n  control-enable: no\n"
            + "".join(
                f'zone:\n  name: "{o}"\n  zonefile: "{o}.zone"\n  provide-xfr: 127.0.0.0/8 NOKEY\n'
                for o in self._origins
            )
        )
        return ["-d", "-c", str(file)]


class NamedZones(_Zones):
    """BIND."""

    program = "named"
    ready = "all zones loaded"

    def _configure(self) -> list[str]:
        self.port = free_port()
        file = self.folder / "named.conf"
        file.write_text(
            f'options {{ directory "{self.folder}"; listen-on port {self.port} {{ {HOST}; }};\n'
            "listen-on-v6 { none; }; recursion no; dnssec-validation no; notify no; pid-file none;\n"
            "session-keyfile none; allow-transfer { localhost; }; minimal-responses no-auth;\n"
            "empty-zones-enable no; check-names primary ignore; check-integrity no; max-udp-size 4096;\n"
            "check-wildcard no; max-records-per-type 0; rrset-order { order fixed; }; };\n"
            "controls { };\n"
            + "".join(f'zone "{o}" {{ type primary; file "{o}.zone"; }};\n' for o in self._origins)
        )
        return ["-g", "-n", "1", "-c", str(file)]
