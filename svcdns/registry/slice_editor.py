"""The generated EndpointSlices of one Service during one write: loaded when needed, each saved once.

    place      a Pod's endpoints, where they belong (cluster.slice_tree); the indexes say where they stand
    place_all  the same of all Pods of a Service that has no slices yet, without looking at each place
    flush      what has grown too large is halved, what fits into one is united; changed slices are saved

Readiness changes a slice where it stands: the tree is looked at only when Pods come, go or move.

    members   namespace, service, pod, family -> slice name
    slices    namespace, service, slice -> SliceRow (mirrored ones and a user's own too)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from svcdns.cluster import endpoints as rules
from svcdns.cluster import event_messages, ready_last, slice_tree
from svcdns.objects.kinds import ENDPOINTSLICE
from svcdns.store.rows import last_of
from svcdns.store.service_backing import SliceRow, decode_slice_row
from svcdns.store.sorted_rows import put_sorted

from .slice_index import MIRRORED, make_slice, slice_changed
from .transaction import Object, WriteTransaction, joined, put_or_delete, scan, scan_keys


@dataclass(slots=True)
class _Slice:
    """A slice as it is to be."""

    group: str
    path: str
    stored: Object | None
    """As it stands in the store."""
    made: Object
    """The same, or as it was made; without its endpoints."""
    ports: list[Object]
    endpoints: dict[str, Object]
    """By the names of their Pods."""

    @property
    def family(self) -> str:
        return str(self.made["addressType"])

    @property
    def place(self) -> SliceRow:
        """Its row in the index."""
        return SliceRow(self.group, len(self.endpoints), self.path)

    def object(self, labels: dict[str, str]) -> Object:
        """Return it with these labels; endpoints are in the order of their Pods' names."""
        metadata = {**self.made["metadata"], "labels": labels}
        endpoints = [self.endpoints[name] for name in sorted(self.endpoints)]
        return {**self.made, "metadata": metadata, "endpoints": endpoints, "ports": self.ports}


