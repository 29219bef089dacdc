"""A whole server in a test: started as a user would, on ports that the kernel chooses.

    with RunningServer(workers=2, config='[dns]\\nttl = 7\\n') as server:
        server.post("/api/v1/namespaces/default/services", {...})
        server.ask("web.default.svc.cluster.local")

Rules: nothing here waits for a fixed time, each wait has a condition and a generous guard against
hanging; the server's log is kept and shown when something goes wrong.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dns import query as dns_query
from dns.message import Message, make_query
from dns.rdataclass import CH
from toolbox.on_etcd import environ_of
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.server.counters import NAME, WRITER, Counters

SOURCE = Path(__file__).resolve().parents[2]
"""Where the package stands: what is tested is this tree, installed or not."""

PYTHONPATH = os.pathsep.join((str(SOURCE), str(SOURCE / "tests")))
"""For a process of a test that imports the package and what stands in tests/."""


def svcdns(
    *arguments: object, cwd: Path | None = None, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit code, without this machine's settings of svcdns."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SVCDNS_")}
    command = [sys.executable, "-m", "svcdns", *map(str, arguments)]
    env = {**inherited, "PYTHONPATH": str(SOURCE), **environ}
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=GUARD_SECONDS, cwd=cwd, env=env
    )


@dataclass(frozen=True)
class Reply:
    """What the API answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)


