"""Upstream servers for tests: real ones (unbound, Knot) on loopback.

    with Unbound("www.example.org. 300 IN A 192.0.2.10") as upstream:
        upstream.address          # "127.0.0.1:PORT", UDP and TCP: an upstream text as it is
        upstream.tls_address      # "tls://127.0.0.1:PORT"
        upstream.https_address    # "https://127.0.0.1:PORT/dns-query"
        upstream.ca               # file to trust for the last two
        upstream.queries("www.example.org.")   # how many came so far

Each zone text is one root zone: names are written in full, every other name is NXDOMAIN (SOA MINIMUM
60, TTL 3600).  The SOA, NS and default TTL (300) are put in front here.

See misbehaving.py for one that does what none of these does.

Ports lie below the kernel's ephemeral range, where no client's socket takes them while a server is
stopped, and no two processes of tests are given the same one.  Tests ask the fixture `need("unbound")` or
`need("knotd")` first.
"""

import contextlib
import fcntl
import functools
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.cli import certificates

HOST = "127.0.0.1"
NAMES = ("dns.example", "localhost", HOST)
"""What the certificates of upstreams are for, unless a test says otherwise."""
HANG_SECONDS = GUARD_SECONDS

APEX = """\
$ORIGIN .
$TTL 300
. 3600 IN SOA ns.root. hostmaster.root. 1 7200 1800 86400 60
. 3600 IN NS ns.root.
ns.root. 3600 IN A 127.0.0.1
"""

RECORDS = f"""\
www.example.org. 300 IN A 192.0.2.10
www.example.org. 300 IN AAAA 2001:db8::10
www.example.org. 300 IN TXT "hello"
short.example.org. 1 IN A 192.0.2.11
zero.example.org. 0 IN A 192.0.2.12
alias.example.org. 200 IN CNAME www.example.org.
dangling.example.org. 200 IN CNAME nothing.example.org.
example.org. 300 IN MX 10 mail.example.org.
mail.example.org. 300 IN A 192.0.2.25
_sip._tcp.example.org. 300 IN SRV 0 5 5060 www.example.org.
10.2.3.192.in-addr.arpa. 300 IN PTR www.example.org.
{"".join(f"many.example.org. 300 IN A 198.51.100.{n}{chr(10)}" for n in range(1, 201))}\
{"".join(f'huge.example.org. 300 IN TXT "{n:03} {"x" * 240}"{chr(10)}' for n in range(240))}\
"""
"""Something of everything: `many` doesn't fit into UDP, `huge` has 60 KB."""


_given: set[int] = set()
"""Ports that this process has given out."""


