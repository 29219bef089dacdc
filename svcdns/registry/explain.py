"""Why a name answers what it answers: from which objects, and for an empty answer the reason.

One snapshot is read.  Names may be written as people write them: `web`, `web.shop`, `web.shop.svc`, the
whole name with the cluster domain or without, with `_port._proto` or an endpoint's label in front, an alias,
or the name of a Pod.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import lmdb

from svcdns.cluster import ready_last, reasons
from svcdns.cluster.endpoints import (
    WHEN_NONE_READY,
    answers_with_all,
    has_ready,
    is_generated,
    is_mirrored,
    selects,
)
from svcdns.cluster.event_messages import FIRST_OF_THEM
from svcdns.dns import aliases
from svcdns.dns.view import View, ZoneTable
from svcdns.names import packed
from svcdns.names.row_parts import is_part_of
from svcdns.objects import service_aliases
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, POD, SERVICE, Kind
from svcdns.objects.service_aliases import ALIASES_ANNOTATION, EXTERNAL_DNS_ANNOTATION
from svcdns.store.environment import Store
from svcdns.store.snapshot import Snapshot, read_serving
from svcdns.wire import codes, header
from svcdns.wire.key import key_of, key_of_wire, labels_of_key, text_of_key

from . import alias_claims
from .answer_tables import current_table
from .settings import Settings
from .transaction import Object, collection_prefix, decode, joined, object_key, scan, scan_keys

_MOST_ANSWERS, _MOST_KEPT = 100, 10


@dataclass(slots=True)
class Explanation:
    """What a name answers and why."""

    name: str
    """The domain name that was understood, absolute."""
    answers: list[str] = field(default_factory=list)
    """Addresses, or where a CNAME or PTR leads; the first hundred."""
    objects: list[str] = field(default_factory=list)
    """The objects that it follows from: "Service shop/web"."""
    reasons: list[str] = field(default_factory=list)
    """Why there is no answer, or why some Pods are not in it."""
    sources: list[str] = field(default_factory=list)
    """Of a Pod: what each source says of its readiness (svcdns.cluster.readiness)."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """One snapshot of the store."""

    store: Store
    settings: Settings
    txn: lmdb.Transaction

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        octets = self.txn.get(object_key(kind, namespace, name), db=self.store.tables.objects)
        return None if octets is None else decode(octets)

    def all(self, kind: Kind, namespace: str) -> Iterator[Object]:
        rows = scan(self.txn, self.store.tables.objects, collection_prefix(kind, namespace))
        return (decode(octets) for _, octets in rows)

    def with_labels(self, kind: Kind, namespace: str, service: Object) -> Iterator[Object]:
        """Yield the objects in which each word of a Service's selector stands; the others are not decoded."""
        selector = service["spec"].get("selector") or {}
        words = [word.encode() for pair in selector.items() for word in pair]
        rows = scan(self.txn, self.store.tables.objects, collection_prefix(kind, namespace))
        return (decode(octets) for _, octets in rows if words and all(word in octets for word in words))

    def names(self, kind: Kind, namespace: str = "") -> list[str]:
        keys = scan_keys(self.txn, self.store.tables.objects, collection_prefix(kind, namespace))
        return [key.decode().rpartition("\0")[2] for key in keys]

    def slices(self, namespace: str, service: str) -> list[Object]:
        prefix = joined(namespace, service)
        keys = scan_keys(self.txn, self.store.tables.slices, prefix)
        names = [key[len(prefix) : -1].decode() for key in keys]
        found = (self.get(ENDPOINTSLICE, namespace, name) for name in names)
        return [one for one in found if one is not None]

    def everywhere(self, kind: Kind, word: bytes) -> Iterator[Object]:
        """Yield the objects of a kind in which a word stands, of all namespaces."""
        rows = scan(self.txn, self.store.tables.objects, collection_prefix(kind))
        return (decode(octets) for _, octets in rows if word in octets)

    def alias(self, key: bytes) -> aliases.Match | None:
        """Return which alias has a name."""
        serving = read_serving(self.txn, self.store.tables)
        if serving is None:
            return None
        snapshot = Snapshot(self.txn, self.store, serving, current_table(self.store, self.txn))
        return aliases.match(View(snapshot, ZoneTable(serving)), key)

    def is_reverse(self, name: str) -> bool:
        """Return whether a name is in a reverse zone of the registry."""
        serving, key = read_serving(self.txn, self.store.tables), key_of(name)
        zones = serving.zones if serving is not None else ()
        return any(zone.kind == "reverse" and key.startswith(zone.key) for zone in zones)

    def answers(self, name: str) -> list[str]:
        """Return the addresses, the CNAME or the PTRs that a name answers with, in presentation format."""
        key, table = key_of(name), current_table(self.store, self.txn)
        row: Any = self.txn.get(key, db=table)
        rows = [row] if row is not None else []
        if row is not None and row[0] & packed.PARTS:
            rows = [part for stored, part in scan(self.txn, table, key + b"\0") if is_part_of(key, stored)]
        found = dict.fromkeys(text for one in rows for text in _texts(one))
        return sorted(found)[:_MOST_ANSWERS]


