"""One upstream's state: does it answer, how fast, how often not.

* A reply with any rcode is a sign of life; only silence and refused connections count as failures.
* FAILURES in a row take it down.  A try that was begun before the last reply came in doesn't count: the
  upstream answers others, it is this question that takes long.
* A down upstream is asked a question of our own at once and then every second, until a reply comes.  So
  it is back without a restart, and a slow name alone never keeps it down.
* What stood in the way here (no descriptor, no port, no room) says nothing about the upstream and isn't
  counted against it.  A log line says so, once in LOCAL_SECONDS.
* One log line when it is down, one when it is back, whatever comes between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from svcdns.forward.upstreams.upstream import (
    LocalFault,
    NoReply,
    OnOutcome,
    Outcome,
    PromptUpstream,
    Upstream,
    UselessReply,
)
from svcdns.system.log_on_change import LogOnChange
from svcdns.wire import codes
from svcdns.wire.key import text_of_key, wire_of_key
from svcdns.wire.query import Query
from svcdns.wire.response import Response

log = logging.getLogger(__name__)

FAILURES = 2
PROBE_SECONDS = 1.0
"""From one question of our own to the next, and for its reply."""
LOCAL_SECONDS = 60.0
"""From one log line about this host's own faults to the next."""
_SMOOTH = 8


class Health:
    """An upstream, asked by way of what is known of it."""

    def __init__(
        self,
        upstream: Upstream,
        zone: bytes = b"",
        *,
        address: str = "",
        came_back: Callable[[Health], None] = lambda health: None,
        interval: float = PROBE_SECONDS,
    ) -> None:
        """`zone` is the key of what it is asked for; `came_back` is called when it answers again."""
        self.upstream = upstream
        self.name = upstream.name
        """As it is written in the configuration."""
        self.zone = zone
        self.address = address
        """Without a scope; "" where the system resolves a name."""
        self.up = True
        self.looped = False
        """Whether what is sent there comes back to us; set by `loops`."""
        self.asked = 0
        """Tries, those included that this host's own faults ended."""
        self.answered = 0
        self.failed = 0
        """Tries without a reply."""
        self.servfail = 0
        self.seconds = 0.0
        """Time to a reply, smoothed; 0 before the first."""
        # What any upstream of the zone knows.
        self._probe = Query(zone, codes.SOA if zone else codes.NS, name=wire_of_key(zone))
        self._came_back = came_back
        self._interval = interval
        self._clock = asyncio.get_running_loop().time
        self._failures = 0
        self._replied = -1.0
        self._down_since = 0.0
        self._logged_down = LogOnChange(False)
        self._local_logged_at = -LOCAL_SECONDS
        self._closed = False
        self._begin = upstream.begin if isinstance(upstream, PromptUpstream) else None
        self.is_prompt = self._begin is not None
        """Whether it can be asked without a task."""
        self._probing: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        """Return its name and the zone that it is for, if not for all names."""
        return f"{self.name} for {text_of_key(self.zone)}" if self.zone else self.name

    @property
    def garbage(self) -> int:
        """Messages that were no reply to our questions."""
        return self.upstream.garbage

    async def ask(self, query: Query, seconds: float) -> Response:
        """Return the upstream's reply.  Raises NoReply."""
        self.asked += 1
        began = self._clock()
        try:
            response = await self.upstream.exchange(query, seconds)
        except NoReply as wrong:
            self._note_none(wrong, began)
            raise
        except Exception as wrong:
            raise self._internal_error(wrong, query, began) from None
        self._note_reply(response, began)
        return response

    def begin(self, query: Query, seconds: float, on_outcome: OnOutcome) -> None:
        """Ask an upstream that `is_prompt`, and hand what comes of it to `on_outcome`, once, now or later."""
        assert self._begin is not None
        self.asked += 1
        began = self._clock()
        try:
            self._begin(query, seconds, partial(self._has_come, began, on_outcome))
        except NoReply as wrong:
            self._has_come(began, on_outcome, wrong)
        except Exception as wrong:
            on_outcome(self._internal_error(wrong, query, began))

    async def close(self) -> None:
        """Ask nothing any more."""
        self._closed = True
        if (probing := self._probing) is not None:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        await self.upstream.close()

    def _has_come(self, began: float, on_outcome: OnOutcome, outcome: Outcome) -> None:
        if isinstance(outcome, NoReply):
            self._note_none(outcome, began)
        else:
            self._note_reply(outcome, began)
        on_outcome(outcome)

    def _note_reply(self, response: Response, began: float) -> None:
        now = self._clock()
        self.answered += 1
        self.seconds += (now - began - self.seconds) / (_SMOOTH if self.seconds else 1)
        if response.rcode == codes.SERVFAIL:
            self.servfail += 1
        self._lives(now)

    def _note_none(self, wrong: NoReply, began: float) -> None:
        if isinstance(wrong, LocalFault):
            self._log_local(wrong)
        elif isinstance(wrong, UselessReply):
            self.failed += 1
            self._lives(self._clock())
        else:
            self._missed(began)

    def _internal_error(self, wrong: Exception, query: Query, began: float) -> NoReply:
        """Log what is a bug of ours, and return it as what it means for the question."""
        log.error("upstream %s: %r could not be asked", self.name, query, exc_info=wrong)
        self._missed(began)
        return NoReply(f"internal error: {wrong}")

    def _lives(self, now: float) -> None:
        self._replied = now
        self._failures = 0
        if self.up:
            return
        self.up = True
        if self._logged_down.is_new(False):
            log.info("upstream %s answers again after %.1f s", self, now - self._down_since)
        self._came_back(self)

    def _missed(self, began: float) -> None:
        self.failed += 1
        if began < self._replied:
            return
        self._failures += 1
        if self._failures >= FAILURES and self.up:
            self.up = False
            self._down_since = self._clock()
            if self._probing is None and not self._closed:
                self._probing = asyncio.get_running_loop().create_task(self._probe_until_up())

    def _log_local(self, wrong: LocalFault) -> None:
        now = self._clock()
        if now >= self._local_logged_at + LOCAL_SECONDS:
            self._local_logged_at = now
            log.warning("upstream %s can't be asked from this host: %s", self, wrong)

    async def _probe_until_up(self) -> None:
        try:
            while not self.up:
                next_one = self._clock() + self._interval
                why = await self._probed()
                if why and not self.up and self._logged_down.is_new(True):
                    log.warning("upstream %s is down: %s; tried every %g s", self, why, self._interval)
                if not self.up:
                    await asyncio.sleep(next_one - self._clock())
        finally:
            self._probing = None

    async def _probed(self) -> str:
        """Ask a question of our own; return why there was no reply, "" if it isn't the upstream's doing."""
        try:
            await self.upstream.exchange(self._probe, PROBE_SECONDS)
        except LocalFault as wrong:
            self._log_local(wrong)
            return ""
        except UselessReply:
            pass
        except NoReply as why:
            return str(why) or "no reply"
        except Exception as wrong:
            log.exception("upstream %s could not be tried", self.name)
            return str(wrong) or type(wrong).__name__
        self._lives(self._clock())
        return ""
