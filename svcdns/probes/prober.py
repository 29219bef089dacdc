"""When each Pod is probed, and which verdicts are written.

Rules:

* one task for each container, as the kubelet does it: every `periodSeconds`, whatever the last one took;
* a Pod that was known before this process began keeps the verdict that stands in its condition until the
  thresholds say else, and its first probe comes at a random time of a period; a new one is probed at once;
* a verdict is written when it is another than the one that stands; its words alone are brought up to date
  at most once a minute;
* where several servers share a registry, a Pod is probed by one of them (`divide`); who takes one over goes
  on from the verdict that stands, as after a restart;
* at most MOST_AT_ONCE probes are under way; a verdict that can't be written is written later.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .specs import Check, ContainerProbes, NotRun, Probe, probes_of
from .verdicts import ContainerVerdict, Outcome, Verdict, verdict

CONDITION = "svcdns.io/Probe"
MOST_AT_ONCE = 512
_WRITERS = 16
_WORDS_SECONDS = 60.0
_PAUSE_SECONDS = 1.0
"""Before a verdict that could not be written is tried again."""

Object = Mapping[str, Any]


class PodName(NamedTuple):
    """Which Pod."""

    namespace: str
    name: str


class NotWritten(Exception):
    """A verdict could not be written now; the text says why."""


Run = Callable[[Check, str], Awaitable[Outcome]]
"""Runs one probe against an address; its caller bounds the time."""
Load = Callable[[Check], Awaitable[None]]
"""Makes ready for probes of a kind: what that takes is no time of a Pod's."""
IsOwn = Callable[[PodName], bool]
"""Returns whether a Pod is this server's to probe."""
Write = Callable[[PodName, str, Verdict, bool], Awaitable[None]]
"""Writes the verdict about the Pod of a uid, and whether it turned.  Raises NotWritten."""


@dataclass(slots=True, eq=False)
class _Probed:
    """A Pod that is probed."""

    name: PodName
    uid: str
    address: str
    probes: tuple[ContainerProbes, ...]
    stands: Verdict | None
    """What its condition says, None if nothing."""
    containers: list[ContainerVerdict]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    queued: bool = False
    written_at: float = float("-inf")

    def is_same(self, other: _Probed) -> bool:
        return (self.uid, self.address, self.probes) == (other.uid, other.address, other.probes)

    def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()


