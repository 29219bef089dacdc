"""CPU time for each question where svcdns forwards, beside unbound and dnsmasq in front of the same upstream.

    python bench/forwarding.py [SECONDS [ROUNDS]] [--only KIND ...] [--beside TREE]
                                                      needs dnsperf, knotd; unbound, dnsmasq if there

Four kinds of questions: own names (A of 1,000 Services; for unbound and dnsmasq the same names as local
data), hits (1,000 names outside that were asked before), misses (each name outside asked once), and a mix of
60 % own names, 30 % hits, 10 % misses.  The upstream is one Knot with a wildcard.

The server under test has core 0, all its processes together: one worker and the forwarder, or one thread of
unbound, or dnsmasq.  The upstream and dnsperf have core 1.  The servers take turns; printed are medians of
all rounds, and the median of each round's ratio to unbound.  svcdns' supervisor and writer, which do nothing
meanwhile, are not counted.  `--beside` has another checkout of svcdns take its turns too: what a change did
is told in one run or not at all.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measuring import (
    RunningServer,
    connected,
    cpu_seconds,
    fqdn,
    make_question,
    pin,
    register,
    services,
    table,
    wait_for,
)
from toolbox.upstreams import Knot, free_port

NAMES = 1_000
SERVER_CORE, CLIENT_CORE = 0, 1
LINES = {"own": 60_000, "hit": 60_000}
"""Of files that are asked again and again."""
LINES_A_SECOND = {"miss": 60_000, "mix": 200_000}
"""Of files that are asked once, as misses must be: more than any of them can answer."""
MIX = (("own", 60), ("hit", 30), ("miss", 10))
KINDS = {"own names": "own", "hits": "hit", "misses": "miss", "mix 60/30/10": "mix"}
CONFIG = """\
[forward]
upstreams = ["{upstream}"]
[acl]
forward = ["loopback"]
"""
PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/usr/local/sbin"

Place = tuple[str, int]


@dataclass(frozen=True)
class Server:
    """One that is measured: its processes by what they do."""

    name: str
    processes: dict[str, int]
    where: Place


@dataclass(frozen=True)
class Measured:
    """Microseconds of CPU a question by process, and questions a second."""

    cost: dict[str, float]
    rate: float

    @property
    def total(self) -> float:
        """All processes together."""
        return sum(self.cost.values())


class Questions:
    """dnsperf's input for each kind; misses are new each time."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._dice = random.Random(1)
        self._fresh = 0

    def file(self, kind: str) -> Path:
        """Write a file of questions of a kind."""
        path = self._folder / "questions"
        count = LINES.get(kind) or round(LINES_A_SECOND[kind] * self._seconds)
        kinds, weights = zip(*MIX, strict=True)
        chosen = [kind] * count if kind != "mix" else self._dice.choices(kinds, weights, k=count)
        path.write_text("".join(f"{self._name(str(each))} A\n" for each in chosen))
        return path

    def _name(self, kind: str) -> str:
        number = self._dice.randrange(NAMES)
        if kind == "own":
            return fqdn(f"svc-{number}")
        if kind == "hit":
            return f"h{number}.example"
        self._fresh += 1
        return f"m{self._fresh:x}.example"

    def hits(self) -> Path:
        """Write a file with each of the names that will be asked again."""
        path = self._folder / "hits"
        path.write_text("".join(f"h{number}.example A\n" for number in range(NAMES)))
        return path


def dnsperf(server: Server, questions: Path, seconds: float, *, once: bool) -> tuple[int, float]:
    """Ask for so long, or each line `once`; return how many were answered, and how many a second."""
    host, port = server.where
    command = ["dnsperf", "-s", host, "-p", str(port), "-d", str(questions), *(["-n", "1"] if once else [])]
    ran = subprocess.run(
        ["taskset", "-c", str(CLIENT_CORE), *command, "-c", "8", "-q", "100", "-l", str(seconds)],
        check=True,
        capture_output=True,
        text=True,
    )
    done = int(_number(r"Queries completed:\s+(\d+)", ran.stdout))
    good = int(_number(r"NOERROR (\d+)", ran.stdout))
    if good != done or "Queries lost:         0" not in ran.stdout:
        print(f"{server.name}: of {done:,} answers {good:,} are NOERROR\n{ran.stdout}", file=sys.stderr)
    return done, float(_number(r"Queries per second:\s+([\d.]+)", ran.stdout))


