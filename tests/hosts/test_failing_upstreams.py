"""The same hosts while upstreams fail: our names never wait, others are found or refused in time.

Each way of failing is a server of its own with those upstreams, the bad one first.  All who have to
wait do so at the same time, and meanwhile everybody asks for our names.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import dns.edns
import dns.message
import dns.name
import dns.query
import dns.rcode
import pytest
from laboratory import Host, Laboratory
from lookups import AT_ONCE, CLIENTS, Client, Lookup, Question, all_at_once, named
from resolvers import leaked, outside, svcdns
from upstreams import Misbehaving, Unbound
from world import ANY, OWN, expected, expected_without_upstreams, leaves

NDOTS = (5, 1)

IN_TIME = 3.5
"""Seconds for a DNS question to us, whatever the upstreams do: 3 s, and room."""

ROOM = 0.5
"""Seconds beyond a program's own patience."""

DEAD = "127.0.0.1:1"
"""Nothing listens there: the kernel says so."""
GONE = "10.99.0.250"
"""No such host on the network: nobody says so."""

WAYS: dict[str, tuple[str, ...]] = {
    "one dead": (DEAD, "good"),
    "one silent": ("silent", "good"),
    "one gone": (GONE, "good"),
    "one slow": ("slow", "good"),
    "all dead": (DEAD, "silent", GONE),
    "only a slow one": ("slow",),
}
"""The upstreams in the order in which they are asked; "slow" answers after 5 s."""

DOTTED = ("web.default", "web.default.svc", "db-0.db")
"""Names of ours that some programs ask for as they stand before, or instead of, trying the search list."""

Key = tuple[str, int, str]
"""Client, ndots and name."""


@dataclass(frozen=True)
class Replied:
    """The reply to one DNS question from a client's host."""

    rcode: str
    errors: tuple[int, ...]
    """Info codes of Extended DNS Errors."""
    seconds: float


@dataclass(frozen=True, repr=False)
class Failed:
    """What was seen while upstreams failed in one way."""

    ipv6: bool
    works: bool
    """Whether one of them is good."""
    programs: list[Client]
    own: dict[Key, Lookup]
    waiting: dict[Key, Lookup]
    later: dict[Key, Lookup]
    replies: dict[str, Replied]
    good: Unbound
    bad: tuple[Misbehaving, ...]


@pytest.fixture(scope="module", params=[False, True], ids=["IPv4", "dual"])
def laboratory(request: pytest.FixtureRequest, may_make_hosts: None) -> Iterator[Laboratory]:
    with Laboratory(ipv6=request.param) as made:
        yield made


@pytest.fixture(scope="module", params=WAYS, ids=[way.replace(" ", "_") for way in WAYS])
def failed(
    request: pytest.FixtureRequest, laboratory: Laboratory, programs: list[Client]
) -> Iterator[Failed]:
    upstreams = WAYS[request.param]
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(outside(laboratory))
        with laboratory.server.entered():
            silent = stack.enter_context(Misbehaving("silent"))
            slow = stack.enter_context(Misbehaving("slow", seconds=5))
        places = {"good": good.address, "silent": silent.address, "slow": slow.address}
        stack.enter_context(svcdns(laboratory, [places.get(word, word) for word in upstreams]))
        hosts = {ndots: laboratory.host(ndots=ndots) for ndots in NDOTS}
        seen = _see(hosts, programs, ipv6=laboratory.ipv6)
        yield Failed(laboratory.ipv6, "good" in upstreams, programs, *seen, good, (silent, slow))


