"""Every name on every kind of host: what getaddrinfo and nslookup find, and that nobody waits for it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from laboratory import Laboratory
from lookups import AT_ONCE, CLIENTS, Client, Lookup, Question, all_at_once, named
from resolvers import leaked, outside, reference, svcdns
from upstreams import Unbound
from world import ALIASES, OUTSIDE, OWN, expected

NDOTS = (5, 1)
NAMES = (*OWN, *OUTSIDE, *ALIASES)


@dataclass(frozen=True)
class Asked:
    """All lookups of one laboratory."""

    resolver: str
    ipv6: bool
    programs: list[Client] = field(repr=False)
    lookups: dict[tuple[str, int, str], Lookup] = field(repr=False)
    """By client, ndots and name."""
    over_tcp: dict[str, Lookup] = field(repr=False)
    """By name: glibc's on a host with `options use-vc`."""
    upstream: Unbound = field(repr=False)

    def knows(self, name: str) -> None:
        """Skip the test where the resolver cannot do this."""
        if self.resolver == "unbound" and name in ALIASES:
            pytest.skip("unbound follows no CNAME of its own data")

    def lookup(self, client: str, ndots: int, name: str) -> tuple[Client, Lookup]:
        """Return one lookup and who made it."""
        self.knows(name)
        return named(self.programs, client), self.lookups[client, ndots, name]


@pytest.fixture(
    scope="module",
    params=[("svcdns", False), ("svcdns", True), ("unbound", True)],
    ids=["svcdns-IPv4", "svcdns-dual", "unbound-dual"],
)
def asked(request: pytest.FixtureRequest, programs: list[Client]) -> Iterator[Asked]:
    resolver, ipv6 = request.param
    with contextlib.ExitStack() as stack:
        laboratory = stack.enter_context(Laboratory(ipv6=ipv6))
        upstream = stack.enter_context(outside(laboratory))
        if resolver == "svcdns":
            stack.enter_context(svcdns(laboratory, [upstream.address]))
        else:
            stack.enter_context(reference(laboratory, upstream.address))
        hosts = {ndots: laboratory.host(ndots=ndots) for ndots in NDOTS}
        keys = list(itertools.product(CLIENTS, NDOTS, NAMES))
        questions = [Question(hosts[ndots], named(programs, client), name) for client, ndots, name in keys]
        lookups = dict(zip(keys, all_at_once(questions, together=4), strict=True))
        by_tcp = laboratory.host(ndots=5, options="use-vc")
        glibc = named(programs, "glibc-unspec")
        over_tcp = all_at_once([Question(by_tcp, glibc, name) for name in NAMES], together=4)
        yield Asked(resolver, ipv6, programs, lookups, dict(zip(NAMES, over_tcp, strict=True)), upstream)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ndots", NDOTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_name_is_found(asked: Asked, client: str, ndots: int, name: str) -> None:
    who, lookup = asked.lookup(client, ndots, name)
    right = expected(who, name, ndots=ndots, ipv6=asked.ipv6)
    assert (lookup.said, lookup.seconds < AT_ONCE) == (right, True)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_found_over_tcp(asked: Asked, name: str) -> None:
    asked.knows(name)
    lookup = asked.over_tcp[name]
    right = expected(named(asked.programs, "glibc-unspec"), name, ndots=5, ipv6=asked.ipv6)
    assert (lookup.said, lookup.seconds < AT_ONCE) == (right, True)


def test_no_name_of_ours_reaches_the_upstream(asked: Asked) -> None:
    assert asked.upstream.queries("www.example.com."), "the upstream's log says nothing"
    assert leaked(asked.upstream) == []
