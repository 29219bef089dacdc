"""What the API says, brought into the traffic: the kinds that are followed, each by a task of its own.

Rules:

* a list is a state: what it doesn't show is gone, but only once it is whole;
* all objects of a kind come here, those that are not for us too: so it is known up to which revision the
  traffic follows, whatever was written last;
* the traffic is as complete as it was, whatever becomes of the API;
* an object that can't be read is logged, and what was known of it stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Raw, Struct

from svcdns.client import AsyncClient
from svcdns.client.following import Changed, Listed, Lost, Page, Step, follow
from svcdns.cluster.traffic import Traffic
from svcdns.cluster.traffic_objects import (
    Lease,
    Metadata,
    Node,
    Service,
    ServiceCidr,
    Slice,
    Unreadable,
    decoded,
)
from svcdns.config.sections import Network
from svcdns.objects.kinds import ENDPOINTSLICE, LEASE, NODE, SERVICE, SERVICECIDR, Kind
from svcdns.system.log_on_change import LogOnChange

from .members import NAMESPACE, Members

_MOST_UNREADABLE_SAID = 100
_NOT_FOR_US = (403, 404)

log = logging.getLogger(__name__)

_T = TypeVar("_T", bound=Struct)


class _Named(Struct):
    metadata: Metadata


@dataclass(slots=True)
class Followed(Generic[_T]):
    """One kind: how its objects are taken, and how it stands with the API."""

    kind: Kind
    decode_as: type[_T]
    put: Callable[[_T], None]
    drop: Callable[[str], None]
    keep: Callable[[Sequence[str]], None]
    name: str = ""
    is_listed: bool = False
    """Whether all of it has been seen at least once."""
    is_connected: bool = False
    revision: str = ""
    """As of which its state is."""
    why_lost: str = ""
    is_refused: bool = False
    """Whether the API has no such kind, or none for us."""
    _seen: list[str] = field(default_factory=list)
    _unreadable: int = 0

    def take(self, step: Step) -> None:
        """Take a step of following it."""
        match step:
            case Page(items, is_first):
                if is_first:
                    self._seen = []
                for item in items:
                    self._take_one("ADDED", item)
            case Listed(revision):
                self.keep(self._seen)
                self._seen, self.revision = [], revision
                self.is_listed = self.is_connected = True
                self.why_lost = ""
            case Changed(events, revision):
                for kind, item in events:
                    self._take_one(kind, item)
                self._seen = []
                self.revision = revision or self.revision
            case Lost(why, status):
                self.is_connected, self.why_lost = False, why
                self.is_refused = status in _NOT_FOR_US

    def _take_one(self, event: str, item: Raw) -> None:
        try:
            key = decoded(_Named, item).metadata.key
            if event == "DELETED":
                self.drop(key)
            else:
                self._seen.append(key)
                self.put(decoded(self.decode_as, item))
        except Unreadable as wrong:
            self._unreadable += 1
            if self._unreadable <= _MOST_UNREADABLE_SAID:
                log.warning("an object of the API can't be read, and what was known of it stays: %s", wrong)


class Learned(Protocol):
    """Who is told what the API says of this node, and of the cluster."""

    def zone_is(self, zone: str) -> None:
        """Take the zone of this node, "" for none."""

    def ranges_are(self, ranges: Sequence[Network]) -> None:
        """Take the networks that cluster IPs come from."""


def _followed_node(name: str, zone_is: Callable[[str], None]) -> Followed[Node]:
    def keep(keys: Sequence[str]) -> None:
        if not keys:
            zone_is("")

    return Followed(NODE, Node, lambda found: zone_is(found.zone), lambda key: zone_is(""), keep, name=name)


def _followed_ranges(ranges_are: Callable[[Sequence[Network]], None]) -> Followed[ServiceCidr]:
    """Ranges may be more than one object, but only change where the server was started anew: by lists."""
    known: dict[str, ServiceCidr] = {}

    def put(found: ServiceCidr) -> None:
        known[found.metadata.key] = found

    def keep(keys: Sequence[str]) -> None:
        for key in known.keys() - set(keys):
            del known[key]
        texts = [text for _, one in sorted(known.items()) for text in one.spec.cidrs or ()]
        ranges_are([ip_network(text, strict=False) for text in texts if _is_network(text)])

    return Followed(SERVICECIDR, ServiceCidr, put, lambda key: None, keep)


def _followed_leases(members: Members) -> Followed[Lease]:
    return Followed(LEASE, Lease, members.put, members.drop, members.keep)


def _is_network(text: str) -> bool:
    try:
        return bool(ip_network(text, strict=False))
    except ValueError:
        return False


class ApiState:
    """Follows Services, EndpointSlices, ServiceCIDRs, Leases of nodes and the Node of this proxy."""

    def __init__(
        self,
        client: AsyncClient,
        traffic: Traffic,
        node: str,
        changed: Callable[[], None],
        learned: Learned,
        members: Members | None = None,
    ) -> None:
        """Nothing is asked yet.  `changed` is called after each step.  Without `members` no Leases."""
        self._client = client
        self._changed = changed
        self._connected = LogOnChange(True)
        self.services = Followed(
            SERVICE, Service, traffic.put_service, traffic.drop_service, traffic.keep_services
        )
        self.slices = Followed(
            ENDPOINTSLICE, Slice, traffic.put_slice, traffic.drop_slice, traffic.keep_slices
        )
        self.node = _followed_node(node, learned.zone_is)
        self.ranges = _followed_ranges(learned.ranges_are)
        self.leases = _followed_leases(members) if members is not None else None
        self.leases_changed: Callable[[], None] = lambda: None

    @property
    def is_listed(self) -> bool:
        """Whether all that rules follow from has been seen: where the node is may come later."""
        ranges_known = self.ranges.is_listed or self.ranges.is_refused
        return ranges_known and self.services.is_listed and self.slices.is_listed

    @property
    def is_connected(self) -> bool:
        """Whether changes would be heard of."""
        return self.services.is_connected and self.slices.is_connected

    @property
    def why_lost(self) -> str:
        """Why they would not be; "" where all is well."""
        return self.services.why_lost or self.slices.why_lost

    def revisions(self) -> dict[str, int]:
        """Return up to which revision each kind that traffic follows from is known, by its plural."""
        followed: tuple[Followed[Any], ...] = (self.services, self.slices)
        return {one.kind.plural: int(one.revision) if one.revision.isdecimal() else 0 for one in followed}

    @property
    def revision(self) -> int:
        """The newest revision that was heard of, 0 for none."""
        return max(self.revisions().values())

    async def run(self) -> None:
        """Follow all of them until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            every: tuple[Followed[Any], ...] = (self.ranges, self.services, self.slices, self.node)
            for followed in every:
                tasks.create_task(self._follow(followed))
            if self.leases is not None:
                tasks.create_task(self._follow_leases(self.leases))

    async def _follow(self, followed: Followed[Any]) -> None:
        async for step in follow(self._client, followed.kind, name=followed.name):
            followed.take(step)
            self._say_connected()
            self._changed()

    async def _follow_leases(self, leases: Followed[Lease]) -> None:
        """Follow them apart from the rest: no traffic depends on them, and they change all the time."""
        async for step in follow(self._client, leases.kind, namespace=NAMESPACE):
            leases.take(step)
            self.leases_changed()

    def _say_connected(self) -> None:
        if self._connected.is_new(self.is_connected or not self.why_lost):
            if self.why_lost:
                text = "the last state stays" if self.is_listed else "nothing is known of Services yet"
                log.warning("the API is not followed: %s; %s", self.why_lost, text)
            else:
                log.info("the API at %s is followed again", self._client.connection.url)
