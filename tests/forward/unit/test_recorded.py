"""Exchanges with upstreams as they are recorded, whichever way they are asked."""

import pytest
from tap.recording import Recording

from svcdns.config.upstream_spec import parse
from svcdns.forward.upstreams.recorded import recorded
from svcdns.forward.upstreams.upstream import LocalFault, NoReply, OnOutcome, Outcome, PromptUpstream, Silence
from svcdns.tap.recorder import BY_UPSTREAM
from svcdns.wire import header
from svcdns.wire.key import key_of
from svcdns.wire.query import Query
from svcdns.wire.response import Response

QUERY = Query(key_of("www.example.org"), 1)
WIRE = header.HEADER.pack(b"\x12\x34", 0x8180, 1, 0, 0, 0) + QUERY.question
RESPONSE = Response(WIRE, len(WIRE), 0, False, (0, 0, 0), (), None)


class Scripted:
    """An upstream that comes to this."""

    name = "192.0.2.53"
    garbage = 7

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.closed = False

    async def exchange(self, query: Query, seconds: float) -> Response:
        if isinstance(self.outcome, NoReply):
            raise self.outcome
        return self.outcome

    async def close(self) -> None:
        self.closed = True


class Prompt(Scripted):
    def begin(self, query: Query, seconds: float, on_outcome: OnOutcome) -> None:
        on_outcome(self.outcome)


def of_upstreams(recording: Recording) -> list[tuple[str, int, str, str, bool]]:
    return [
        (one.client, one.port, one.protocol, one.rcode, bool(one.reply))
        for one in recording.records(upstreams=True)
    ]


@pytest.mark.parametrize(
    "text", ["192.0.2.53", "tcp://192.0.2.53", "tls://192.0.2.53", "https://192.0.2.53/q"]
)
@pytest.mark.parametrize("prompt", [False, True])
async def test_a_query_and_its_response_are_recorded(text: str, prompt: bool) -> None:
    recording, spec = Recording(by=BY_UPSTREAM), parse(text)
    inner = (Prompt if prompt else Scripted)(RESPONSE)
    upstream = recorded(recording.recorder, inner, spec)
    assert (upstream.name, upstream.garbage) == ("192.0.2.53", 7)
    assert isinstance(upstream, PromptUpstream) == prompt
    if isinstance(upstream, PromptUpstream):
        said: list[Outcome] = []
        upstream.begin(QUERY, 1.0, said.append)
        assert said == [RESPONSE]
    else:
        assert await upstream.exchange(QUERY, 1.0) is RESPONSE
    (record,) = recording.records(upstreams=True)
    assert (record.client, record.port, record.protocol) == ("192.0.2.53", spec.port, spec.kind)
    assert (record.name, record.rrtype, record.reply) == ("www.example.org.", "A", WIRE)
    assert record.query[:2] == WIRE[:2]
    await upstream.close()
    assert inner.closed


async def test_silence_is_a_query_alone_and_what_was_never_sent_is_nothing() -> None:
    recording = Recording(by=BY_UPSTREAM)
    for outcome in (Silence("nothing came"), LocalFault("no port")):
        upstream = recorded(recording.recorder, Scripted(outcome), parse("192.0.2.53"))
        with pytest.raises(NoReply):
            await upstream.exchange(QUERY, 1.0)
    assert of_upstreams(recording) == [("192.0.2.53", 53, "udp", "", False)]


async def test_who_counts_questions_of_clients_sees_none_of_them() -> None:
    recording = Recording(by=BY_UPSTREAM)
    upstream = recorded(recording.recorder, Scripted(RESPONSE), parse("192.0.2.53"))
    await upstream.exchange(QUERY, 1.0)
    assert recording.records() == []


async def test_nothing_is_recorded_while_nobody_looks() -> None:
    recording = Recording(by=BY_UPSTREAM, sample=0)
    await recorded(recording.recorder, Scripted(RESPONSE), parse("192.0.2.53")).exchange(QUERY, 1.0)
    assert recording.records(upstreams=True) == []
