"""The Lease of this proxy's node: renewed while the proxy runs, and what it says of load balancer addresses.

    members, Services ──▶ handover ──▶ the machine answers ──▶ the Lease says so ──▶ members (of all nodes)

Rules:

* a machine answers before its Lease is renewed, and answers no more before its Lease says so;
* a renewal counts from before it was sent: what the API did not acknowledge has not been;
* nothing is decided before all Leases have been listed once: what the proxy before this one did stays;
* where this machine can't give its answers an end, it takes no part.

https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import NamedTuple

from svcdns.client import ApiError, AsyncClient, NoServer, Unreachable
from svcdns.client.calls import apply, merge, path
from svcdns.client.exchange import Call, Object, Request, answer
from svcdns.cluster.traffic_objects import ANNOUNCES, ANNOUNCES_ALONE, ANNOUNCES_IN
from svcdns.netlink.wire import Malformed
from svcdns.objects.kinds import LEASE
from svcdns.system.log_on_change import LogOnChange

from .handover import Candidates, Handover, Said, Step, Written
from .machine import Machine
from .members import DURATION_SECONDS, NAMESPACE, Members, Network

_NOT_FOUND = 404
_LEAVE_SECONDS = 1.0
_SETTLE_SECONDS = 0.02
"""What comes at once is one step."""

log = logging.getLogger(__name__)


class Times(NamedTuple):
    """In seconds; each is well below the next one."""

    renew: float = 5.0
    lifetime: float = 10.0
    """For so long after a renewal are this machine's answers good."""
    duration: int = DURATION_SECONDS
    """After so long without one, others take over."""


TIMES = Times()


