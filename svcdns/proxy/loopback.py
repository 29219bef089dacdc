"""Loopback addresses beside the kernel's rules, which lead nothing from there to others, nor others there.

A relay carries by sockets what packet rules can't:

    node ports on 127.0.0.1 and ::1        where `node_port_addresses` has the word `localhost`
    endpoints at 127.0.0.0/8 and ::1       for clients elsewhere: containers, other machines (`stand_ins`)

Rules:

* the kernel comes first: what it refuses, the relay is not told either;
* nobody gets to a stand-in but by a Service: the kernel guards its port before it listens, and until it
  listens no more;
* the relay is started when there is something for it to carry;
* `route_localnet` is never set: it would let neighbours reach what listens on loopback (CVE-2020-8558).

https://kubernetes.io/docs/reference/networking/virtual-ips/, KEP-6032
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import replace
from typing import TypeVar

from svcdns.cluster.traffic_plan import NODE, Destination, Endpoint, Frontend, Host, Rule
from svcdns.system.log_on_change import LogOnChange

from .engine import Changed, Engine, EngineError, Rules
from .relay import Relay
from .relay.binding import bind, points
from .repairing import Repairs
from .stand_ins import Loopback, StandIns, all_loopback, carried

_RuleOrNone = TypeVar("_RuleOrNone", Rule, Rule | None)

log = logging.getLogger(__name__)


class WithLoopback:
    """An engine of packet rules, and a relay for what has to do with loopback addresses."""

    def __init__(self, engine: Engine, *, node_ports: bool) -> None:
        """Take over the engine.  `node_ports`: whether they are offered on loopback addresses."""
        self._engine, self._offers_node_ports = engine, node_ports
        self._relay: Relay | None = None
        self.name = engine.name
        self._host = Host()
        self._stand_ins = StandIns(_is_free)
        self._rules: dict[Frontend, Rule] = {}
        """Those with endpoints at loopback addresses."""
        self._carried: dict[Frontend, Rule] = {}
        """The same, as the engine has them."""
        self._carried_before: dict[Frontend, Rule] = {}
        self._moved: Set[Frontend] = frozenset()
        """What the last call changed beside what it was told."""
        self._said = LogOnChange("")

    def replace(self, rules: Rules, host: Host) -> None:
        """Have exactly these rules.  Raises EngineError."""
        found = {at: rule for at, rule in rules.items() if all_loopback(at, rule)}
        users = self._users(dict.fromkeys(self._rules) | found)
        chosen = self._stand_ins.plan(users, host)
        mine = {at: carried(at, rule, chosen) for at, rule in found.items()}
        self._engine.replace({**rules, **mine}, replace(host, relays=tuple(chosen.values())))
        self._moved, self._carried_before, self._carried = frozenset(), self._carried, mine
        self._rules, self._host = found, host
        node_ports = self._node_ports(rules)
        if chosen or node_ports or self._relay is not None:
            self._relaying().replace({**node_ports, **_relayed(chosen)}, Host())
        self._accept(users, chosen)

    def apply(self, changed: Changed, host: Host | None = None) -> None:
        """Change these frontends, and what is known of the host.  Raises EngineError."""
        touched: dict[Frontend, Rule | None] = {
            at: rule
            for at, rule in changed.items()
            if at in self._rules or (rule is not None and all_loopback(at, rule))
        }
        if self._rules and (host is not None or (touched and self._stand_ins.missing)):
            touched = {**self._rules, **touched}
        self._moved, self._carried_before = touched.keys() - changed.keys(), {}
        if touched:
            self._change(changed, touched, host or self._host)
        else:
            self._engine.apply(changed, host)
        self._host = host or self._host
        if node_ports := self._node_ports(changed):
            self._relaying().apply(node_ports)

    def _change(self, changed: Changed, touched: Changed, host: Host) -> None:
        """Guard and open new stand-ins, change the rules, close and unguard those that nobody needs."""
        users, known = self._users(touched), self._stand_ins.points
        chosen = self._stand_ins.plan(users, host)
        new = {one: point for one, point in chosen.items() if known.get(one) != point}
        gone = [point for one, point in known.items() if chosen.get(one) != point]
        every = replace(host, relays=(*known.values(), *new.values()))
        if new:
            self._engine.apply({}, every)
            self._relaying().apply(_relayed(new))
        mine = {
            at: carried(at, rule, chosen) for at, rule in touched.items() if rule and all_loopback(at, rule)
        }
        try:
            self._engine.apply({**changed, **mine}, every)
        except EngineError:
            if new:
                self._relaying().apply(dict.fromkeys(new.values()))
            raise
        self._note(touched, mine)
        self._accept(users, chosen)
        if gone:
            self._relaying().apply(dict.fromkeys(gone))
            self._engine.apply({}, replace(host, relays=tuple(chosen.values())))

    def _users(self, touched: Changed) -> Counter[Loopback]:
        """Return how many more frontends will need each loopback endpoint, or fewer."""
        users: Counter[Loopback] = Counter()
        for at, rule in touched.items():
            if at in self._rules:
                users.subtract(all_loopback(at, self._rules[at]))
            if rule is not None:
                users.update(all_loopback(at, rule))
        return users

    def _note(self, touched: Changed, mine: dict[Frontend, Rule]) -> None:
        for at, rule in touched.items():
            if at in self._carried:
                self._carried_before[at] = self._carried.pop(at)
            self._rules.pop(at, None)
            if at in mine and rule is not None:
                self._rules[at], self._carried[at] = rule, mine[at]

    def _accept(self, users: Counter[Loopback], chosen: dict[Loopback, Frontend]) -> None:
        self._stand_ins.accept(users, chosen)
        missing = self._stand_ins.missing
        if self._said.is_new(str(missing) if missing else "") and missing:
            log.warning("endpoints at loopback addresses that only this host gets to: %d", missing)

    def as_carried(self, changed: Changed, before: Rules) -> tuple[Changed, Rules]:
        """Return what the last call changed, and what was before, by where connections really end."""
        if not (self._carried or self._carried_before):
            return changed, before
        now: dict[Frontend, Rule | None] = dict(changed)
        now |= {at: self._carried[at] for at in (*changed, *self._moved) if at in self._carried}
        was = dict(before)
        was |= {at: self._carried_before[at] for at in now if at in self._carried_before}
        return now, was

    def _relaying(self) -> Relay:
        if self._relay is None:
            self._relay = Relay()
        return self._relay

    def _node_ports(self, rules: Mapping[Frontend, _RuleOrNone]) -> dict[Frontend, _RuleOrNone]:
        """Return the node ports; told of no address of the node, the relay has them on loopback alone."""
        if not self._offers_node_ports:
            return {}
        return {frontend: rule for frontend, rule in rules.items() if frontend.address == NODE}

    @property
    def stand_ins(self) -> Mapping[Loopback, Frontend]:
        """Where the relay listens for each endpoint that has one."""
        return self._stand_ins.points

    @property
    def owns(self) -> bool:
        """Whether nobody can undo what the engine does."""
        return not isinstance(self._engine, Repairs) or self._engine.owns

    def repair(self) -> bool:
        """Have the engine do again what was undone.  Raises EngineError."""
        return isinstance(self._engine, Repairs) and self._engine.repair()

    def held(self) -> Mapping[str, int]:
        """Return what the engine holds, and the relay's listeners and connections."""
        kinds = ("listeners", "connections", "flows")
        relay: Mapping[str, int] = self._relay.held() if self._relay else dict.fromkeys(kinds, 0)
        return {**self._engine.held(), **{f"loopback_{kind}": relay[kind] for kind in kinds}}

    def close(self) -> None:
        """Let go of both."""
        if self._relay is not None:
            self._relay.close()
        self._engine.close()


def _relayed(points: Mapping[Loopback, Frontend]) -> dict[Frontend, Rule]:
    """Return what the relay is told: who gets to a stand-in was let in by the kernel's rules."""
    return {point: _to(one.endpoint) for one, point in points.items()}


def _to(endpoint: Endpoint) -> Rule:
    there = Destination((endpoint,))
    return Rule("an endpoint at a loopback address", there, there)


def _is_free(point: Frontend) -> bool:
    try:
        for one in points(point, Host()):
            bind(one).close()
    except OSError:
        return False
    return True
