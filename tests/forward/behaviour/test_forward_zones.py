"""A zone with upstreams of its own beside the usual ones: who is asked for what, with real servers."""

from collections.abc import Iterator

import pytest
from forward.behaviour.expecting import data, said
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound

DS = "12345 13 2 " + "a1" * 32
PARENT = f"""\
example. 300 IN TXT "parent"
corp.example. 300 IN DS {DS}
x.corp.example. 300 IN DS {DS}
"""
"""The second is a lie: the usual upstreams have no say in the zone."""
CORP = """\
corp.example. 300 IN TXT "corp"
x.corp.example. 300 IN TXT "x"
x.corp.example. 300 IN DS 1 13 2 {}
""".format("b2" * 32)


@pytest.fixture(scope="module")
def parent(need: object) -> Iterator[Unbound]:
    assert callable(need)
    need("unbound")
    with Unbound(PARENT, tls=False, https=False) as running:
        yield running


@pytest.fixture(scope="module")
def corp(parent: Unbound) -> Iterator[Unbound]:
    with Unbound(CORP, tls=False, https=False) as running:
        yield running


def zone(corp: Unbound) -> str:
    return f'[[forward.zone]]\nname = "corp.example"\nupstreams = ["{corp.address}"]\n'


def test_ds_is_the_parents_to_say(parent: Unbound, corp: Unbound) -> None:
    with RunningServer(config=f'[forward]\nupstreams = ["{parent.address}"]\n{zone(corp)}') as server:
        for _ in ("asked", "from the cache"):
            (ds,) = data(server.ask("corp.example", "DS"))
            assert ds.startswith("DS 12345 13 2 a1")
            (below,) = data(server.ask("x.corp.example", "DS"))
            assert below.startswith("DS 1 13 2 b2"), "the zone is the parent of what is in it"
            assert data(server.ask("corp.example", "TXT")) == ['TXT "corp"']
            assert data(server.ask("example", "TXT")) == ['TXT "parent"']
    assert corp.queries("corp.example.", "DS") == 0
    assert parent.queries("corp.example.", "TXT") == parent.queries("x.corp.example.") == 0


def test_without_the_parents_upstreams_nobody_can_say_it(corp: Unbound) -> None:
    with RunningServer(config=f"[forward]\nupstreams = []\n{zone(corp)}") as server:
        assert said(server.ask("corp.example", "DS")) == "REFUSED"
        assert data(server.ask("corp.example", "TXT")) == ['TXT "corp"']
    assert corp.queries("corp.example.", "DS") == 0