class Prober:
    """Probes the Pods that it is told of; made and used in one event loop."""

    def __init__(
        self, run: Run, write: Write, why_not: Callable[[str], str], load: Load | None = None
    ) -> None:
        """`why_not` says why an address may not be probed, "" where it may."""
        self._run, self._write, self._why_not, self._load = run, write, why_not, load
        self._pods: dict[PodName, _Probed] = {}
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._unwritten: asyncio.Queue[_Probed] = asyncio.Queue()
        self._later: set[asyncio.Task[None]] = set()
        self._is_own: IsOwn = lambda pod: True
        self.outcomes = {True: 0, False: 0}
        """How many probes succeeded and failed."""

    def __len__(self) -> int:
        return len(self._pods)

    def put(self, pod: Object) -> None:
        """Take a Pod that is there, or has changed."""
        found = _probed(pod)
        before = self._pods.get(_name_of(pod))
        if found is None:
            self.remove(pod)
        elif before is not None and before.is_same(found):
            before.stands = found.stands
        else:
            self.remove(pod)
            self._pods[found.name] = found
            self._begin(found)

    def divide(self, is_own: IsOwn) -> None:
        """Probe only those from now on that are this server's to probe."""
        self._is_own = is_own
        for pod in self._pods.values():
            if not is_own(pod.name):
                pod.cancel()
                pod.tasks.clear()
            elif not pod.tasks:
                pod.containers = _containers(pod.probes, pod.stands)
                self._begin(pod)

    def remove(self, pod: Object) -> None:
        """Forget a Pod."""
        if gone := self._pods.pop(_name_of(pod), None):
            gone.cancel()

    def keep(self, names: set[PodName]) -> None:
        """Forget all Pods but these."""
        for name in self._pods.keys() - names:
            self._pods.pop(name).cancel()

    async def write(self) -> None:
        """Write verdicts until cancelled."""
        async with asyncio.TaskGroup() as writers:
            for _ in range(_WRITERS):
                writers.create_task(self._write_on())

    def close(self) -> None:
        """Probe nothing any more."""
        self.keep(set())

    def _begin(self, pod: _Probed) -> None:
        if not self._is_own(pod.name):
            return
        if why := self._why_not(pod.address):
            pod.containers = [ContainerVerdict(_forbidden(one, why)) for one in pod.probes]
        for container in pod.containers:
            pod.tasks.append(asyncio.create_task(self._probe(pod, container)))

    async def _probe(self, pod: _Probed, container: ContainerVerdict) -> None:
        """Probe one container for as long as there is something to be found out."""
        clock = asyncio.get_running_loop().time
        began, probe = clock(), container.due
        if probe is not None and pod.stands is not None:
            await asyncio.sleep(random.random() * probe.period)
        elif probe is not None:
            await asyncio.sleep(probe.initial_delay)
        while (probe := container.due) is not None:
            if isinstance(probe.check, NotRun):
                self._judge(pod)
                return
            at = clock()
            container.add(probe, await self._outcome(probe, pod.address))
            self._judge(pod)
            if container.due is probe:
                await asyncio.sleep(_until_next(at, clock(), probe.period))
            elif container.due is not None and pod.stands is None:
                await asyncio.sleep(max(0.0, began + container.due.initial_delay - clock()))

    async def _outcome(self, probe: Probe, address: str) -> Outcome:
        if self._load is not None:
            await self._load(probe.check)
        async with self._room:
            try:
                async with asyncio.timeout(probe.timeout):
                    outcome = await self._run(probe.check, address)
            except TimeoutError:
                outcome = Outcome(False, f"no answer within {probe.timeout} s")
        self.outcomes[outcome.success] += 1
        return outcome

    def _judge(self, pod: _Probed) -> None:
        """See whether the verdict is another than the one that stands."""
        if not pod.queued and self._differs(pod):
            pod.queued = True
            self._unwritten.put_nowait(pod)

    def _differs(self, pod: _Probed) -> bool:
        found, stands = verdict(pod.containers), pod.stands
        if stands is None or found[:2] != stands[:2]:
            return True
        old = asyncio.get_running_loop().time() - pod.written_at >= _WORDS_SECONDS
        return found.message != stands.message and old

    async def _write_on(self) -> None:
        while True:
            pod = await self._unwritten.get()
            found = verdict(pod.containers)
            is_probed = self._pods.get(pod.name) is pod and self._is_own(pod.name)
            if not is_probed or not self._differs(pod):
                pod.queued = False
                continue
            try:
                turned = pod.stands is None or pod.stands.ready != found.ready
                await self._write(pod.name, pod.uid, found, turned)
            except NotWritten:
                self._write_later(pod)
                continue
            pod.stands, pod.written_at = found, asyncio.get_running_loop().time()
            pod.queued = False
            self._judge(pod)

    def _write_later(self, pod: _Probed) -> None:
        async def wait() -> None:
            await asyncio.sleep(_PAUSE_SECONDS)
            self._unwritten.put_nowait(pod)

        task = asyncio.create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)


def _probed(pod: Object) -> _Probed | None:
    """Return what is to be probed of a Pod; None: nothing, or not where."""
    status = pod.get("status") or {}
    probes, address = probes_of(pod), status.get("podIP") or ""
    if not probes or not address or status.get("phase") in ("Succeeded", "Failed"):
        return None
    stands = _standing(status)
    containers = _containers(probes, stands)
    return _Probed(_name_of(pod), pod["metadata"].get("uid", ""), address, probes, stands, containers)


def _containers(probes: Sequence[ContainerProbes], stands: Verdict | None) -> list[ContainerVerdict]:
    was_ready = stands is not None and stands.ready
    return [ContainerVerdict(one, was_ready) for one in probes]


def _standing(status: Object) -> Verdict | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == CONDITION:
            ready = condition.get("status") == "True"
            return Verdict(ready, condition.get("reason", ""), condition.get("message", ""))
    return None


def _forbidden(probes: ContainerProbes, why: str) -> ContainerProbes:
    refused = Probe(NotRun(why))
    return ContainerProbes(probes.container, None, refused)


def _name_of(pod: Object) -> PodName:
    return PodName(pod["metadata"]["namespace"], pod["metadata"]["name"])


def _until_next(began: float, now: float, period: int) -> float:
    """Return the seconds until the next multiple of a period after the beginning."""
    return period - (now - began) % period
