"""What is wrong with a history: each answer has a revision, so that is found by sorting, without any search.

    order     what was answered before something began has no newer revision: of all replicas if that is a
              write (then it is older), or a read of the most recent state; else of the same replica; a read
              counts with the newest change that it may show
    reads     a read shows of each object the newest state up to its revision
    answers   DNS shows of an object what stood there at a moment that is no older than what the same
              replica has shown before, by DNS or else, or acknowledged
    bases     what a conditional write says it was decided on is what stood there before it
    kept      a write that changes a part leaves what others have written
    settled   what was acknowledged is there, once; what was refused is not; what is not known is there once
              or not; nothing else is
    final     all replicas show in the end what the last changes left
    spaces    nothing is created in a namespace of which the deletion has begun, or left in one that is gone
    owned     nothing stays when the last of its owners goes, or that is deleted and that nothing holds
    owners    no address or port has two owners at any revision, and who has it by `allocations` is its owner

An acknowledged delete says no revision: the first one at which its object went, after all that had been
acknowledged when it began, is the oldest that it can have.
A read of any other state may be older than what another replica has acknowledged.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate, groupby, pairwise

from replicas.history import Allocation, Answer, Change, History, Operation, Outcome, Owned, Space

States = dict[str, list[Change]]


def check(history: History) -> list[str]:
    """Return what is wrong, in words; empty where nothing is."""
    states: States = defaultdict(list)
    for change in history.changes:
        states[change.name].append(change)
    known = list(_known(history.operations, states))
    when = {change.revision for change in history.changes} | {
        one.revision for one in known if not one.is_read
    }
    return [
        *_log(history.changes, states),
        *_order(_at_changes(known, sorted(when))),
        *_reads(history.operations, history.changes),
        *_answers(history.answers, known, states),
        *_bases(history.operations, states),
        *_kept(history.operations, states),
        *_settled(history.operations, states),
        *_final(history.final, states),
        *_spaces(history.changes, history.spaces),
        *_owned(history.owned),
        *_owners(history.changes, history.allocations),
    ]


def _log(changes: list[Change], states: States) -> Iterator[str]:
    for before, after in pairwise(changes):
        if before.revision > after.revision:
            yield f"log: {after} does not come after {before}"
    for of_one in states.values():
        for before, after in pairwise(of_one):
            if before.revision == after.revision:
                yield f"log: {after} is at the revision of {before}"


class _Newest:
    """The newest revision that was shown or acknowledged by a moment."""

    def __init__(self, shown: Iterable[tuple[int, int]]) -> None:
        """Take moments of an end, with the revision that was shown then."""
        in_order = sorted(shown)
        self._ends = [ended for ended, _ in in_order]
        self._newest = list(accumulate((revision for _, revision in in_order), max))

    def before(self, moment: int) -> int:
        """Return it for what has ended before; 0: nothing has."""
        index = bisect_left(self._ends, moment)
        return self._newest[index - 1] if index else 0


def _known(operations: list[Operation], states: States) -> Iterator[Operation]:
    """Return what was answered 2xx, with the revision that it has, or has at least; 0: it can have none."""
    done = [one for one in operations if one.outcome is Outcome.DONE]
    ends = iter(sorted(done, key=lambda one: one.ended))
    following = next(ends, None)
    newest, revisions = 0, {}
    for one in sorted(done, key=lambda one: one.began):
        while following is not None and following.ended < one.began:
            newest = max(newest, revisions[id(following)])
            following = next(ends, None)
        revisions[id(one)] = one.revision
        if one.is_delete:
            went = (change.revision for change in states.get(one.name, ()) if change.mark is None)
            revisions[id(one)] = next((revision for revision in went if revision > newest), 0)
        if revisions[id(one)] or one.is_delete:
            yield replace(one, revision=revisions[id(one)])


def _at_changes(known: list[Operation], when: list[int]) -> list[Operation]:
    """Return reads with the revision of the newest change that they may show, all else as it is.

    A replica that has listed shows the revision of etcd at which it did, others that of the last transaction.
    """
    return [
        replace(one, revision=when[index - 1])
        if one.is_read and (index := bisect_right(when, one.revision))
        else one
        for one in known
    ]


def _order(known: list[Operation]) -> Iterator[str]:
    """Sweep over time: the newest revision of what has ended, of all and at each replica."""
    ends = iter(sorted(known, key=lambda one: one.ended))
    following = next(ends, None)
    newest: Operation | None = None
    newest_at: dict[str, Operation] = {}
    for one in sorted(known, key=lambda one: one.began):
        while following is not None and following.ended < one.began:
            if newest is None or following.revision > newest.revision:
                newest = following
            at = newest_at.get(following.at)
            if at is None or following.revision > at.revision:
                newest_at[following.at] = following
            following = next(ends, None)
        before = newest_at.get(one.at) if one.is_read and not one.is_consistent else newest
        if before is None:
            continue
        if before.revision > one.revision or (before.revision == one.revision and not one.is_read):
            yield f"order: {one} began after the end of {before}"


def _reads(operations: list[Operation], changes: list[Change]) -> Iterator[str]:
    """Sweep over revisions: what stands then, by what names begin with."""
    reads = [one for one in operations if one.is_read and one.outcome is Outcome.DONE]
    stands: dict[str, dict[str, str]] = defaultdict(dict)
    coming = iter(changes)
    following = next(coming, None)
    for one in sorted(reads, key=lambda one: one.revision):
        while following is not None and following.revision <= one.revision:
            collection = stands[_collection(following.name)]
            collection.pop(following.name, None)
            if following.mark is not None:
                collection[following.name] = following.mark
            following = next(coming, None)
        there = stands[_collection(one.name)]
        if not one.name.endswith("/"):
            there = {name: mark for name, mark in there.items() if name == one.name}
        if one.seen != there:
            for name, mark in sorted(one.seen.items() ^ there.items()):
                where = "shows" if one.seen.get(name) == mark else "does not show"
                yield f"reads: {one} {where} {mark} of {name}"


def _answers(answers: list[Answer], known: list[Operation], states: States) -> Iterator[str]:
    """Compare how long what was answered stood there with what the replica had shown when it was asked."""
    stood: dict[tuple[str, str], tuple[int, float]] = {}
    for name, changes in states.items():
        for change, following in zip(changes, [*changes[1:], None], strict=True):
            end = following.revision if following is not None else float("inf")
            stood[name, change.mark or ""] = change.revision, end
    answered: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for answer in answers:
        since, _ = stood.get((answer.name, answer.mark), (0, 0))
        answered[answer.at].append((answer.ended, since))
    newest = {at: _Newest(shown) for at, shown in answered.items()}
    for one in known:
        if one.is_read and one.at in newest and one.revision < newest[one.at].before(one.began):
            yield f"answers: {one} is older than what was answered before"
    for one in known:
        answered[one.at].append((one.ended, one.revision))
    newest = {at: _Newest(shown) for at, shown in answered.items()}
    for answer in answers:
        since, end = stood.get((answer.name, answer.mark), (0, 0))
        if not since:
            yield f"answers: {answer} never was"
        elif end <= newest[answer.at].before(answer.began):
            yield f"answers: {answer} is older than revision {newest[answer.at].before(answer.began)}"


def _collection(name: str) -> str:
    return name[: name.rindex("/") + 1]


def _at(changes: list[Change], revision: int) -> Change | None:
    """Return the newest change up to a revision."""
    index = bisect_right(changes, revision, key=lambda change: change.revision)
    return changes[index - 1] if index else None


def _bases(operations: list[Operation], states: States) -> Iterator[str]:
    bases = {(one.name, one.mark): one for one in operations if one.base and one.mark is not None}
    for name, changes in states.items():
        for before, after in pairwise([Change(0, name, None), *changes]):
            one = bases.get((name, after.mark))
            if one is not None and one.base != before.version:
                yield f"bases: {one} is based on {one.base}, and came after {before}"


def _kept(operations: list[Operation], states: States) -> Iterator[str]:
    writers = {(one.name, one.mark): one.by for one in operations if one.by and one.mark is not None}
    for name, changes in states.items():
        for before, after in pairwise([Change(0, name, None), *changes]):
            if after.mark is None or (by := writers.get((name, after.mark))) is None:
                continue
            if after.marks != {**before.marks, by: after.mark}:
                yield f"kept: {after} does not have what was written before: {before.marks}"


def _settled(operations: list[Operation], states: States) -> Iterator[str]:
    found = Counter((name, change.mark) for name, changes in states.items() for change in changes)
    marked = {(one.name, one.mark) for one in operations if not one.is_read and not one.is_delete}
    for one in operations:
        if one.is_read or one.is_delete:
            continue
        times = found[one.name, one.mark]
        if one.outcome is Outcome.DONE:
            there = _at(states.get(one.name, []), one.revision)
            if there is None or (there.revision, there.mark) != (one.revision, one.mark):
                yield f"settled: {one} is lost: {there} stood there"
        if one.outcome is Outcome.REFUSED and times:
            yield f"settled: {one} was carried out"
        if times > 1:
            yield f"settled: {one} was carried out {times} times"
    yield from (
        f"settled: nobody wrote {mark} of {name}"
        for name, mark in found
        if mark is not None and (name, mark) not in marked
    )
    deletes = Counter((one.name, one.outcome) for one in operations if one.is_delete)
    for name in states.keys() | {name for name, _ in deletes}:
        sure = deletes[name, Outcome.DONE]
        most = sure + deletes[name, Outcome.UNKNOWN]
        if not sure <= found[name, None] <= most:
            yield f"settled: {name} was deleted {found[name, None]} times, and by {sure} to {most} deletes"


def _final(final: dict[str, dict[str, str]], states: States) -> Iterator[str]:
    stands = {name: changes[-1].mark for name, changes in states.items() if changes[-1].mark is not None}
    for replica, shown in final.items():
        for name in sorted(stands.keys() | shown.keys()):
            if stands.get(name) != shown.get(name):
                yield f"final: {replica} shows {shown.get(name)} of {name}, where {stands.get(name)} stands"


def _spaces(changes: list[Change], spaces: list[Space]) -> Iterator[str]:
    """Sweep over revisions: what is in each namespace, and whether it is open; one revision may do both."""
    inside: dict[str, set[str]] = defaultdict(set)
    is_open: dict[str, bool] = {}
    by_revision: dict[int, tuple[list[Space], list[Change]]] = defaultdict(lambda: ([], []))
    for space in spaces:
        by_revision[space.revision][0].append(space)
    for change in changes:
        by_revision[change.revision][1].append(change)
    for _, (turned, changed) in sorted(by_revision.items()):
        was_open = {space.name for space in turned if is_open.get(space.name)}
        is_open |= {space.name: space.is_open for space in turned}
        for change in changed:
            name = change.name.split("/")[-2]
            if change.mark is None:
                inside[name].discard(change.name)
                continue
            if change.name not in inside[name] and not is_open.get(name) and name not in was_open:
                yield f"spaces: {change} is created in a namespace that is not open"
            inside[name].add(change.name)
        for space in turned:
            if not space.is_there and inside[space.name]:
                yield f"spaces: {space} is gone, and has {sorted(inside[space.name])}"


def _owned(states: list[Owned]) -> Iterator[str]:
    """Sweep over revisions: who is there, and who goes with whom."""
    there: dict[str, Owned] = {}
    for revision, group in groupby(states, key=lambda state: state.revision):
        before = dict(there)
        for state in group:
            there[state.name] = state
            if state.is_over:
                yield f"owned: {state} is to go, and is still there"
        uids = {state.uid for state in there.values()}
        gone = {state.uid for state in before.values()} - uids
        for state in before.values():
            is_left = there[state.name].uid == state.uid != ""
            if is_left and state.owners & gone and not state.owners & uids:
                yield f"owned: {state} is still there at revision {revision}, where its owners have gone"


def _owners(changes: list[Change], allocations: list[Allocation]) -> Iterator[str]:
    """Sweep over revisions: who has what by the objects, and by what is noted of it."""
    held: dict[str, frozenset[str]] = {}
    owners: dict[str, set[str]] = defaultdict(set)
    noted: dict[str, str] = {}
    by_revision: dict[int, list[Change | Allocation]] = defaultdict(list)
    for one in (*changes, *allocations):
        by_revision[one.revision].append(one)
    for revision in sorted(by_revision):
        touched: set[str] = set()
        for one in by_revision[revision]:
            if isinstance(one, Allocation):
                noted[one.what] = one.owner or ""
                touched.add(one.what)
                continue
            before = held.get(one.name, frozenset())
            for what in before:
                owners[what].discard(one.name)
            for what in one.held:
                owners[what].add(one.name)
            held[one.name] = one.held
            touched |= before | one.held
        for what in sorted(touched):
            by_objects = " and ".join(sorted(owners[what]))
            if len(owners[what]) > 1:
                yield f"owners: {what} is that of {by_objects} at revision {revision}"
            elif noted.get(what, "") != by_objects:
                yield f"owners: {what} is {by_objects!r}'s, noted as {noted.get(what)!r}'s, at {revision}"
