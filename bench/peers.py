"""CPU time for each question beside other servers with the same names, and beside the floor of a socket.

    python bench/peers.py [SECONDS [ROUNDS [NAMES]]]     `make bench`; needs dnsperf

Each server has one worker on core 0, dnsperf core 1 and as many questions as it can have answered.  Knot,
NSD, unbound (as an authoritative server), dnsmasq and CoreDNS have the zones by transfer, and the same zone
files, one of which has NAMES names (1,000; try 1000000).  "svcdns in Python" is the same server without its
compiled path; "floor" (echo_floor.c) only sends datagrams back: what no server gets below.  CoreDNS is in
PATH, or what the variable COREDNS names.

The servers take turns; printed are medians of all rounds, and ratios to Knot and the floor in the same run,
as a table in Markdown.  A server that has no such answer, or is not installed, leaves its cell empty.  What
is forwarded is measured by forwarding.py.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import sleep

import dns.message
import dns.query
import dns.zone
from cpu_per_query import CONFIG, QUESTIONS, SERVER_CORE, Place, Server, free_port, load
from measuring import (
    HERE,
    PODS,
    RunningServer,
    cpu_of_family,
    fqdn,
    headless,
    pin,
    pod,
    register,
    services,
    wait_for,
)

SERVICES = 1_000
PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/usr/local/sbin:/usr/local/bin"
CLUSTER = "cluster.local"
FLAT, WILD = "flat.example", "wild.example"
"""Zone files: one of addresses, one with a wildcard and a CNAME."""


@dataclass(frozen=True)
class Mix:
    """Questions of one kind, dnsperf's options for them, and who can't answer them."""

    name: str
    questions: tuple[str, ...]
    options: tuple[str, ...] = ()
    not_by: tuple[str, ...] = ()


def mixes(names: int) -> list[Mix]:
    """Return all kinds of questions; the large zone file has so many names."""
    dice = random.Random(1)
    some = [fqdn(f"svc-{dice.randrange(SERVICES)}") for _ in range(QUESTIONS)]
    unknown = tuple(f"{fqdn(dice.randbytes(6).hex())} A" for _ in range(QUESTIONS))
    addresses = tuple(f"{name} A" for name in some)
    short = tuple(line.replace(".svc.", ".") for line in addresses)
    srv = {size: (f"_http._tcp.{fqdn(f'db{size}')} SRV",) for size in (5, 20)}
    opt, cookie = ("-e",), ("-e", "-E", "10:0123456789abcdef")
    searched = tuple(line for name in some[:1000] for line in as_glibc_asks(name))
    hosts = tuple(f"n{dice.randrange(names)}.{FLAT} A" for _ in range(max(names, QUESTIONS)))
    no_hosts, no_srv = ("dnsmasq",), ("dnsmasq",)
    others = ("Knot", "NSD", "unbound", "dnsmasq", "CoreDNS")
    return [
        Mix(f"A of {SERVICES:,} Services", addresses),
        Mix("A with OPT", addresses, opt),
        Mix("A with a cookie, as dig asks", addresses, cookie),
        Mix("A of short names", short, not_by=others),
        Mix("A and AAAA by glibc's search list, ndots:5", searched),
        Mix("NXDOMAIN", unknown),
        Mix("NXDOMAIN with OPT", unknown, opt),
        Mix("NODATA", tuple(f"{name} MX" for name in some)),
        Mix("20 A", (f"{fqdn('db20')} A",)),
        Mix("100 A with OPT, in part", (f"{fqdn('db100')} A",), opt, no_hosts),
        Mix("SRV of 5", srv[5], not_by=no_srv),
        Mix("SRV of 5 with OPT", srv[5], opt, no_srv),
        Mix("SRV of 20", srv[20], not_by=no_srv),
        Mix("SRV of 20 with OPT", srv[20], opt, no_srv),
        Mix("PTR", tuple(f"{ip}.10.in-addr.arpa PTR" for ip in reverse_names())),
        Mix(f"A of a zone file of {names:,} names", hosts, not_by=no_hosts),
        Mix("wildcard of a zone file", tuple(f"{n}.w.{WILD} A" for n in range(1000)), not_by=no_hosts),
        Mix("CNAME of a zone file", (f"alias.{WILD} A",), not_by=no_hosts),
        Mix("A over TCP", addresses, ("-m", "tcp"), ("floor",)),
    ]


def as_glibc_asks(name: str) -> list[str]:
    """Return what a Pod's resolver asks for a Service of its namespace, and for a name elsewhere."""
    search = [f"default.svc.{CLUSTER}", f"svc.{CLUSTER}", CLUSTER]
    first, second = name.split(".")[:2]
    asked = [f"{first}.{second}.{search[0]}", f"{first}.{second}.{search[1]}"]
    asked += [f"n1.{FLAT}.{domain}" for domain in search] + [f"n1.{FLAT}"]
    return [f"{one} {rrtype}" for one in asked for rrtype in ("A", "AAAA")]


