"""What goes where: Services, EndpointSlices and the place of this proxy in, changed rules out.

    traffic.put_service(...), traffic.put_slice(...)      as events say
    traffic.changes()                                     what engines are to do differently

Rules:

* nothing is computed until `changes` is called, and then only for Services that something was said about: a
  slice touches its Service, and no other;
* a Service is computed as a whole, from slices that were packed when they came: the largest, with 5,000
  endpoints in 50 slices, takes some milliseconds;
* what two Services claim belongs to the older one (`claims`); the other one has a problem;
* the same objects make the same rules, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address

from .claims import Claims
from .service_frontends import NOTHING, Here, Network, Problem, frontends_of
from .traffic_objects import Service, Slice
from .traffic_plan import NODE, SCTP, TCP, UDP, Changes, Frontend, HealthCheck, Rule
from .usable_endpoints import PackedSlice, Place, packed, version_of

_PROTOCOL_NAMES = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}


class Traffic:
    """The state of the objects, and the rules that follow from it."""

    def __init__(self, here: Here | None = None) -> None:
        """There is nothing yet."""
        self.here = here or Here()
        self.services: dict[str, Service] = {}
        """By NAMESPACE/NAME."""
        self.problems: dict[str, tuple[Problem, ...]] = {}
        """By Service, as of the last `changes`; without an entry: none."""
        self.problem_changes = 0
        """How often they have become different."""
        self._slices: dict[str, PackedSlice] = {}
        self._of_service: dict[str, dict[str, PackedSlice]] = {}
        self._rules: Claims[Frontend, Rule] = Claims()
        self._health_checks: Claims[int, HealthCheck] = Claims()
        self._own_problems: dict[str, tuple[Problem, ...]] = {}
        self._dirty: dict[str, None] = {}

    # What objects there are

    def put_service(self, service: Service) -> None:
        """Take a Service as it is now."""
        key = service.metadata.key
        known = self.services.get(key)
        if known is None or _differs(version_of(known.metadata), version_of(service.metadata)):
            self.services[key] = service
            self._dirty[key] = None

    def drop_service(self, key: str) -> None:
        """Forget a Service."""
        if self.services.pop(key, None) is not None:
            self._dirty[key] = None

    def put_slice(self, one: Slice) -> None:
        """Take an EndpointSlice as it is now."""
        key = one.metadata.key
        known = self._slices.get(key)
        if known is not None and not _differs(known.version, version_of(one.metadata)):
            return
        now = packed(one)
        if known is not None and known.service != now.service:
            self._take_from(known.service, key)
        self._slices[key] = now
        if now.service:
            self._of_service.setdefault(now.service, {})[key] = now
            self._dirty[now.service] = None

    def drop_slice(self, key: str) -> None:
        """Forget an EndpointSlice."""
        if (known := self._slices.pop(key, None)) is not None:
            self._take_from(known.service, key)

    def keep_services(self, keys: Iterable[str]) -> None:
        """Forget all Services but these: what a list did not show is gone."""
        for key in self.services.keys() - set(keys):
            self.drop_service(key)

    def keep_slices(self, keys: Iterable[str]) -> None:
        """Forget all EndpointSlices but these."""
        for key in self._slices.keys() - set(keys):
            self.drop_slice(key)

    def be_at(self, place: Place) -> None:
        """Take where this proxy is; all is computed anew where that has changed."""
        self._know(replace(self.here, place=place))

    def cluster_networks_are(self, networks: Iterable[Network]) -> None:
        """Take where cluster IPs come from; all is computed anew where that has changed."""
        self._know(replace(self.here, cluster_networks=tuple(networks)))

    def _know(self, here: Here) -> None:
        if here != self.here:
            self.here = here
            self._dirty.update(dict.fromkeys(self.services))

    # What follows

    def changes(self) -> Changes:
        """Return what has become different since the last call."""
        dirty, self._dirty = self._dirty, {}
        touched = dict(dirty)
        for key in dirty:
            touched.update(dict.fromkeys(self._compute(key)))
        for key in touched:
            self._set_problems(key)
        return Changes(self._rules.changed(), self._health_checks.changed())

    def rules(self) -> Mapping[Frontend, Rule]:
        """Return all rules, as of the last `changes`."""
        return self._rules.all()

    def health_checks(self) -> Mapping[int, HealthCheck]:
        """Return all health checks by port, as of the last `changes`."""
        return self._health_checks.all()

    def _compute(self, key: str) -> set[str]:
        """Compute a Service; return which others that concerns."""
        service = self.services.get(key)
        if service is None:
            found, age = NOTHING, ""
        else:
            found = frontends_of(service, self._of_service.get(key, {}).values(), self.here)
            age = service.metadata.creation_timestamp or ""
        if found.problems:
            self._own_problems[key] = found.problems
        else:
            self._own_problems.pop(key, None)
        return self._rules.claim(key, age, found.rules) | self._health_checks.claim(
            key, age, found.health_checks
        )

    def _set_problems(self, key: str) -> None:
        taken = [
            Problem("AddressTaken", f"{frontend_text(frontend)} belongs to the older Service {holder}")
            for frontend, holder in self._rules.not_had(key)
        ]
        taken += [
            Problem("AddressTaken", f"healthCheckNodePort {port} belongs to the older Service {holder}")
            for port, holder in self._health_checks.not_had(key)
        ]
        problems = (*self._own_problems.get(key, ()), *taken)
        if problems == self.problems.get(key, ()):
            return
        self.problem_changes += 1
        if problems:
            self.problems[key] = problems
        else:
            del self.problems[key]

    def _take_from(self, service: str, key: str) -> None:
        if service:
            left = self._of_service[service]
            del left[key]
            if not left:
                del self._of_service[service]
            self._dirty[service] = None


def _differs(known: str, now: str) -> bool:
    return not now or known != now


def frontend_text(frontend: Frontend) -> str:
    """Return a frontend for people: "TCP 10.96.0.1:80", "UDP node port 30053 (IPv6)"."""
    protocol = _PROTOCOL_NAMES.get(frontend.protocol, str(frontend.protocol))
    if frontend.address == NODE:
        return f"{protocol} node port {frontend.port} (IPv{frontend.family})"
    address = str(ip_address(frontend.address))
    host = f"[{address}]" if frontend.family == 6 else address
    return f"{protocol} {host}:{frontend.port}"
