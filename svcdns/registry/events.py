"""Events: what the write path notes, counted in memory, written beside the writes that it is about.

Nobody's write waits for an Event.  Notes come in when a group has been committed; equal ones are counted;
what has gathered is written as a write of its own, at most once a second and at most BATCH Events each
time.  A crash loses what had not been written yet (a second's worth, more after a burst), and no more
notes wait than the history would keep.  So flapping costs a few counters, and no object grows:

* one Event for each object, type, reason and message; again means count + 1 and a new lastTimestamp;
* of one object and reason at most SIMILAR messages within SIMILAR_SECONDS; the others share one Event,
  "(combined from similar events): ...", as client-go does it;
* the history is the newest KEEP Events of the server, none older than KEEP_SECONDS (Kubernetes' TTL).
  Clients' own Events are in it.

Events are named by what they tell, so the store itself knows which have been told before a restart.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from svcdns.cluster.event_messages import Note
from svcdns.objects import syntax
from svcdns.objects.errors import StatusError
from svcdns.objects.event_rules import CLUSTER_SCOPED, MOST_MESSAGE
from svcdns.objects.kinds import EVENT, NAMESPACE

from .transaction import TIME_FORMAT, Writing, collection_prefix, decode, listed, scan

logger = logging.getLogger(__name__)

KEEP = 1000
"""Events in the history, of all namespaces together; a few more until it is next cut."""
KEEP_SECONDS = 3600.0
BATCH = 100
"""Events written at once: about 3 ms of the writing thread."""
GATHER_SECONDS, PAUSE_SECONDS, SWEEP_SECONDS = 0.1, 1.0, 60.0
SIMILAR, SIMILAR_SECONDS = 10, 600.0
COMBINED = "(combined from similar events): "
COMPONENT = "svcdns"
_SLACK = 100
_MOST_REMOVED = 500
_MOST_COUNT = 2**31 - 1

Object = dict[str, Any]
Write = Callable[[Callable[[Writing], Any]], Awaitable[Any]]
"""Runs something as a write of its own; see Committer.write."""


@dataclass(slots=True)
class _Waiting:
    """How often something happened that is not written yet, when (RFC 3339), and its latest message."""

    first: str
    last: str = ""
    message: str = ""
    count: int = 0


class Recorder:
    """Counts notes and writes them as Events; belongs to one event loop."""

    def __init__(self, write: Write, clock: Callable[[], float] = time.time) -> None:
        """`clock` is the wall clock, in seconds since 1970."""
        self._write = write
        self._clock = clock
        self._waiting: OrderedDict[Note, _Waiting] = OrderedDict()
        self._similar = Similar()
        self._timer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._written = float("-inf")
        self._stopped = False

    def start(self) -> None:
        """Begin to write, and to sweep what is too old."""
        self._sweep()

    async def stop(self) -> None:
        """Write what waits, as far as that can be done, and end."""
        self._stopped = True
        for timer in (self._timer, self._sweeper):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])
        while self._waiting:
            await self._write_some()

    def take(self, notes: Iterable[Note]) -> None:
        """Count what happened; it will be written soon."""
        seconds = self._clock()
        now = datetime.fromtimestamp(seconds, UTC).strftime(TIME_FORMAT)
        for note in notes:
            combined = self._similar.is_too_much(note, seconds)
            told = note._replace(message=COMBINED) if combined else note
            waiting = self._waiting.get(told)
            if waiting is None:
                if len(self._waiting) >= KEEP:
                    self._waiting.popitem(last=False)  # it would be the first to leave the history
                waiting = self._waiting[told] = _Waiting(now)
            waiting.last = now
            waiting.message = COMBINED + note.message if combined else note.message
            waiting.count += 1
        self._soon()

    def look(self) -> None:
        """See to the bound of the history: somebody else has written an Event."""
        if self._task is None:
            self._soon()

    def _soon(self) -> None:
        if self._timer is not None or self._task is not None or self._stopped:
            return
        loop = asyncio.get_running_loop()
        delay = max(GATHER_SECONDS, self._written + PAUSE_SECONDS - loop.time())
        self._timer = loop.call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._begin(self._write_some)

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(work())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._written = asyncio.get_running_loop().time()
        if self._waiting:
            self._soon()

    def _sweep(self) -> None:
        self._begin(self._cut)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    async def _write_some(self) -> None:
        batch = [self._waiting.popitem(last=False) for _ in range(min(BATCH, len(self._waiting)))]
        if batch:
            await self._do(lambda writing: _write_all(writing, batch))
        await self._cut(only_if_over=True)

    async def _cut(self, *, only_if_over: bool = False) -> None:
        now = self._clock()
        while await self._do(lambda writing: cut_history(writing, now, only_if_over)):
            pass

    async def _do(self, action: Callable[[Writing], Any]) -> Any:
        """Run a write; what can't be told is lost, for Events must not trouble anybody."""
        try:
            return await self._write(action)
        except StatusError as failed:
            logger.warning("events could not be written: %s", failed.message)
            return False


