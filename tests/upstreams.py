"""Upstream servers for tests: real ones (unbound, Knot) on loopback, and one that misbehaves on demand.

    with Unbound("www.example.org. 300 IN A 192.0.2.10") as upstream:
        upstream.address          # "127.0.0.1:PORT", UDP and TCP: an upstream text as it is
        upstream.tls_address      # "tls://127.0.0.1:PORT"
        upstream.https_address    # "https://127.0.0.1:PORT/dns-query"
        upstream.ca               # file to trust for the last two
        upstream.queries("www.example.org.")   # how many came so far

    with Misbehaving("silent") as upstream:
        upstream.behaviour = "answers"     # recovers, in mid-flight
        upstream.stop(); upstream.start()  # gone and back, on the same port

Each zone text is one root zone: names are written in full, every other name is NXDOMAIN (SOA MINIMUM
60, TTL 3600).  The SOA, NS and default TTL (300) are put in front here.

Ports lie below the kernel's ephemeral range, where no client's socket takes them while a server is
stopped.  Tests ask the fixture `need("unbound")` or `need("knotd")` first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from running import wait_for

from svcdns import certificates

HOST = "127.0.0.1"
NAMES = ("dns.example", "localhost", HOST)
"""What the certificates of upstreams are for, unless a test says otherwise."""
HANG_SECONDS = 30.0

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
10.2.0.192.in-addr.arpa. 300 IN PTR www.example.org.
{"".join(f"many.example.org. 300 IN A 198.51.100.{n}{chr(10)}" for n in range(1, 201))}\
{"".join(f'huge.example.org. 300 IN TXT "{n:03} {"x" * 240}"{chr(10)}' for n in range(240))}\
"""
"""Something of everything: `many` doesn't fit into UDP, `huge` has 60 KB."""