def reverse_names() -> list[str]:
    """Return the rest of the reverse names of Pods."""
    return [f"{number}.9.1" for number in range(1, 251)]


def objects() -> list[tuple[str, object]]:
    """Return what is registered."""
    made = [*services(SERVICES), *headless("db5", 5), *headless("db20", 20), *headless("db100", 100)]
    made += headless("ptr", 0)
    made += [
        (PODS, pod(f"ptr-{n}", f"10.1.9.{n}", "ptr", hostname=f"h{n}", subdomain="ptr"))
        for n in range(1, 251)
    ]
    return made


def written_zones(folder: Path, names: int) -> dict[str, Path]:
    """Write the zone files."""
    apex = "$TTL 60\n@ SOA ns hostmaster 1 7200 1800 86400 5\n@ NS ns\nns A 192.0.2.1\n"
    flat = "".join(f"n{n} A 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\n" for n in range(names))
    wild = "*.w A 192.0.2.2\nalias CNAME www\nwww A 192.0.2.3\n"
    files = {}
    for origin, text in ((FLAT, flat), (WILD, wild)):
        files[origin] = folder / f"{origin}.zone"
        files[origin].write_text(f"$ORIGIN {origin}.\n{apex}{text}")
    return files


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
def run(name: str, command: list[str], port: int) -> Iterator[Server | None]:
    """Run a server on core 0 until the block ends; None where it does not answer."""
    process = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMAXPROCS": "1"},
    )
    server = Server(name, (process.pid,), ("127.0.0.1", port))
    try:
        there = any(answers(server.where, fqdn("svc-0")) or sleep(0.1) for _ in range(600))
        if not there:
            print(f"{name} does not answer; left out", file=sys.stderr)
        yield server if there else None
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


def others(folder: Path, zones: dict[str, Path]) -> dict[str, tuple[list[str], int]]:
    """Return the servers that are installed: how each is started, and its port."""
    ports = {name: free_port() for name in ("Knot", "NSD", "unbound", "dnsmasq", "CoreDNS")}
    texts = {
        "Knot": f"server:\n  listen: 127.0.0.1@{ports['Knot']}\n  rundir: {folder}\n  udp-workers: 1\n"
        f"  tcp-workers: 1\n  background-workers: 1\ndatabase:\n  storage: {folder}\nzone:\n"
        + "".join(f"  - domain: {o}\n    file: {f}\n    journal-content: none\n" for o, f in zones.items()),
        "NSD": f"server:\n  ip-address: 127.0.0.1@{ports['NSD']}\n  server-count: 1\n"
        f'  username: ""\n  chroot: ""\n  database: ""\n  pidfile: ""\n'
        f'  zonesdir: "{folder}"\n  xfrdir: "{folder}"\n  zonelistfile: "{folder}/l"\n'
        f'  xfrdfile: "{folder}/x"\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n'
        + "".join(f'zone:\n  name: "{o}"\n  zonefile: "{f}"\n' for o, f in zones.items()),
        "unbound": f"server:\n  interface: 127.0.0.1@{ports['unbound']}\n  do-daemonize: no\n"
        f'  username: ""\n  chroot: ""\n  directory: "{folder}"\n  pidfile: ""\n  use-syslog: no\n'
        "  num-threads: 1\n  module-config: iterator\n  access-control: 127.0.0.0/8 allow\n"
        "  local-zone: 10.in-addr.arpa nodefault\n"
        + "".join(
            f'auth-zone:\n  name: "{o}"\n  zonefile: "{f}"\n  for-upstream: no\n' for o, f in zones.items()
        ),
        "dnsmasq": hosts(zones),
        "CoreDNS": "".join(
            f"{o}:{ports['CoreDNS']} {{\n  bind 127.0.0.1\n  file {f}\n}}\n" for o, f in zones.items()
        ),
    }
    for name, text in texts.items():
        (folder / f"{name}.conf").write_text(text)
    dnsmasq = ["-k", "-h", "-R", "-u", "root", "--pid-file=", "-C", "/dev/null", "-c", "10000"]
    dnsmasq += ["--listen-address=127.0.0.1", "--bind-interfaces", "-p", str(ports["dnsmasq"])]
    dnsmasq += ["--local=/cluster.local/", "--local=/10.in-addr.arpa/", "-H", str(folder / "dnsmasq.conf")]
    starts = {
        "Knot": ["knotd", "-c", str(folder / "Knot.conf")],
        "NSD": ["nsd", "-d", "-c", str(folder / "NSD.conf")],
        "unbound": ["unbound", "-d", "-c", str(folder / "unbound.conf")],
        "dnsmasq": ["dnsmasq", *dnsmasq],
        "CoreDNS": ["coredns", "-conf", str(folder / "CoreDNS.conf")],
    }
    path = f"{os.environ.get('PATH', '')}:{PROGRAMS}"
    found = {name: shutil.which(command[0], path=path) for name, command in starts.items()}
    found["CoreDNS"] = os.environ.get("COREDNS") or found["CoreDNS"]
    return {name: ([program, *starts[name][1:]], ports[name]) for name, program in found.items() if program}


