"""Every name on every kind of host: what getaddrinfo and nslookup find, and that nobody waits for it.

All of it is in `make soak`.  Each other run takes the corners and some of the rest, by SVCDNS_TEST_SEED.
"""

import contextlib
import itertools
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from forward.hosts.expectations import ALIASES, MANY, MANY_ADDRESSES, OUTSIDE, OWN, SVC, expected, seen
from forward.hosts.laboratory import Laboratory
from forward.hosts.lookups import AT_ONCE, CLIENTS, NONE, Client, Lookup, Question, all_at_once, named
from forward.hosts.resolvers import leaked, outside, reference, svcdns
from toolbox.upstreams import Unbound

pytestmark = [pytest.mark.matrix, pytest.mark.alone]

NDOTS = (5, 1)
NAMES = (*OWN, *OUTSIDE, *ALIASES)

Cell = tuple[str, int, str]
"""Client, ndots and name."""
MATRIX: tuple[Cell, ...] = tuple(itertools.product(CLIENTS, NDOTS, NAMES))
KINDS = ("web", "db-0.db", f"web.{SVC}.", f"nosuch.{SVC}", "www.example.com", "nosuch", "docs")
"""A name of each kind: each client asks for each of them in each run."""
PART = 0.1
"""How much of what is no corner is taken in a run."""


def cells(config: pytest.Config) -> Sequence[Cell]:
    """Return what this run asks: all; or each kind by all, each name by one, and a random part."""
    if config.option.markexpr == "soak":
        return MATRIX
    seeded = random.Random(os.environ["SVCDNS_TEST_SEED"])
    corners = {cell for cell in MATRIX if cell[2] in KINDS}
    corners |= {(seeded.choice(CLIENTS), seeded.choice(NDOTS), name) for name in NAMES}
    return [cell for cell in MATRIX if cell in corners or seeded.random() < PART]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ndots" in metafunc.fixturenames:
        metafunc.parametrize(("client", "ndots", "name"), cells(metafunc.config))


@dataclass(frozen=True)
class Asked:
    """All lookups of one laboratory."""

    ours: bool
    """Whether svcdns answered."""
    ipv6: bool
    programs: list[Client] = field(repr=False)
    lookups: dict[Cell, Lookup] = field(repr=False)
    over_tcp: dict[str, Lookup] = field(repr=False)
    """By name: glibc's on a host with `options use-vc`."""
    upstream: Unbound = field(repr=False)

    def lookup(self, client: str, ndots: int, name: str) -> tuple[Client, Lookup]:
        """Return one lookup and who made it."""
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
        keys = [*cells(request.config), *itertools.product(CLIENTS, NDOTS, (MANY,))]
        questions = [Question(hosts[ndots], named(programs, client), name) for client, ndots, name in keys]
        lookups = dict(zip(keys, all_at_once(questions, together=4), strict=True))
        by_tcp = laboratory.host(ndots=5, options="use-vc")
        glibc = named(programs, "glibc-unspec")
        over_tcp = all_at_once([Question(by_tcp, glibc, name) for name in NAMES], together=4)
        yield Asked(
            resolver == "svcdns", ipv6, programs, lookups, dict(zip(NAMES, over_tcp, strict=True)), upstream
        )


def test_a_name_is_found(asked: Asked, client: str, ndots: int, name: str) -> None:
    who, lookup = asked.lookup(client, ndots, name)
    right = expected(who, name, ndots=ndots, ipv6=asked.ipv6)
    assert (lookup.said, lookup.seconds < AT_ONCE) == (right, True)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_found_over_tcp(asked: Asked, name: str) -> None:
    lookup = asked.over_tcp[name]
    right = expected(named(asked.programs, "glibc-unspec"), name, ndots=5, ipv6=asked.ipv6)
    assert (lookup.said, lookup.seconds < AT_ONCE) == (right, True)


@pytest.mark.parametrize("client", CLIENTS)
def test_an_answer_too_large_for_udp(asked: Asked, client: str) -> None:
    """glibc asks again over TCP; busybox, and musl before 1.2.4, know no TCP and take what has come."""
    if not asked.ours and not client.startswith(("glibc", "getent")):
        pytest.skip("unbound puts nothing into an answer that it truncates")
    for ndots in NDOTS:
        who, lookup = asked.lookup(client, ndots, MANY)
        right = seen(who, MANY_ADDRESSES, ipv6=asked.ipv6)
        if client.startswith(("glibc", "getent")) or not right:
            assert lookup.said == (right or NONE)
        else:
            assert lookup.addresses and lookup.addresses <= right
        assert lookup.seconds < AT_ONCE


def test_no_name_of_ours_reaches_the_upstream(asked: Asked) -> None:
    assert asked.upstream.queries("www.example.com."), "the upstream's log says nothing"
    assert leaked(asked.upstream) == []


def test_each_run_asks_the_corners_and_a_part_of_the_rest(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = []
    for seed in ("1", "2"):
        monkeypatch.setenv("SVCDNS_TEST_SEED", seed)
        parts.append(set(cells(request.config)))
        assert parts[-1] == set(cells(request.config)), "the same again"
    for part in parts:
        assert part >= {cell for cell in MATRIX if cell[2] in KINDS}
        assert {name for _, _, name in part} == set(NAMES)
    assert parts[0] != parts[1] or parts[0] == set(MATRIX)
