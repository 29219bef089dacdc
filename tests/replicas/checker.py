"""What is wrong with a history: each answer has a revision, so that is found by sorting, without any search.

order     what was answered before something began has no newer revision: of all replicas if that is a
          write (then it is older), or a read of the most recent state; else of the same replica
reads     a read shows of each object the newest state up to its revision
bases     what a conditional write says it was decided on is what stood there before it
settled   what was acknowledged is there, once; what was refused is not; what is not known is there once
          or not; nothing else is
final     all replicas show in the end what the last changes left
owners    no address or port has two owners at any revision
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby, pairwise

from replicas.history import Change, History, Operation, Outcome

States = dict[str, list[Change]]


def check(history: History) -> list[str]:
    """Return what is wrong, in words; empty where nothing is."""
    states: States = defaultdict(list)
    for change in history.changes:
        states[change.name].append(change)
    return [
        *_log(states),
        *_order(history.operations),
        *_reads(history.operations, history.changes),
        *_bases(history.operations, states),
        *_settled(history.operations, states),
        *_final(history.final, states),
        *_owners(history.changes),
    ]


def _log(states: States) -> Iterator[str]:
    for changes in states.values():
        for before, after in pairwise(changes):
            if before.revision >= after.revision:
                yield f"log: {after} does not come after {before}"


def _order(operations: list[Operation]) -> Iterator[str]:
    """Sweep over time: the newest revision of what has ended, of all and at each replica."""
    known = [one for one in operations if one.outcome is Outcome.DONE and one.revision]
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


def _owners(changes: list[Change]) -> Iterator[str]:
    held: dict[str, frozenset[str]] = {}
    owners: dict[str, set[str]] = defaultdict(set)
    for revision, group in groupby(changes, key=lambda change: change.revision):
        taken: set[str] = set()
        for change in group:
            for one in held.pop(change.name, frozenset()):
                owners[one].discard(change.name)
            for one in change.held:
                owners[one].add(change.name)
            held[change.name] = change.held
            taken |= change.held
        for one in sorted(taken):
            if len(owners[one]) > 1:
                yield f"owners: {one} is that of {' and '.join(sorted(owners[one]))} at revision {revision}"
