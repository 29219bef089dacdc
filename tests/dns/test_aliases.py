"""Which alias has a name: RFC 4592 by a model that writes out all names, and both paths of a worker."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.answerer_harness import AnswererHarness, Z, rrset

from svcdns.dns.answer import Answerer
from svcdns.dns.no_reply import NOT_PLAIN
from svcdns.dns.stats import Stats
from svcdns.names.alias_rows import alias_row
from svcdns.wire import codes
from svcdns.wire.key import key_of

ZONE = "home.arpa"
SERVICES = {
    "idle": (),
    "web": ("", "_http._tcp"),
    "db": ("", "a", "b", "_pg._tcp"),
}
"""What each Service has names for: its own, and those below it."""
LABELS = st.sampled_from(["a", "b", "_tcp", "_http"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
ALIASES = st.dictionaries(
    st.tuples(st.booleans(), st.lists(st.sampled_from(["a", "b"]), max_size=3)).map(
        lambda drawn: ".".join([*(["*"] if drawn[0] else []), *drawn[1]]) or "a"
    ),
    st.sampled_from(sorted(SERVICES)),
    max_size=5,
)


def address(service: str, below: str) -> str:
    """Return the one address that a name answers with."""
    number = sorted(SERVICES).index(service) * 16 + len(below) + 1
    return f"192.0.2.{number}"


@pytest.fixture(scope="module")
def world() -> Iterator[AnswererHarness]:
    with tempfile.TemporaryDirectory() as folder:
        made = AnswererHarness(Path(folder))
        with made.writing():
            made.registry_zone(Z, "cluster")
            for service, names in SERVICES.items():
                for below in names:
                    name = ".".join(filter(None, (below, service, f"default.svc.{Z}")))
                    made.put(name, rrset("A", address(service, below)))
        made.serve(alias_zones=(key_of(ZONE),))
        yield made
        made.store.close()


def expected(aliases: dict[str, str], name: str) -> str:
    """Return the address at a name below the zone; "" for an alias whose Service has none, "-" for no alias.

    All names that there are, are written out: aliases, what is below them, and what is above (RFC 4592).
    """
    there: dict[str, str] = {}
    for alias, service in sorted(aliases.items(), key=lambda item: item[0].count(".")):
        for below in SERVICES[service]:
            there[".".join(filter(None, (below, alias)))] = address(service, below)
    there |= {
        alias: address(service, "") if "" in SERVICES[service] else "" for alias, service in aliases.items()
    }
    above = {"": ""}
    for one in there:
        labels = one.split(".")
        above |= {".".join(labels[at:]): "" for at in range(1, len(labels) + 1)}
    if name in there:
        return there[name]
    if name in above:
        below_an_alias = any(name.endswith("." + alias) or name == alias for alias in aliases)
        return "?" if below_an_alias else "-"
    encloser = name
    while encloser not in there and encloser not in above:
        encloser = encloser.partition(".")[2]
    wildcard = f"*.{encloser}".removesuffix(".")
    return there.get(wildcard, "-") if wildcard in aliases else "-"


@settings(max_examples=150)
@given(aliases=ALIASES, names=st.lists(NAMES, min_size=1, max_size=12))
def test_a_name_is_that_of_the_closest_alias(
    world: AnswererHarness, aliases: dict[str, str], names: list[str]
) -> None:
    with registered(world, aliases):
        for name in names:
            wanted = expected(aliases, name)
            rcode, found = asked_both_ways(world, f"{name}.{ZONE}")
            if wanted == "?":  # above something that an alias has, or only above another alias
                assert not found
            elif wanted == "-":
                assert (rcode, found) == (codes.REFUSED, []), name
            else:
                assert (rcode, found) == (codes.NOERROR, [wanted] if wanted else []), name


@contextmanager
def registered(world: AnswererHarness, aliases: dict[str, str]) -> Iterator[None]:
    """Have these aliases for a while."""
    services = {alias: key_of(f"{service}.default.svc.{Z}") for alias, service in aliases.items()}
    table = world.store.tables.answers_a
    with world.writing() as txn:
        for alias, service in services.items():
            txn.put(key_of(f"{alias}.{ZONE}"), alias_row(service), db=table)
    try:
        yield
    finally:
        with world.writing() as txn:
            for alias in services:
                txn.delete(key_of(f"{alias}.{ZONE}"), db=table)


def asked_both_ways(world: AnswererHarness, name: str) -> tuple[int, list[str]]:
    """Ask with the fast path and without; both say the same, octet by octet."""
    exact = Answerer(Stats())
    exact._fast = lambda *_: NOT_PLAIN  # type: ignore[method-assign,assignment]
    packet = dns.message.make_query(name, "A").to_wire()
    with world.snapshots.begin() as snapshot:
        replies = [one.answer(packet, snapshot) for one in (world.answerer, exact)]
    assert replies[0] == replies[1]
    assert isinstance(replies[0], bytes)
    message = dns.message.from_wire(replies[0])
    return int(message.rcode()), [str(rr[0]) for rr in message.answer]
