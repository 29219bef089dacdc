"""Partial loops: an upstream that asks us for some of the names for which we ask it.

    we ask R for a name that our zone lacks -> R forwards that zone to us -> the same question comes in

Resolvers whose conditional forwarders lead to us are usual, and right for all that our zones know.  What
they lack and send on (zones that fall through or are for aliases, delegated names) would go round until all
give up.

* Suspected is a question for a name of our zones from the address of one of its own upstreams, while the
  same question is under way there.  It is held until there is a proof, for PROOF_SECONDS at most.
* The proof is a probe (`loops`) below the name asked for: when it comes in, there is a loop.  That holds for
  this upstream and the names beside that one, not for a whole zone of ours: such a zone may be all of
  in-addr.arpa.  After LOOP_SECONDS the next suspicion is proved anew.
* Without it whoever asks is innocent: somebody on the upstream's host, or behind one NAT with it.  It is
  answered like all others, and there is no suspicion for NO_LOOP_SECONDS.
* An upstream on this host is never suspected, as whoever asks from here has its address.
* Where other upstreams of the name are in no loop, the one that is gets REFUSED, so that they are asked.
  Where all are, nobody knows more than our zones: these answer.
* One log line for each upstream's address in LOG_SECONDS.

A question that no upstream asks costs a comparison with each upstream's address.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from time import monotonic

from svcdns.config.own_address import is_local
from svcdns.forward.upstreams.upstream import NoReply
from svcdns.wire.key import above, text_of_key
from svcdns.wire.query import Query

from .clients import ForwardedQuestion
from .health import Health
from .loops import probe
from .single_flight import asked_at

log = logging.getLogger(__name__)

PROOF_SECONDS = 0.5
LOOP_SECONDS = 300.0
NO_LOOP_SECONDS = 10.0
LOG_SECONDS = 3600.0
MOST_KNOWN = 1024
"""Findings that are remembered; beyond it all is found out anew."""
MOST_PROBES = 64
"""At one time; where there are more, nobody else is suspected."""
MOST_HELD = 64
"""Questions that are held for one proof; those beyond are answered like all others."""


class Outcome(Enum):
    """What is to be done with a question."""

    NO_LOOP = auto()
    """No loop is known."""
    HELD = auto()
    """Nothing is to be done before the detector calls back."""
    REFUSE = auto()
    """It is in a loop, and other upstreams may know."""
    NO_OTHER_UPSTREAM = auto()
    """It is in a loop, and would be by way of all others."""


@dataclass(slots=True)
class _Finding:
    """What is known of one upstream's address and the names below one name."""

    until: float
    known: bool = False
    """Whether it has been found out; until then, questions are held."""
    is_loop: bool = False
    held: list[Callable[[], object]] = field(default_factory=list)


class PartialLoopDetector:
    """Knows which upstreams send our questions for a zone back to us; used in one event loop."""

    def __init__(
        self,
        upstreams: Callable[[bytes], Sequence[Health]],
        is_under_way: Callable[[bytes, int], bool],
        *,
        is_here: Callable[[str], bool] = is_local,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`upstreams` gives those for a name's key; `is_under_way` says of (KEY, TYPE) if they are asked."""
        self._upstreams = upstreams
        self._is_under_way = is_under_way
        self._is_here = is_here
        self._clock = clock
        self._findings: dict[tuple[str, bytes], _Finding] = {}
        self._sent: dict[bytes, _Finding] = {}
        self._proving: set[asyncio.Task[None]] = set()
        self._silent_until: dict[str, float] = {}
        """By an upstream's address: no log line before."""

    def check(self, question: ForwardedQuestion, origin: str, call_back: Callable[[], object]) -> Outcome:
        """Say what is to be done with a question for a name in a zone of ours that goes to upstreams.

        `origin` is that of the zone, or of one for aliases.  `call_back` is called once, later, where the
        outcome is HELD.
        """
        key, rrtype = question.question.key, question.question.rrtype
        where = asked_at(key, rrtype)
        upstreams = self._upstreams(where)
        address = _plain(question.client)
        suspect = next((health for health in upstreams if health.address == address), None)
        if suspect is None or not self._is_under_way(key, rrtype):
            return Outcome.NO_LOOP
        finding = self._finding(suspect, where)
        if not finding.known:
            if len(finding.held) >= MOST_HELD:
                return Outcome.NO_LOOP
            finding.held.append(call_back)
            return Outcome.HELD
        if not finding.is_loop:
            return Outcome.NO_LOOP
        self._log(suspect, key, origin)
        is_last = all(health.looped or self._is_in_loop(health, where) for health in upstreams)
        return Outcome.NO_OTHER_UPSTREAM if is_last else Outcome.REFUSE

    def is_probe(self, key: bytes) -> bool:
        """Return whether a question of type HINFO is a probe of ours that has come back."""
        finding = self._sent.get(key)
        if finding is None:
            return False
        self._settle(finding, is_loop=True)
        return True

    def stop(self) -> None:
        """Prove nothing any more, and hold nobody."""
        for task in self._proving:
            task.cancel()
        for finding in self._sent.values():
            self._settle(finding, is_loop=False)

    def _finding(self, suspect: Health, where: bytes) -> _Finding:
        """Return what is known, or begin to find out."""
        place = (suspect.address, above(where))
        found = self._findings.get(place)
        now = self._clock()
        if found is not None and (not found.known or now < found.until):
            return found
        if len(self._findings) >= MOST_KNOWN:
            self._findings = {at: other for at, other in self._findings.items() if not other.known}
        found = self._findings[place] = _Finding(now + NO_LOOP_SECONDS)
        may_prove = len(self._sent) < MOST_PROBES and not self._is_here(suspect.address)
        query = probe(where) if may_prove else None
        if query is None:
            found.known = True
            return found
        self._sent[query.key] = found
        task = asyncio.get_running_loop().create_task(self._prove(suspect, query, found))
        self._proving.add(task)
        task.add_done_callback(self._proving.discard)
        return found

    async def _prove(self, suspect: Health, query: Query, finding: _Finding) -> None:
        try:
            with suppress(NoReply):
                await suspect.upstream.exchange(query, PROOF_SECONDS)
        except Exception:
            log.exception("upstream %s could not be probed for loops", suspect.name)
        finally:
            del self._sent[query.key]
            self._settle(finding, is_loop=False)

    def _settle(self, finding: _Finding, *, is_loop: bool) -> None:
        """Remember what was found out, once, and call those who were held."""
        if finding.known:
            return
        finding.known, finding.is_loop = True, is_loop
        finding.until = self._clock() + (LOOP_SECONDS if is_loop else NO_LOOP_SECONDS)
        held, finding.held = finding.held, []
        for call_back in held:
            asyncio.get_running_loop().call_soon(call_back)

    def _is_in_loop(self, health: Health, where: bytes) -> bool:
        found = self._findings.get((health.address, above(where)))
        return found is not None and found.is_loop and self._clock() < found.until

    def _log(self, suspect: Health, key: bytes, origin: str) -> None:
        now = self._clock()
        if now < self._silent_until.get(suspect.address, now):
            return
        self._silent_until[suspect.address] = now + LOG_SECONDS
        log.warning(
            "upstream %s sends questions for names in our zone %s that we don't know back to us, such as %s "
            "(a partial forwarding loop), so nobody knows them: have it send us questions only for what is "
            "served here, or name the servers that know the others in a [[forward.zone]]",
            suspect.name,
            origin,
            text_of_key(key),
        )


def _plain(client: str) -> str:
    """Return a client's address as upstreams are written: no scope, and no IPv4 inside IPv6."""
    address = client.partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address