class RunningServer:
    """`svcdns serve` as a child process; a context manager that starts and stops it."""

    def __init__(
        self,
        *,
        workers: int = 2,
        config: str = "",
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        data: Path | None = None,
        dns: Sequence[str] = ("127.0.0.1:0",),
        command: Sequence[str] = (sys.executable, "-m", "svcdns"),
    ) -> None:
        """`config` is the text of a configuration file; without `data` a folder that goes at the end."""
        self._folder = tempfile.TemporaryDirectory(prefix="svcdns-test-")
        self.folder = Path(self._folder.name)
        """For the configuration, zone files and the like; relative paths of `config` start here."""
        self.data = data or self.folder / "data"
        self._command = [*command, "serve", *self._flags(workers, config, dns), *arguments]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("SVCDNS_")}
        source = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
        # Upstreams are what a test names, never those of the machine that it runs on.
        nowhere = {} if "[forward]" in config else {"SVCDNS_FORWARD_UPSTREAMS": ""}
        shared = {} if "[store]" in config else environ_of(self.data)
        self._environ = {**inherited, "PYTHONPATH": source, **nowhere, **shared, **(environ or {})}
        self._log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def _flags(self, workers: int, config: str, dns: Sequence[str]) -> Iterator[str]:
        if config:
            file = self.folder / "svcdns.toml"
            file.write_text(config)
            yield from ("--config", str(file))
        for listen in dns:
            yield from ("--dns", listen)
        yield from ("--api", "127.0.0.1:0", "--data", str(self.data), "--workers", str(workers))

    # Its life

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            print(f"--- log of the server ---\n{self.log()}", file=sys.stderr)
        self.close()

    def start(self) -> Self:
        """Start it, again perhaps, and return when it says that it is ready."""
        self.launch()
        wait_for(self._is_ready, "the server to be ready")
        return self

    def launch(self) -> None:
        """Start it without waiting for anything."""
        with self._log.open("ab") as out:
            self._log_start = out.tell()
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._environ
            )

    def _is_ready(self) -> bool:
        assert self.process is not None
        code = self.process.poll()
        assert code is None, f"the server ended with code {code}:\n{self.log()}"
        return "svcdns ready: " in self.log()[self._log_start :] and self._addresses() is not None

    def stop(self) -> int:
        """End it as a service manager would (SIGTERM); return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(GUARD_SECONDS)

    def kill(self) -> None:
        """Kill the supervisor (SIGKILL); its children end by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(GUARD_SECONDS)

    def close(self) -> None:
        """End it in any case and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._folder.cleanup()

    def log(self) -> str:
        """Return all that it has logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    # What it is made of

    def _addresses(self) -> dict[str, Any] | None:
        """Return addresses.json of this run."""
        assert self.process is not None
        with contextlib.suppress(FileNotFoundError):
            told: dict[str, Any] = json.loads((self.data / "addresses.json").read_text())
            return told if told["pid"] == self.process.pid else None
        return None

    @property
    def dns_addresses(self) -> list[tuple[str, int]]:
        """(host, port) of each place where it answers DNS."""
        told = self._addresses()
        assert told is not None, "the server does not run"
        return [_host_port(text) for text in told["dns"]]

    @property
    def dns(self) -> tuple[str, int]:
        """(host, port) of the first place where it answers DNS."""
        return self.dns_addresses[0]

    @property
    def api(self) -> str:
        """URL of the API, without a last slash."""
        told = self._addresses()
        assert told is not None, "the server does not run"
        return f"http://{told['api']}"

    def counters(self) -> Counters:
        """Map the counters of the running server, the newest ones during an upgrade."""
        assert self.process is not None
        found = {}
        for file in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(file).startswith(f"/memfd:{NAME}"):
                    found[file.stat().st_ctime_ns] = file
        return Counters(os.open(found[max(found)], os.O_RDWR | os.O_CLOEXEC))

    @property
    def writer_pid(self) -> int:
        """Pid of the writer; waits for the next one while it is being started again."""
        counters = self.counters()
        return wait_for(lambda: counters.get(WRITER, "pid"), "the writer's pid")

    @property
    def worker_pids(self) -> list[int]:
        """Pids of the DNS workers, in order; 0 for one that is being started again."""
        counters = self.counters()
        return [counters.get(row, "pid") for row in range(1, counters.workers + 1)]

    def children(self, module: str) -> list[int]:
        """Pids of the children that run a module of svcdns.server, such as prober."""
        assert self.process is not None
        pid, found = self.process.pid, []
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has died meanwhile
                if f"svcdns.server.{module}".encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
        return found

    # Questions

    def ask(
        self,
        name: str,
        rrtype: str = "A",
        *,
        tcp: bool = False,
        timeout: float = GUARD_SECONDS / 2,
        **query: Any,
    ) -> Message:
        """Return the reply to one question; `query` goes to dnspython's make_query."""
        host, port = self.dns
        question = make_query(name, rrtype, **query)
        send = dns_query.tcp if tcp else dns_query.udp
        return send(question, host, port=port, timeout=timeout)

    def answers(self, name: str, rrtype: str = "A", *, tcp: bool = False) -> list[str]:
        """Return the data of the answer's records as sorted texts; [] for none."""
        reply = self.ask(name, rrtype, tcp=tcp)
        return sorted(rdata.to_text() for rrset in reply.answer for rdata in rrset)

    def ask_every_worker(self, name: str, rrtype: str = "A") -> dict[str, Message]:
        """Return a reply of each worker, by its id.server (RFC 4892).

        The kernel chooses the worker by the client's port, so each socket asks the same worker twice.
        """
        workers = self.counters().workers
        replies: dict[str, Message] = {}

        def ask_one() -> bool:
            with _udp_socket(self.dns) as (send, host, port):
                who = make_query("id.server", "TXT", rdclass=CH)
                identity = dns_query.udp(who, host, port=port, timeout=GUARD_SECONDS / 2, sock=send)
                question = make_query(name, rrtype)
                replies[identity.answer[0][0].to_text().strip('"')] = dns_query.udp(
                    question, host, port=port, timeout=GUARD_SECONDS / 2, sock=send
                )
            return len(replies) == workers

        wait_for(ask_one, f"all {workers} workers to be met")
        return replies

    # The API

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request; `body` is octets or what becomes JSON.  No status is an error here."""
        octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"Content-Type": content_type} if octets else {}
        connection = http.client.HTTPConnection(self.api.removeprefix("http://"), timeout=GUARD_SECONDS)
        try:
            connection.request(method, path, octets or None, {**sent, **(headers or {})})
            answer = connection.getresponse()
            named = {name: ", ".join(answer.headers.get_all(name, [])) for name in answer.headers}
            return Reply(answer.status, named, answer.read().decode())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        """GET."""
        return self.request("GET", path)

    def post(self, path: str, body: Any) -> Reply:
        """POST JSON."""
        return self.request("POST", path, body)

    def put(self, path: str, body: Any) -> Reply:
        """PUT JSON."""
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Any, content_type: str = "application/merge-patch+json") -> Reply:
        """PATCH, a merge patch where nothing else is said."""
        return self.request("PATCH", path, body, content_type=content_type)

    def delete(self, path: str, body: Any = None) -> Reply:
        """DELETE."""
        return self.request("DELETE", path, body)


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def _udp_socket(address: tuple[str, int]) -> Iterator[tuple[socket.socket, str, int]]:
    host, port = address
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        yield made, host, port
