"""The same hosts while upstreams fail: our names never wait, others are found or refused in time.

Each way of failing is a server of its own with those upstreams, the bad one first.  All who have to
wait do so at the same time, and meanwhile everybody asks for our names.  Afterwards nobody waits: for
the good upstream's sake, or because the bad ones have come back.
"""

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
from forward.hosts.expectations import ANY, OWN, SVC, ZONE, expected, expected_without_upstreams, leaves, seen
from forward.hosts.laboratory import Laboratory
from forward.hosts.lookups import AT_ONCE, CLIENTS, Client, Lookup, Question, all_at_once, named
from forward.hosts.resolvers import leaked, outside, svcdns
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for

pytestmark = pytest.mark.alone

NDOTS = (5, 1)

IN_TIME = 3.5
"""Seconds for a DNS question to us, whatever the upstreams do: 3 s, and room.

All lookups below ask one name outside, A and AAAA at the same time, so it holds for the whole lookup.
"""

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

COME_BACK = frozenset(("192.0.2.7", "2001:db8::7"))
"""What "silent" and "slow" answer to every name once they do."""

Key = tuple[str, int, str]
"""Client, ndots and name."""


@dataclass(frozen=True)
class Replied:
    """The reply to one DNS question from a client's host."""

    rcode: str
    errors: tuple[int, ...]
    """Info codes of Extended DNS Errors."""
    seconds: float


class Failing:
    """Clients' hosts beside a server whose upstreams fail; `see` does all the asking."""

    def __init__(self, laboratory: Laboratory, programs: list[Client], *, works: bool) -> None:
        """`works`: one of the upstreams is good."""
        self.works = works
        self.ipv6 = laboratory.ipv6
        self._programs = programs
        self._hosts = {ndots: laboratory.host(ndots=ndots) for ndots in NDOTS}
        self._pairs = list(itertools.product(CLIENTS, NDOTS))

    def see(self, good: Unbound, bad: Sequence[Misbehaving]) -> None:
        """Ask everything: side by side while the bad ones are bad, and some again after that."""
        self.good, self.bad = good, bad
        with ThreadPoolExecutor() as pool:
            raw: dict[str, Future[Replied]] = {word: pool.submit(self.reply, word, word) for word in _SENT}
            waiting = pool.submit(self._ask, self._outside())
            self.own = self._ask(self._own(), together=4)
            self.waiting = waiting.result()
            self.replies = {word: future.result() for word, future in raw.items()}
        if not self.works:
            self._come_back()
        fresh = [(client, ndots, f"later-{client}-{ndots}{ANY}") for client, ndots in self._pairs]
        self.later = self._ask(fresh, together=4)

    def expected(self, key: Key) -> frozenset[str] | str:
        """Return what a lookup should find while all is well."""
        client, ndots, name = key
        return expected(self.program(client), name, ndots=ndots, ipv6=self.ipv6)

    def program(self, client: str) -> Client:
        """Return the client of that name."""
        return named(self._programs, client)

    def reply(self, transport: str, label: str) -> Replied:
        """Ask one DNS question for a name outside that starts with that label."""
        question = dns.message.make_query(f"{label}{ANY}", "A", use_edns=0)
        with self._hosts[5].entered():
            start = time.monotonic()
            reply = _SENT[transport](question, "10.99.0.1", timeout=30)
        errors = (int(error.code) for error in reply.extended_errors())
        return Replied(dns.rcode.to_text(reply.rcode()), tuple(errors), time.monotonic() - start)

    def _come_back(self) -> None:
        for server in self.bad:
            server.behaviour = "answers"
        labels = (f"back{number}" for number in itertools.count())  # a failure is remembered for its name
        wait_for(lambda: self.reply("udp", next(labels)).rcode == "NOERROR", "an upstream to be used again")

    def _outside(self) -> list[Key]:
        """Return lookups that wait for one name outside each, most for one that nobody else asks for."""
        keys = [(client, ndots, f"{client}-{ndots}{ANY}") for client, ndots in self._pairs]
        keys += [(client, 5, f"docs.{SVC}") for client in CLIENTS]
        return keys + [(client, 1, name) for client in CLIENTS for name in DOTTED]

    def _own(self) -> list[Key]:
        """Return lookups that ask for nothing but names of ours."""
        return [
            (client, ndots, name)
            for (client, ndots), name in itertools.product(self._pairs, OWN)
            if not leaves(self.program(client), name, ndots=ndots, ipv6=self.ipv6)
        ]

    def _ask(self, keys: Sequence[Key], together: int = 0) -> dict[Key, Lookup]:
        questions = [Question(self._hosts[ndots], self.program(client), name) for client, ndots, name in keys]
        return dict(zip(keys, all_at_once(questions, together=together), strict=True))