class OwnLease:
    """Keeps the Lease of one proxy, and has its machine answer accordingly."""

    def __init__(
        self,
        client: AsyncClient,
        node: str,
        members: Members,
        machine: Machine,
        candidates: Callable[[], Candidates],
        times: Times | None = None,
    ) -> None:
        """`candidates` gives the addresses of Services, and which nodes may announce each."""
        self._client = client
        self._node = node
        self._members = members
        self._machine = machine
        self._candidates = candidates
        self._times = times or TIMES
        self._handover = Handover(node, members, self._times.lifetime)
        self._networks: frozenset[Network] = frozenset()
        self._written_networks: frozenset[Network] | None = None
        self._set: object = None
        self._has_begun = False
        self._wake = asyncio.Event()
        self._refused = LogOnChange("")
        self._failed = LogOnChange("")
        self.answers_changed: Callable[[frozenset[bytes]], None] = lambda gained: None
        """Is told which addresses this machine has begun to answer for."""
        self.came_back: Callable[[], None] = lambda: None
        """Is called when the Lease is renewed after others may have given this node up."""

    @property
    def answered(self) -> frozenset[bytes]:
        """The addresses that this machine answers for."""
        return self._handover.answered

    def look(self) -> None:
        """Decide anew soon: something has changed."""
        self._wake.set()

    async def run(self, is_listed: Callable[[], bool]) -> None:
        """Keep it until cancelled, from when all Leases and Services are listed."""
        while not is_listed():
            self._wake.clear()
            await self._wake.wait()
        self._handover.resume()
        self._has_begun = True
        while True:
            self._wake.clear()
            pause = await self._step()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
            await asyncio.sleep(_SETTLE_SECONDS)

    async def leave(self) -> None:
        """Answer no more and say so, unless this machine is to go on alone."""
        written = self._handover.written
        goes_on = written is not None and written.said.lasting and self._networks
        if goes_on or not self._has_begun:
            return
        self._answer(Step(frozenset(), 0.0, Said()), self._reachable())
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._write(Said(), has_left=True)

    async def _step(self) -> float:
        """Do what is due, and return after how long to do so again."""
        now = time.monotonic()
        candidates = self._reachable()
        before, written = self._handover.answered, self._handover.written
        step = self._handover.step(now, candidates)
        if not self._answer(step, candidates):
            self._networks, self._handover.answered = frozenset(), frozenset()
            step = Step(frozenset(), 0.0, Said())
        if gained := step.answered - before:
            self.answers_changed(gained)
        is_said = written is not None and (written.said, self._written_networks) == (
            step.said,
            self._networks,
        )
        if is_said and written is not None and now < written.sent_at + self._times.renew:
            return self._next_look(now, written)
        if not await self._write(step.said):
            return self._times.renew / 5
        self._wake.set()  # the answers are good for longer now
        return self._times.renew

    def _next_look(self, now: float, written: Written) -> float:
        ends = [one.ends_at for one in self._members if one.ends_at > now]
        return max(0.0, min([written.sent_at + self._times.renew, *ends]) - now)

    def _reachable(self) -> Candidates:
        """Return the addresses that lie in a network where this machine announces."""
        self._networks = self._machine.announces_in()
        own = self._machine.own_addresses()
        return {
            address: nodes
            for address, nodes in self._candidates().items()
            if address not in own and any(ip_address(address) in one for one in self._networks)
        }

    def _answer(self, step: Step, candidates: Candidates) -> bool:
        """Have the machine answer; return whether it can."""
        wanted = frozenset(candidates), step.answered, step.until
        if wanted == self._set:
            return True
        seconds = None if step.until is None else step.until - time.monotonic()
        try:
            self._machine.answer_for(wanted[0], step.answered, seconds)
        except (OSError, Malformed) as wrong:
            self._set = None
            self._machine.announce(frozenset())
            if self._failed.is_new(text := str(wrong)):
                log.error("no address is announced, as this kernel can't put an end to that: %s", text)
            return False
        self._set = wanted
        self._failed.is_new("")
        self._machine.announce(step.answered)
        return True

    async def _write(self, said: Said, has_left: bool = False) -> bool:
        sent_at, networks = time.monotonic(), self._networks
        body = self._body(said, networks, has_left)
        try:
            async with asyncio.timeout(self._times.renew):
                found = await self._client.run(_renewed(self._node, body))
        except (ApiError, NoServer, Unreachable, TimeoutError) as refused:
            if isinstance(refused, ApiError) and self._refused.is_new(str(refused)):
                log.warning("the Lease of this node is not renewed: %s", refused)
            return False
        self._refused.is_new("")
        if self._handover.written is None:
            self.came_back()
        version = found["metadata"].get("resourceVersion", "")
        self._handover.written = Written(said, int(version) if version.isdecimal() else 0, sent_at)
        self._written_networks = networks
        return True

    def _body(self, said: Said, networks: frozenset[Network], has_left: bool) -> Object:
        annotations: Mapping[str, str | None] = {
            ANNOUNCES_IN: " ".join(sorted(map(str, networks))) or None,
            ANNOUNCES: " ".join(str(ip_address(one)) for one in sorted(said.claims)) or None,
            ANNOUNCES_ALONE: "true" if said.lasting and networks else None,
        }
        spec = {
            "holderIdentity": None if has_left else self._node,
            "leaseDurationSeconds": self._times.duration,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return {"metadata": {"annotations": annotations}, "spec": spec}


def _renewed(node: str, body: Object) -> Call[Object]:
    """Change the Lease, or make it and its Namespace where they are missing; return it as it is now."""
    try:
        return (yield from merge(LEASE, NAMESPACE, node, body))
    except ApiError as refused:
        if refused.status != _NOT_FOUND:
            raise
    yield from apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kept = {key: text for key, text in body["metadata"]["annotations"].items() if text is not None}
    made = {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.name,
        "metadata": {"name": node, "namespace": NAMESPACE, "annotations": kept},
        "spec": {key: value for key, value in body["spec"].items() if value is not None},
    }
    found: Object = yield from answer(Request("POST", path(LEASE, NAMESPACE), made), "metadata")
    return found
