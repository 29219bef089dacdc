"""iptables' filter table, by iptables itself: of whichever back end has the chain in question.

Rules of both kinds that iptables cannot read would hide the table from everybody who uses it, so what is
made among iptables' rules is made by iptables.  Rules:

* whether its nf_tables back end has a chain is asked by netlink: to run `iptables-nft` would make tables;
* the legacy back end is only asked where the kernel has a table of it already: to run `iptables-legacy`
  would load its modules.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from svcdns.netlink import rulesets, wire

FAMILIES = {4: "ip", 6: "ip6"}
"""nf_tables' words for the families."""
_LEGACY_TABLES = {4: Path("/proc/net/ip_tables_names"), 6: Path("/proc/net/ip6_tables_names")}
_PROGRAMS = {4: "iptables", 6: "ip6tables"}
_SECONDS = 20
"""iptables waits for others that change rules; longer than this is a fault of theirs."""


class NotPossible(Exception):
    """iptables is not there, or refuses; one line."""


class _Refused(NotPossible):
    """iptables ran, and said no."""


@dataclass(frozen=True, slots=True)
class Back:
    """One back end's filter table of one family."""

    version: int
    is_legacy: bool

    @property
    def family(self) -> str:
        """Return "ip" or "ip6"."""
        return FAMILIES[self.version]

    @property
    def command(self) -> str:
        """Return the name of the program, as a user types it."""
        return f"{_PROGRAMS[self.version]}{'-legacy' if self.is_legacy else ''}"


def backs(kernel: wire.Socket, chain: str) -> list[Back]:
    """Return the back ends whose filter table has a chain.  Raises wire.NetlinkError."""
    there = {(one.family, one.table, one.name) for one in rulesets.chains(kernel)}
    found = [
        Back(version, False) for version, family in FAMILIES.items() if (family, "filter", chain) in there
    ]
    for version, names in _LEGACY_TABLES.items():
        back = Back(version, True)
        with suppress(NotPossible):
            if _has_filter_table(names) and listed(back, chain) is not None:
                found.append(back)
    return found


def listed(back: Back, chain: str) -> list[str] | None:
    """Return the rules of a chain, "-A CHAIN ..."; None where it isn't there.  Raises NotPossible."""
    try:
        lines = _run(back, "", ["-w", "5", "-S", chain]).splitlines()
    except _Refused:
        return None
    return [line for line in lines if line.startswith("-A")]


def saved(back: Back) -> list[str]:
    """Return the lines of `iptables-save -t filter`.  Raises NotPossible."""
    return _run(back, "-save", ["-t", "filter"]).splitlines()


def change(back: Back, lines: Iterable[str]) -> None:
    """Change the filter table in one step, by lines of iptables-restore.  Raises NotPossible."""
    text = "\n".join(("*filter", *lines, "COMMIT", ""))
    _run(back, "-restore", ["--noflush", "-w", "5"], text)


def _run(back: Back, suffix: str, words: list[str], text: str = "") -> str:
    program = _program(back, suffix)
    try:
        done = subprocess.run([program, *words], input=text, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise NotPossible(f"{program} did not answer in {_SECONDS} s") from None
    except OSError as wrong:
        raise NotPossible(f"{program}: {wrong.strerror}") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise _Refused(f"{program}: {said}")
    return done.stdout


def _program(back: Back, suffix: str) -> str:
    """Return the iptables of a back end.  Raises NotPossible."""
    name = _PROGRAMS[back.version]
    for one in (f"{name}-{'legacy' if back.is_legacy else 'nft'}{suffix}", f"{name}{suffix}"):
        if found := shutil.which(one) or shutil.which(one, path="/usr/sbin:/sbin"):
            return found
    raise NotPossible(f"{name} is not installed")


def _has_filter_table(names: Path) -> bool:
    try:
        return "filter" in names.read_text().split()
    except OSError:
        return False
