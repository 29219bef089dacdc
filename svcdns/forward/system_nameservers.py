"""The nameservers that a resolv.conf lists, and what becomes of them when the file changes.

Rules that hold here:

* read as glibc does (resolv.conf(5)): `nameserver ADDRESS` from the first column, the rest of the line is
  ignored, `#` and `;` begin comments; but up to MOST of them, not three;
* a file that is missing, empty or broken changes nothing: the list it gave before stays, and one log
  line says why (at the start there is no list yet);
* our own listeners are left out: a machine's resolv.conf often names the resolver on that machine;
* asking whether the file changed costs one stat.

Standard library only: `svcdns check` reads such files too, with `listed_in`.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from svcdns.config.own_address import own_listener
from svcdns.config.readers import few
from svcdns.config.sections import Endpoint
from svcdns.config.upstream_spec import parse as parse_upstream
from svcdns.system.log_on_change import LogOnChange
from svcdns.system.watched_file import WatchedFile

log = logging.getLogger(__name__)

MOST = 16
"""Nameservers that are taken from one file."""
MAX_OCTETS = 1 << 18
DNS_PORT = 53
_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what a packet to these addresses reaches
_REMEDY = "questions would go round in a loop; list the real nameservers in [forward] upstreams"
UNTIL = "no name that is to be asked for there is answered until it lists a nameserver"
"""How the line about a file ends that gives none."""


def parse(octets: bytes) -> tuple[list[str], list[str]]:
    """Return the addresses of all nameservers in order, each once, and quoted what is no address.

    Of a link-local address the scope id is kept (fe80::1%eth0).  Never raises.
    """
    found: dict[str, None] = {}
    wrong: dict[str, None] = {}
    for line in octets.decode("utf-8", "replace").split("\n"):
        words = line.split()
        if words and words[0] == "nameserver" and line.startswith("nameserver"):
            word = words[1] if len(words) > 1 else ""
            address = _address(word)
            if address:
                found[address] = None
            else:
                wrong[repr(word[:80])] = None
    return list(found), list(wrong)


def _address(word: str) -> str:
    """Return an address that can be asked in its usual spelling, "" where the word is none."""
    try:
        spelt = str(ip_address(word))
        return parse_upstream(_THIS_MACHINE.get(spelt, spelt)).host
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a file gives."""

    nameservers: tuple[str, ...]
    """Those to ask, in order."""
    text: str
    """What of the file is not used and why, "" if all is; without nameservers why there are none."""
    is_read: bool = True
    """Whether the file could be read."""


def listed_in(path: Path, own: Sequence[Endpoint] = (), port: int = DNS_PORT) -> Listed:
    """Return what a file gives now; arguments as those of ResolvConf.  Never raises, logs nothing."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # opening a pipe and the like could hold us up
            kind = "a folder" if stat.S_ISDIR(mode) else "something else"
            return Listed((), f"is no file but {kind}", is_read=False)
        return _listed(_octets(path), own, port)
    except (OSError, ValueError) as failed:
        why = (getattr(failed, "strerror", "") or str(failed)).lower()
        return Listed((), f"can't be read: {why}", is_read=False)


def _octets(path: Path) -> bytes:
    """Return what stands in a file, not much more than MAX_OCTETS of it."""
    with open(path, "rb", opener=_open) as opened:
        return opened.read(MAX_OCTETS + 1)


def _listed(octets: bytes, own: Sequence[Endpoint], port: int) -> Listed:
    if len(octets) > MAX_OCTETS:
        return Listed((), f"is larger than {MAX_OCTETS} octets, so it is no resolv.conf")
    addresses, wrong = parse(octets)
    ours = [address for address in addresses if own_listener(address, port, own)]
    others = tuple(address for address in addresses if address not in ours)
    if not others:
        return Listed((), _nothing_in(ours, wrong))
    return Listed(others[:MOST], _left_out(ours, wrong, others[MOST:]))


def _nothing_in(ours: list[str], wrong: list[str]) -> str:
    if ours:
        return f"lists no server but this one ({few(ours)}): {_REMEDY}"
    if wrong:
        return f"lists no nameserver: {few(wrong)} is no address that can be asked"
    return "lists no nameserver"


def _left_out(ours: list[str], wrong: list[str], more: Sequence[str]) -> str:
    """Return what of the file is not used and why, "" if all is."""
    texts = []
    if ours:
        texts.append(f"{few(ours)} is this server itself and left out: {_REMEDY}")
    if wrong:
        texts.append(f"{few(wrong)} is no address that can be asked and left out")
    if more:
        texts.append(f"lists more than {MOST} nameservers; {len(more)} are left out")
    return "; ".join(texts)


class ResolvConf:
    """One file, and the nameservers that are in force because of it."""

    def __init__(self, path: Path, own: Sequence[Endpoint] = (), port: int = DNS_PORT) -> None:
        """`own` is where we listen; `port` is where the nameservers are asked.  Nothing is read yet."""
        self.path = path
        self.nameservers: tuple[str, ...] = ()
        self._own = own
        self._port = port
        self._watched = WatchedFile(path)
        self._broken = False
        self._logged = LogOnChange()

    def refresh(self) -> bool:
        """Read the file if it changed; return whether the nameservers are others now.  Never raises."""
        if not self._watched.changed():
            return False
        listed = listed_in(self.path, self._own, self._port)
        if not listed.is_read:
            self._watched.forget()
        taken = listed.nameservers
        if not taken:
            self._broken = True
            until = f"still in use: {', '.join(self.nameservers)}" if self.nameservers else UNTIL
            self._log(f"{listed.text}; {until}")
            return False
        if self._broken:
            log.info("%s: lists nameservers again", self.path)
            self._broken = False
        self._log(listed.text)
        if taken == self.nameservers:
            return False
        log.info("%s: the nameservers to ask are %s", self.path, ", ".join(taken))
        self.nameservers = taken
        return True

    def _log(self, text: str) -> None:
        """Log a warning, unless it was the last one."""
        if self._logged.is_new(text) and text:
            log.warning("%s: %s", self.path, text)


def _open(path: str, flags: int) -> int:
    """Open a file that may have become a pipe meanwhile, which would hold us up."""
    return os.open(path, flags | os.O_NONBLOCK)
