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

from svcdns.config.load import of_spelt, spelt_options
from svcdns.config.sections import Config

from .counters import FILE, Counters

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
    worker: int = -1
    """Which DNS worker this is, from 0; -1 is the writer or the forwarder."""
    udp: tuple[int, ...] = ()
    tcp: tuple[int, ...] = ()
    """In the order of dns.listen, as udp."""
    api: int = -1
    links: tuple[int, ...] = ()
    """A worker's end of its link with the forwarder; the forwarder's ends of all links."""
    flush: int = -1
    """The writer's or the forwarder's end of the link by which answers are forgotten."""

    def descriptors(self) -> tuple[int, ...]:
        """Return all descriptors."""
        every = (self.lifeline, *self.udp, *self.tcp, self.api, *self.links, self.flush)
        return tuple(one for one in every if one >= 0)

    @contextmanager
    def in_memory(self) -> Iterator[int]:
        """Give the descriptor of a file that holds it: a variable takes 128 KiB at most (execve(2))."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        with open(os.memfd_create("svcdns-handoff"), "w+", encoding="utf-8") as file:
            json.dump({**values, "config": spelt_options(self.config)}, file)
            file.seek(0)  # the child reads on from here
            yield file.fileno()

    def counters(self) -> Counters:
        """Map the counters file."""
        return Counters(self.config.data / FILE)


def take(environ: MutableMapping[str, str]) -> Handoff:
    """Take the handoff out of the environment.  Raises KeyError where there is none."""
    with open(int(environ.pop(VARIABLE)), encoding="utf-8") as file:
        found = json.load(file)
    found["config"] = of_spelt(found["config"])
    for name in ("udp", "tcp", "links"):
        found[name] = tuple(found[name])
    handoff = Handoff(**found)
    for descriptor in handoff.descriptors():
        os.set_inheritable(descriptor, False)
    return handoff