def _texts(row: bytes) -> Iterator[str]:
    for section in packed.sections(row):
        for rr in section.rrs():
            rdata = rr[header.POINTED_RR :]
            if section.type in (codes.A, codes.AAAA):
                yield str(ip_address(rdata))
            elif section.type in (codes.CNAME, codes.PTR):
                yield text_of_key(key_of_wire(rdata))


@dataclass(frozen=True, slots=True)
class _Place:
    """A name below `svc`, taken apart; `front` are the labels before the Service's own."""

    namespace: str
    service: str
    front: tuple[str, ...] = ()

    def name(self, domain: str) -> str:
        return ".".join((*self.front, self.service, self.namespace, "svc", domain))


def explain(store: Store, settings: Settings, text: str, namespace: str) -> Explanation:
    """Explain a name, or a Pod's name; `namespace` is where names are looked for that name none."""
    with store.read() as txn:
        reader = _Reader(store, settings, txn)
        words = text.strip().lower().rstrip(".").split(".")
        alias = _of_alias(reader, ".".join(words))
        if alias is not None:
            return alias
        if _may_be_alias(reader, ".".join(words)):
            return _elsewhere(reader, text)
        place = _place(reader, words, namespace)
        if place is None:
            return _elsewhere(reader, text)
        if len(words) == 1 and reader.get(SERVICE, namespace, words[0]) is None:
            pod = reader.get(POD, namespace, words[0])
            if pod is not None:
                return _of_pod(reader, pod)
        return _of_name(reader, place)


def _place(reader: _Reader, words: list[str], namespace: str) -> _Place | None:
    """Take a name apart as it may be meant; None: it is no name of a Service."""
    domain = reader.settings.names.domain.rstrip(".").split(".")
    is_whole = words[-len(domain) :] == domain
    words = words[: -len(domain)] if is_whole else words
    if words and words[-1] == "svc":
        words, is_whole = words[:-1], True
    if not words or words[-1] in ("pod", "dns"):
        return None
    known = is_whole or words[-1] in reader.names(NAMESPACE)
    if len(words) > 1 and known:
        return _Place(words[-1], words[-2], tuple(words[:-2]))
    if len(words) == 1 or reader.get(SERVICE, namespace, words[-1]) is not None or words[0][:1] == "_":
        return _Place(namespace, words[-1], tuple(words[:-1]))
    return None


def _of_alias(reader: _Reader, name: str) -> Explanation | None:
    """Explain a name that an alias has, None for all others."""
    if not _may_be_alias(reader, name) or (matched := reader.alias(key_of(name))) is None:
        return None
    labels = [label.decode() for label in labels_of_key(matched.target)]
    domain = reader.settings.names.domain.rstrip(".").split(".")
    *front, service, namespace, _ = labels[: -len(domain)]
    found = _of_name(reader, _Place(namespace, service, tuple(front)))
    found.name = name + "."
    alias = text_of_key(matched.alias).rstrip(".")
    found.objects.insert(0, f"alias {alias}")
    holder = f"{namespace}/{service}"
    for who in alias_claims.claimants(reader.txn, reader.store.tables, matched.alias):
        if (other := "/".join(who)) != holder:
            first = f"{holder} has it, {FIRST_OF_THEM}"
            found.reasons.append(f"Service {other} asks for the alias {alias} too; {first}")
    return found


def _may_be_alias(reader: _Reader, name: str) -> bool:
    return any(name.endswith("." + zone) for zone in reader.settings.config.dns.alias_zones)


def _not_taken(reader: _Reader, name: str) -> Iterator[str]:
    """Yield which Services ask for a name as an alias, and why none has it."""
    dns = reader.settings.config.dns
    words = [ALIASES_ANNOTATION, *([EXTERNAL_DNS_ANNOTATION] if dns.external_dns_annotation else [])]
    asking = {
        (service["metadata"]["namespace"], service["metadata"]["name"]): service
        for word in words
        for service in reader.everywhere(SERVICE, word.encode())
    }
    for who, service in asking.items():
        annotations = service_aliases.written(service, external_dns=dns.external_dns_annotation)
        if service_aliases.asks_for(annotations, name):
            asked = service_aliases.read(annotations, dns.alias_zones)
            about = [one.text for one in asked.remarks if one.value.lower().rstrip(".") == name]
            why = about[0] if about else "its namespace is not served, or it has too many aliases"
            yield f"Service {'/'.join(who)} asks for it as an alias: {why}"
    if _may_be_alias(reader, name):
        yield f"no Service has the alias {name}"


