"""Listing anew: a map is made from nothing of a list of etcd, all of it at one revision, in one transaction.

So a new replica begins, and one whose map is of another registry, or was made by other rules.  What the map
has answers until the commit; then readers see the new state as a whole.

    take     objects are put as they come, with what is to be known of each alone: labels, owners, addresses
    step     what follows from them is made, once for each Service: slices, facts, answers (`all_answers`)
    finish   the commit

What comes of it is what taking one object after the other comes to (`relisting`), but that slices which are
generated have the place of the list as their resourceVersion: no client has seen that of them before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import lmdb

from svcdns.cluster import endpoints as rules
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, POD, SERVICE, STORED, Kind
from svcdns.store import counts, log
from svcdns.store.sorted_rows import SortedRows, put_sorted

from .. import addresses, alias_claims, label_index, mirroring, owners, probed, slice_index, slices
from ..all_answers import STEPS, AllAnswers
from ..answer_tables import current_table
from ..dns_rows import AnswerTable, forget_serials, move_serials, put_fixed_rows
from ..transaction import Object, WriteTransaction, encode, object_key
from . import revisions
from .applying import Map, read, write_position
from .keys import Named
from .left_out import Unreadable
from .relisting import Found, Untakeable, place_of, take_cascades

_FIRST = (NAMESPACE, ENDPOINTSLICE)


@dataclass(slots=True)
class _Write(WriteTransaction):
    """What follows from a list; all of it has one resourceVersion."""

    revision: int = 0

    def next_revision(self) -> int:
        """Return the place of the list."""
        return self.revision


class ListingAnew:
    """One list that is taken, from `__init__` to `finish` or `abort`, all in one thread."""

    ORDER: tuple[Kind, ...] = (
        *_FIRST,
        *sorted((kind for kind in STORED if kind not in _FIRST), key=lambda kind: kind.name),
    )
    """Kinds in the order in which they are to be taken: whether a Pod's names are visible follows from its
    namespace, and behind the small ones rows come in the order of their keys."""

    def __init__(self, of: Map, revision: int, transaction: tuple[int, bytes], left_out: set[Named]) -> None:
        """Begin with nothing; `revision` is that of the list, `left_out` count as not there.

        `transaction` is the last one up to there (see `applying.Position`).
        """
        self._map, self._revision, self._transaction, self._left_out = of, revision, transaction, left_out
        tables = of.store.tables
        self._txn = of.store.env.begin(write=True)
        self._clear()
        self._write = _Write(
            self._txn,
            tables,
            of.settings,
            "",
            logs=False,
            with_facts=False,
            revision=revisions.last_of(revision),
        )
        self._answers = current_table(of.store, self._txn)
        self._making = AllAnswers(self._write, self._answers)
        self._labels = SortedRows(self._txn, tables.labels)
        self._steps = self._all_steps()

    def take(self, found: Iterable[Found]) -> None:
        """Take some objects: what they are called, what stands there, and since which revision.

        Raises Untakeable, lmdb.Error: then it has to be begun again.
        """
        rows = {}
        for named, value, revision in found:
            if named is None or named in self._left_out:
                continue
            try:
                obj = read(named, value)
                obj["metadata"]["resourceVersion"] = str(
                    place_of(obj["metadata"]["resourceVersion"], revision)
                )
                self._index(named.kind, obj)
            except Unreadable as wrong:
                self._map.left_out.note(named, wrong)
            except lmdb.Error:
                raise
            except Exception as wrong:
                raise self._untakeable(named, wrong) from wrong
            else:
                rows[object_key(*named)] = encode(obj)
                self._map.left_out.taken(named)
        if rows:
            put_sorted(self._txn, self._map.store.tables.objects, rows.items())
            self._write.forget_namespace()

    def take_cascades(self, found: Iterable[tuple[str, bytes]]) -> None:
        """Take all cascades that there are: the owners' uids, and what stands there."""
        take_cascades(self._txn, self._map, found)

    def step(self) -> bool:
        """Do a part of what is left; return whether more is.  Raises Untakeable, lmdb.Error."""
        try:
            return next(self._steps, None) is not None
        except lmdb.Error:
            raise
        except Exception as wrong:
            if self._making.at is None:
                raise
            raise self._untakeable(self._at_fault(Named(*self._making.at)), wrong) from wrong

    def finish(self) -> None:
        """Commit what was made."""
        of, txn, tables = self._map, self._txn, self._map.store.tables
        answers = AnswerTable(self._write, self._answers)
        put_fixed_rows(answers)
        forget_serials(txn, tables.meta)
        zones = [of.settings.names.apex, *(key for _, key in of.settings.reverse_zones)]
        move_serials(answers, of.clock(self._revision), zones)
        for table in (tables.log, tables.event_log):
            log.begin_after(txn, table, revisions.last_of(self._revision))
        write_position(txn, of, self._revision, self._transaction)
        counts.note(txn, tables.by_name())
        txn.commit()

    def abort(self) -> None:
        """Leave the map as it was."""
        self._txn.abort()

    def _index(self, kind: Kind, obj: Object) -> None:
        """Note what is to be known of an object alone."""
        write = self._write
        owners.index(write, kind, None, obj)
        if kind is SERVICE:
            addresses.follow(write, None, obj)
        elif kind is ENDPOINTSLICE:
            slice_index.slice_changed(write, None, obj)
        elif kind is POD:
            probed.note(write, obj)
            self._labels.update(dict.fromkeys(label_index.pod_keys(obj), b""))
            self._making.pod(obj)

    def _all_steps(self) -> Iterator[bool]:
        """Make what follows from all objects, a part with each step."""
        self._labels.flush()
        self._making.flush()
        making = self._making
        of_objects = ((SERVICE, self._slices), (ENDPOINTS, self._mirror))
        yield from self._repeated(*(partial(making.each, kind, work=work) for kind, work in of_objects))
        yield from self._repeated(
            *(partial(step, making) for step in STEPS if step is not AllAnswers.pod_facts)
        )

    def _repeated(self, *steps: Callable[[bytes], bytes]) -> Iterator[bool]:
        """Do each step until it is done with."""
        for step in steps:
            after = step(b"")
            while after:
                yield True
                after = step(after)
            self._making.flush()
            yield True

    def _slices(self, service: Object) -> None:
        slices.service_changed(self._write, None, service)

    def _mirror(self, endpoints: Object) -> None:
        mirroring.endpoints_changed(self._write, None, endpoints)
        self._write.messages.clear()

    def _untakeable(self, named: Named, wrong: Exception) -> Untakeable:
        self._map.left_out.note(named, wrong)
        return Untakeable(named)

    def _at_fault(self, named: Named) -> Named:
        """Return the Pod of which no endpoint of a Service can be made, else the object itself."""
        service = self._write.load(*named) if named.kind is SERVICE else None
        if service is not None:
            pairs = label_index.first_pair(service)
            for pod_name, pod in slices.candidates(self._write, named.namespace, pairs):
                if not _can_be_endpoint(service, pod):
                    return Named(POD, named.namespace, pod_name)
        return named

    def _clear(self) -> None:
        """Forget all objects and what followed from them; zone files are this replica's own."""
        tables, txn = self._map.store.tables, self._txn
        alias_claims.clear(txn, tables)
        owners.clear(txn, tables)
        for table in (
            tables.objects,
            tables.allocations,
            tables.slices,
            tables.members,
            tables.selectors,
            tables.labels,
            tables.endpoints,
            tables.addresses,
            tables.pod_ips,
            tables.row_log,
            current_table(self._map.store, txn),
        ):
            txn.drop(table, delete=False)


def _can_be_endpoint(service: Object, pod: Object) -> bool:
    """Return whether a Service can be asked for a Pod's endpoints."""
    try:
        for family in service["spec"].get("ipFamilies") or []:
            if rules.endpoint_of(service, pod, family) is not None:
                rules.slice_group(service, family, rules.ports_of(service, pod))
    except Exception:
        return False
    return True
