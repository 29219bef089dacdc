"""The listeners that follow from frontends and rules; all of it in the loop's thread.

Rules:

* a frontend that nobody may use because there is no endpoint has no listener: the kernel refuses;
* what cannot be bound is no error of the whole: it is tried again with each change of the frontend or the
  host, and every RETRY_SECONDS.  `not_bound` says why; one line in the log says how many there are, and the
  reason of one;
* a frontend with an address of its own goes before a node port at the same place;
* a change costs what it changes, however many frontends there are.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping

from svcdns.cluster.traffic_plan import NODE, SCTP, TCP, Frontend, Host, Rule
from svcdns.proxy.relay.binding import KINDS, Point, bind, points, reason
from svcdns.proxy.relay.carrying import Carrying
from svcdns.proxy.relay.listening import TcpListener
from svcdns.proxy.relay.picking import Picker
from svcdns.proxy.relay.udp import Flows, UdpListener
from svcdns.system.log_on_change import LogOnChange
from svcdns.system.port_owner import program_at

RETRY_SECONDS = 10.0
_MOST_OWNERS = 50
"""Ports whose programs are looked up at once: each costs a walk through /proc."""

log = logging.getLogger(__name__)


class Bound:
    """What one frontend has: its picker, a listener a point, and the errno of each point that has none."""

    __slots__ = ("failed", "listeners", "picker")

    def __init__(self, picker: Picker) -> None:
        """Begin without listeners."""
        self.picker = picker
        self.listeners: dict[Point, TcpListener | UdpListener] = {}
        self.failed: dict[Point, int] = {}


class Frontends:
    """All of them."""

    def __init__(self, carrying: Carrying) -> None:
        """Begin with none."""
        self._carrying = carrying
        self._flows = Flows(carrying)
        self._host = Host()
        self._bound: dict[Frontend, Bound] = {}
        self._owners: dict[Point, Frontend] = {}
        self._unserved: set[Frontend] = set()
        """Those with a point that could not be bound."""
        self._said = LogOnChange("")
        carrying.loop.later(RETRY_SECONDS, self._retry)

    def replace(self, rules: Mapping[Frontend, Rule], host: Host) -> None:
        """Have exactly these."""
        gone: dict[Frontend, Rule | None] = {one: None for one in self._bound if one not in rules}
        self.apply({**gone, **rules}, host)

    def apply(self, changed: Mapping[Frontend, Rule | None], host: Host | None) -> None:
        """Change these, and the host where it is given: first close, then change and open."""
        touched = {frontend for frontend, rule in changed.items() if self._is_news(frontend, rule)}
        if host is not None and host != self._host:
            self._host = host
            touched |= self._bound.keys()
        for frontend in touched:
            self._set_rule(frontend, changed.get(frontend), is_gone=changed.get(frontend, False) is None)
        self._bind(touched)

    def close(self) -> None:
        """End all listeners and flows."""
        self.apply(dict.fromkeys(self._bound), None)

    def held(self) -> Mapping[str, int]:
        """Count what is there."""
        pickers = [one.picker for one in self._bound.values()]
        return {
            "frontends": len(pickers),
            "endpoints": sum(len({*picker.sides[0].targets, *picker.sides[1].targets}) for picker in pickers),
            "listeners": len(self._owners),
            "connections": self._carrying.limits.connections,
            "flows": len(self._flows),
            "not_bound": sum(len(self._bound[one].failed) for one in self._unserved),
        }

    def not_bound(self) -> Mapping[Frontend, str]:
        """Return why frontends are not served at some point of theirs, a line each."""
        said: dict[tuple[int, int], str] = {}
        return {frontend: self._why(frontend, said) for frontend in sorted(self._unserved)}

    # Rules and points

    def _is_news(self, frontend: Frontend, rule: Rule | None) -> bool:
        bound = self._bound.get(frontend)
        return bound is None or bound.picker.rule != rule or frontend in self._unserved

    def _set_rule(self, frontend: Frontend, rule: Rule | None, *, is_gone: bool) -> None:
        bound = self._bound.get(frontend)
        if bound is None:
            if rule is not None:
                self._bound[frontend] = Bound(Picker(rule, self._host))
        elif is_gone:
            for point in list(bound.listeners):
                self._close(point, bound)
            del self._bound[frontend]
            self._unserved.discard(frontend)
        else:
            bound.picker.change(rule or bound.picker.rule, self._host)

    def _bind(self, touched: Iterable[Frontend]) -> None:
        wanted = {frontend: self._points(frontend) for frontend in touched if frontend in self._bound}
        for frontend, places in wanted.items():
            bound = self._bound[frontend]
            for point in [one for one in bound.listeners if one not in places]:
                self._close(point, bound)
            bound.failed.clear()
        for frontend in sorted(wanted, key=lambda one: one.address == NODE):
            bound = self._bound[frontend]
            for point in wanted[frontend]:
                self._open(point, frontend, bound)
            if bound.failed:
                self._unserved.add(frontend)
            else:
                self._unserved.discard(frontend)
        self._say_what_is_not_bound()

    def _points(self, frontend: Frontend) -> Iterable[Point]:
        if frontend.protocol == SCTP or self._bound[frontend].picker.refuses_all:
            return ()
        return points(frontend, self._host)

    def _open(self, point: Point, frontend: Frontend, bound: Bound) -> None:
        if listener := bound.listeners.get(point):
            listener.change()
            return
        owner = self._owners.get(point)
        if owner is not None and owner.address == NODE and frontend.address != NODE:
            self._close(point, self._bound[owner])
            self._bound[owner].failed[point] = errno.EADDRINUSE
            self._unserved.add(owner)
        try:
            bound.listeners[point] = self._listen(point, bound.picker)
        except OSError as wrong:
            bound.failed[point] = wrong.errno or errno.EIO
            return
        self._owners[point] = frontend
        self._carrying.hops.listeners.add((KINDS[point.protocol], (point.text, point.port)))

    def _listen(self, point: Point, picker: Picker) -> TcpListener | UdpListener:
        if len(self._owners) >= self._carrying.limits.most_listeners:
            raise OSError(errno.EMFILE, "")
        bound = bind(point)
        try:
            if point.protocol == TCP:
                return TcpListener(self._carrying, bound, point.text, picker)
            return UdpListener(self._carrying, self._flows, bound, point.text, picker)
        except BaseException:
            bound.close()
            raise

    def _close(self, point: Point, bound: Bound) -> None:
        bound.listeners.pop(point).close()
        del self._owners[point]
        self._carrying.hops.listeners.discard((KINDS[point.protocol], (point.text, point.port)))

    # What could not be bound

    def _retry(self) -> None:
        self._carrying.loop.later(RETRY_SECONDS, self._retry)
        if self._unserved:
            self._bind(list(self._unserved))

    def _say_what_is_not_bound(self) -> None:
        number = len(self._unserved)
        if not number:
            if self._said.is_new("") and self._bound:
                log.info("all frontends have their listeners")
            return
        first = min(self._unserved)
        line = f"{self._bound[first].picker.rule.service}: {self._why(first, {})}"
        if self._said.is_new(f"{number} {line}"):
            log.warning("frontends without a listener: %d of %d; %s", number, len(self._bound), line)

    def _why(self, frontend: Frontend, said: dict[tuple[int, int], str]) -> str:
        """Return the reasons of one; `said` keeps which program has a port, by protocol and port."""
        parts = []
        for point, code in self._bound[frontend].failed.items():
            protocol = "tcp" if point.protocol == TCP else "udp"
            key = (point.protocol, point.port)
            if code == errno.EADDRINUSE and key not in said:
                taken = self._owners.get(point)
                ours = self._bound[taken].picker.rule.service if taken else ""
                said[key] = ours or (program_at(protocol, point.port) if len(said) < _MOST_OWNERS else "")
            why = reason(code, point, self._host.ranges, said.get(key, ""))
            parts.append(f"{protocol} port {point.port} of {point.text}: {why}")
        return "; ".join(parts)
