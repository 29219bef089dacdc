"""The upstreams of one zone: which is asked first, which next, and when to give up.

    those that are up, by policy; then those that are down; round after round

* One try takes TRY_SECONDS at most, all of them TOTAL_SECONDS.  A lost packet costs one try, not the answer.
* SERVFAIL, REFUSED, NOTIMP and FORMERR: the next upstream may know better; the one that said so isn't
  asked again for this question.  Any other reply is the answer.
* A round begins no sooner than TRY_SECONDS after the one before: refused connections come back at once,
  and asking again at once would be a busy loop.
* An upstream through which questions come back to us is never asked.

This runs once for each question that the cache can't answer: no task, no timer of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

from svcdns.dns import codes

from .ask import Ask, Received, Unresolved
from .health import Health
from .upstream import NoReply

TRY_SECONDS = 1.0
TOTAL_SECONDS = 3.0
_LEAST_SECONDS = 0.05
"""No reply comes in less: not worth a try."""
_MOST_TEXT = 100
_NO_ANSWER = {
    codes.FORMERR: "FORMERR",
    codes.SERVFAIL: "SERVFAIL",
    codes.NOTIMP: "NOTIMP",
    codes.REFUSED: "REFUSED",
}


class Pool:
    """Resolves questions by asking upstreams, one after the other."""

    def __init__(self, zone: str, upstreams: Iterable[Health] = (), policy: str = "sequential") -> None:
        """`zone` is an origin, "." for all names; `policy` is one of svcdns.config.POLICIES."""
        self.zone = zone
        self.upstreams = tuple(upstreams)
        """In the order of the configuration; may be replaced at any time."""
        self.policy = policy
        self._turn = -1

    @property
    def is_down(self) -> bool:
        """Whether none of its upstreams is known to answer (or there is none)."""
        return not any(health.up and not health.looped for health in self.upstreams)

    async def resolve(self, ask: Ask) -> Received:
        """Return an upstream's answer.  Raises Unresolved: which upstream said what, in a few words."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        deadline = begun + TOTAL_SECONDS
        said: dict[Health, str] = {}
        waiting = self._order()
        while waiting:
            next_round = clock() + TRY_SECONDS
            for health in waiting:
                left = deadline - clock()
                if left < _LEAST_SECONDS:
                    break
                try:
                    received = await health.ask(ask, left if left < TRY_SECONDS else TRY_SECONDS)
                except NoReply:
                    continue
                if received.rcode not in _NO_ANSWER:
                    return received
                said[health] = _said(received)
            # Those that are new by now have their turn too.
            waiting = [health for health in self._order() if health not in said]
            if not waiting or deadline - next_round < _LEAST_SECONDS:
                break
            if (pause := next_round - clock()) > 0:
                await asyncio.sleep(pause)
        raise Unresolved(codes.EDE_NO_REACHABLE_UPSTREAM, self._why(said))

    def _order(self) -> list[Health]:
        """Return the upstreams in the order in which they are to be tried now."""
        up = [health for health in self.upstreams if health.up and not health.looped]
        if len(up) > 1 and self.policy != "sequential":
            if self.policy == "random":
                random.shuffle(up)
            else:
                self._turn = (self._turn + 1) % len(up)
                up = up[self._turn :] + up[: self._turn]
        if len(up) < len(self.upstreams):
            up += [health for health in self.upstreams if not health.up and not health.looped]
        return up

    def _why(self, said: dict[Health, str]) -> str:
        """Return why there is no answer, for the text of an EDE: short, and made of our own words."""
        if not self.upstreams:
            return f"no upstreams: none is configured for {self.zone}, or its resolv.conf lists none"
        if said:
            text = ", ".join(f"{health.name}: {what}" for health, what in said.items())
            text += "".join(f", {one.name}: no reply" for one in self._order() if one not in said)
            return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 3] + "..."
        if all(health.looped for health in self.upstreams):
            return "no upstreams: each sends questions back here in a loop"
        return f"no upstream answered within {TOTAL_SECONDS:g} s"


def _said(received: Received) -> str:
    rcode = _NO_ANSWER[received.rcode]
    return rcode if received.ede is None else f"{rcode} (EDE {received.ede})"
