"""A name outside of all zones: the short way says what the long one says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolbox.answerer_harness import AnswererHarness, Z, fill

from svcdns.dns.lookup import answer_name, unknown_name
from svcdns.dns.view import View, ZoneTable
from svcdns.wire import codes
from svcdns.wire.key import key_of_wire, wire_of

TYPES = st.sampled_from(
    [codes.A, codes.AAAA, codes.SRV, codes.DS, codes.NS, codes.SOA, codes.ANY, codes.HINFO, 65]
)
LABELS = st.sampled_from(["a", "www", "example", "com", "arpa", "in-addr", "10", "local", "x-y", "*", "_tcp"])
OURS = (Z, f"default.svc.{Z}", f"web.default.svc.{Z}", "cluster.local", "local", "10.in-addr.arpa")
NAMES = st.tuples(st.lists(LABELS, max_size=4), st.sampled_from(["", "", "", *OURS])).map(
    lambda parts: ".".join((*parts[0], parts[1])).strip(".")
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    made = AnswererHarness(Path(tmp_path_factory.mktemp("unknown")) / "data")
    fill(made)
    yield made
    made.store.close()


@given(NAMES, TYPES, st.booleans())
def test_the_short_way_says_the_same(world: AnswererHarness, name: str, rrtype: int, dnssec: bool) -> None:
    wire = wire_of(name)
    key = key_of_wire(wire)
    with world.snapshots.begin() as snapshot:
        assert snapshot.serving is not None
        view = View(snapshot, ZoneTable(snapshot.serving))
        exact = answer_name(view, wire, key, rrtype, True, dnssec=dnssec)
        is_unknown = view.table.is_outside(key)
        if is_unknown:
            assert unknown_name(wire, key, dnssec=dnssec) == exact
        else:
            assert key.startswith(b"local\0") or "arpa" in name or not name