def _see(
    hosts: dict[int, Host], programs: Sequence[Client], *, ipv6: bool
) -> tuple[dict[Key, Lookup], dict[Key, Lookup], dict[Key, Lookup], dict[str, Replied]]:
    def ask(keys: Sequence[Key], together: int = 0) -> dict[Key, Lookup]:
        questions = [Question(hosts[ndots], named(programs, client), name) for client, ndots, name in keys]
        return dict(zip(keys, all_at_once(questions, together=together), strict=True))

    pairs = list(itertools.product(CLIENTS, NDOTS))
    waiting = [(client, ndots, f"{client}-{ndots}{ANY}") for client, ndots in pairs]
    waiting += [(client, 5, "docs") for client in CLIENTS]
    waiting += [(client, 1, name) for client in CLIENTS for name in DOTTED]
    own = [
        (client, ndots, name)
        for (client, ndots), name in itertools.product(pairs, OWN)
        if not leaves(named(programs, client), name, ndots=ndots, ipv6=ipv6)
    ]
    with ThreadPoolExecutor() as pool:
        raw: dict[str, Future[Replied]] = {
            word: pool.submit(_reply, hosts[5], word, send) for word, send in _SENT.items()
        }
        waited = pool.submit(ask, waiting)
        asked_meanwhile = ask(own, together=4)
        found = waited.result()
        replies = {word: future.result() for word, future in raw.items()}
    later = ask([(client, ndots, f"later-{client}-{ndots}{ANY}") for client, ndots in pairs], together=4)
    return asked_meanwhile, found, later, replies


_Send = Callable[..., dns.message.Message]
_SENT: dict[str, _Send] = {"udp": dns.query.udp, "tcp": dns.query.tcp}


def _reply(host: Host, word: str, send: _Send) -> Replied:
    question = dns.message.make_query(f"{word}{ANY}", "A", use_edns=0)
    with host.entered():
        start = time.monotonic()
        reply = send(question, "10.99.0.1", timeout=30)
    errors = (int(error.code) for error in reply.extended_errors())
    return Replied(dns.rcode.to_text(reply.rcode()), tuple(errors), time.monotonic() - start)


@pytest.mark.parametrize("client", CLIENTS)
def test_names_of_ours_never_wait(failed: Failed, client: str) -> None:
    mine = {key: lookup for key, lookup in failed.own.items() if key[0] == client}
    assert mine
    wrong = {}
    for (_, ndots, name), lookup in mine.items():
        right = expected(named(failed.programs, client), name, ndots=ndots, ipv6=failed.ipv6)
        if lookup.said != right or lookup.seconds >= AT_ONCE:
            wrong[ndots, name] = (lookup, right)
    assert not wrong


@pytest.mark.parametrize("client", CLIENTS)
def test_all_others_are_found_or_refused_in_time(failed: Failed, client: str) -> None:
    """A program that is told of a failure and goes on asking waits as long as it wants to."""
    who = named(failed.programs, client)
    wrong = {}
    for (asking, ndots, name), lookup in failed.waiting.items():
        if asking != client:
            continue
        usual = expected(who, name, ndots=ndots, ipv6=failed.ipv6)
        right = (
            {usual} if failed.works else expected_without_upstreams(who, name, ndots=ndots, ipv6=failed.ipv6)
        )
        limit = IN_TIME if failed.works else max(IN_TIME, who.patience + ROOM)
        if lookup.said not in right or lookup.seconds > limit:
            wrong[ndots, name] = (lookup, right)
    assert not wrong


@pytest.mark.parametrize("transport", _SENT)
def test_a_question_is_answered_in_time(failed: Failed, transport: str) -> None:
    reply = failed.replies[transport]
    assert reply.rcode == ("NOERROR" if failed.works else "SERVFAIL")
    assert reply.errors == (() if failed.works else (dns.edns.EDECode.NO_REACHABLE_AUTHORITY,))
    assert reply.seconds <= IN_TIME


@pytest.mark.parametrize("client", CLIENTS)
def test_later_nobody_waits_for_an_upstream_that_failed(failed: Failed, client: str) -> None:
    if not failed.works:
        pytest.skip("there is no other")
    who = named(failed.programs, client)
    for (asking, ndots, name), lookup in failed.later.items():
        if asking == client:
            assert lookup.said == expected(who, name, ndots=ndots, ipv6=failed.ipv6)
            assert lookup.seconds < AT_ONCE, name


def test_no_name_of_ours_reaches_an_upstream(failed: Failed) -> None:
    if failed.works:
        assert failed.good.queries(f"udp{ANY}."), "the upstream's log says nothing"
    assert leaked(failed.good) == []
    asked = [query.question[0].name for server in failed.bad for query in server.asked]
    assert [name for name in asked if name.is_subdomain(dns.name.from_text("cluster.local"))] == []