def free_port() -> int:
    """Return a port of loopback that is free over UDP and TCP now."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with (
            contextlib.suppress(OSError),
            socket.socket() as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind((HOST, port))
            udp.bind((HOST, port))
            return port


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


class _Daemon:
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
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


class Unbound(_Daemon):
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


class Knot(_Daemon):
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


BEHAVIOURS = (
    "answers",  # A 192.0.2.7, AAAA 2001:db8::7, TXT "upstream", TTL 60; NODATA for other types
    "silent",  # nothing, ever
    "garbage",  # random octets
    "wrong_id",
    "wrong_question",
    "spoofed",  # garbage, a wrong ID and a wrong question first, then the answer
    "truncated",  # TC=1 over UDP, the answer over TCP
    "truncated_only",  # TC=1 over UDP, TCP connections are closed
    "huge",  # TC=1 over UDP, 60 KB over TCP
    "dribble",  # TC=1 over UDP, one octet a second over TCP
    "slow",  # the answer after `seconds`
    "nxdomain",  # with an SOA
    "servfail",
    "refused",
    "formerr_on_edns",  # and the answer without OPT
    "notimp_on_edns",
    "closes",  # TCP: closes on the question; UDP: silent
    "once",  # TCP: one answer a connection, then closes; UDP: answers
)


class Misbehaving:
    """A tiny UDP and TCP server in a thread that does what no real one does.

    `behaviour` (one of BEHAVIOURS) can be changed at any time; `count` says how many queries came,
    `asked` which (as dnspython messages), `connections` how many TCP connections were made, `ports` from
    which ports UDP queries came.
    With `certificates` its TCP port speaks TLS.
    """

    def __init__(
        self, behaviour: str = "answers", *, seconds: float = 5.0, certificates: Certificates | None = None
    ) -> None:
        """`seconds` is the delay of "slow"."""
        assert behaviour in BEHAVIOURS, behaviour
        self.behaviour = behaviour
        self.seconds = seconds
        self.asked: list[dns.message.Message] = []
        self.connections = 0
        self.ports: list[int] = []
        self.port = 0
        self._tls = certificates.context() if certificates else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Queries so far, over UDP and TCP."""
        return len(self.asked)

    @property
    def address(self) -> str:
        """Where it is, as an upstream is written."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after a `stop` on the same port again."""
        up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(up)), daemon=True)
        self._thread.start()
        assert up.wait(HANG_SECONDS), "the misbehaving server doesn't start"

    def stop(self) -> None:
        """Close everything: UDP gets ECONNREFUSED, TCP connections end."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(HANG_SECONDS)
            self._thread = None

    async def _serve(self, up: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server, datagrams = await self._listen()
        up.set()
        await self._stopped.wait()
        datagrams.close()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> tuple[asyncio.Server, asyncio.DatagramTransport]:
        assert self._loop is not None
        again = self.port
        while True:
            self.port = again or free_port()
            server = None
            try:
                server = await asyncio.start_server(self._accept, HOST, self.port, ssl=self._tls)
                datagrams, _ = await self._loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=(HOST, self.port)
                )
            except OSError:
                if server is not None:
                    server.close()
                await asyncio.sleep(0.01)
            else:
                return server, datagrams

    def run(self, work: asyncio.Task[None]) -> None:
        """Keep a task until it is done."""
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.run(asyncio.ensure_future(self._connection(reader, writer)))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way: set[asyncio.Task[None]] = set()
        try:
            with contextlib.suppress(OSError, EOFError):
                while self.behaviour != "truncated_only":
                    wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                    task = asyncio.ensure_future(self._tcp_reply(wire, writer))
                    under_way.add(task)
                    if self.behaviour in ("closes", "once"):
                        await task
                        break
        finally:
            for task in under_way:
                task.cancel()
            writer.close()

    async def _tcp_reply(self, wire: bytes, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            async for reply in self.replies(wire, over_tcp=True):
                framed = len(reply).to_bytes(2) + reply
                step = 1 if self.behaviour == "dribble" else len(framed)
                for at in range(0, len(framed), step):
                    writer.write(framed[at : at + step])
                    await writer.drain()
                    if step == 1:
                        await asyncio.sleep(1)

    async def replies(self, wire: bytes, *, over_tcp: bool) -> AsyncIterator[bytes]:
        """Yield the messages that are sent for one query."""
        query = dns.message.from_wire(wire)
        self.asked.append(query)
        how = self.behaviour
        if how == "slow":
            await asyncio.sleep(self.seconds)
        for reply in _replies(how, query, over_tcp):
            yield reply


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Misbehaving) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.ports.append(addr[1])
        self._server.run(asyncio.ensure_future(self._reply(data, addr)))

    async def _reply(self, data: bytes, addr: tuple[str, int]) -> None:
        async for reply in self._server.replies(data, over_tcp=False):
            self._transport.sendto(reply, addr)


def _replies(how: str, query: dns.message.Message, over_tcp: bool) -> Iterator[bytes]:
    good = _answer(query)
    by_tcp = ("truncated", "truncated_only", "huge", "dribble")
    rcodes: dict[str, dns.rcode.Rcode] = {
        "servfail": dns.rcode.SERVFAIL,
        "refused": dns.rcode.REFUSED,
        "nxdomain": dns.rcode.NXDOMAIN,
    }
    if how == "silent" or how == "closes":
        return
    elif how in by_tcp and not over_tcp:
        yield _of(query, truncated=True)
    elif how == "huge":
        yield _of(query, text_octets=60_000)
    elif how in rcodes:
        yield _of(query, rcodes[how])
    elif how in ("formerr_on_edns", "notimp_on_edns") and query.edns >= 0:
        yield _of(query, dns.rcode.FORMERR if how[0] == "f" else dns.rcode.NOTIMP)
    elif how in _SPOILT:
        yield from (spoil(good) for spoil in _SPOILT[how])
    else:
        yield good


def _garbage(reply: bytes) -> bytes:
    return random.randbytes(random.randrange(1, 600))


def _with_wrong_id(reply: bytes) -> bytes:
    return bytes((reply[0] ^ 0x55, reply[1] ^ 0xAA)) + reply[2:]


def _with_wrong_question(reply: bytes) -> bytes:
    return reply[:13] + bytes((reply[13] ^ 1,)) + reply[14:]


_SPOILT: dict[str, tuple[Callable[[bytes], bytes], ...]] = {
    "garbage": (_garbage,),
    "wrong_id": (_with_wrong_id,),
    "wrong_question": (_with_wrong_question,),
    "spoofed": (_garbage, _with_wrong_id, _with_wrong_question, bytes),
}

_DATA = {"A": "192.0.2.7", "AAAA": "2001:db8::7", "TXT": '"upstream"'}


@functools.cache
def _soa() -> dns.rrset.RRset:
    return dns.rrset.from_text(".", 300, "IN", "SOA", "ns.root. hostmaster.root. 1 7200 1800 86400 60")


def _answer(query: dns.message.Message) -> bytes:
    reply = dns.message.make_response(query, recursion_available=True)
    asked = query.question[0]
    data = _DATA.get(dns.rdatatype.to_text(asked.rdtype))
    if data is None:
        reply.authority.append(_soa())
    else:
        reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", asked.rdtype, data))
    return reply.to_wire(max_size=65535)


def _of(
    query: dns.message.Message,
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    *,
    truncated: bool = False,
    text_octets: int = 0,
) -> bytes:
    reply = dns.message.make_response(query, recursion_available=True)
    if rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        reply.use_edns(False)  # as a server that knows no OPT
    reply.set_rcode(rcode)
    if rcode == dns.rcode.NXDOMAIN:
        reply.authority.append(_soa())
    if truncated:
        reply.flags |= dns.flags.TC
    if text_octets:
        texts = [f'"{number:04} {"x" * 245}"' for number in range(text_octets // 264)]
        name = query.question[0].name
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *texts))
    return reply.to_wire(max_size=65535)