_SENT: dict[str, Callable[..., dns.message.Message]] = {"udp": dns.query.udp, "tcp": dns.query.tcp}


@pytest.fixture(scope="module", params=[False, True], ids=["IPv4", "dual"])
def laboratory(request: pytest.FixtureRequest, may_make_hosts: None) -> Iterator[Laboratory]:
    with Laboratory(ipv6=request.param) as made:
        yield made


@pytest.fixture(scope="module", params=WAYS, ids=[way.replace(" ", "_") for way in WAYS])
def failing(
    request: pytest.FixtureRequest, laboratory: Laboratory, programs: list[Client]
) -> Iterator[Failing]:
    upstreams = WAYS[request.param]
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(outside(laboratory))
        with laboratory.server.entered():
            silent = stack.enter_context(Misbehaving("silent"))
            slow = stack.enter_context(Misbehaving("slow", seconds=5))
        places = {"good": good.address, "silent": silent.address, "slow": slow.address}
        stack.enter_context(svcdns(laboratory, [places.get(word, word) for word in upstreams]))
        made = Failing(laboratory, programs, works="good" in upstreams)
        made.see(good, (silent, slow))
        yield made


@pytest.mark.parametrize("client", CLIENTS)
def test_names_of_ours_never_wait(failing: Failing, client: str) -> None:
    mine = {key: lookup for key, lookup in failing.own.items() if key[0] == client}
    assert mine
    wrong = {
        key: lookup
        for key, lookup in mine.items()
        if lookup.said != failing.expected(key) or lookup.seconds >= AT_ONCE
    }
    assert not wrong


@pytest.mark.parametrize("client", CLIENTS)
def test_all_others_are_found_or_refused_in_time(failing: Failing, client: str) -> None:
    """A program that goes on asking though it was told of a failure waits as long as it wants to."""
    who = failing.program(client)
    limit = IN_TIME if failing.works else max(IN_TIME, who.patience + ROOM)
    for key, lookup in failing.waiting.items():
        _, ndots, name = key
        right = frozenset((failing.expected(key),))
        if not failing.works:
            right = expected_without_upstreams(who, name, ndots=ndots, ipv6=failing.ipv6)
        if key[0] == client:
            assert lookup.said in right, key
            assert lookup.seconds <= limit, key


@pytest.mark.parametrize("transport", _SENT)
def test_a_question_is_answered_in_time(failing: Failing, transport: str) -> None:
    reply = failing.replies[transport]
    assert reply.rcode == ("NOERROR" if failing.works else "SERVFAIL")
    assert reply.errors == (() if failing.works else (dns.edns.EDECode.NO_REACHABLE_AUTHORITY,))
    assert reply.seconds <= IN_TIME


@pytest.mark.parametrize("client", CLIENTS)
def test_later_nobody_waits(failing: Failing, client: str) -> None:
    """Neither for an upstream that is known to fail, nor when one has come back."""
    come_back = seen(failing.program(client), COME_BACK, ipv6=failing.ipv6)
    for key, lookup in failing.later.items():
        if key[0] == client:
            assert lookup.said == (failing.expected(key) if failing.works else come_back)
            assert lookup.seconds < AT_ONCE, key


def test_no_name_of_ours_reaches_an_upstream(failing: Failing) -> None:
    if failing.works:
        assert failing.good.queries(f"musl-unspec-5{ANY}."), "the upstream's log says nothing"
    assert leaked(failing.good) == []
    asked = [query.question[0].name for server in failing.bad for query in server.asked]
    assert [name for name in asked if name.is_subdomain(dns.name.from_text(f"{ZONE}."))] == []
