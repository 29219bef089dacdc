"""svcdns beside Kubernetes itself: writes, from readiness to DNS, memory, and a restart.

    python bench/kubernetes.py [--rounds 3] [--creates 2000] [--flips 200] [--folder FOLDER] [--docs FOLDER]

By hand: it needs kube-apiserver, etcd and CoreDNS, in PATH or where the variables KUBE_APISERVER, ETCD
and COREDNS say.  Both are started anew in each round, one after the other, with an empty folder for their
data (below FOLDER: choose the disk that is to count), and have the same client, over TLS, on the same
cores:

* creates: Services with a cluster IP, by 1, 16 and 32 clients that send the next when the last is
  answered;
* flips: an EndpointSlice of a headless Service says that its endpoint is ready, or not, in turns; the
  time from the PATCH until DNS says so, asked again and again from the 2xx on. "stale": the first
  answer after it was old;
* memory of all processes after that, PSS and what no file holds;
* restart: from the start of all processes, after SIGTERM, to the first address from DNS. CoreDNS is
  started when the API is ready.

Printed are medians of the rounds, in brackets the ratio to svcdns; with --docs they go into
performance.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from documents import Found, circumstances, markdown, note, publish, ratio
from kubernetes_servers import Kubernetes, Site, Svcdns, found_programs, made_credentials
from measuring import SERVICES, Calls, connected, fqdn, make_question, memory_of_family, service, wait_for
from rates import at
from toolbox.builders import endpoint_slice, without_selector

CLIENTS = (1, 16, 32)
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
NAME, ADDRESS = "flip", "10.1.2.3"


class Asking:
    """A DNS client with one socket, opened again after an error."""

    def __init__(self, site: Site) -> None:
        """The site is asked for the headless Service, nothing else."""
        self._site = site
        self._number = 0
        self._open()

    def has_address(self) -> bool | None:
        """Ask once whether the name has an address; None where nothing answers."""
        self._number = (self._number + 1) % 65536
        try:
            self._socket.send(make_question(fqdn(NAME), number=self._number))
            reply = self._socket.recv(4096)
            while int.from_bytes(reply[:2]) != self._number:
                reply = self._socket.recv(4096)
        except OSError:
            self._socket.close()
            self._open()
            return None
        return int.from_bytes(reply[6:8]) > 0

    def _open(self) -> None:
        self._socket = connected(self._site.dns())
        self._socket.settimeout(1.0)

    def until(self, expected: bool) -> int:
        """Ask until it is so; return how many answers were otherwise.

        Raises TimeoutError after a minute, AssertionError where a program has ended meanwhile.
        """
        old, guard = 0, time.monotonic() + 60
        while self.has_address() is not expected:
            old += 1
            if time.monotonic() > guard:
                self._site.check()
                raise TimeoutError(f"{self._site.name}: {fqdn(NAME)} is not as it was written after a minute")
        return old

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def creates(site: Site, clients: int, many: int) -> tuple[float, list[float]]:
    """Create Services; return how many a second, and the seconds that each took, in order."""
    share = many // clients

    def work(number: int) -> list[float]:
        calls, took = site.calls(), []
        for count in range(share):
            began = time.perf_counter()
            calls.done("POST", SERVICES, service(f"c{clients}-{number}-{count}"))
            took.append(time.perf_counter() - began)
        calls.close()
        return took

    with ThreadPoolExecutor(clients) as threads:
        began = time.perf_counter()
        took = [one for part in threads.map(work, range(clients)) for one in part]
        return len(took) / (time.perf_counter() - began), sorted(took)


def flips(site: Site, many: int) -> tuple[list[float], int]:
    """Flip readiness; return seconds until DNS says so, in order, and how many first answers were old."""
    calls, asking = site.calls(), Asking(site)
    took, stale = [], 0
    for number in range(many):
        ready = bool(number % 2)
        body = {"endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": ready}}]}
        began = time.perf_counter()
        calls.done("PATCH", f"{SLICES}/{NAME}-1", body, "application/merge-patch+json")
        stale += asking.until(ready) > 0
        took.append(time.perf_counter() - began)
    calls.close()
    asking.close()
    return sorted(took), stale


def prepared(site: Site) -> None:
    """Start a site, and have it answer for the headless Service."""
    site.start()
    calls = site.calls()
    wait_for(partial(writes, calls), "the API to take a write", 120)
    calls.done("POST", SLICES, endpoint_slice(f"{NAME}-1", NAME, ADDRESS))
    calls.close()
    asking = Asking(site)
    asking.until(True)
    asking.close()


def writes(calls: Calls) -> bool:
    """Say whether the headless Service could be created."""
    try:
        return calls.call("POST", SERVICES, without_selector(NAME, clusterIP="None"))[0] == 201
    except (OSError, ValueError):
        return False


def restart(site: Site) -> float:
    """Return the seconds from a start to the first address."""
    site.stop()
    began = time.perf_counter()
    site.start()
    asking = Asking(site)
    asking.until(True)
    asking.close()
    return time.perf_counter() - began


def measure(site: Site, given: argparse.Namespace, found: Found) -> None:
    """Take all figures of one site once."""
    prepared(site)
    try:
        for clients in CLIENTS:
            many = given.creates // 4 if clients == 1 else given.creates
            rate, took = creates(site, clients, many)
            said = f"{clients} client{'s' if clients > 1 else ''}"
            note(found, f"creates a second, {said}", site.name, rate)
            for share, name in ((0.5, "p50"), (0.99, "p99")):
                note(found, f"{name} of a create, {said}, ms", site.name, at(took, share) * 1e3)
        took, stale = flips(site, given.flips // 2 * 2)
        note(found, "readiness to DNS, p50, ms", site.name, at(took, 0.5) * 1e3)
        note(found, "readiness to DNS, p99, ms", site.name, at(took, 0.99) * 1e3)
        note(found, "stale after the 2xx, %", site.name, 100 * stale / len(took))
        memory = [memory_of_family(pid) for pid in site.roots().values()]
        note(found, "memory, PSS, MiB", site.name, sum(pss for pss, _ in memory))
        note(found, "memory, anonymous, MiB", site.name, sum(anonymous for _, anonymous in memory))
        note(found, "restart to the first answer, s", site.name, restart(site))
    finally:
        site.close()


def table(found: Found, names: tuple[str, str]) -> str:
    """Return the table in Markdown; its ratios are to the first of both."""
    rows = []
    for row in dict.fromkeys(row for row, _ in found):
        digits = 0 if "a second" in row or row.endswith("%") else 2 if row.endswith(" s") else 1
        values = [found[row, name] for name in names]
        ours, theirs = (f"{statistics.median(some):,.{digits}f}" for some in values)
        rows.append([row, ours, theirs if row.endswith("%") else f"{theirs} ({ratio(*reversed(values))})"])
    return markdown(["", *names], rows)


def main() -> None:
    """Measure, print, and write what was asked for; exit code 2 where a program is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--creates", type=int, default=2_000, help="of each of the larger numbers of clients")
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="where data folders are made")
    parser.add_argument("--docs", type=Path, help="the folder of performance.md, to put the table there")
    given = parser.parse_args()
    try:
        programs = found_programs()
    except LookupError as missing:
        print(missing, file=sys.stderr)
        sys.exit(2)
    found: Found = {}
    began = time.perf_counter()
    for number in range(given.rounds):
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            folder = Path(name)
            credentials = made_credentials(folder)
            for kind, make in kinds(programs).items():
                (folder / kind).mkdir()
                measure(make(credentials, folder / kind), given, found)
        print(f"round {number + 1} is done after {time.perf_counter() - began:.0f} s", file=sys.stderr)
    said = circumstances(f"{given.rounds} rounds of {given.creates:,} creates and {given.flips} flips")
    publish(given.docs, {"Kubernetes": f"{said}\n{table(found, (Svcdns.name, Kubernetes.name))}"})


def kinds(programs: dict[str, str]) -> dict[str, Callable[..., Site]]:
    """Return how each site is made, by the name of its folder."""
    return {"svcdns": Svcdns, "kubernetes": partial(Kubernetes, programs=programs)}


if __name__ == "__main__":
    main()