def _number(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, text
    return found[1]


def measure(server: Server, questions: Path, seconds: float, *, once: bool) -> Measured:
    """Ask a server as much as it can answer."""
    before = {what: sum(cpu_seconds(pid)) for what, pid in server.processes.items()}
    done, rate = dnsperf(server, questions, seconds, once=once)
    cost = {
        what: (sum(cpu_seconds(pid)) - before[what]) / done * 1e6 for what, pid in server.processes.items()
    }
    return Measured(cost, rate)


@contextlib.contextmanager
def ours(upstream: Knot, tree: Path | None = None) -> Iterator[Server]:
    """Run svcdns with one worker, from this checkout or another; None where another one is not asked for."""
    environ = {} if tree is None else {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    config = CONFIG.format(upstream=upstream.address)
    with RunningServer(workers=1, config=config, environ=environ) as running:
        register(running.api, services(NAMES))
        counters = running.counters()
        forwarder = wait_for(lambda: counters.get(counters.forwarder, "pid"), "the forwarder")
        processes = {"worker": running.worker_pids[0], "forwarder": forwarder}
        for pid in processes.values():
            pin(pid, SERVER_CORE)
        pin(running.writer_pid, CLIENT_CORE)
        yield Server("svcdns" if tree is None else f"svcdns in {tree.name}", processes, running.dns)


@contextlib.contextmanager
def unbound(folder: Path, upstream: Knot) -> Iterator[Server | None]:
    """Run unbound with one thread; None where it is not installed."""
    port = free_port()
    own = "".join(f'  local-data: "{fqdn(f"svc-{number}")} 5 IN A 10.96.0.1"\n' for number in range(NAMES))
    (folder / "unbound.conf").write_text(
        f'server:\n  directory: "{folder}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n  use-syslog: no\n'
        f"  interface: 127.0.0.1@{port}\n  do-daemonize: no\n  num-threads: 1\n  do-ip6: no\n"
        '  access-control: 127.0.0.0/8 allow\n  do-not-query-localhost: no\n  module-config: "iterator"\n'
        "  msg-cache-size: 64m\n  rrset-cache-size: 64m\n  outgoing-range: 4096\n"
        "  num-queries-per-thread: 2048\n  so-rcvbuf: 4m\n"
        f'  local-zone: "cluster.local." static\n{own}'
        "remote-control:\n  control-enable: no\n"
        f'forward-zone:\n  name: "."\n  forward-addr: 127.0.0.1@{upstream.port}\n'
    )
    with daemon("unbound", port, "-d", "-p", "-c", str(folder / "unbound.conf")) as server:
        yield server


@contextlib.contextmanager
def dnsmasq(folder: Path, upstream: Knot) -> Iterator[Server | None]:
    """Run dnsmasq; None where it is not installed."""
    port = free_port()
    own = "".join(f"host-record={fqdn(f'svc-{number}')},10.96.0.1\n" for number in range(NAMES))
    (folder / "dnsmasq.conf").write_text(
        f"port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\npid-file\nuser=root\n"
        f"server=127.0.0.1#{upstream.port}\ncache-size=10000\ndns-forward-max=10000\n{own}"
    )
    with daemon("dnsmasq", port, "--keep-in-foreground", f"--conf-file={folder / 'dnsmasq.conf'}") as server:
        yield server


@contextlib.contextmanager
def daemon(program: str, port: int, *arguments: str) -> Iterator[Server | None]:
    """Run somebody else's server on our core until it answers; None where it is not installed."""
    path = shutil.which(program, path=PROGRAMS)
    if path is None:
        yield None
        return
    process = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), path, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    where = ("127.0.0.1", port)
    try:
        wait_for(lambda: answers(where) or process.poll() is not None, program)
        assert process.poll() is None, f"{program} doesn't start"
        yield Server(program, {"server": process.pid}, where)
    finally:
        process.terminate()
        process.wait()


def answers(where: Place) -> bool:
    """Say whether a server answers a name outside."""
    question = make_question("first.example")
    with connected(where) as sock:
        sock.settimeout(0.5)
        try:
            sock.send(question)
            return sock.recv(4096)[3] & 15 == 0
        except OSError:
            return False


def main(seconds: float, rounds: int, kinds: list[str], beside: Path | None) -> None:
    """Measure and print the table."""
    found: dict[tuple[str, str], list[Measured]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(Knot("*.example. 300 IN A 192.0.2.1"))
        pin(upstream.pid, CLIENT_CORE)
        running = [ours(upstream), *([ours(upstream, beside)] if beside else [])]
        running += [unbound(folder, upstream), dnsmasq(folder, upstream)]
        servers = [server for each in running if (server := stack.enter_context(each)) is not None]
        questions = Questions(folder, seconds)
        for server in servers:
            wait_for(lambda: answers(server.where), server.name)  # noqa: B023
        for _ in range(rounds):
            for name, kind in KINDS.items():
                if kind not in kinds:
                    continue
                file = questions.file(kind)
                for server in servers:
                    dnsperf(server, questions.hits(), seconds, once=True)
                    measured = measure(server, file, seconds, once=kind in LINES_A_SECOND)
                    found.setdefault((name, server.name), []).append(measured)
                    time.sleep(0.2)
    print_table(found, seconds, rounds)


def print_table(found: dict[tuple[str, str], list[Measured]], seconds: float, rounds: int) -> None:
    """Print medians."""
    print(f"microseconds of CPU a question, medians of {rounds} rounds of {seconds:g} s")
    rows = []
    for (kind, name), measured in found.items():
        median = {
            what: f"{statistics.median(one.cost[what] for one in measured):.1f}" for what in measured[0].cost
        }
        rows.append(
            (
                kind,
                name,
                f"{statistics.median(one.total for one in measured):.1f}",
                f"{min(one.total for one in measured):.1f}",
                median.get("worker", ""),
                median.get("forwarder", ""),
                to_unbound(measured, found.get((kind, "unbound"))),
                f"{statistics.median(one.rate for one in measured):,.0f}",
            )
        )
    table(("question", "server", "CPU us", "least", "worker", "forwarder", "to unbound", "a second"), rows)


def to_unbound(measured: list[Measured], reference: list[Measured] | None) -> str:
    """Return the median of the ratios that the rounds have, each taken within one round."""
    if not reference:
        return ""
    return f"{statistics.median(a.total / b.total for a, b in zip(measured, reference, strict=True)):.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float, nargs="?", default=4.0)
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("--only", nargs="+", choices=KINDS.values(), default=list(KINDS.values()))
    parser.add_argument("--beside", type=Path)
    given = parser.parse_args()
    main(given.seconds, given.rounds, given.only, given.beside)
