"""Upstreams whose exchanges are recorded, for dnstap: what each is asked, and what it says.

* A query is written down as it is sent, but for padding; a response as it was taken: checked, without its
  OPT.  The two have the ID of the response.
* A query that has no reply of use is recorded without one; what was never sent, as this host had no room for
  it, is not.
* The protocol is that of the configuration: what comes truncated over UDP is asked again over TCP within one
  exchange.

Only where somebody wants them are upstreams wrapped at all (svcdns.server.forwarder).
"""

from __future__ import annotations

from time import monotonic

from svcdns.config.upstream_spec import Spec
from svcdns.tap.record import PROTOCOLS
from svcdns.tap.recorder import Recorder
from svcdns.wire.query import Query, encode_query
from svcdns.wire.response import Response

from .upstream import LocalFault, NoReply, OnOutcome, Outcome, PromptUpstream, Upstream


class RecordedUpstream:
    """An upstream that is asked with a task."""

    def __init__(self, recorder: Recorder, upstream: Upstream, spec: Spec) -> None:
        self.name = upstream.name
        self._upstream = upstream
        self._recorder = recorder
        self._place = spec.address, spec.port
        self._protocol = PROTOCOLS.index(spec.kind)

    @property
    def garbage(self) -> int:
        """As of the upstream itself."""
        return self._upstream.garbage

    async def exchange(self, query: Query, seconds: float) -> Response:
        """Ask once, as the upstream does."""
        began = monotonic()
        try:
            response = await self._upstream.exchange(query, seconds)
        except NoReply as missed:
            self._record(query, missed, began)
            raise
        self._record(query, response, began)
        return response

    async def close(self) -> None:
        """Close the upstream."""
        await self._upstream.close()

    def _record(self, query: Query, outcome: Outcome, began: float) -> None:
        if not self._recorder.sample or isinstance(outcome, LocalFault):
            return
        reply = outcome.wire if isinstance(outcome, Response) else b""
        sent, place = encode_query(query, int.from_bytes(reply[:2])), self._place
        took = int(1e9 * (monotonic() - began))
        self._recorder.record(self._protocol, took, [(sent, place)], [(reply, place)])


class RecordedPromptUpstream(RecordedUpstream):
    """One that can be asked without a task."""

    _upstream: PromptUpstream

    def begin(self, query: Query, seconds: float, on_outcome: OnOutcome) -> None:
        """Ask once, as the upstream does."""
        began = monotonic()

        def has_come(outcome: Outcome) -> None:
            self._record(query, outcome, began)
            on_outcome(outcome)

        self._upstream.begin(query, seconds, has_come)


def recorded(recorder: Recorder, upstream: Upstream, spec: Spec) -> Upstream:
    """Return an upstream whose exchanges are recorded."""
    if isinstance(upstream, PromptUpstream):
        return RecordedPromptUpstream(recorder, upstream, spec)
    return RecordedUpstream(recorder, upstream, spec)
