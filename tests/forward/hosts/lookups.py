"""How programs on a host look names up: glibc, musl, `getent ahosts` and busybox nslookup.

    lookups = all_at_once([Question(host, client, "web"), ...])

A `Lookup` says the same of each of them: the addresses, or that there is none ("none"), or that it
could not be told ("again"), and the seconds it took.  What each of them asks the server for a name
differs, and is told here (`Client.searches`), from their sources.
"""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from toolbox.hosts import Host

NONE = "none"
"""A clear answer: there is no such name, or it has no such address."""
AGAIN = "again"
"""A clear failure: the server could not find out."""

CLIENTS = (
    *(f"{libc}-{family}" for libc in ("glibc", "musl") for family in ("unspec", "inet", "inet6")),
    *("getent", "nslookup"),
)
"""Names of the clients."""

AT_ONCE = 1.0
"""Seconds: whatever waits here (a try upstream, glibc's or musl's own retries) waits for longer than that."""

HANG_SECONDS = 60.0

_GAI = {"": "", "EAI_NONAME": NONE, "EAI_NODATA": NONE, "EAI_AGAIN": AGAIN}


@dataclass(frozen=True)
class Lookup:
    """What a program said to one name."""

    addresses: frozenset[str]
    error: str
    """"" with addresses, else NONE or AGAIN; anything else is what the program printed."""
    seconds: float

    @property
    def said(self) -> frozenset[str] | str:
        """The addresses, or the error."""
        return self.error or self.addresses


def _of_any(name: str, ndots: int) -> bool:
    return True


def _of_none(name: str, ndots: int) -> bool:
    return False


def _below_ndots(name: str, ndots: int) -> bool:
    return not name.endswith(".") and name.count(".") < ndots


Read = Callable[[subprocess.CompletedProcess[str], float], Lookup]


@dataclass(frozen=True)
class Client:
    """A program that looks up names, one way of calling it."""

    name: str
    command: Sequence[str]
    """What the name is put behind."""
    read: Read = field(repr=False)
    searches: Callable[[str, int], bool] = field(repr=False)
    """Whether it tries the search list for (NAME, ndots); where it does, NAME itself is tried too."""
    families: frozenset[int] = frozenset((4, 6))
    """Which addresses it asks for."""
    only_own_families: bool = False
    """Whether it leaves out addresses of a family that the host has none of (AI_ADDRCONFIG)."""
    tells_failure: Callable[[str, int], bool] = field(default=_of_any, repr=False)
    """Whether for (NAME, ndots) one can see that the server failed; where not, that may look like NONE."""
    patience: float = 0.0
    """Seconds for which it goes on asking a server that says it has failed; 0: it believes that."""


@dataclass(frozen=True)
class Question:
    """A name to be looked up."""

    host: Host
    client: Client
    name: str


def all_at_once(questions: Sequence[Question], *, together: int = 0) -> list[Lookup]:
    """Look up names side by side, `together` at a time (0: all); return results in the questions' order."""
    with ThreadPoolExecutor(together or max(len(questions), 1)) as pool:
        return list(pool.map(look_up, questions))


def look_up(question: Question) -> Lookup:
    """Look one name up, now."""
    argv = question.host.command(*question.client.command, question.name)
    start = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=HANG_SECONDS)
    return question.client.read(done, time.monotonic() - start)


def clients(glibc: Path, musl: Path, getent: str, busybox: str) -> list[Client]:
    """Return all of them; `glibc` and `musl` are resolving.c, compiled with either."""
    families = (("unspec", (4, 6)), ("inet", (4,)), ("inet6", (6,)))
    made = [
        Client(
            f"glibc-{word}",
            (str(glibc), word),
            _read_resolving,
            _always,
            frozenset(numbers),
            # For IPv4 alone it forgets that NAME itself failed when the search list then says NXDOMAIN.
            tells_failure=_below_ndots if word == "inet" else _of_any,
        )
        for word, numbers in families
    ]
    made += [
        Client(
            f"musl-{word}",
            (str(musl), word),
            _read_resolving,
            _below_ndots,
            frozenset(numbers),
            patience=5.0,
        )
        for word, numbers in families
    ]
    made.append(
        Client(
            "getent",
            (getent, "ahosts"),
            _read_getent,
            _always,
            only_own_families=True,
            tells_failure=_of_none,
        )
    )
    made.append(Client("nslookup", (busybox, "nslookup"), _read_nslookup, _without_dots))
    return made


# Who tries the search list


def _always(name: str, ndots: int) -> bool:
    return not name.endswith(".")  # glibc: from ndots on NAME itself comes first, but then the list


def _without_dots(name: str, ndots: int) -> bool:
    return "." not in name


# What they print


def _read_resolving(done: subprocess.CompletedProcess[str], took: float) -> Lookup:
    told = json.loads(done.stdout)
    error = _GAI.get(told["error"], f"{told['error']} {done.stderr}")
    return Lookup(frozenset(told["addresses"]), error, told["ms"] / 1000)


def _read_getent(done: subprocess.CompletedProcess[str], took: float) -> Lookup:
    found = frozenset(line.split()[0] for line in done.stdout.splitlines())
    return Lookup(found, "" if found else NONE if done.returncode == 2 else _whole(done), took)


def _read_nslookup(done: subprocess.CompletedProcess[str], took: float) -> Lookup:
    answer = done.stdout.partition("\n\n")[2]  # the server comes first
    found = frozenset(re.findall(r"^Address(?: \d+)?:\s+(\S+)", answer, re.MULTILINE))
    text = done.stdout + done.stderr
    if found:
        error = ""
    elif "SERVFAIL" in text or "no servers could be reached" in text:
        error = AGAIN
    elif "NXDOMAIN" in text or "No answer" in text:
        error = NONE
    else:
        error = _whole(done)
    return Lookup(found, error, took)


def _whole(done: subprocess.CompletedProcess[str]) -> str:
    return f"code {done.returncode}: {done.stdout}{done.stderr}"


def named(clients: Iterable[Client], name: str) -> Client:
    """Return the client of that name."""
    return next(client for client in clients if client.name == name)