class Similar:
    """Which messages an object has had lately for one reason, so that too many can share one Event."""

    def __init__(self) -> None:
        self._groups: OrderedDict[tuple[object, ...], tuple[float, set[str]]] = OrderedDict()

    def is_too_much(self, note: Note, now: float) -> bool:
        """Return whether this note is to be combined with others; `now` is in seconds."""
        group = (note.subject, note.type, note.reason)
        last, messages = self._groups.pop(group, (now, set()))
        if abs(now - last) > SIMILAR_SECONDS:
            messages = set()
        self._groups[group] = (now, messages)
        if len(self._groups) > KEEP:
            self._groups.popitem(last=False)
        if note.message in messages:
            return False
        if len(messages) >= SIMILAR:
            return True
        messages.add(note.message)
        return False


def event_name(note: Note) -> str:
    """Return the name of the Event that tells a note: the object's, and a digest of all that is told."""
    told = (*note.subject, note.type, note.reason, note.message)
    digest = hashlib.blake2b("\0".join(told).encode(), digest_size=8).hexdigest()
    stem = note.subject.name
    if syntax.subdomain_errors(stem):  # a file's name may be any
        stem = _ODD.sub("-", stem.lower())
    return f"{stem[:_LONGEST_STEM].strip('-.') or 'event'}.{digest}"


_ODD = re.compile(r"[^a-z0-9-]+")
_LONGEST_STEM = 253 - 17


def _write_all(writing: Writing, batch: list[tuple[Note, _Waiting]]) -> None:
    is_open: dict[str, bool] = {}
    for note, waiting in batch:
        name, namespace = event_name(note), note.subject.namespace or CLUSTER_SCOPED
        if namespace not in is_open:
            found = writing.load(NAMESPACE, "", namespace)
            is_open[namespace] = found is not None and not found["metadata"].get("deletionTimestamp")
        if is_open[namespace]:
            old = writing.load(EVENT, namespace, name)
            new = _born(writing, namespace, name, note, waiting) if old is None else _again(old, waiting)
            writing.save(EVENT, old, new)


def _born(writing: Writing, namespace: str, name: str, note: Note, waiting: _Waiting) -> Object:
    involved = {
        "kind": note.subject.kind,
        "namespace": note.subject.namespace,
        "name": note.subject.name,
        "uid": note.subject.uid,
        "apiVersion": note.subject.api_version,
    }
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": writing.now,
        },
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": note.reason,
        "message": _fitting(waiting.message),
        "source": {"component": COMPONENT},
        "firstTimestamp": waiting.first,
        "lastTimestamp": waiting.last,
        "count": min(waiting.count, _MOST_COUNT),
        "type": note.type,
        "reportingComponent": COMPONENT,
    }


def _again(old: Object, waiting: _Waiting) -> Object:
    count = min((old.get("count") or 1) + waiting.count, _MOST_COUNT)
    told = {"message": _fitting(waiting.message), "lastTimestamp": waiting.last, "count": count}
    return {**old, "metadata": dict(old["metadata"]), **told}


def _fitting(text: str) -> str:
    if len(text.encode()) <= MOST_MESSAGE:
        return text
    return text.encode()[: MOST_MESSAGE - 3].decode(errors="ignore") + "..."


def cut_history(writing: Writing, now: float, only_if_over: bool = False) -> bool:
    """Remove what is too old or too much, at most 500 Events; return whether there is more of that.

    `now` is in seconds since 1970.  With `only_if_over`, nothing is looked into unless there are clearly
    too many.
    """
    table, prefix = writing.tables.objects, collection_prefix(EVENT)
    if only_if_over and sum(1 for _ in scan(writing.txn, table, prefix)) <= KEEP + _SLACK:
        return False
    events = [decode(octets) for _, octets in listed(writing.txn, table, prefix)]
    events.sort(key=lambda event: -int(event["metadata"]["resourceVersion"]))
    gone = [*_too_old(events[:KEEP], now), *events[KEEP:]]
    for event in gone[:_MOST_REMOVED]:
        writing.remove(EVENT, event)
    return len(gone) > _MOST_REMOVED


def _too_old(events: list[Object], now: float) -> Iterator[Object]:
    for event in events:
        if not now - KEEP_SECONDS <= _last_seen(event, now):
            yield event


def _last_seen(event: Object, now: float) -> float:
    """Return when an Event happened last, in seconds since 1970; a client's time may be any."""
    series = event.get("series") or {}
    told = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    born = event["metadata"]["creationTimestamp"]
    for text in (told, born):
        try:
            seconds = datetime.fromisoformat(str(text)).timestamp()
        except (ValueError, OverflowError):
            continue
        if seconds <= now:
            return seconds
    return now
