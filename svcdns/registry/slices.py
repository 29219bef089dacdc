"""Generated EndpointSlices: what follows from Services and Pods, kept as objects that clients can see.

A Pod stays in its slice while others come and go; endpoints of one slice share family and ports; a
slice holds at most 100.  A Service that has no endpoint of a family has an empty slice of it, without ports,
which the next endpoint takes.  Names and uids follow from the Service and the time of the write that made
them, so every replica that applies it makes the same.

    members   namespace, service, pod, family -> slice name
    slices    namespace, service, slice -> SliceRow (mirrored ones and a user's own too)
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any
from uuid import UUID

from svcdns.cluster import endpoints as rules
from svcdns.cluster import event_messages, ready_last
from svcdns.objects.kinds import ENDPOINTSLICE, POD, SERVICE
from svcdns.store.rows import pair_key
from svcdns.store.service_backing import SliceRow, decode_slice_row, encode_slice_row

from . import facts, label_index
from .transaction import Object, WriteTransaction, joined, object_key, present, scan, scan_keys
from .uids import derived_uid

MIRRORED = "mirrored"
"""What stands as the group of a slice that mirrors Endpoints."""

_SLICE_UIDS = UUID("6f0a4d5e-3f0c-4d84-9f5b-0f1d5bb7c1a2")


def count_of(row: bytes) -> int:
    """Return how many endpoints a slice has, by its row in `slices`."""
    return decode_slice_row(row).count


def service_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Update the generated slices of a Service that was written or deleted."""
    metadata = present(old, new)["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    before, after = label_index.service_changed(write, namespace, name, old, new)
    same_shape = old is not None and new is not None and _shape(old) == _shape(new)
    if same_shape and (not after or rules.slice_labels(old or {}) == rules.slice_labels(new or {})):
        return
    if not before and not after:
        return
    editor = SliceEditor(write, present(old, new), keeps=bool(after))
    editor.load_all()
    if not same_shape:
        for pod_name in editor.members() if old is not None else ():
            editor.place(pod_name, write.load(POD, namespace, pod_name) if after else None)
        for pair in after:  # the Pods under one pair of the selector; `endpoint_of` checks the others
            for key in list(scan_keys(write.txn, write.tables.labels, pair_key(namespace, pair))):
                editor.place(_last(key), write.load(POD, namespace, _last(key)))
    editor.flush(present(old, new)["spec"].get("ipFamilies") or [])


def pod_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Update the slices of all Services that select a Pod, or selected it before."""
    metadata = present(old, new)["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    before, after = label_index.pod_changed(write, namespace, name, old, new)
    services = {
        _last(key)
        for pair in before | after
        for key in scan_keys(write.txn, write.tables.selectors, pair_key(namespace, pair))
    }
    for service_name in sorted(services):
        service = write.load(SERVICE, namespace, service_name)
        if service is None or not any(p is not None and rules.selects(service, p) for p in (old, new)):
            continue
        editor = SliceEditor(write, service)
        editor.place(name, new)
        editor.flush()


def slice_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Index a slice (generated or a user's own) under its Service, and update the facts of its endpoints."""
    if key := _index_key(old):
        write.txn.delete(key, db=write.tables.slices)
    if new is not None and (key := _index_key(new)):
        row = SliceRow(_index_group(new), len(new.get("endpoints") or []))
        write.txn.put(key, encode_slice_row(row), db=write.tables.slices)
    facts.slice_changed(write, old, new)


def own_slice_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Keep nobody as ready last where a user's own slice has a ready endpoint now."""
    if (
        new is None
        or not rules.has_ready(new)
        or (rules.has_ready(old) and _index_key(old) == _index_key(new))
    ):
        return
    metadata = new["metadata"]
    name = (metadata.get("labels") or {}).get(rules.SERVICE_NAME_LABEL)
    service = write.load(SERVICE, metadata["namespace"], name) if name else None
    if service is not None and rules.selector_of(service) and ready_last.keeps_last(service):
        editor = SliceEditor(write, service)
        editor.load_all()
        editor.flush()


def _index_key(endpoint_slice: Object | None) -> bytes:
    """Return the key of a slice in `slices`, b"" where it is of no Service."""
    metadata = endpoint_slice["metadata"] if endpoint_slice is not None else {}
    service = (metadata.get("labels") or {}).get(rules.SERVICE_NAME_LABEL)
    return joined(metadata["namespace"], service, metadata["name"]) if service else b""


def _index_group(endpoint_slice: Object) -> str:
    if rules.is_mirrored(endpoint_slice):
        return MIRRORED
    return _group(endpoint_slice) if rules.is_generated(endpoint_slice) else ""


def names_of(write: WriteTransaction, namespace: str, service: str, *, mirrored: bool) -> list[str]:
    """Return the names of a Service's slices that mirror Endpoints, or of those of its Pods."""
    rows = scan(write.txn, write.tables.slices, joined(namespace, service))
    groups = ((_last(key), decode_slice_row(value).group) for key, value in rows)
    return [name for name, group in groups if group and (group == MIRRORED) is mirrored]


def make_slice(
    write: WriteTransaction,
    owner: Object,
    labels: dict[str, str],
    family: str,
    ports: list[Object],
    taken: Iterable[str] = (),
) -> Object:
    """Return a slice that is new, empty and not saved; `owner` is a Service or Endpoints.

    Its name is neither in use nor among those that are `taken`.
    """
    metadata = owner["metadata"]
    uid, group = metadata["uid"], rules.slice_group(family, ports)
    for ordinal in count():
        name = f"{metadata['name']}-{rules.digest(uid, group, str(ordinal))[:5]}"
        key = object_key(ENDPOINTSLICE, metadata["namespace"], name)
        if name not in taken and write.txn.get(key, db=write.tables.objects) is None:
            break
    made = rules.new_slice(owner, name, labels, family, ports)
    made["metadata"]["uid"] = derived_uid(_SLICE_UIDS, f"{uid}/{name}/{write.now}")
    made["metadata"]["creationTimestamp"] = write.now
    return made


def _group(endpoint_slice: Object) -> str:
    """Return the group of slices that a generated one belongs to: those of its family and ports."""
    return rules.slice_group(endpoint_slice["addressType"], endpoint_slice.get("ports") or [])


class SliceEditor:
    """The generated slices of one Service during one write: loaded when needed, each saved once."""

    def __init__(self, write: WriteTransaction, service: Object, *, keeps: bool = True) -> None:
        """`service` as the slices are to follow it; `keeps`: it goes on to have endpoints by its selector."""
        self.write = write
        self.service = service
        self.namespace = service["metadata"]["namespace"]
        self.name = service["metadata"]["name"]
        self._keeps = keeps
        self._labels = rules.slice_labels(service)
        self._knows_all = False
        self._holding: set[str] = set()
        """Empty slices that stay, as there is no other of their family."""
        self._before: dict[str, Object | None] = {}
        self._now: dict[str, Object] = {}
        self._positions: dict[str, dict[str, int]] = {}
        self._open: dict[str, set[str]] | None = None

    def members(self) -> list[str]:
        """Return the names of all Pods that stand in a generated slice."""
        prefix = joined(self.namespace, self.name)
        keys = scan_keys(self.write.txn, self.write.tables.members, prefix)
        return list(dict.fromkeys(key.split(b"\0")[2].decode() for key in keys))

    def place(self, pod_name: str, pod: Object | None) -> None:
        """Put a Pod's endpoints where they belong; None takes it out."""
        families = self.service["spec"].get("ipFamilies") or []
        for family in ("IPv4", "IPv6"):
            endpoint, ports = None, []
            if pod is not None and family in families:
                endpoint = rules.endpoint_of(self.service, pod, family)
                ports = rules.ports_of(self.service, pod) if endpoint is not None else []
            before, moved = self._place(pod_name, family, endpoint, ports)
            if before is not None and ready_last.keeps_last(self.service):
                before = ready_last.as_it_is(self.service, before)
            if self._keeps and before != endpoint:
                self.write.messages += event_messages.endpoint_messages(
                    self.service, pod_name, pod, before, endpoint
                )
            if moved and pod is not None and len(ports) < len(self.service["spec"].get("ports") or []):
                self.write.messages += event_messages.missing_port_messages(self.service, pod)

    def _place(
        self, pod_name: str, family: str, endpoint: Object | None, ports: list[Object]
    ) -> tuple[Object | None, bool]:
        """Put one endpoint where it belongs; return what was there before, and whether it came to a slice."""
        member = joined(self.namespace, self.name, pod_name, family)
        stored = self.write.txn.get(member, db=self.write.tables.members)
        current = bytes(stored).decode() if stored is not None else None
        group = rules.slice_group(family, ports) if endpoint is not None else ""
        before = None
        if current is not None:
            held = self._load(current)
            at = self._positions[current][pod_name]
            before = held["endpoints"][at]
            if _group(held) == group:
                held["endpoints"][at] = endpoint
                return before, False
            self._take_out(current, pod_name)
            self.write.txn.delete(member, db=self.write.tables.members)
        if endpoint is not None:
            chosen = self._with_room(family, ports, group)
            self._positions[chosen][pod_name] = len(self._now[chosen]["endpoints"])
            self._now[chosen]["endpoints"].append(endpoint)
            self.write.txn.put(member, chosen.encode(), db=self.write.tables.members)
        return before, endpoint is not None

    def load_all(self) -> None:
        """Load every slice, so that `flush` looks at its labels and at what it is still needed for."""
        for name in self._names():
            self._load(name)
        self._knows_all = True

    def flush(self, families: Iterable[str] = ()) -> None:
        """Save every slice that changed, delete those that are empty and not the only one of a family.

        `families` are those that may have no slice yet.
        """
        if self._keeps and ready_last.keeps_last(self.service):
            self._keep_last()
        emptied = {now["addressType"] for now in self._now.values() if not now["endpoints"]}
        if self._keeps:
            for family in self.service["spec"].get("ipFamilies") or []:
                if family in emptied or family in families:
                    self._hold_place(family)
        for name, now in self._now.items():
            before = self._before[name]
            if now["endpoints"] or name in self._holding:
                if before != now:
                    self.write.save(ENDPOINTSLICE, before, now)
                    slice_changed(self.write, before, now)
            elif before is not None:
                self.write.remove(ENDPOINTSLICE, before)
                slice_changed(self.write, before, None)

    def _keep_last(self) -> None:
        """Keep the Pods that were ready last if none is ready any more, and nobody if one is."""
        before = [one for held in self._before.values() if held for one in held["endpoints"]]
        had_ready, has_ready = any(map(ready_last.is_ready, before)), self._has_ready()
        if has_ready if had_ready else not (has_ready or any(map(ready_last.is_kept, before))):
            return  # as it was: one is ready, or nobody is and nobody was kept
        if has_ready:
            self.load_all()
        none = not has_ready and not self._has_ready_elsewhere()
        last = ready_last.answered(before) if none else set()
        for now in self._now.values():
            now["endpoints"] = ready_last.kept(self.service, now["endpoints"], last)
        stay = [one for now in self._now.values() for one in now["endpoints"] if ready_last.is_kept(one)]
        if had_ready and stay:
            names = dict.fromkeys(one["targetRef"]["name"] for one in stay)
            self.write.messages.append(event_messages.last_are_kept(self.service, list(names)))

    def _has_ready(self) -> bool:
        return any(ready_last.is_ready(one) for now in self._now.values() for one in now["endpoints"])

    def _has_ready_elsewhere(self) -> bool:
        """Whether a slice that this write has not looked at has a ready endpoint, a user's own too."""
        keys = scan_keys(self.write.txn, self.write.tables.slices, joined(self.namespace, self.name))
        names = (name for key in keys if (name := _last(key)) not in self._now)
        return any(rules.has_ready(self.write.load(ENDPOINTSLICE, self.namespace, name)) for name in names)

    def _hold_place(self, family: str) -> None:
        """Leave an empty slice of a family that would have none, as Kubernetes does (a placeholder)."""
        mine = {name: now for name, now in self._now.items() if now["addressType"] == family}
        if any(now["endpoints"] for now in mine.values()) or self._has_another(family):
            return
        stored = (name for name in mine if self._before[name] is not None)
        name = next(stored, "") or self._make(family, [])
        self._now[name]["ports"] = []
        self._holding.add(name)

    def _has_another(self, family: str) -> bool:
        """Whether there is a slice of a family among those that this write has not looked at."""
        if self._knows_all:
            return False
        others = (name for name in self._names() if name not in self._now)
        found = (self.write.load(ENDPOINTSLICE, self.namespace, name) for name in others)
        return any(other is not None and other["addressType"] == family for other in found)

    def _names(self) -> list[str]:
        return names_of(self.write, self.namespace, self.name, mirrored=False)

    def _load(self, name: str) -> Object:
        if name not in self._now:
            before = self.write.load(ENDPOINTSLICE, self.namespace, name)
            assert before is not None, f"slice {name} is in the index and not among the objects"
            metadata = {**before["metadata"], "labels": self._labels}
            now = {**before, "metadata": metadata, "endpoints": list(before["endpoints"])}
            self._before[name], self._now[name] = before, now
            targets = (endpoint["targetRef"]["name"] for endpoint in now["endpoints"])
            self._positions[name] = {target: at for at, target in enumerate(targets)}
        return self._now[name]

    def _take_out(self, name: str, pod_name: str) -> None:
        """Remove a Pod's endpoint; the last one takes its place, so the others need not move."""
        held = self._now[name]
        self._candidates(_group(held)).add(name)
        endpoints, positions = held["endpoints"], self._positions[name]
        at = positions.pop(pod_name)
        last = endpoints.pop()
        if at < len(endpoints):
            endpoints[at] = last
            positions[last["targetRef"]["name"]] = at

    def _with_room(self, family: str, ports: list[Object], group: str) -> str:
        """Return the first slice of a group that has room, made if there is none."""
        candidates = self._candidates(group)
        for name in sorted(candidates):
            if len(self._load(name)["endpoints"]) < rules.MAX_ENDPOINTS:
                return name
            candidates.discard(name)
        name = self._take_empty(family, ports) or self._make(family, ports)
        candidates.add(name)
        return name

    def _take_empty(self, family: str, ports: list[Object]) -> str:
        """Give an empty slice of a family these ports; return its name, "" where there is none."""
        holders = self._candidates(rules.slice_group(family, []))
        name = next((name for name in sorted(holders) if not self._load(name)["endpoints"]), "")
        if name:
            holders.discard(name)
            self._now[name]["ports"] = ports
        return name

    def _candidates(self, group: str) -> set[str]:
        """Return the slices of a group that may have room; read from the index once."""
        if self._open is None:
            self._open = {}
            prefix = joined(self.namespace, self.name)
            for key, value in scan(self.write.txn, self.write.tables.slices, prefix):
                row = decode_slice_row(value)
                if row.group not in ("", MIRRORED) and row.count < rules.MAX_ENDPOINTS:
                    self._open.setdefault(row.group, set()).add(_last(key))
        return self._open.setdefault(group, set())

    def _make(self, family: str, ports: list[Object]) -> str:
        made = make_slice(self.write, self.service, self._labels, family, ports, self._now)
        name: str = made["metadata"]["name"]
        self._before[name], self._now[name], self._positions[name] = None, made, {}
        return name


def _shape(service: Object) -> tuple[Any, ...]:
    """Return what of a Service its generated slices follow from."""
    spec = service["spec"]
    ports = [
        (p.get("name"), p["port"], p.get("targetPort"), p.get("protocol"), p.get("appProtocol"))
        for p in spec.get("ports") or []
    ]
    published = rules.publishes_not_ready(service)
    same_node = rules.prefers_same_node(service)
    headless, keeps = spec.get("clusterIP") == "None", ready_last.keeps_last(service)
    return rules.selector_of(service), ports, spec.get("ipFamilies"), published, headless, same_node, keeps


def _last(key: bytes) -> str:
    return key[:-1].rpartition(b"\0")[2].decode()
