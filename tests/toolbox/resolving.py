"""Forwarders of others: BIND and unbound, which ask upstreams for everything and validate nothing.

A zone of `zones` has an upstream of its own.  They are told not to be cleverer than a forwarder has to be, so
that what differs is what they make of replies.
"""

from collections.abc import Mapping

from toolbox.upstreams import HOST, Daemon, free_port


class _Forwarder(Daemon):
    def __init__(self, port: int, upstream: str, zones: Mapping[str, str]) -> None:
        """`port` is that of all upstreams, `upstream` the address of the usual one, `zones` have others."""
        super().__init__()
        self._upstreams = {".": upstream, **zones}
        self._upstreams_port = port


class NamedForwarder(_Forwarder):
    """BIND."""

    program = "named"
    ready = "all zones loaded"

    def _configure(self) -> list[str]:
        self.port = free_port()
        file = self.folder / "named.conf"
        to = f"port {self._upstreams_port}"
        usual = f"forward only; forwarders {{ {self._upstreams['.']} {to}; }};"
        file.write_text(
            f'options {{ directory "{self.folder}"; listen-on port {self.port} {{ {HOST}; }};\n'
            "listen-on-v6 { none; }; recursion yes; allow-recursion { any; }; dnssec-validation no;\n"
            "pid-file none; session-keyfile none; empty-zones-enable no; qname-minimization off;\n"
            "minimal-responses yes; lame-ttl 0; servfail-ttl 0; send-cookie no;\n"
            f"max-records-per-type 0; {usual} }};\n"
            "controls { };\n"
            + "".join(
                f'zone "{zone}" {{ type forward; forward only; forwarders {{ {address} {to}; }}; }};\n'
                for zone, address in self._upstreams.items()
                if zone != "."
            )
        )
        return ["-g", "-n", "1", "-c", str(file)]


class UnboundForwarder(_Forwarder):
    """unbound."""

    program = "unbound"
    ready = "start of service"

    def _configure(self) -> list[str]:
        self.port = free_port()
        file = self.folder / "unbound.conf"
        file.write_text(
            "server:\n"
            f'  directory: "{self.folder}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n'
            '  use-syslog: no\n  logfile: ""\n  verbosity: 1\n  do-daemonize: no\n  num-threads: 1\n'
            f"  port: {self.port}\n  interface: {HOST}\n  access-control: 127.0.0.0/8 allow\n"
            '  do-not-query-localhost: no\n  module-config: "iterator"\n  qname-minimisation: no\n'
            "  minimal-responses: yes\n  rrset-roundrobin: no\n  infra-cache-max-rtt: 1000\n"
            "  infra-keep-probing: yes\n  cache-max-ttl: 2147483647\n  cache-max-negative-ttl: 2147483647\n"
            "remote-control:\n  control-enable: no\n"
            + "".join(
                f'forward-zone:\n  name: "{zone}"\n  forward-addr: {address}@{self._upstreams_port}\n'
                for zone, address in self._upstreams.items()
            )
        )
        return ["-d", "-p", "-c", str(file)]