def _elsewhere(reader: _Reader, text: str) -> Explanation:
    name = text.strip().lower().rstrip(".") + "."
    found = Explanation(name, reader.answers(name))
    domain = reader.settings.names.domain
    if not name.endswith("." + domain) and not found.answers and not reader.is_reverse(name):
        found.reasons += _not_taken(reader, name.rstrip("."))
        found.reasons.append(f"{name} is not below {domain}: zone files and upstreams answer for it")
    return found


def _of_name(reader: _Reader, place: _Place) -> Explanation:
    name = place.name(reader.settings.names.domain)
    found = Explanation(name, reader.answers(name))
    namespaces = reader.names(NAMESPACE)
    if place.namespace not in namespaces:
        hint = reasons.did_you_mean(place.namespace, namespaces)
        found.reasons.append(f"namespace {place.namespace} is not there{hint}")
        return found
    service = reader.get(SERVICE, place.namespace, place.service)
    if service is None:
        found.reasons.append(_no_service(reader, place))
        return found
    found.objects.append(f"Service {place.namespace}/{place.service}")
    _say_endpoints(reader, place, service, found)
    if not found.answers and place.front:
        found.reasons.append(_no_such_front(reader, place, service))
    return found


def _no_service(reader: _Reader, place: _Place) -> str:
    text = f"namespace {place.namespace} has no Service {place.service}"
    elsewhere = [
        one for one in reader.names(NAMESPACE) if reader.get(SERVICE, one, place.service) is not None
    ]
    if elsewhere:
        there = elsewhere[0]
        return f"{text}; there is one in namespace {there}: {place.service}.{there}.svc"
    return text + reasons.did_you_mean(place.service, reader.names(SERVICE, place.namespace))


def _say_endpoints(reader: _Reader, place: _Place, service: Object, found: Explanation) -> None:
    """Add what stands behind a Service, and why not more."""
    if service["spec"].get("type") == "ExternalName":
        return
    slices = reader.slices(place.namespace, place.service)
    found.objects += [f"EndpointSlice {place.namespace}/{one['metadata']['name']}" for one in slices]
    if any(map(is_mirrored, slices)):
        found.objects.append(f"Endpoints {place.namespace}/{place.service}")
    own = [one for one in slices if is_mirrored(one) or not is_generated(one)]
    selected = [pod for pod in reader.with_labels(POD, place.namespace, service) if selects(service, pod)]
    found.reasons += reasons.of_service(service, selected, reader.all(POD, place.namespace), bool(own))
    if kept := ready_last.kept_pods(service, slices):
        names = ", ".join(kept[:_MOST_KEPT])
        text = f"no endpoint is ready: {names}, ready last, is answered on ({WHEN_NONE_READY}: last)"
        found.reasons.insert(0, text)
    if any(map(has_ready, slices)) or not found.answers:
        return
    if answers_with_all(service):
        found.reasons.insert(0, f"no endpoint is ready: all of them are answered ({WHEN_NONE_READY}: all)")
    elif service["spec"].get("clusterIP") != "None" and found.reasons:
        found.reasons.insert(0, "the cluster IP is answered, but no endpoint is ready behind it")


def _no_such_front(reader: _Reader, place: _Place, service: Object) -> str:
    """Return why there is no name in front of a Service's own."""
    if not place.front[0].startswith("_"):
        return f"Service {place.service} has no ready endpoint {place.front[-1]}"
    ports = [
        f"_{port['name']}._{port.get('protocol', 'TCP').lower()}"
        for port in service["spec"].get("ports") or []
        if port.get("name")
    ]
    known = f"named ports: {', '.join(ports)}" if ports else "none of its ports has a name"
    return f"Service {place.service} has no port {'.'.join(place.front)} ({known})"


def _of_pod(reader: _Reader, pod: Object) -> Explanation:
    """Explain a Pod: which Services it stands behind, and why it does not."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    found = Explanation(name, objects=[f"Pod {namespace}/{name}"])
    found.answers = [entry["ip"] for entry in (pod.get("status") or {}).get("podIPs") or []]
    found.sources = reasons.of_sources(pod)
    services = [one for one in reader.all(SERVICE, namespace) if selects(one, pod)]
    found.objects += [f"Service {namespace}/{one['metadata']['name']}" for one in services]
    if not services:
        labels = reasons.selector_text(pod["metadata"].get("labels") or {})
        found.reasons.append(f"no Service selects Pod {name}; its labels are {labels or 'none'}")
    if why := reasons.of_pod(pod):
        found.reasons.append(why)
    return found