def free_port() -> int:
    """Return a port of loopback that is free over UDP and TCP now, and stays this process' until its end.

    Each is an octet of a file that all processes of tests lock: a server that is slow to start, or stopped
    for a while, finds its port as it was.
    """
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with (
            contextlib.suppress(OSError),
            socket.socket() as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            if port in _given:
                continue
            fcntl.lockf(_ports(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            _given.add(port)
            tcp.bind((HOST, port))
            udp.bind((HOST, port))
            return port


@functools.cache
def _ports() -> int:
    """Open that file, once: a lock goes with the first descriptor of its file that is closed."""
    path = Path(tempfile.gettempdir(), f"svcdns-test-ports-{os.geteuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Certificates:
    """A CA of its own and a server certificate by it, as PEM files in a folder: `ca`, `cert`, `key`."""

    def __init__(self, folder: Path, names: tuple[str, ...] = NAMES) -> None:
        """`names` are host names and addresses."""
        authority = certificates.make_ca()
        server = certificates.make_server(authority, names)
        self.ca = folder / "ca.pem"
        self.cert = folder / "cert.pem"
        self.key = folder / "key.pem"
        self.ca.write_bytes(authority.certificate_pem)
        self.cert.write_bytes(server.certificate_pem)
        self.key.write_bytes(server.key_pem)

    def context(self) -> ssl.SSLContext:
        """Return what a server of asyncio takes."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.cert, self.key)
        return made


class Daemon:
    """A DNS server of somebody else as a child process, with a folder of its own."""

    program = ""
    ready = ""
    """What its log says once it serves."""

    def __init__(self) -> None:
        found = shutil.which(self.program, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        assert found, f"{self.program} is not installed here"
        self._path = found
        self._folder = tempfile.TemporaryDirectory(prefix=f"svcdns-{self.program}-")
        self.folder = Path(self._folder.name)
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """Where it answers over UDP and TCP, as an upstream is written."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the server, for signals: SIGSTOP makes it silent."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """Return all that it has logged."""
        return self._log.read_text(errors="replace")

    def _configure(self) -> list[str]:
        """Choose ports, write the configuration; return the arguments."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        for _ in range(5):
            self._arguments = self._configure()
            if self._launch():
                return self
        text = self.log()
        self._folder.cleanup()
        raise AssertionError(f"{self.program} doesn't start:\n{text}")

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def _launch(self) -> bool:
        with self._log.open("ab") as out:
            start = out.tell()
            self._process = subprocess.Popen(
                [self._path, *self._arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        process = self._process

        def decided() -> str:
            if self.ready in self.log()[start:]:
                return "ready"
            return "" if process.poll() is None else "ended"

        return wait_for(decided, f"{self.program} to start") == "ready"

    def start(self) -> None:
        """Start it again on the same ports."""
        assert self._launch(), f"{self.program} doesn't start again:\n{self.log()}"

    def stop(self) -> None:
        """Kill it: what is under way is lost, connections are reset."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(HANG_SECONDS)
            self._process = None


class Unbound(Daemon):
    """unbound with a zone of its own: UDP and TCP on one port, TLS and HTTPS on others."""

    program = "unbound"
    ready = "start of service"

    def __init__(
        self,
        records: str = RECORDS,
        *,
        tls: bool = True,
        https: bool = True,
        recursive: bool = False,
        names: tuple[str, ...] = NAMES,
        host: str = HOST,
    ) -> None:
        """`records`: lines of a zone file, owner names in full; `names` are for the certificate.

        `host` is an address of loopback, of either family.

        Authoritative (AA=1, TTLs as written, NOERROR for a CNAME to nowhere) or `recursive` (AA=0, RA=1, a
        cache whose TTLs count down, CNAMEs followed, as the resolvers that people forward to).
        """
        super().__init__()
        self._recursive = recursive
        self._host = host
        self._bracketed = f"[{host}]" if ":" in host else host
        self._with = (tls, https)
        self.tls_port = self.https_port = 0
        self._certificates = Certificates(self.folder, names)
        self.ca = self._certificates.ca
        (self.folder / "root.zone").write_text(APEX + records + "\n")

    @property
    def address(self) -> str:
        return f"{self._bracketed}:{self.port}"

    @property
    def tls_address(self) -> str:
        """Upstream text of its TLS port, by address."""
        return f"tls://{self._bracketed}:{self.tls_port}"

    @property
    def https_address(self) -> str:
        """Upstream text of its HTTPS port, by address."""
        return f"https://{self._bracketed}:{self.https_port}/dns-query"

    def queries(self, name: str = "", rrtype: str = "") -> int:
        """Return how many queries have come: for a name (in full, any letter case), of a type, or all."""
        asked = re.findall(rf"info: {re.escape(self._host)} (\S+) (\S+) IN$", self.log(), re.MULTILINE)
        return sum(
            (not name or of.lower() == name.lower()) and (not rrtype or kind == rrtype) for of, kind in asked
        )

    def _configure(self) -> list[str]:
        self.port = free_port()
        listens = [self.port]
        if self._with[0]:
            self.tls_port = free_port()
            listens.append(self.tls_port)
        if self._with[1]:
            self.https_port = free_port()
            listens.append(self.https_port)
        file = self.folder / "unbound.conf"
        file.write_text(
            "server:\n"
            f'  directory: "{self.folder}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n'
            '  use-syslog: no\n  logfile: ""\n  verbosity: 1\n  log-queries: yes\n'
            "  do-daemonize: no\n  num-threads: 1\n"
            f"  port: {self.port}\n"
            + "".join(f"  interface: {self._host}@{port}\n" for port in listens)
            + f"  tls-port: {self.tls_port or 853}\n  https-port: {self.https_port or 443}\n"
            f'  tls-service-key: "{self._certificates.key}"\n'
            f'  tls-service-pem: "{self._certificates.cert}"\n'
            "  access-control: 127.0.0.0/8 allow\n  access-control: ::1 allow\n  do-not-query-localhost: no\n"
            '  module-config: "iterator"\n  unblock-lan-zones: yes\n'
            '  local-zone: "test." nodefault\n  local-zone: "home.arpa." nodefault\n'
            "  incoming-num-tcp: 100\n"
            "remote-control:\n  control-enable: no\n"
            'auth-zone:\n  name: "."\n  zonefile: "root.zone"\n'
            f"  for-downstream: {'no' if self._recursive else 'yes'}\n"
            "  for-upstream: yes\n  fallback-enabled: no\n"
        )
        return ["-d", "-p", "-c", str(file)]


class Knot(Daemon):
    """Knot DNS, authoritative: UDP and TCP on one port."""

    program = "knotd"
    ready = "server started"

    def __init__(self, records: str = RECORDS) -> None:
        """`records`: lines of a zone file, owner names in full."""
        super().__init__()
        (self.folder / "root.zone").write_text(APEX + records + "\n")

    def _configure(self) -> list[str]:
        self.port = free_port()
        file = self.folder / "knot.conf"
        file.write_text(
            f"server:\n  listen: {HOST}@{self.port}\n  rundir: {self.folder}\n"
            "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
            f"database:\n  storage: {self.folder}\n"
            f"template:\n  - id: default\n    storage: {self.folder}\n    zonefile-sync: -1\n"
            "    journal-content: none\n"
            "zone:\n  - domain: .\n    file: root.zone\n"
            "log:\n  - target: stdout\n    any: info\n"
        )
        return ["-c", str(file)]
