"""The Lease of this proxy's node: renewed while the proxy runs, and what it says of load balancer addresses.

    members, Services ──▶ handover ──▶ the machine answers ──▶ the Lease says so ──▶ members (of all nodes)

Rules:

* a machine answers before its Lease is renewed, and answers no more before its Lease says so;
* a renewal counts from before it was sent: what the API did not acknowledge has not been;
* nothing is decided before all Leases have been listed once: what the proxy before this one did stays;
* where this machine can't give its answers an end, it takes no part;
* nothing is written before the node's name is this proxy's (`node_holder`), nor after it is another's.

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
from svcdns.client.calls import apply, get, merge, path
from svcdns.client.exchange import Call, Object, Request, answer
from svcdns.cluster.traffic_objects import ANNOUNCES, ANNOUNCES_ALONE, ANNOUNCES_IN
from svcdns.netlink.wire import Malformed
from svcdns.objects.kinds import LEASE
from svcdns.system.log_on_change import LogOnChange

from .handover import Candidates, Handover, Said, Step, Written
from .machine import Machine
from .members import DURATION_SECONDS, NAMESPACE, Members, Network
from .node_holder import NodeHolder, NodeTaken, Standing

_NOT_FOUND, _CONFLICT = 404, 409
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
        identity: str,
        members: Members,
        machine: Machine,
        candidates: Callable[[], Candidates],
        times: Times | None = None,
    ) -> None:
        """`identity`: who this proxy is among those of its name (`node_holder`).

        `candidates` gives the addresses of Services, and which nodes may announce each.
        """
        self._client = client
        self._node = node
        self._members = members
        self._machine = machine
        self._candidates = candidates
        self._times = times or TIMES
        self._handover = Handover(node, members, self._times.lifetime)
        self._holder = NodeHolder(node, identity, members)
        self.standing = Standing.WAITS
        self.held = asyncio.Event()
        """Set from when the name of this node is this proxy's."""
        self.standing_changed: Callable[[], None] = lambda: None
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

    async def run(self, are_listed: Callable[[], bool], is_synced: Callable[[], bool]) -> None:
        """Keep it until cancelled, from when all Leases are listed and all traffic is carried.

        Raises NodeTaken, before that or at any time, where another proxy has the name of this node.
        """
        await self._until(are_listed)
        await self._until_held()
        await self._until(is_synced)
        self._handover.resume()
        self._has_begun = True
        while True:
            self._wake.clear()
            pause = await self._step()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            await asyncio.sleep(_SETTLE_SECONDS)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._wake.clear()
            await self._wake.wait()

    async def _until_held(self) -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            standing = self._holder.look(now, None)
            if standing is not self.standing:
                self.standing = standing
                self.standing_changed()
            foreign = self._holder.foreign
            if standing is Standing.HOLDS or foreign is None:
                self.held.set()
                return
            log.info("is %s alive, the holder of this node's Lease? its next renewal says so", foreign.holder)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, foreign.ends_at - now)):
                    await self._wake.wait()

    def _check_holder(self, now: float) -> None:
        """See that the name is still this proxy's.  Raises NodeTaken, and answers for no address then."""
        written = self._handover.written
        try:
            self._holder.look(now, written.version if written is not None else None)
        except NodeTaken:
            self._has_begun = False
            self._answer(Step(frozenset(), 0.0, Said()), self._reachable())
            raise

    async def leave(self) -> None:
        """Answer no more and say so, unless this machine is to go on alone."""
        written = self._handover.written
        goes_on = written is not None and written.said.lasting and self._networks
        if goes_on or not self._has_begun:
            return
        self._answer(Step(frozenset(), 0.0, Said()), self._reachable())
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                if await self._is_holder():
                    await self._write(Said(), has_left=True)

    async def _is_holder(self) -> bool:
        """Return whether the API has it so now; a renewal whose answer was not waited for may be ours."""
        try:
            found = await self._client.run(get(LEASE, NAMESPACE, self._node))
        except (ApiError, NoServer, Unreachable):
            return False
        return found is not None and found.get("spec", {}).get("holderIdentity") == self._holder.own

    async def _step(self) -> float:
        """Do what is due, and return after how long to do so again."""
        now = time.monotonic()
        self._check_holder(now)
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
            is_said = isinstance(refused, ApiError) and refused.status != _CONFLICT
            if is_said and self._refused.is_new(str(refused)):
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
            "holderIdentity": None if has_left else self._holder.own,
            "leaseDurationSeconds": self._times.duration,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        metadata: Object = {"annotations": annotations}
        known = self._members.get(self._node)
        is_taken = self._handover.written is None and not has_left
        if is_taken and known is not None:  # of two who take it at once, one does
            metadata["resourceVersion"] = str(known.version)
        return {"metadata": metadata, "spec": spec}


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