class SliceEditor:
    """The generated slices of one Service; see the top of the file."""

    def __init__(self, write: WriteTransaction, service: Object, *, keeps: bool = True) -> None:
        """`service` as the slices are to follow it; `keeps`: it goes on to have endpoints by its selector."""
        self.write = write
        self.service = service
        self.namespace = service["metadata"]["namespace"]
        self.name = service["metadata"]["name"]
        self._keeps = keeps
        self._slices: dict[str, _Slice] = {}
        """Those that were loaded or made, by name."""
        self._members: dict[bytes, str] = {}
        """Rows of `members` that changed; "" takes one out."""
        self._index: dict[str, SliceRow] | None = None
        self._trees: dict[str, dict[str, str]] = {}
        """Names by path, for each group in which somebody came, left or moved."""

    def members(self) -> list[str]:
        """Return the names of all Pods that stand in a generated slice."""
        prefix = joined(self.namespace, self.name)
        keys = scan_keys(self.write.txn, self.write.tables.members, prefix)
        return list(dict.fromkeys(key.split(b"\0")[2].decode() for key in keys))

    def has_slices(self) -> bool:
        """Return whether there are generated slices, of Pods."""
        return bool(self._rows())

    def place_all(self, pods: Iterable[tuple[str, Object]]) -> None:
        """Put the endpoints of all Pods, given with their names; there are no slices yet."""
        families = self.service["spec"].get("ipFamilies") or []
        groups: dict[tuple[str, str], tuple[list[Object], dict[str, Object]]] = {}
        for pod_name, pod in pods:
            for family in families:
                endpoint = rules.endpoint_of(self.service, pod, family)
                if endpoint is not None:
                    ports = rules.ports_of(self.service, pod)
                    group = rules.slice_group(self.service, family, ports)
                    groups.setdefault((family, group), (ports, {}))[1][pod_name] = endpoint
                    self._tell(pod_name, pod, None, endpoint, ports)
        for (family, group), (ports, endpoints) in groups.items():
            is_one = len(endpoints) <= slice_tree.MOST
            leaves = {"": [*endpoints]} if is_one else slice_tree.leaves("", _hashes(endpoints))
            for path, names in leaves.items():
                made = self._make(group, family, ports, path)
                self._slices[made].endpoints = {name: endpoints[name] for name in names}
                self._members |= {joined(self.namespace, self.name, pod, family): made for pod in names}

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
            self._tell(pod_name, pod, before, endpoint, ports if moved else None)

    def _tell(
        self,
        pod_name: str,
        pod: Object | None,
        before: Object | None,
        endpoint: Object | None,
        ports: list[Object] | None,
    ) -> None:
        """Say what became of a Pod's endpoint; `ports` are those on which it came to a slice, if it did."""
        if not self.write.logs:
            return
        if self._keeps and before != endpoint:
            self.write.messages += event_messages.endpoint_messages(
                self.service, pod_name, pod, before, endpoint
            )
        wanted = self.service["spec"].get("ports") or []
        if ports is not None and pod is not None and len(ports) < len(wanted):
            self.write.messages += event_messages.missing_port_messages(self.service, pod)

    def _place(
        self, pod_name: str, family: str, endpoint: Object | None, ports: list[Object]
    ) -> tuple[Object | None, bool]:
        """Put one endpoint where it belongs; return what was there before, and whether it came to a slice."""
        member = joined(self.namespace, self.name, pod_name, family)
        group = rules.slice_group(self.service, family, ports) if endpoint is not None else ""
        before = None
        if current := self._slice_of(member):
            held = self._load(current)
            before = held.endpoints[pod_name]
            if endpoint is not None and held.group == group and _uid(before) == _uid(endpoint):
                held.endpoints[pod_name] = endpoint
                held.ports = ports
                return before, False
            self._tree(held.group)
            del held.endpoints[pod_name]
            self._members[member] = ""
        if endpoint is not None:
            name = self._covering(group, ports, slice_tree.hash_of(_uid(endpoint)))
            self._slices[name].endpoints[pod_name] = endpoint
            self._slices[name].ports = ports
            self._members[member] = name
        return before, endpoint is not None

    def load_all(self) -> None:
        """Load every slice, so that `flush` looks at its labels and at what it is still needed for."""
        for name in self._rows():
            self._load(name)

    def flush(self, families: Iterable[str] = ()) -> None:
        """Save every slice that changed, delete those that are empty and not the only one of a family.

        `families` are those that may have no slice yet.
        """
        for group, tree in self._trees.items():
            self._halve(tree)
            self._unite(group, tree)
        if self._keeps and ready_last.keeps_last(self.service):
            self._keep_last()
        holding = self._hold_places(families) if self._keeps else set()
        labels = rules.slice_labels(self.service)
        for name, one in self._slices.items():
            if one.endpoints or name in holding:
                now = one.object(labels)
                if now != one.stored:
                    self.write.save(ENDPOINTSLICE, one.stored, now)
                    slice_changed(self.write, one.stored, now, one.place)
            elif one.stored is not None:
                self.write.remove(ENDPOINTSLICE, one.stored)
                slice_changed(self.write, one.stored, None)
        if self._members and not self.has_slices():  # nobody stood anywhere
            rows = ((member, name.encode()) for member, name in self._members.items())
            put_sorted(self.write.txn, self.write.tables.members, rows)
            return
        for member, name in self._members.items():
            put_or_delete(self.write.txn, self.write.tables.members, member, name.encode() or None)

    def _halve(self, tree: dict[str, str]) -> None:
        """Halve the slices of a tree that have too many endpoints."""
        for path, name in list(tree.items()):
            one = self._slices.get(name)
            if one is None or len(one.endpoints) <= slice_tree.MOST:
                continue
            del tree[path]
            for below, pods in slice_tree.leaves(path, _hashes(one.endpoints)).items():
                if slice_tree.kept_name(below) == slice_tree.kept_name(path):
                    one.path, tree[below] = below, name
                else:
                    made = tree[below] = self._make(one.group, one.family, one.ports, below)
                    self._move(one, pods, made)

    def _unite(self, group: str, tree: dict[str, str]) -> None:
        """Unite the slices of a tree that fit into one, from the longest path up."""
        for path in sorted((p for p, name in tree.items() if name in self._slices), key=len, reverse=True):
            while path and path in tree:
                above, below = slice_tree.united(tree, path)
                if sum(self._count(tree[other]) for other in below) > slice_tree.MOST:
                    break
                found = [self._load(tree[other]) for other in below]
                stays = [
                    other for other in below if slice_tree.kept_name(other) == slice_tree.kept_name(above)
                ]
                one = found[0]
                name = tree[stays[0]] if stays else self._make(group, one.family, one.ports, above)
                for other in below:
                    gone = self._slices[tree.pop(other)]
                    if gone is not self._slices[name]:
                        self._move(gone, list(gone.endpoints), name)
                self._slices[name].path, tree[above] = above, name
                path = above

    def _move(self, one: _Slice, pods: Iterable[str], name: str) -> None:
        """Move endpoints from one slice to another."""
        for pod in pods:
            self._slices[name].endpoints[pod] = one.endpoints.pop(pod)
            self._members[joined(self.namespace, self.name, pod, one.family)] = name

    def _keep_last(self) -> None:
        """Keep the Pods that were ready last if none is ready any more, and nobody if one is."""
        stored = [one.stored for one in self._slices.values() if one.stored is not None]
        before = [endpoint for held in stored for endpoint in held["endpoints"]]
        had_ready, has_ready = any(map(ready_last.is_ready, before)), self._has_ready()
        if has_ready if had_ready else not (has_ready or any(map(ready_last.is_kept, before))):
            return  # as it was: one is ready, or nobody is and nobody was kept
        if has_ready:
            self.load_all()
        none = not has_ready and not self._has_ready_elsewhere()
        last = ready_last.answered(before) if none else set()
        for one in self._slices.values():
            shown = ready_last.kept(self.service, list(one.endpoints.values()), last)
            one.endpoints = dict(zip(one.endpoints, shown, strict=True))
        stay = [pod for one in self._slices.values() for pod in _kept_in(one)]
        if had_ready and stay:
            self.write.messages.append(event_messages.last_are_kept(self.service, list(dict.fromkeys(stay))))

    def _has_ready(self) -> bool:
        return any(any(map(ready_last.is_ready, one.endpoints.values())) for one in self._slices.values())

    def _has_ready_elsewhere(self) -> bool:
        """Whether a slice that this write has not looked at has a ready endpoint, a user's own too."""
        keys = scan_keys(self.write.txn, self.write.tables.slices, joined(self.namespace, self.name))
        names = (name for key in keys if (name := last_of(key)) not in self._slices)
        return any(rules.has_ready(self.write.load(ENDPOINTSLICE, self.namespace, name)) for name in names)

    def _hold_places(self, families: Iterable[str]) -> set[str]:
        """Leave an empty slice of each family without endpoints, as Kubernetes does; return their names."""
        looked_at = {*families, *(one.family for one in self._slices.values() if not one.endpoints)}
        holding = set()
        for family in self.service["spec"].get("ipFamilies") or []:
            if family in looked_at and not self._has_endpoints(family):
                name = self._covering(rules.base_group(family), [], "")
                self._slices[name].ports = []
                holding.add(name)
        return holding

    def _has_endpoints(self, family: str) -> bool:
        rows = ((name, row) for name, row in self._rows().items() if name not in self._slices)
        return any(one.endpoints and one.family == family for one in self._slices.values()) or any(
            row.count and row.group.startswith(rules.base_group(family)) for _, row in rows
        )

    def _slice_of(self, member: bytes) -> str:
        """Return the name of the slice in which an endpoint stands, "" where it stands in none."""
        if (name := self._members.get(member)) is not None:
            return name
        stored = self.write.txn.get(member, db=self.write.tables.members)
        return bytes(stored).decode() if stored is not None else ""

    def _rows(self) -> dict[str, SliceRow]:
        """Return the rows of all generated slices as they were stored; read once."""
        if self._index is None:
            rows = scan(self.write.txn, self.write.tables.slices, joined(self.namespace, self.name))
            decoded = ((last_of(key), decode_slice_row(value)) for key, value in rows)
            self._index = {name: row for name, row in decoded if row.group not in ("", MIRRORED)}
        return self._index

    def _tree(self, group: str) -> dict[str, str]:
        """Return the names of a group's slices by path; to be taken before anybody comes or leaves."""
        if group not in self._trees:
            rows = self._rows().items()
            self._trees[group] = {row.path: name for name, row in rows if row.group == group}
        return self._trees[group]

    def _covering(self, group: str, ports: list[Object], bits: str) -> str:
        """Return the name of the slice that a hash belongs to, loaded, or made if there is none yet."""
        tree, family = self._tree(group), group.partition("/")[0]
        path = slice_tree.leaf_for(tree, bits)
        if path in tree:
            self._load(tree[path])
        else:
            tree[path] = self._make(group, family, ports, path)
            self._give_up_place(family)
        return tree[path]

    def _give_up_place(self, family: str) -> None:
        """Load the empty slice that stood for a family without endpoints: `flush` says if it stays."""
        base = rules.base_group(family)
        for name, row in list(self._rows().items()):
            if row.group == base and not row.count:
                self._load(name)

    def _count(self, name: str) -> int:
        one = self._slices.get(name)
        return len(one.endpoints) if one is not None else self._rows()[name].count

    def _load(self, name: str) -> _Slice:
        if name not in self._slices:
            stored = self.write.load(ENDPOINTSLICE, self.namespace, name)
            row = self.write.txn.get(joined(self.namespace, self.name, name), db=self.write.tables.slices)
            assert stored is not None and row is not None, f"slice {name} is not indexed, or not there"
            place = decode_slice_row(bytes(row))
            endpoints = {endpoint["targetRef"]["name"]: endpoint for endpoint in stored["endpoints"]}
            self._slices[name] = _Slice(place.group, place.path, stored, stored, stored["ports"], endpoints)
        return self._slices[name]

    def _make(self, group: str, family: str, ports: list[Object], path: str) -> str:
        labels, key = rules.slice_labels(self.service), f"{group}/{slice_tree.kept_name(path)}"
        made = make_slice(self.write, self.service, labels, family, ports, key)
        name: str = made["metadata"]["name"]
        self._slices[name] = _Slice(group, path, None, made, ports, {})
        return name


def _uid(endpoint: Object) -> str:
    """Return the uid of an endpoint's Pod."""
    return str(endpoint["targetRef"]["uid"])


def _hashes(endpoints: Mapping[str, Object]) -> dict[str, str]:
    """Return the bits by which endpoints find their slices, by Pods' names."""
    return {pod: slice_tree.hash_of(_uid(endpoint)) for pod, endpoint in endpoints.items()}


def _kept_in(one: _Slice) -> list[str]:
    """Return the names of the Pods in a slice that are answered though they are not ready."""
    return [name for name, endpoint in one.endpoints.items() if ready_last.is_kept(endpoint)]
