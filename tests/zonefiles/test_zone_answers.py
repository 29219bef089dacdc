"""Zone files from their text to the answers: what parsing and answering only get right together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from toolbox.answerer_harness import AnswererHarness

from svcdns.store.snapshot import Zone
from svcdns.zonefiles.master_file import compile_zone

HEAD = "$TTL 300\n@ SOA ns hostmaster 1 7200 1800 86400 60\n  NS ns\nns A 192.0.2.1\n"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[AnswererHarness]:
    world = AnswererHarness(tmp_path / "data")
    yield world
    world.store.close()


def served(world: AnswererHarness, *lines: str, origin: str = "example.org") -> AnswererHarness:
    """Serve a zone file of these lines below an SOA and an NS."""
    text = HEAD + "\n".join(lines) + "\n"
    compiled = compile_zone(text, None, f"/zones/{origin}.zone")
    zone = Zone(
        compiled.origin,
        compiled.key,
        "file",
        version=len(world.zones) + 1,
        cuts=compiled.cuts,
        wildcards=compiled.wildcards,
    )
    with world.writing() as txn:
        for key, row in compiled.rows():
            txn.put(zone.version.to_bytes(4) + key, row, db=world.store.tables.zone_rows)
    world.zones.append(zone)
    world.serve()
    return world


def said(reply: dns.message.Message) -> tuple[str, list[str], list[str]]:
    """The rcode, and answer and authority as "owner type"."""
    sections = (
        [f"{rrset.name} {rrset.rdtype.name}" for rrset in section]
        for section in (reply.answer, reply.authority)
    )
    answer, authority = sections
    return dns.rcode.to_text(reply.rcode()), answer, authority


NODATA = ("NOERROR", [], ["example.org. SOA"])
NXDOMAIN = ("NXDOMAIN", [], ["example.org. SOA"])


class TestWildcardThatIsAnEmptyNonTerminal:
    """RFC 4592 section 4.9: it exists, so it is the source of synthesis, and has no data."""

    @pytest.mark.parametrize("edns", [None, 1232])
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("q.w", NODATA),
            ("Q.q.w", NODATA),
            ("*.w", NODATA),
            ("w", NODATA),
            ("x.*.w", ("NOERROR", ["x.*.w.example.org. A"], [])),
            ("q.*.w", NXDOMAIN),
            ("q", NXDOMAIN),
        ],
    )
    def test_of_a_zone_without_other_wildcards(
        self, empty: AnswererHarness, name: str, expected: object, edns: int | None
    ) -> None:
        world = served(empty, "x.*.w A 192.0.2.9")
        assert said(world.ask(f"{name}.example.org", edns=edns)) == expected

    @pytest.mark.parametrize("record", ["x.* A 192.0.2.9", "x.y.* A 192.0.2.9", "x.* NS ns.elsewhere."])
    def test_at_the_apex(self, empty: AnswererHarness, record: str) -> None:
        assert said(served(empty, record).ask("q.example.org")) == NODATA

    def test_below_a_delegation_it_is_none(self, empty: AnswererHarness) -> None:
        world = served(empty, "sub NS ns.sub", "ns.sub A 192.0.2.2", "x.*.sub A 192.0.2.9")
        assert said(world.ask("q.example.org")) == NXDOMAIN
        assert said(world.ask("q.sub.example.org")) == ("NOERROR", [], ["sub.example.org. NS"])

    def test_a_label_that_only_has_a_star_in_it_is_none(self, empty: AnswererHarness) -> None:
        world = served(empty, "x.a*.w A 192.0.2.9", "x.*a.w A 192.0.2.9")
        assert said(world.ask("q.w.example.org")) == NXDOMAIN
