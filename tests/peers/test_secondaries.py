"""Knot, NSD and BIND as secondaries: told of changes (NOTIFY), they fetch these (IXFR), by TSIG or not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from toolbox.builders import pod, service
from toolbox.running_server import RunningServer
from toolbox.upstreams import HOST, Daemon, free_port
from toolbox.waiting import GUARD_SECONDS, wait_for

ZONE = "cluster.local."
SERVICES = "/api/v1/namespaces/default/services"
PODS = "/api/v1/namespaces/default/pods"
KEY = "transfer_key"
SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
KEY_FILE = f'key "{KEY}" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n'


class _Secondary(Daemon):
    """A server that fetches our zone when it is told to."""

    def __init__(self, port: int, primary: tuple[str, int], *, signed: bool) -> None:
        super().__init__()
        self.port = port
        self.primary = primary
        self.signed = signed


class KnotSecondary(_Secondary):
    program = "knotd"
    ready = "server started"

    def _configure(self) -> list[str]:
        key = (
            f"key:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {SECRET}\n" if self.signed else ""
        )
        with_key = f"    key: {KEY}\n" if self.signed else ""
        file = self.folder / "knot.conf"
        file.write_text(
            f"server:\n  listen: {HOST}@{self.port}\n  rundir: {self.folder}\n{key}"
            f"database:\n  storage: {self.folder}\n"
            f"remote:\n  - id: primary\n    address: {self.primary[0]}@{self.primary[1]}\n{with_key}"
            f"acl:\n  - id: told\n    address: {HOST}\n    action: notify\n{with_key}"
            f"template:\n  - id: default\n    storage: {self.folder}\n    zonefile-load: none\n"
            f"zone:\n  - domain: {ZONE}\n    master: primary\n    acl: told\n"
            "log:\n  - target: stdout\n    any: info\n"
        )
        return ["-c", str(file)]


class NsdSecondary(_Secondary):
    program = "nsd"
    ready = "nsd started"

    def _configure(self) -> list[str]:
        key = (
            f'key:\n  name: "{KEY}"\n  algorithm: hmac-sha256\n  secret: "{SECRET}"\n' if self.signed else ""
        )
        name = KEY if self.signed else "NOKEY"
        places = ("zonelistfile", "xfrdfile", "pidfile")
        file = self.folder / "nsd.conf"
        file.write_text(
            f'server:\n  ip-address: {HOST}@{self.port}\n  server-count: 1\n  username: ""\n  verbosity: 3\n'
            f'  zonesdir: "{self.folder}"\n  xfrdir: "{self.folder}"\n  database: ""\n  logfile: ""\n'
            '  cookie-secret-file: ""\n  xfrd-reload-timeout: 0\n'
            + "".join(f'  {place}: "{self.folder / place}"\n' for place in places)
            + f"remote-control:\n  control-enable: no\n{key}"
            f'zone:\n  name: "{ZONE}"\n  zonefile: zone\n  allow-notify: {HOST} {name}\n'
            f"  request-xfr: {self.primary[0]}@{self.primary[1]} {name}\n"
        )
        return ["-d", "-c", str(file)]


class BindSecondary(_Secondary):
    program = "named"
    ready = "running"

    def _configure(self) -> list[str]:
        key = KEY_FILE if self.signed else ""
        with_key = f" key {KEY}" if self.signed else ""
        may_tell = f"key {KEY};" if self.signed else f"{HOST};"
        file = self.folder / "named.conf"
        file.write_text(
            f'{key}options {{ directory "{self.folder}"; listen-on port {self.port} {{ {HOST}; }};\n'
            "listen-on-v6 { none; }; recursion no; dnssec-validation no; notify no; pid-file none;\n"
            "session-keyfile none; empty-zones-enable no; minimal-responses yes; };\ncontrols { };\n"
            f'zone "{ZONE}" {{ type secondary; file "zone"; allow-notify {{ {may_tell} }};\n'
            f"primaries {{ {self.primary[0]} port {self.primary[1]}{with_key}; }}; }};\n"
        )
        return ["-g", "-n", "1", "-c", str(file)]


SECONDARIES = [KnotSecondary, NsdSecondary, BindSecondary]


@contextmanager
def pair(kind: type[_Secondary], folder: Path, *, signed: bool) -> Iterator[tuple[RunningServer, _Secondary]]:
    """A primary with some names, and a secondary that has them."""
    port = free_port()
    config = f'[dns]\ntransfer_to = ["127.0.0.0/8"]\nnotify = ["{HOST}:{port}"]\nzones = "{folder}"\n'
    if signed:
        (folder / "keys").write_text(KEY_FILE)
        config += f'tsig_keys = "{folder / "keys"}"\n'
    with RunningServer(workers=1, config=config) as primary:
        register(primary, "web", 3)
        with kind(port, primary.dns, signed=signed) as secondary:
            wait_for(
                lambda: addresses(port, "web") == {"10.1.0.1", "10.1.0.2", "10.1.0.3"}, "the first transfer"
            )
            yield primary, secondary


def register(server: RunningServer, name: str, pods: int) -> None:
    assert server.post(SERVICES, service(name, clusterIP="None", selector={"app": name})).status == 201
    for number in range(1, pods + 1):
        made = pod(f"{name}-{number}", f"10.1.{number // 250}.{number % 250}", app=name)
        assert server.post(PODS, made).status == 201


def ask(port: int, name: str, rrtype: str) -> dns.message.Message:
    question = dns.message.make_query(f"{name}.default.svc.{ZONE}", rrtype)
    return dns.query.tcp(question, HOST, port=port, timeout=GUARD_SECONDS)


def addresses(port: int, name: str) -> set[str]:
    try:
        answer = ask(port, name, "A").answer
    except OSError:
        return set()
    return {str(rr) for rrset in answer for rr in rrset}


def is_gone(port: int, name: str) -> bool:
    try:
        return ask(port, name, "A").rcode() == dns.rcode.NXDOMAIN
    except OSError:  # NSD closes connections when it takes over a zone
        return False


@pytest.mark.parametrize("signed", [False, True], ids=["by address", "by key"])
@pytest.mark.parametrize("kind", SECONDARIES, ids=lambda kind: str(kind.program))
def test_a_secondary_is_told_and_fetches_what_changed(
    need: Callable[..., str], tmp_path: Path, kind: type[_Secondary], signed: bool
) -> None:
    need(kind.program)
    with pair(kind, tmp_path, signed=signed) as (primary, secondary):
        assert primary.delete(f"{PODS}/web-2").status == 200
        wait_for(lambda: addresses(secondary.port, "web") == {"10.1.0.1", "10.1.0.3"}, "the change to arrive")
        register(primary, "other", 2)
        wait_for(lambda: addresses(secondary.port, "other") == {"10.1.0.1", "10.1.0.2"}, "a new name")
        assert primary.delete(f"{SERVICES}/other").status == 200
        wait_for(lambda: is_gone(secondary.port, "other"), "the name to go")
        if kind is KnotSecondary:
            assert "IXFR, incoming" in secondary.log()


class CatalogKnot(_Secondary):
    """Knot, which has the zones that our catalog lists."""

    program = "knotd"
    ready = "server started"

    def _configure(self) -> list[str]:
        file = self.folder / "knot.conf"
        file.write_text(
            f"server:\n  listen: {HOST}@{self.port}\n  rundir: {self.folder}\n"
            f"database:\n  storage: {self.folder}\n"
            f"remote:\n  - id: primary\n    address: {self.primary[0]}@{self.primary[1]}\n"
            f"acl:\n  - id: told\n    address: {HOST}\n    action: notify\n"
            f"template:\n  - id: default\n    storage: {self.folder}\n    zonefile-load: none\n"
            f"  - id: member\n    storage: {self.folder}\n    master: primary\n    acl: told\n"
            f"zone:\n  - domain: {CATALOG}\n    master: primary\n    acl: told\n"
            "    catalog-role: interpret\n    catalog-template: member\n"
            "log:\n  - target: stdout\n    any: info\n"
        )
        return ["-c", str(file)]


CATALOG = "catalog.example."


def test_a_secondary_has_the_zones_of_the_catalog(need: Callable[..., str], tmp_path: Path) -> None:
    """Also those that come and go."""
    need("knotd")
    port, zones = free_port(), tmp_path / "zones"
    zones.mkdir()
    config = (
        f'[dns]\ntransfer_to = ["{HOST}"]\nnotify = ["{HOST}:{port}"]\nzones = "{zones}"\n'
        'catalog_zone = "catalog.example"\nreverse_zones = ["10.in-addr.arpa"]\n'
    )

    def serves(zone: str) -> bool:
        try:
            reply = dns.query.tcp(dns.message.make_query(zone, "SOA"), HOST, port=port, timeout=GUARD_SECONDS)
        except OSError:
            return False
        return reply.rcode() == dns.rcode.NOERROR and bool(reply.answer)

    with RunningServer(workers=1, config=config) as primary, CatalogKnot(port, primary.dns, signed=False):
        wait_for(lambda: all(map(serves, (ZONE, "10.in-addr.arpa."))), "the zones of the registry")
        text = "@ 60 IN SOA ns hostmaster 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n"
        (zones / "example.org.zone").write_text(text)
        wait_for(lambda: serves("example.org."), "the zone that has come")
        (zones / "example.org.zone").unlink()
        wait_for(lambda: not serves("example.org."), "the zone that has gone")
        assert serves(ZONE)
