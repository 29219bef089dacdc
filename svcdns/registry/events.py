"""Events: what happened, counted in memory, written in transactions of their own.

Nobody's write waits for an Event.  Messages come in when a group has been committed; equal ones are counted;
what has gathered is written as a write of its own, at most once a second and at most BATCH Events each
time.  A crash loses what had not been written yet (a second's worth, more after a burst), and no more
messages wait than the history would keep.  So flapping costs a few counters, and no object grows:

* one Event for each object, type, reason and message; again means count + 1 and a new lastTimestamp;
* of one object and reason at most SIMILAR messages within SIMILAR_SECONDS; the others share one Event,
  "(combined from similar events): ...", as client-go does it;
* what is only worth an Event while it lasts (a hint) waits for HOLD_SECONDS, is looked at again, and is
  forgotten where it is over: a Service comes before its Pods;
* the history is the newest KEEP Events of the server, none older than KEEP_SECONDS (Kubernetes' TTL).
  Clients' own Events are in it.

Events are named by what they say, so the store itself knows which were written before a restart.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from svcdns.cluster.event_messages import EventMessage, Subject
from svcdns.objects import syntax
from svcdns.objects.errors import StatusError
from svcdns.objects.event_rules import CLUSTER_SCOPED, MOST_MESSAGE
from svcdns.objects.kinds import EVENT

from .hints import still
from .own_work import IsOwn
from .transaction import TIME_FORMAT, Object, WriteTransaction, collection_prefix, decode, scan, scan_keys
from .uids import random_uid

logger = logging.getLogger(__name__)

KEEP = 1000
"""Events in the history, of all namespaces together; a few more until it is next cut."""
KEEP_SECONDS = 3600.0
BATCH = 100
"""Events written at once: about 3 ms of the writing thread."""
GATHER_SECONDS, PAUSE_SECONDS, SWEEP_SECONDS = 0.1, 1.0, 60.0
HOLD_SECONDS = 5.0
"""Longer than it takes to apply a file or two."""
MOST_HELD = 200
"""Messages that are held, the newest: to look again takes 50 us each, and a bulk leaves room for others."""
SIMILAR, SIMILAR_SECONDS = 10, 600.0
COMBINED = "(combined from similar events): "
COMPONENT = "svcdns"
_SLACK = 100
_MOST_REMOVED = 500
_MOST_COUNT = 2**31 - 1

Write = Callable[[Callable[[WriteTransaction], Any]], Awaitable[Any]]
"""Runs something as a write of its own; see Committer.write."""


@dataclass(slots=True)
class _Waiting:
    """How often something happened that is not written yet, when (RFC 3339), and its latest message."""

    first: str
    last: str = ""
    text: str = ""
    count: int = 0


class _Held(NamedTuple):
    """A message that is to last before it counts, until a time of the event loop."""

    message: EventMessage
    until: float


class Recorder:
    """Counts messages and writes them as Events; belongs to one event loop."""

    def __init__(
        self,
        write: Write,
        is_own: IsOwn = lambda *work: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` is the wall clock, in seconds since 1970; cutting the history is the work of all Events."""
        self._write, self._is_own = write, is_own
        self._clock = clock
        self._waiting: OrderedDict[EventMessage, _Waiting] = OrderedDict()
        self._held: OrderedDict[tuple[Subject, str], _Held] = OrderedDict()
        self._holder: asyncio.TimerHandle | None = None
        self._loaded = False
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
        for timer in (self._timer, self._sweeper, self._holder):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])
        while self._waiting:
            await self._write_some()

    def record(self, messages: Iterable[EventMessage]) -> None:
        """Count what happened; it will be written soon."""
        seconds = self._clock()
        now = datetime.fromtimestamp(seconds, UTC).strftime(TIME_FORMAT)
        for message in messages:
            if message.if_lasting:
                self._hold(message)
                continue
            combined = self._similar.is_too_much(message, seconds)
            counted = message._replace(text=COMBINED) if combined else message
            waiting = self._waiting.get(counted)
            if waiting is None:
                if len(self._waiting) >= KEEP:
                    self._waiting.popitem(last=False)  # it would be the first to leave the history
                waiting = self._waiting[counted] = _Waiting(now)
            waiting.last = now
            waiting.text = COMBINED + message.text if combined else message.text
            waiting.count += 1
        if self._waiting:
            self._soon()

    def set_loaded(self) -> None:
        """Manifests are in: from now on what is missing is missing."""
        self._loaded = True
        self._hold_on()

    def _hold(self, message: EventMessage) -> None:
        """Keep a message until it has lasted; the first of an object and reason decides when that is."""
        at = (message.subject, message.reason)
        if at not in self._held:
            if len(self._held) >= MOST_HELD:
                self._held.popitem(last=False)
            self._held[at] = _Held(message, asyncio.get_running_loop().time() + HOLD_SECONDS)
        self._hold_on()

    def _hold_on(self) -> None:
        """Look at the oldest message that is held when its time has come."""
        if self._held and self._holder is None and self._loaded and not self._stopped:
            loop, first = asyncio.get_running_loop(), next(iter(self._held.values()))
            self._holder = loop.call_at(max(first.until, loop.time()), self._held_long_enough)

    def _held_long_enough(self) -> None:
        self._holder = None
        if self._task is None:
            self._begin(self._look_again)
        else:
            self._holder = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._held_long_enough)

    async def _look_again(self) -> None:
        """Record what of the held messages is still so."""
        now = asyncio.get_running_loop().time()
        due = [at for at, held in islice(self._held.items(), BATCH) if held.until <= now]
        messages = [self._held.pop(at).message for at in due]
        found = await self._do(lambda write: [still(write, message) for message in messages])
        self.record(one._replace(if_lasting=False) for one in found or () if one is not None)
        self._hold_on()

    def check_history(self) -> None:
        """Cut the history soon: a client has written an Event."""
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
            written = await self._do(lambda write: _write_some_of(write, batch))
            if written is not False:
                self._put_back(batch[written:])
        await self._cut(only_if_over=True)

    def _put_back(self, batch: list[tuple[EventMessage, _Waiting]]) -> None:
        """Have those that were not written be the next, with what was counted meanwhile."""
        for message, waiting in reversed(batch):
            if (newer := self._waiting.get(message)) is not None:
                newer.first, newer.count = waiting.first, newer.count + waiting.count
            else:
                self._waiting[message] = waiting
            self._waiting.move_to_end(message, last=False)

    async def _cut(self, *, only_if_over: bool = False) -> None:
        now = self._clock()
        while self._is_own(EVENT.name, "", ""):
            if not await self._do(lambda write: cut_history(write, now, only_if_over)):
                break

    async def _do(self, action: Callable[[WriteTransaction], Any]) -> Any:
        """Run a write; log what fails: an Event that is lost must not trouble anybody."""
        try:
            return await self._write(action)
        except StatusError as failed:
            logger.warning("events could not be written: %s", failed.message)
            return False


