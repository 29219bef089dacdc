"""What the supervisor hands to a child: the configuration and the descriptors, as a file in memory.

A variable says which descriptor that is.  A child takes it, and reads its configuration, once at its start;
descriptors are closed on exec from then on, so nothing that it starts holds a socket open by accident.
Standard library only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache

from svcdns.config.load import of_spelt, spelt_options
from svcdns.config.sections import Config

from .counters import Counters

VARIABLE = "SVCDNS_HANDOFF"

FATAL = 78
"""Exit code (EX_CONFIG) of a child that must not be started again: its configuration or data are at
fault, and it has said so in one line."""


@dataclass(frozen=True, slots=True)
class Handoff:
    """The configuration, and descriptors by what they are for; a child has those that it needs."""

    config: Config
    lifeline: int
    """A pipe's read end: at its EOF the supervisor is gone."""
    counting: int
    """The counters."""
    tapping: int = -1
    """The tap (see tapping.py)."""
    worker: int = -1
    """Which DNS worker this is, from 0; -1 is the writer or the forwarder."""
    udp: tuple[int, ...] = ()
    """In the order of dns.listen, that order again where a worker has several sockets of an address."""
    tcp: tuple[int, ...] = ()
    """In the order of dns.listen."""
    api: int = -1
    links: tuple[int, ...] = ()
    """A worker's end of its link with the forwarder; the forwarder's ends of all links."""
    flush: int = -1
    """The writer's or the forwarder's end of the link by which answers are forgotten."""
    passing_on: int = -1
    """Where a worker that leaves puts its TCP connections (svcdns.dns.tcp_passing)."""
    passed_on: int = -1
    """Where a worker finds those of the workers before an upgrade."""
    api_url: str = ""
    """Where a client of the API finds it (see crew.CLIENTS)."""
    api_token: str = ""
    """What such a client shows to it; "" where nobody is asked."""
    own_tokens: tuple[tuple[str, str], ...] = ()
    """The writer's: of each client (its name), the token it will show."""
    predecessor: int = -1
    """A descriptor of the process whose work this one takes over in an upgrade (see takeover.py)."""

    def descriptors(self) -> tuple[int, ...]:
        """Return all descriptors."""
        of_upgrade = (self.passing_on, self.passed_on, self.predecessor)
        single = (self.lifeline, self.counting, self.tapping, self.api, self.flush, *of_upgrade)
        return tuple(one for one in (*single, *self.udp, *self.tcp, *self.links) if one >= 0)

    @contextmanager
    def in_memory(self) -> Iterator[int]:
        """Give the descriptor of a file that holds it: a variable takes 128 KiB at most (execve(2))."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        with open(os.memfd_create("svcdns-handoff"), "w+", encoding="utf-8") as file:
            json.dump({**values, "config": json.dumps(spelt_options(self.config))}, file)
            file.seek(0)  # the child reads on from here
            yield file.fileno()

    def counters(self) -> Counters:
        """Map the counters."""
        return Counters(self.counting)


@lru_cache(maxsize=1)
def _config(spelt: str) -> Config:
    return of_spelt(json.loads(spelt))


def read_config(descriptor: int) -> None:
    """Read the configuration of a handoff that others will take: those who are forked then need not."""
    _config(json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))["config"])


def take(environ: MutableMapping[str, str]) -> Handoff:
    """Take the handoff out of the environment.  Raises KeyError where there is none."""
    with open(int(environ.pop(VARIABLE)), encoding="utf-8") as file:
        found = json.load(file)
    found["config"] = _config(found["config"])
    found["own_tokens"] = tuple((name, token) for name, token in found["own_tokens"])
    for name in ("udp", "tcp", "links"):
        found[name] = tuple(found[name])
    handoff = Handoff(**found)
    for descriptor in handoff.descriptors():
        os.set_inheritable(descriptor, False)
    return handoff
