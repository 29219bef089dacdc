"""Upstreams that know no EDNS or drop queries with it, and those who only say so in an upstream's name."""

import asyncio
from collections.abc import AsyncIterator, Callable

import dns.message
import pytest
from toolbox.misbehaving import Misbehaving

from svcdns.config.upstream_spec import parse
from svcdns.forward.upstreams import upstream as upstream_module
from svcdns.forward.upstreams.factory import make
from svcdns.forward.upstreams.upstream import NoReply
from svcdns.wire import codes
from svcdns.wire.key import key_of, wire_of
from svcdns.wire.query import Query

HANG = 30.0
NAME = "www.example.org"
WWW = Query(key_of(NAME), codes.A, name=wire_of(NAME))
FORMERR, NOTIMP = 1, 4


def header(wire: bytes, rcode: int = FORMERR, questions: int = 0) -> bytes:
    return wire[:2] + bytes((0x81, rcode, 0, questions)) + bytes(6)


class First(Misbehaving):
    """Says something to queries with an OPT, then (`after` too) the answer."""

    def __init__(self, says: Callable[[bytes], bytes], *, after: bool = False) -> None:
        super().__init__()
        self.says = says
        self.after = after

    async def replies(self, wire: bytes, *, over_tcp: bool) -> AsyncIterator[bytes]:
        good = [reply async for reply in super().replies(wire, over_tcp=over_tcp)]
        knows_none = dns.message.from_wire(wire).edns < 0
        if not knows_none:
            yield self.says(wire)
        if knows_none or self.after:
            for reply in good:
                yield reply

    @property
    def with_edns(self) -> list[bool]:
        return [query.edns >= 0 for query in self.asked]


async def ask(server: First, times: int, text: str = "") -> int:
    """Ask so often, each answered; return how much was garbage."""
    made = make(parse(text or server.address))
    for _ in range(times):
        received = await made.exchange(WWW, HANG)
        message = dns.message.from_wire(received.wire)
        assert [str(rrset[0]) for rrset in message.answer] == ["192.0.2.7"]
    garbage = made.garbage
    await made.close()
    return garbage


@pytest.mark.parametrize("transport", ["", "tcp://"])
@pytest.mark.parametrize("questions", [0, 1])
@pytest.mark.parametrize("rcode", [FORMERR, NOTIMP])
async def test_a_header_alone_is_believed_for_a_short_time(
    transport: str, questions: int, rcode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with First(lambda wire: header(wire, rcode, questions)) as server:
        await ask(server, 3, transport + server.address)
        assert server.with_edns == [True, False, False, False]
    monkeypatch.setattr(upstream_module, "DOUBTED_SECONDS", 0.0)
    with First(lambda wire: header(wire, rcode, questions)) as server:
        await ask(server, 3, transport + server.address)
        assert server.with_edns == [True, False] * 3


async def test_a_question_that_is_ours_is_believed_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "DOUBTED_SECONDS", 0.0)
    with First(lambda wire: header(wire, questions=1) + wire[12:-11].swapcase()) as server:
        await ask(server, 3)
        assert server.with_edns == [True, False, False, False]


def other_name(question: bytes) -> bytes:
    return question[:1] + b"x" + question[2:]


def other_type(question: bytes) -> bytes:
    return question[:-3] + b"\x1c" + question[-2:]


def cut(question: bytes) -> bytes:
    return question[:-2]


@pytest.mark.parametrize("spoil", [other_name, other_type, cut])
async def test_what_replies_to_another_question_switches_nothing_off(spoil: Callable[[bytes], bytes]) -> None:
    with First(lambda wire: header(wire, questions=1) + spoil(wire[12:-11]), after=True) as server:
        assert (await ask(server, 3)) == 3
        assert server.with_edns == [True] * 3


# Upstreams that drop queries with an OPT

SHORT = 0.2


class Dropping(First):
    """Says nothing to queries with an OPT while `drops`."""

    def __init__(self) -> None:
        super().__init__(lambda wire: b"")
        self.drops = True

    async def replies(self, wire: bytes, *, over_tcp: bool) -> AsyncIterator[bytes]:
        has_opt = dns.message.from_wire(wire).edns >= 0
        async for reply in Misbehaving.replies(self, wire, over_tcp=over_tcp):
            if not (self.drops and has_opt):
                yield reply


def tries(server: Dropping, *drops: bool, transport: str = "") -> list[bool]:
    """Ask so often, while queries with an OPT are dropped or not; return which were answered."""

    async def run() -> list[bool]:
        made = make(parse(transport + server.address))
        answered = []
        for server.drops in drops:
            try:
                await made.exchange(WWW, SHORT if server.drops else HANG)
                answered.append(True)
            except NoReply:
                answered.append(False)
        await made.close()
        return answered

    return asyncio.run(run())


def test_one_that_drops_them_is_asked_without_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    with Dropping() as server:
        assert tries(server, True, True, True, True) == [False, True, True, True]
        assert server.with_edns == [True, False, False, False]
    monkeypatch.setattr(upstream_module, "SILENT_SECONDS", 0.0)
    with Dropping() as server:
        assert tries(server, True, True, True, True) == [False, True, False, True]
        assert server.with_edns == [True, False] * 2


def test_a_lost_query_switches_nothing_off() -> None:
    with Dropping() as server:
        assert tries(server, False, True, True, False) == [True, False, False, True]
        assert server.with_edns == [True] * 4


def test_one_that_is_silent_altogether_is_asked_with_edns_again() -> None:
    with Dropping() as server:
        server.behaviour = "silent"
        assert tries(server, True, True, True) == [False] * 3
        assert server.with_edns == [True, False, True]


def test_over_tcp_nothing_is_dropped_for_its_opt() -> None:
    with Dropping() as server:
        assert tries(server, True, True, transport="tcp://") == [False, False]
