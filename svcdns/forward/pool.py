"""The upstreams of one zone: which is asked first, which next, and when to give up.

    those that are up, by policy; then those that are down; round after round

* One try takes TRY_SECONDS at most, all of them TOTAL_SECONDS.  A lost packet costs one try, not the answer.
* NOERROR, NXDOMAIN and YXDOMAIN are answers.  Any other rcode says nothing about the name, and those
  between two servers (BADVERS, NOTAUTH, ...) mean nothing to clients: the next upstream may know better;
  the one that said so isn't asked again for this question.
* An answer that is truncated (TCP fails there) is given only where no other upstream that is up has a
  whole one.
* A round begins no sooner than TRY_SECONDS after the one before: refused connections come back at once,
  and asking again at once would be a busy loop.
* While all are known to be down, a question takes TRY_SECONDS instead: probes find within a second which
  of them is back, and it is asked then.  Each question begins with another of them, should there be one
  that answers questions but no probes.
* Clients hear how many upstreams said what, never which: names, addresses and URLs are in the debug log.
* An upstream through which questions come back to us is never asked.

Nearly always the first upstream answers at once: `begin` makes no task for that, `resolve` does the rest.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from time import monotonic

import dns.rcode
import msgspec

from svcdns.forward.upstreams.upstream import LocalFault, NoReply, Outcome, UselessReply
from svcdns.wire import codes
from svcdns.wire.key import text_of_key
from svcdns.wire.query import Query
from svcdns.wire.response import Response

from .health import Health

log = logging.getLogger(__name__)

TRY_SECONDS = 1.0
TOTAL_SECONDS = 3.0
_LEAST_SECONDS = 0.05
"""No reply comes in less: not worth a try."""
_MOST_TEXT = 100
_ANSWERS = frozenset({codes.NOERROR, codes.NXDOMAIN, codes.YXDOMAIN})
_OURS_TO_SAY = frozenset({codes.EDE_STALE_ANSWER, 4, codes.EDE_STALE_NXDOMAIN, 29})
"""EDEs of answers, not of failures: stale, forged, synthesized."""
_PRIVATE_EDE = 49152

_HAS_SAID = (Response, UselessReply)
"""Of these nothing better comes by asking the same upstream again."""

_Heard = Mapping[Health, Outcome]
"""What upstreams said to a question that has no answer."""


class Unresolved(Exception):
    """No upstream gave an answer that can be passed on; `ede` and the text say why (RFC 8914)."""

    def __init__(self, ede: int, text: str = "") -> None:
        super().__init__(text)
        self.ede = ede


class Attempt(msgspec.Struct, eq=False):
    """How far a question has come; times are time.monotonic()'s, as the loop's."""

    begun: float
    deadline: float
    next_round: float
    """The next round begins no sooner."""
    waiting: list[Health]
    """Those that have not had their turn in this round."""
    heard: dict[Health, Outcome] = {}
    short: Response | None = None
    """The last answer that was truncated."""

    def hear(self, health: Health, outcome: Outcome) -> Response | None:
        """Take what an upstream has said; return it if it is the answer."""
        if isinstance(outcome, Response) and outcome.rcode in _ANSWERS:
            if not outcome.truncated:
                return outcome
            self.short = outcome
        self.heard[health] = outcome
        return None


class Pool:
    """Resolves questions by asking upstreams, one after the other."""

    def __init__(self, zone: str, upstreams: Iterable[Health] = (), policy: str = "sequential") -> None:
        """`zone` is an origin, "." for all names; `policy` is one of svcdns.config.sections.POLICIES."""
        self.zone = zone
        self.upstreams = tuple(upstreams)
        """In the order of the configuration; may be replaced at any time."""
        self.policy = policy
        self._turn = -1

    @property
    def is_down(self) -> bool:
        """Whether none of its upstreams is known to answer (or there is none)."""
        if self.upstreams and self.upstreams[0].up and not self.upstreams[0].looped:
            return False
        return not any(health.up and not health.looped for health in self.upstreams)

    def begin(
        self, query: Query, on_answer: Callable[[Response], object], go_on: Callable[[Attempt], object]
    ) -> None:
        """Ask the first upstream, without a task where it can be asked so, and call one of these, once.

        `on_answer` is given the answer, later.  `go_on` is given, now or later, how far the question has come
        where that is not all: `resolve` goes on from there.
        """
        attempt = self._attempt()
        if not attempt.waiting or not attempt.waiting[0].is_prompt:
            go_on(attempt)
            return
        first = attempt.waiting.pop(0)

        def has_come(outcome: Outcome) -> None:
            answer = attempt.hear(first, outcome)
            if answer is not None:
                on_answer(answer)
            else:
                go_on(attempt)

        first.begin(query, TRY_SECONDS, has_come)

    async def resolve(self, query: Query, attempt: Attempt | None = None) -> Response:
        """Return an upstream's answer.  Raises Unresolved, which says why in a few words for clients.

        `attempt` is how far `begin` has come.
        """
        attempt = attempt or self._attempt()
        heard, waiting = attempt.heard, attempt.waiting
        while waiting or heard:
            while waiting:
                health = waiting.pop(0)
                left = attempt.deadline - monotonic()
                if left < _LEAST_SECONDS or (attempt.short is not None and not health.up):
                    break
                outcome: Outcome
                try:
                    outcome = await health.ask(query, left if left < TRY_SECONDS else TRY_SECONDS)
                except NoReply as missed:
                    outcome = missed
                if (answer := attempt.hear(health, outcome)) is not None:
                    return answer
            if attempt.short is not None:
                return attempt.short
            # Those that are new by now have their turn too.
            waiting = [health for health in self._order() if not isinstance(heard.get(health), _HAS_SAID)]
            if not waiting or attempt.begun + TOTAL_SECONDS - attempt.next_round < _LEAST_SECONDS:
                break
            if (pause := attempt.next_round - monotonic()) > 0:
                await asyncio.sleep(pause)
            if not self.is_down:
                attempt.deadline = attempt.begun + TOTAL_SECONDS
            if attempt.deadline - monotonic() < _LEAST_SECONDS:
                break
            attempt.next_round = monotonic() + TRY_SECONDS
        if log.isEnabledFor(logging.DEBUG):
            log.debug("no answer to %s type %d: %s", text_of_key(query.key), query.rrtype, _in_full(heard))
        raise Unresolved(_ede(heard), self._why(heard, round(attempt.deadline - attempt.begun)))

    def _attempt(self) -> Attempt:
        """Return a question that is to be asked, of nobody so far."""
        begun = monotonic()
        self._turn += 1
        order = self._order()
        any_up = bool(order) and order[0].up
        return Attempt(begun, begun + (TOTAL_SECONDS if any_up else TRY_SECONDS), begun + TRY_SECONDS, order)

    def _order(self) -> list[Health]:
        """Return the upstreams in the order in which they are to be tried now."""
        if len(self.upstreams) == 1:
            return [health for health in self.upstreams if not health.looped]
        up = [health for health in self.upstreams if health.up and not health.looped]
        if self.policy == "random":
            random.shuffle(up)
        elif self.policy != "sequential":
            up = _turned(up, self._turn)
        if len(up) < len(self.upstreams):
            down = [health for health in self.upstreams if not health.up and not health.looped]
            up += down if up else _turned(down, self._turn)
        return up

    def _why(self, heard: _Heard, seconds: int) -> str:
        """Return why there is no answer, for the text of an EDE: short, and made of our own words."""
        if not self.upstreams:
            return f"no upstreams: none is configured for {self.zone}, or its resolv.conf lists none"
        if any(isinstance(one, _HAS_SAID) for one in heard.values()):
            return _counted(heard, {*self.upstreams, *heard})[:_MOST_TEXT]
        if all(health.looped for health in self.upstreams):
            return "no upstreams: each sends questions back here in a loop"
        if _is_local(heard):
            return "upstreams can't be asked: this server lacks descriptors, ports or memory"
        all_down = ": all are known to be down" if seconds < TOTAL_SECONDS else ""
        return f"no upstream answered within {seconds} s{all_down}"


def _turned(healths: list[Health], turn: int) -> list[Health]:
    """Return them in the same order, from another one on."""
    first = turn % len(healths) if healths else 0
    return healths[first:] + healths[:first]


def _counted(heard: _Heard, upstreams: set[Health]) -> str:
    """Return how many upstreams said what: `2 of 3 upstreams said SERVFAIL, 1 did not answer`."""
    said = Counter(_in_short(one) for one in heard.values() if isinstance(one, _HAS_SAID))
    if len(upstreams) == 1:
        return f"the upstream said {next(iter(said))}"
    (rcode, count), *others = said.items()
    parts = [f"{count} of {len(upstreams)} upstreams said {rcode}"]
    parts += [f"{count} {rcode}" for rcode, count in others]
    looped = sum(health.looped for health in upstreams if health not in heard)
    local = sum(isinstance(one, LocalFault) for one in heard.values())
    silent = len(upstreams) - said.total() - looped - local
    rest = ((silent, "did not answer"), (local, "could not be asked"), (looped, "out of use"))
    return ", ".join(parts + [f"{count} {what}" for count, what in rest if count])


def _is_local(heard: _Heard) -> bool:
    """Say whether this host alone stood in the way."""
    return bool(heard) and all(isinstance(one, LocalFault) for one in heard.values())


def _ede(heard: _Heard) -> int:
    """Return the EDE of a failure: the upstreams' own where all that answered agree on SERVFAIL and one."""
    if _is_local(heard):
        return codes.EDE_NETWORK_ERROR
    said = {(one.rcode, one.ede) for one in heard.values() if isinstance(one, Response)}
    if len(said) == 1:
        rcode, ede = said.pop()
        if rcode == codes.SERVFAIL and ede is not None and ede < _PRIVATE_EDE and ede not in _OURS_TO_SAY:
            return ede
    return codes.EDE_NO_REACHABLE_UPSTREAM


def _in_full(heard: _Heard) -> str:
    """Return which upstream said what, for the log."""
    said = (f"{health.name}: {_in_words(one)}" for health, one in heard.items())
    return ", ".join(said) or "nobody was asked"


def _in_words(one: Outcome) -> str:
    if isinstance(one, NoReply):
        return str(one)
    return _in_short(one) if one.ede is None else f"{_in_short(one)} (EDE {one.ede})"


def _in_short(one: Response | UselessReply) -> str:
    """Return an rcode by its IANA name, or by its number where it has none."""
    if isinstance(one, UselessReply):
        return "what can't be passed on"
    name = dns.rcode.to_text(dns.rcode.Rcode.make(one.rcode))
    return f"RCODE{name}" if name.isdecimal() else name
