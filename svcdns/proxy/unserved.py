"""Frontends that something on this machine stands in the way of, as problems of their Services.

    the engine `user` could not bind     another program has the port, or it takes rights
    the engine `nft` carries a node port, and a program listens there: it gets no connections any more
    an endpoint at a loopback address has no stand-in      clients elsewhere don't get there
    the engine has refused a rule

Looked at every half minute: no engine tells of it, and people read it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from svcdns.cluster.service_frontends import Problem
from svcdns.cluster.traffic import frontend_text
from svcdns.cluster.traffic_plan import NODE, SCTP, TCP, UDP, Frontend, Host, Rule

from .engine_sync import EngineSync
from .node_ports import Listener, listeners, who_listens
from .stand_ins import Loopback, loopback

LOOK_SECONDS = 30.0
_PROTOCOLS = {"tcp": TCP, "udp": UDP}

Problems = dict[str, tuple[Problem, ...]]
"""By Service, NAMESPACE/NAME."""


@runtime_checkable
class Binds(Protocol):
    """An engine with listeners of its own."""

    def not_bound(self) -> Mapping[Frontend, str]:
        """Return why frontends are not served at an address of theirs."""


@runtime_checkable
class StandsIn(Protocol):
    """An engine with relays that stand in for endpoints at loopback addresses."""

    @property
    def stand_ins(self) -> Mapping[Loopback, Frontend]:
        """Where a relay listens for each endpoint that has one."""


class Unserved:
    """Looks for them, and remembers what it found last."""

    def __init__(self, sync: EngineSync, changed: Callable[[], None]) -> None:
        """`changed` is called where `problems` has become different."""
        self._sync = sync
        self._changed = changed
        self.problems: Problems = {}

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            if self._sync.is_synced and (found := await self._look()) != self.problems:
                self.problems = found
                self._changed()
            await asyncio.sleep(LOOK_SECONDS if self._sync.is_synced else 1.0)

    async def _look(self) -> Problems:
        engine, in_effect = self._sync.engine, self._sync.in_effect
        if isinstance(engine, Binds):
            texts = await asyncio.to_thread(engine.not_bound)
        else:
            node_ports = [at for at in in_effect if at.address == NODE]
            texts = await asyncio.to_thread(_taken, node_ports, self._sync.host) if node_ports else {}
        found: Problems = {}
        for frontend, text in texts.items():
            if (rule := in_effect.get(frontend)) is not None:
                reason = "NodePortTaken" if frontend.address == NODE else "NotServed"
                _add(found, rule.service, reason, f"{frontend_text(frontend)}: {text}")
        for frontend, refused in self._sync.refused.items():
            text = f"{frontend_text(frontend)}: the engine refuses: {refused.text}"
            _add(found, refused.service, "NotServed", text)
        if isinstance(engine, StandsIn):
            rules, stand_ins = dict(in_effect), dict(engine.stand_ins)
            only_here = await asyncio.to_thread(_only_here, rules, stand_ins)
            for frontend, text in only_here.items():
                _add(found, rules[frontend].service, "EndpointOnlyHere", text)
        return found


def _add(found: Problems, service: str, reason: str, text: str) -> None:
    found[service] = (*found.get(service, ()), Problem(reason, text))


def _only_here(rules: Mapping[Frontend, Rule], stand_ins: Mapping[Loopback, Frontend]) -> dict[Frontend, str]:
    """Return at which frontends clients elsewhere don't get to endpoints at loopback addresses, and which."""
    found = {}
    for at, rule in rules.items():
        endpoints = loopback(at, rule.inside.endpoints)
        left = [one for one in endpoints if Loopback(at.protocol, one) not in stand_ins]
        if left:
            first = frontend_text(Frontend(at.family, left[0].address, at.protocol, left[0].port))
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            why = (
                "SCTP has no relay" if at.protocol == SCTP else "this host has no address or port for a relay"
            )
            found[at] = f"{frontend_text(at)}: only processes of this host get to {first}{more}: {why}"
    return found


def _taken(node_ports: list[Frontend], host: Host) -> dict[Frontend, str]:
    """Return which node ports a program of this machine listens on."""
    found: dict[Frontend, str] = {}
    heard: dict[tuple[int, int], Listener] = {}
    for one in listeners({at.port for at in node_ports}, host.node_addresses):
        heard.setdefault((_PROTOCOLS[one.protocol], one.port), one)
    for at in node_ports:
        if (taken := heard.get((at.protocol, at.port))) is not None:
            who = who_listens(taken)
            found[at] = f"{who} listens at {taken.text}, and gets no connections from others there"
    return found
