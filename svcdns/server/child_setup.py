"""What the supervisor hands to a child: the configuration and the descriptors, in one variable.

A child takes it once at its start; descriptors are closed on exec from then on, so nothing that it
starts holds a socket open by accident.  Standard library only.
"""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass

from svcdns.config.load import from_json, to_json
from svcdns.config.sections import Config

from .counters import Counters

VARIABLE = "SVCDNS_HANDOFF"

FATAL = 78
"""Exit code (EX_CONFIG) of a child that must not be started again: its configuration or data are at
fault, and it has said so in one line."""


@dataclass(frozen=True, slots=True)
class Handoff:
    """Descriptors by what they are for; those that a child doesn't need are missing."""

    config: str
    """The configuration (see config_load.to_json)."""
    lifeline: int
    """A pipe's read end: at its EOF the supervisor is gone."""
    counting: int
    """The counters."""
    worker: int = -1
    """Which DNS worker this is, from 0; -1 is the writer or the forwarder."""
    udp: tuple[int, ...] = ()
    """In the order of dns.listen, that order again where a worker has several sockets of an address."""
    tcp: tuple[int, ...] = ()
    """In the order of dns.listen."""
    api: int = -1
    links: tuple[int, ...] = ()
    """A worker's end of its link with the forwarder; the forwarder's ends of all links."""
    passing_on: int = -1
    """Where a worker that leaves puts its TCP connections (svcdns.dns.tcp_passing)."""
    passed_on: int = -1
    """Where a worker finds those of the workers before an upgrade."""
    predecessor: int = -1
    """A descriptor of the process whose work this one takes over in an upgrade (see takeover.py)."""

    def descriptors(self) -> tuple[int, ...]:
        """Return all descriptors."""
        others = (self.lifeline, self.counting, self.api, self.predecessor, self.passing_on, self.passed_on)
        return tuple(one for one in (*others, *self.udp, *self.tcp, *self.links) if one >= 0)

    def text(self) -> str:
        """Return it as it stands in the variable."""
        return json.dumps(asdict(self))

    def resolved(self) -> Config:
        """Return the configuration."""
        return from_json(self.config)

    def counters(self) -> Counters:
        """Map the counters."""
        return Counters(self.counting)


def make(config: Config, lifeline: int, counters: Counters, **rest: int | tuple[int, ...]) -> Handoff:
    """Return a handoff of this configuration."""
    return Handoff(to_json(config), lifeline, counters.descriptor, **rest)  # type: ignore[arg-type]


def take(environ: MutableMapping[str, str]) -> Handoff:
    """Take the handoff out of the environment.  Raises KeyError where there is none."""
    found = json.loads(environ.pop(VARIABLE))
    for name in ("udp", "tcp", "links"):
        found[name] = tuple(found[name])
    handoff = Handoff(**found)
    for descriptor in handoff.descriptors():
        os.set_inheritable(descriptor, False)
    return handoff
