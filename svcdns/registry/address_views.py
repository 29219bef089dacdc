"""ServiceCIDR and IPAddress: views of the configured ranges, and of the cluster IPs that are given out.

Nothing of them is stored: they are made when somebody asks, and an IPAddress comes and goes with the changes
of its Service. So clients of networking.k8s.io/v1 (kube-proxy, say) see what there is, and change nothing.
https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/
https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol
from uuid import UUID

from svcdns.cluster.allocation import Network
from svcdns.objects.errors import StatusError, bad_request, not_found
from svcdns.objects.kinds import IPADDRESS, NAMESPACE, SERVICE, SERVICECIDR, Kind
from svcdns.objects.service_addresses import cluster_ips, family_of
from svcdns.store import log
from svcdns.store.environment import Store

from . import reading
from .facts import packed
from .requests import Event, Page, Selection
from .transaction import Object, decode, encode, read_revision
from .uids import derived_uid

SOURCES = (SERVICE,)
"""Whose changes may change a view."""
FIRST = "kubernetes"
"""Name of the ServiceCIDR of the first range of each family."""
_READY = "Kubernetes Service CIDR is ready"
_LABEL = "ipaddress.kubernetes.io/"


class View(Protocol):
    """What a kind shows that is made of others."""

    @property
    def oldest(self) -> int:
        """A watch from an earlier revision is refused with 410."""

    def get(self, name: str) -> bytes:
        """Return an object as JSON.  Raises StatusError 404."""

    def page(self, selection: Selection, continue_: str = "") -> Page:
        """Return all objects, however few were asked for.  Raises StatusError 400 for any token."""

    def changes(self, entries: Iterable[tuple[int, log.Entry]], selection: Selection) -> Iterator[Event]:
        """Yield the events that follow from log entries of the sources."""


def views(store: Store, ranges: Sequence[Network], since: int) -> dict[Kind, View]:
    """Return the views by kind; `since` is the revision at which this configuration came into force."""
    return {
        SERVICECIDR: ServiceCIDRs(store, tuple(ranges), since),
        IPADDRESS: IPAddresses(store),
    }


def _uid(of: str, name: str) -> str:
    """Return a uid that is the same each time it is asked for."""
    return derived_uid(UUID(of), name)


def _page(objects: Iterable[Object], revision: int, selection: Selection, continue_: str) -> Page:
    if continue_:
        raise bad_request("continue: not a token that this server has given out")
    return Page([encode(obj) for obj in objects if selection.matches(obj)], revision)


@dataclass(frozen=True, slots=True)
class ServiceCIDRs:
    """The configured ranges: as in Kubernetes one of each family in an object.

    They change with the configuration, that is between two runs of a server, which no log tells: whoever
    watched before has to list again.
    """

    store: Store
    ranges: tuple[Network, ...]
    oldest: int

    def get(self, name: str) -> bytes:
        """Return a ServiceCIDR as JSON."""
        for obj in self._objects():
            if obj["metadata"]["name"] == name:
                return encode(obj)
        raise not_found(SERVICECIDR.plural, name, SERVICECIDR.group)

    def page(self, selection: Selection, continue_: str = "") -> Page:
        """Return all ServiceCIDRs."""
        with self.store.read() as txn:
            revision = read_revision(txn, self.store.tables)
        return _page(self._objects(), revision, selection, continue_)

    def changes(self, entries: Iterable[tuple[int, log.Entry]], selection: Selection) -> Iterator[Event]:
        """Nothing changes while a server runs."""
        yield from ()

    def _objects(self) -> Iterator[Object]:
        born = decode(reading.get(self.store, NAMESPACE, "", "default"))["metadata"]
        for number, cidrs in enumerate(self._groups(), 1):
            name = FIRST if number == 1 else f"{FIRST}-{number}"
            yield _service_cidr(name, cidrs, born, max(self.oldest, 1))

    def _groups(self) -> Iterator[list[str]]:
        """Yield the ranges in groups that have at most one of each family."""
        left = list(self.ranges)
        while left:
            group: dict[int, Network] = {}
            for network in left:
                group.setdefault(network.version, network)
            left = [network for network in left if network is not group[network.version]]
            yield [str(network) for network in group.values()]


def _service_cidr(name: str, cidrs: list[str], born: Object, revision: int) -> Object:
    ready = {"type": "Ready", "status": "True", "reason": "", "message": _READY}
    return {
        "apiVersion": SERVICECIDR.api_version,
        "kind": SERVICECIDR.name,
        "metadata": {
            "name": name,
            "uid": _uid(born["uid"], name),
            "resourceVersion": str(revision),
            "creationTimestamp": born["creationTimestamp"],
        },
        "spec": {"cidrs": cidrs},
        "status": {"conditions": [{**ready, "lastTransitionTime": born["creationTimestamp"]}]},
    }


@dataclass(frozen=True, slots=True)
class IPAddresses:
    """The cluster IPs of Services, one object each, called as the address."""

    store: Store
    oldest: int = 0

    def get(self, name: str) -> bytes:
        """Return an IPAddress as JSON."""
        for obj in self._of_name(name):
            return encode(obj)
        raise not_found(IPADDRESS.plural, name, IPADDRESS.group)

    def page(self, selection: Selection, continue_: str = "") -> Page:
        """Return all IPAddresses that are selected; a name, as clients wait for one, is looked up."""
        name = None if selection.fields is None else selection.fields.exact("metadata.name")
        if name is not None:
            with self.store.read() as txn:
                revision = read_revision(txn, self.store.tables)
            return _page(self._of_name(name), revision, selection, continue_)
        services = reading.read_all(self.store, SERVICE)
        found = (obj for octets in services.items for obj in _of_service(decode(octets)))
        return _page(found, services.revision, selection, continue_)

    def changes(self, entries: Iterable[tuple[int, log.Entry]], selection: Selection) -> Iterator[Event]:
        """Yield what Services were given, and gave back."""
        for revision, entry in entries:
            service = decode(entry.object())
            before = set() if entry.before is None else set(_addresses(decode(entry.before)))
            now = set() if entry.type == "DELETED" else set(_addresses(service))
            for type_, changed in (("DELETED", before - now), ("ADDED", now - before)):
                for address in sorted(changed):
                    obj = _ip_address(address, service, revision)
                    if selection.matches(obj):
                        yield Event(type_, encode(obj), revision)

    def _of_name(self, name: str) -> Iterator[Object]:
        """Yield the IPAddress of this name, if there is one."""
        try:
            address = ip_address(name)
        except ValueError:
            return
        with self.store.read() as txn:
            owner = txn.get(b"ip" + packed(address), db=self.store.tables.allocations)
        if owner is None:
            return
        holder = bytes(owner).decode().split("\0")
        try:
            service = decode(reading.get(self.store, SERVICE, holder[0], holder[1]))
        except StatusError:
            return  # it went meanwhile
        yield from (obj for obj in _of_service(service) if obj["metadata"]["name"] == name)


def _addresses(service: Object) -> list[str]:
    return cluster_ips(service.get("spec") or {})


def _of_service(service: Object) -> Iterator[Object]:
    revision = int(service["metadata"]["resourceVersion"])
    for address in _addresses(service):
        yield _ip_address(address, service, revision)


def _ip_address(address: str, service: Object, revision: int) -> Object:
    of = service["metadata"]
    return {
        "apiVersion": IPADDRESS.api_version,
        "kind": IPADDRESS.name,
        "metadata": {
            "name": address,
            "uid": _uid(of["uid"], address),
            "resourceVersion": str(revision),
            "creationTimestamp": of["creationTimestamp"],
            "labels": {
                f"{_LABEL}ip-family": family_of(address),
                f"{_LABEL}managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {
            "parentRef": {
                "group": SERVICE.group,
                "resource": SERVICE.plural,
                "namespace": of["namespace"],
                "name": of["name"],
            }
        },
    }