class Similar:
    """Which messages an object has had lately for one reason, so that too many can share one Event."""

    def __init__(self) -> None:
        self._groups: OrderedDict[tuple[object, ...], tuple[float, set[str]]] = OrderedDict()

    def is_too_much(self, message: EventMessage, now: float) -> bool:
        """Return whether this message is to be combined with others; `now` is in seconds."""
        group = (message.subject, message.type, message.reason)
        last, texts = self._groups.pop(group, (now, set()))
        if abs(now - last) > SIMILAR_SECONDS:
            texts = set()
        self._groups[group] = (now, texts)
        if len(self._groups) > KEEP:
            self._groups.popitem(last=False)
        if message.text not in texts and len(texts) >= SIMILAR:
            return True
        texts.add(message.text)
        return False


def event_name(message: EventMessage) -> str:
    """Return the name of the Event of a message: the name of its object, and a digest of what it says."""
    said = (*message.subject, message.type, message.reason, message.text)
    digest = hashlib.blake2b("\0".join(said).encode(), digest_size=8).hexdigest()
    stem = message.subject.name
    if syntax.subdomain_errors(stem):  # a file's name may be any
        stem = _ODD.sub("-", stem.lower())
    return f"{stem[:_LONGEST_STEM].strip('-.') or 'event'}.{digest}"


_ODD = re.compile(r"[^a-z0-9-]+")
_LONGEST_STEM = 253 - 17


