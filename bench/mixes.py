"""What peers.py asks: kinds of questions, and the objects and zone files that they are about.

Rules: chosen at random with a fixed seed, so that each run and each server has the same questions.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from cpu_per_query import QUESTIONS
from measuring import PODS, fqdn, headless, pod, services

SERVICES = 1_000
CLUSTER = "cluster.local"
FLAT, WILD = "flat.example", "wild.example"
"""Zone files: one of addresses, one with a wildcard and a CNAME."""


@dataclass(frozen=True)
class Mix:
    """Questions of one kind, dnsperf's options for them, and who can't answer them.

    dnslib's loop answers only what it is said to.
    """

    name: str
    questions: tuple[str, ...]
    options: tuple[str, ...] = ()
    not_by: tuple[str, ...] = ()
    by_dnslib: bool = False

    def is_for(self, server: str) -> bool:
        """Say whether a server can answer these."""
        return self.by_dnslib if server == "dnslib" else server not in self.not_by


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
        Mix(f"A of {SERVICES:,} Services", addresses, by_dnslib=True),
        Mix("A with OPT", addresses, opt),
        Mix("A with a cookie, as dig asks", addresses, cookie),
        Mix("A of short names", short, not_by=others),
        Mix("A and AAAA by glibc's search list, ndots:5", searched),
        Mix("NXDOMAIN", unknown, by_dnslib=True),
        Mix("NXDOMAIN with OPT", unknown, opt),
        Mix("NODATA", tuple(f"{name} MX" for name in some)),
        Mix("20 A", (f"{fqdn('db20')} A",), by_dnslib=True),
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