def hosts(zones: dict[str, Path]) -> str:
    """Return the addresses of the cluster domain as dnsmasq reads them."""
    fields = (line.split() for line in zones[CLUSTER].read_text().splitlines())
    return "".join(f"{rdata} {owner[:-1]}\n" for owner, _, _, rrtype, rdata, *_ in fields if rrtype == "A")


@contextlib.contextmanager
def floor(folder: Path) -> Iterator[Server | None]:
    """Compile and run the floor; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        yield None
        return
    program = folder / "floor"
    subprocess.run([compiler, "-O2", str(HERE / "echo_floor.c"), "-o", str(program)], check=True)
    process = subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    pin(process.pid, SERVER_CORE)
    try:
        yield Server("floor", (process.pid,), ("127.0.0.1", port))
    finally:
        process.kill()
        process.wait()


def main(seconds: float = 3.0, rounds: int = 5, names: int = 1_000) -> None:
    """Measure and print the table."""
    in_python = {"SVCDNS_FAST_PATH": "python"}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "zones").mkdir()
        config = f'{CONFIG}zones = "{folder / "zones"}"\n'
        servers: list[Server] = []
        for name, environ in (("svcdns", {}), ("svcdns in Python", in_python)):
            running = stack.enter_context(RunningServer(workers=1, config=config, environ=environ))
            register(running.api, objects())
            pin(running.worker_pids[0], SERVER_CORE)
            servers.append(Server(name, (running.worker_pids[0],), running.dns))
        zones = written_zones(folder / "zones", names)
        for server in servers:
            loaded = partial(answers, server.where, f"n{names - 1}.{FLAT}")
            wait_for(loaded, "the zone file to be loaded", 900)
        zones |= transferred_zones(folder, servers[0].where)
        for name, (command, port) in others(folder, zones).items():
            if (peer := stack.enter_context(run(name, command, port))) is not None:
                servers.append(peer)
        if (bare := stack.enter_context(floor(folder))) is not None:
            servers.append(bare)
        found: dict[tuple[str, str], list[float]] = {}
        kinds = mixes(names)
        for number, mix in enumerate(kinds):
            (folder / str(number)).write_text("".join(f"{question}\n" for question in mix.questions))
        for _ in range(rounds):
            for number, mix in enumerate(kinds):
                for server in servers:
                    if server.name not in mix.not_by:
                        before = cpu_of_family(server.pids[0])
                        done, _ = load(server, folder / str(number), seconds, mix.options)
                        spent = (cpu_of_family(server.pids[0]) - before) / done * 1e6
                        found.setdefault((mix.name, server.name), []).append(spent)
    show(kinds, [server.name for server in servers], found)


def show(kinds: list[Mix], names: list[str], found: dict[tuple[str, str], list[float]]) -> None:
    """Print medians and ratios in Markdown."""
    median = {key: statistics.median(values) for key, values in found.items()}
    print("CPU time of a question in µs; in brackets what the least of all rounds is\n")
    print(f"| question | {' | '.join(names)} | svcdns to Knot | svcdns to the floor |")
    print(f"|---|{'---:|' * (len(names) + 2)}")
    for mix in kinds:
        cells = []
        for name in names:
            value = median.get((mix.name, name))
            cells.append("" if value is None else f"{value:.1f} ({min(found[mix.name, name]):.1f})")
        for other in ("Knot", "floor"):
            reference = median.get((mix.name, other))
            cells.append(f"{median[mix.name, 'svcdns'] / reference:.2f}" if reference else "")
        print(f"| {mix.name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    arguments = [float(argument) for argument in sys.argv[1:]]
    main(*arguments[:1], *map(int, arguments[1:]))