def _write_some_of(write: WriteTransaction, batch: list[tuple[EventMessage, _Waiting]]) -> int:
    """Write as many as there is room for, one at least; return how many."""
    is_open: dict[str, bool] = {}
    for number, (message, waiting) in enumerate(batch):
        if write.is_full:
            return number
        name, namespace = event_name(message), message.subject.namespace or CLUSTER_SCOPED
        if namespace not in is_open:
            found = write.namespace(namespace)
            is_open[namespace] = found is not None and not found["metadata"].get("deletionTimestamp")
        if is_open[namespace]:
            old = write.load(EVENT, namespace, name)
            new = _first(write, namespace, name, message, waiting) if old is None else _again(old, waiting)
            write.save(EVENT, old, new)
    return len(batch)


def _first(
    write: WriteTransaction, namespace: str, name: str, message: EventMessage, waiting: _Waiting
) -> Object:
    subject = message.subject
    involved = {
        "kind": subject.kind,
        "namespace": subject.namespace,
        "name": subject.name,
        "uid": subject.uid,
        "apiVersion": subject.api_version,
    }
    born = {"uid": random_uid(), "creationTimestamp": write.now}
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"name": name, "namespace": namespace, **born},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": message.reason,
        "message": _fitting(waiting.text),
        "source": {"component": COMPONENT},
        "firstTimestamp": waiting.first,
        "lastTimestamp": waiting.last,
        "count": min(waiting.count, _MOST_COUNT),
        "type": message.type,
        "reportingComponent": COMPONENT,
    }


def _again(old: Object, waiting: _Waiting) -> Object:
    count = min((old.get("count") or 1) + waiting.count, _MOST_COUNT)
    changed = {"message": _fitting(waiting.text), "lastTimestamp": waiting.last, "count": count}
    return {**old, "metadata": dict(old["metadata"]), **changed}


def _fitting(text: str) -> str:
    if len(text.encode()) <= MOST_MESSAGE:
        return text
    return text.encode()[: MOST_MESSAGE - 3].decode(errors="ignore") + "..."


def cut_history(write: WriteTransaction, now: float, only_if_over: bool = False) -> bool:
    """Remove what is too old or too much, at most 500 Events; return whether there is more of that.

    `now` is in seconds since 1970.  With `only_if_over`, nothing is read unless there are clearly too
    many, and what is too old waits for the next sweep.
    """
    table, prefix = write.tables.objects, collection_prefix(EVENT)
    if only_if_over and sum(1 for _ in scan_keys(write.txn, table, prefix)) <= KEEP + _SLACK:
        return False
    events = [(_read_dates(octets), octets) for _, octets in scan(write.txn, table, prefix)]
    events.sort(key=lambda event: -int(event[0].metadata.revision))
    kept = [] if only_if_over else events[:KEEP]
    gone = [octets for dates, octets in kept if not now - KEEP_SECONDS <= _last_seen(dates, now)]
    gone += [octets for _, octets in events[KEEP:]]
    removed = 0
    for octets in gone[:_MOST_REMOVED]:
        if write.is_full:
            break
        write.remove(EVENT, decode(octets))
        removed += 1
    return len(gone) > removed


class _Metadata(msgspec.Struct, rename={"revision": "resourceVersion", "born": "creationTimestamp"}):
    revision: str
    born: str


class _Series(msgspec.Struct, rename="camel"):
    last_observed_time: str | None = None


class _Dates(msgspec.Struct, rename="camel"):
    """What of a stored Event says when it was: to read no more takes a third of the time."""

    metadata: _Metadata
    series: _Series | None = None
    last_timestamp: str | None = None
    event_time: str | None = None


_read_dates = msgspec.json.Decoder(_Dates).decode


def _last_seen(event: _Dates, now: float) -> float:
    """Return when an Event happened last, in seconds since 1970; a client's time may be any."""
    observed = event.series.last_observed_time if event.series is not None else None
    for text in (observed or event.last_timestamp or event.event_time, event.metadata.born):
        try:
            seconds = datetime.fromisoformat(str(text)).timestamp()
        except (ValueError, OverflowError):
            continue
        if seconds <= now:
            return seconds
    return now
