"""The servers that peers.py measures: svcdns, others with the same zones, and a floor.

Each has a number of threads (processes, where it has those instead), and that many cores, from core 0 on.
Knot, NSD, unbound (as an authoritative server), dnsmasq and CoreDNS have the zones by transfer, and the same
zone files.  dnslib's own server loop (dnslib_server.py) and dnsmasq have the addresses of the cluster domain.

Rules: each ends with the block that runs it; one that is not installed is left out, and so is one that does
not answer, with a line that says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import sleep

import dns.message
import dns.query
import dns.zone
from cpu_per_query import CONFIG, SERVER_CORE, Place, Server, free_port
from measuring import HERE, RunningServer, fqdn, pin, register, wait_for
from mixes import CLUSTER, FLAT, objects

PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/usr/local/sbin:/usr/local/bin"
NAMES = ("Knot", "NSD", "unbound", "dnsmasq", "CoreDNS", "dnslib")
KNOWN = fqdn("svc-0")
"""A name that all have an address for."""
IN_PYTHON = {"SVCDNS_FAST_PATH": "python"}
ONE_THREAD = ("dnsmasq", "dnslib")
"""Those that can't use more than one."""


@dataclass(frozen=True)
class Peer:
    """A server, and the first of all its processes, those that answer nothing included."""

    server: Server
    root: int


def cores(threads: int) -> str:
    """Return the cores of a server, as taskset wants them."""
    return ",".join(str(SERVER_CORE + number) for number in range(threads))


@contextlib.contextmanager
def ours(zones: Path, threads: int, variants: Mapping[str, Mapping[str, str]]) -> Iterator[list[Peer]]:
    """Run svcdns once for each variant (a name, and variables of its environment), with the same content."""
    config = f'{CONFIG}zones = "{zones}"\n'
    with contextlib.ExitStack() as stack:
        peers = []
        for name, environ in variants.items():
            running = stack.enter_context(RunningServer(workers=threads, config=config, environ=environ))
            register(running.api, objects())
            for number, pid in enumerate(running.worker_pids):
                pin(pid, SERVER_CORE + number)
            assert running.process is not None
            server = Server(name, tuple(running.worker_pids), running.dns)
            peers.append(Peer(server, running.process.pid))
        yield peers


def wait_until_loaded(peers: Sequence[Peer], names: int) -> None:
    """Wait until servers of ours have the last of so many names of the zone file."""
    for peer in peers:
        loaded = partial(answers, peer.server.where, f"n{names - 1}.{FLAT}")
        wait_for(loaded, "the zone file to be loaded", 900)


def transferred_zones(folder: Path, where: Place) -> dict[str, Path]:
    """Transfer the zones of a running server into files."""
    asked = dns.message.make_query("1.9.1.10.in-addr.arpa", "SOA")
    said = dns.query.udp(asked, where[0], port=where[1], timeout=5)
    files = {}
    for origin in (CLUSTER, said.authority[0].name.to_text(omit_final_dot=True)):
        zone = dns.zone.from_xfr(
            dns.query.xfr(where[0], origin, port=where[1], relativize=False), relativize=False
        )
        files[origin] = folder / f"{origin}.zone"
        files[origin].write_text(str(zone.to_text(relativize=False)))
    return files


@contextlib.contextmanager
def others(
    folder: Path,
    zones: Mapping[str, Path],
    threads: int = 1,
    known: str = KNOWN,
    names: Container[str] = NAMES,
) -> Iterator[list[Peer]]:
    """Run those of these names that are installed, and the floor; ready is who has an address for `known`."""
    with contextlib.ExitStack() as stack:
        peers = []
        for name, (command, port) in commands(folder, zones, threads).items():
            if name not in names:
                continue
            many = 1 if name in ONE_THREAD else threads
            if (peer := stack.enter_context(run(name, command, port, many, known))) is not None:
                peers.append(peer)
        if (bare := stack.enter_context(floor(folder, threads))) is not None:
            peers.append(bare)
        yield peers


@contextlib.contextmanager
def run(name: str, command: Sequence[str], port: int, threads: int, known: str) -> Iterator[Peer | None]:
    """Run a server until the block ends; None where it does not answer."""
    process = subprocess.Popen(
        ["taskset", "-c", cores(threads), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMAXPROCS": str(threads)},
    )
    server = Server(name, (process.pid,), ("127.0.0.1", port))
    try:
        there = any(answers(server.where, known) or sleep(0.1) for _ in range(600))
        if not there:
            print(f"{name} does not answer; left out", file=sys.stderr)
        yield Peer(server, process.pid) if there else None
    finally:
        process.terminate()
        process.wait()


def answers(where: Place, name: str) -> bool:
    """Say whether a server has an address for a name."""
    try:
        asked = dns.message.make_query(name, "A")
        return bool(dns.query.udp(asked, where[0], port=where[1], timeout=0.5).answer)
    except Exception:
        return False


def commands(folder: Path, zones: Mapping[str, Path], threads: int) -> dict[str, tuple[list[str], int]]:
    """Return the servers that are installed: how each is started, and its port."""
    ports = {name: free_port() for name in NAMES}
    for name, text in configurations(folder, zones, threads, ports).items():
        (folder / f"{name}.conf").write_text(text)
    dnsmasq = ["-k", "-h", "-R", "-u", "root", "--pid-file=", "-C", "/dev/null", "-c", "10000"]
    dnsmasq += ["--listen-address=127.0.0.1", "--bind-interfaces", "-p", str(ports["dnsmasq"])]
    dnsmasq += ["--local=/cluster.local/", "--local=/10.in-addr.arpa/", "-H", str(folder / "hosts.conf")]
    dnslib = [str(HERE / "dnslib_server.py"), str(ports["dnslib"]), str(folder / "hosts.conf")]
    starts = {
        "Knot": ["knotd", "-c", str(folder / "Knot.conf")],
        "NSD": ["nsd", "-d", "-c", str(folder / "NSD.conf")],
        "unbound": ["unbound", "-d", "-c", str(folder / "unbound.conf")],
        "dnsmasq": ["dnsmasq", *dnsmasq],
        "CoreDNS": [os.environ.get("COREDNS", "coredns"), "-conf", str(folder / "CoreDNS.conf")],
        "dnslib": [sys.executable, *dnslib],
    }
    path = f"{os.environ.get('PATH', '')}:{PROGRAMS}"
    found = {name: shutil.which(command[0], path=path) for name, command in starts.items()}
    return {name: ([program, *starts[name][1:]], ports[name]) for name, program in found.items() if program}


def configurations(
    folder: Path, zones: Mapping[str, Path], threads: int, ports: Mapping[str, int]
) -> dict[str, str]:
    """Return the configuration files by the names of the servers; "hosts" is of those that read addresses."""
    sockets = f"  multisocket {threads}\n" if threads > 1 else ""
    return {
        "Knot": f"server:\n  listen: 127.0.0.1@{ports['Knot']}\n  rundir: {folder}\n"
        f"  udp-workers: {threads}\n  tcp-workers: {threads}\n  background-workers: 1\n"
        f"database:\n  storage: {folder}\nzone:\n"
        + "".join(f"  - domain: {o}\n    file: {f}\n    journal-content: none\n" for o, f in zones.items()),
        "NSD": f"server:\n  ip-address: 127.0.0.1@{ports['NSD']}\n  server-count: {threads}\n"
        f'  username: ""\n  chroot: ""\n  database: ""\n  pidfile: ""\n'
        f'  zonesdir: "{folder}"\n  xfrdir: "{folder}"\n  zonelistfile: "{folder}/l"\n  reuseport: yes\n'
        f'  xfrdfile: "{folder}/x"\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n'
        + "".join(f'zone:\n  name: "{o}"\n  zonefile: "{f}"\n' for o, f in zones.items()),
        "unbound": f"server:\n  interface: 127.0.0.1@{ports['unbound']}\n  do-daemonize: no\n"
        f'  username: ""\n  chroot: ""\n  directory: "{folder}"\n  pidfile: ""\n  use-syslog: no\n'
        f"  num-threads: {threads}\n  module-config: iterator\n  access-control: 127.0.0.0/8 allow\n"
        "  local-zone: 10.in-addr.arpa nodefault\n"
        + "".join(
            f'auth-zone:\n  name: "{o}"\n  zonefile: "{f}"\n  for-upstream: no\n' for o, f in zones.items()
        ),
        "CoreDNS": "".join(
            f"{o}:{ports['CoreDNS']} {{\n  bind 127.0.0.1\n{sockets}  file {f}\n}}\n"
            for o, f in zones.items()
        ),
        "hosts": hosts(zones),
    }


def hosts(zones: Mapping[str, Path]) -> str:
    """Return the addresses of the cluster domain as a hosts file has them."""
    fields = (line.split() for line in zones[CLUSTER].read_text().splitlines())
    return "".join(f"{rdata} {owner[:-1]}\n" for owner, _, _, rrtype, rdata, *_ in fields if rrtype == "A")


@contextlib.contextmanager
def floor(folder: Path, threads: int) -> Iterator[Peer | None]:
    """Compile and run the floor, a process for each thread; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        yield None
        return
    program, port = folder / "floor", str(free_port())
    subprocess.run([compiler, "-O2", str(HERE / "echo_floor.c"), "-o", str(program)], check=True)
    processes = []
    try:
        for number in range(threads):
            core = str(SERVER_CORE + number)
            process = subprocess.Popen(["taskset", "-c", core, program, port], stdout=subprocess.PIPE)
            processes.append(process)
            assert process.stdout is not None
            process.stdout.readline()
        pids = tuple(process.pid for process in processes)
        yield Peer(Server("floor", pids, ("127.0.0.1", int(port))), pids[0])
    finally:
        for process in processes:
            process.kill()
            process.wait()
