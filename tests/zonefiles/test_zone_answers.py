"""Zone files from their text to the answers: what parsing and answering only get right together."""

from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from dns.message import Message
from toolbox.answerer_harness import AnswererHarness
from toolbox.served_zones import serve_zone

from svcdns.dns import stats
from svcdns.dns.access import NAMES, TRANSFER
from svcdns.dns.stats import TCP, UDP

HEAD = "$TTL 300\n@ SOA ns hostmaster 1 7200 1800 86400 60\n  NS ns\nns A 192.0.2.1\n"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[AnswererHarness]:
    world = AnswererHarness(tmp_path / "data")
    yield world
    world.store.close()


def served(world: AnswererHarness, *lines: str, origin: str = "example.org") -> AnswererHarness:
    """Serve a zone file of these lines below an SOA and an NS."""
    serve_zone(world, HEAD + "\n".join(lines) + "\n", origin)
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


def owners(section: list[dns.rrset.RRset]) -> list[str]:
    return [f"{rrset.name} {rrset.rdtype.name}" for rrset in section]


class TestAliases:
    def test_a_dname_stands_once_in_an_answer(self, empty: AnswererHarness) -> None:
        """RFC 2181 section 5: an RRset is not repeated, however often its DNAME is used."""
        world = served(empty, "d DNAME e", "x.e CNAME Y.D", "y.e CNAME z.d", "z.e A 192.0.2.9")
        reply = world.ask("x.d.example.org")
        wire = reply.to_wire()
        assert owners(reply.answer) == [
            "d.example.org. DNAME",
            "x.d.example.org. CNAME",
            "x.e.example.org. CNAME",
            "Y.D.example.org. CNAME",
            "Y.e.example.org. CNAME",
            "z.d.example.org. CNAME",
            "z.e.example.org. A",
        ]
        assert int.from_bytes(wire[6:8]) == 7, "RRs, which dnspython would merge"

    @pytest.mark.parametrize("transport", [UDP, TCP])
    @pytest.mark.parametrize("rrtype", ["A", "TXT"])
    @pytest.mark.parametrize(
        ("lines", "why", "most"),
        [
            (["c0 CNAME c0"], "a loop of CNAMEs", 1),
            (["c0 CNAME c1", "c1 CNAME C0"], "a loop of CNAMEs", 2),
            (["c0 CNAME a.d", "d DNAME e", "a.e CNAME c0"], "a loop of CNAMEs", 4),
            ([f"c{n} CNAME c{n + 1}" for n in range(11)] + ["c11 A 192.0.2.1"], "more than 10 CNAMEs", 10),
            (["c0 CNAME x.d", "d DNAME d.d"], "more than 10 CNAMEs", 11),
        ],
    )
    def test_no_end(
        self, empty: AnswererHarness, lines: list[str], why: str, most: int, rrtype: str, transport: int
    ) -> None:
        world = served(empty, *lines)
        ede = dns.edns.EDEOption(0, why)
        reply = world.ask("c0.example.org", rrtype, edns=1232, transport=transport)
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert reply.options == (ede,)
        assert len(reply.answer) == most
        without_rd = world.ask("c0.example.org", rrtype, edns=1232, transport=transport, flags=0)
        assert (without_rd.rcode(), without_rd.options) == (dns.rcode.NOERROR, ())
        assert len(without_rd.answer) == most
        assert not world.ask("c0.example.org", "CNAME").rcode()

    def test_ten_aliases_are_an_answer(self, empty: AnswererHarness) -> None:
        world = served(empty, *(f"c{n} CNAME c{n + 1}" for n in range(10)), "c10 A 192.0.2.1")
        assert owners(world.ask("c0.example.org").answer)[-1] == "c10.example.org. A"

    def test_it_is_counted_as_what_it_is(self, empty: AnswererHarness) -> None:
        world = served(empty, "c0 CNAME c0")
        world.ask("c0.example.org")
        assert world.counters.slots[stats.slot(stats.FILE, UDP, 1, stats.SERVFAIL)] == 1


class TestServiceBindings:
    """Additionals of SVCB and HTTPS (RFC 9460 section 4.1)."""

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("w HTTPS 1 pool alpn=h2", ["pool A", "pool AAAA", "pool HTTPS"]),
            ("w HTTPS 0 pool", ["pool A", "pool AAAA", "pool HTTPS"]),
            ("w SVCB 1 pool port=53", ["pool A", "pool AAAA", "pool SVCB"]),
            ("w HTTPS 1 .\nw A 192.0.2.7", ["w A"]),
            ("w HTTPS 1 w port=1\nw A 192.0.2.7", ["w A"]),
            ("w HTTPS 0 .\nw A 192.0.2.7", []),
            ("w HTTPS 1 pool\nw HTTPS 2 Pool port=1", ["Pool A", "Pool AAAA", "Pool HTTPS"]),
            ("w HTTPS 1 elsewhere.example.net.", []),
            ("w HTTPS 1 nothing", []),
            ("w HTTPS 1 ns.sub\nsub NS ns.sub\nns.sub A 192.0.2.9", []),
        ],
    )
    def test_of_a_target(self, empty: AnswererHarness, line: str, expected: list[str]) -> None:
        pool = ["pool A 192.0.2.5", "pool AAAA ::5", "pool HTTPS 1 . port=8443", "pool SVCB 1 . port=853"]
        world = served(empty, *pool, line)
        reply = world.ask("w.example.org", line.split()[1], edns=1232)
        shown = [f"{rrset.name.labels[0].decode()} {rrset.rdtype.name}" for rrset in reply.additional]
        assert shown == expected

    def test_of_a_wildcard_there_are_those_of_other_names_only(self, empty: AnswererHarness) -> None:
        world = served(empty, "*.w HTTPS 1 .", "*.w HTTPS 2 pool", "*.w A 192.0.2.7", "pool A 192.0.2.5")
        assert owners(world.ask("q.w.example.org", "HTTPS").additional) == ["pool.example.org. A"]

    def test_they_give_way_without_tc(self, empty: AnswererHarness) -> None:
        world = served(empty, *(f"pool A 192.0.2.{n}" for n in range(40)), "w HTTPS 1 pool")
        reply = world.ask("w.example.org", "HTTPS")
        assert (len(reply.answer), reply.additional, bool(reply.flags & dns.flags.TC)) == (1, [], False)


class TestIxfrOverUdp:
    """RFC 1995 section 2: the SOA says that the client is to come back over TCP."""

    def ask(self, world: AnswererHarness, name: str, rights: int, serial: int | None = 1) -> Message:
        query = dns.message.make_query(name, "IXFR", flags=0, use_edns=0)
        if serial is not None:
            soa = f"{name} 0 IN SOA . . {serial} 0 0 0 0"
            query.authority = dns.message.from_text(f"id 1\n;AUTHORITY\n{soa}\n").authority
        with world.snapshots.begin() as snapshot:
            reply = world.answerer.answer(query.to_wire(), snapshot, UDP, rights)
        assert isinstance(reply, bytes)
        return dns.message.from_wire(reply)

    @pytest.mark.parametrize("serial", [0, 1, 2])
    def test_for_who_may_transfer(self, empty: AnswererHarness, serial: int) -> None:
        reply = self.ask(served(empty), "example.org.", NAMES | TRANSFER, serial)
        assert said(reply) == ("NOERROR", ["example.org. SOA"], [])
        assert reply.answer[0][0].serial == 1
        assert reply.flags & dns.flags.AA and not reply.flags & dns.flags.TC

    def test_without_an_soa_it_is_no_ixfr(self, empty: AnswererHarness) -> None:
        """RFC 1995 section 3, as with Knot and BIND."""
        assert said(self.ask(served(empty), "example.org.", NAMES | TRANSFER, None)) == ("FORMERR", [], [])

    def test_where_no_zone_begins(self, empty: AnswererHarness) -> None:
        world = served(empty)
        for name in ("ns.example.org.", "example.net."):
            assert said(self.ask(world, name, NAMES | TRANSFER)) == ("NOTAUTH", [], [])

    def test_for_others(self, empty: AnswererHarness) -> None:
        reply = self.ask(served(empty), "example.org.", NAMES)
        assert said(reply) == ("REFUSED", [], [])
        assert [option.code for option in reply.options] == [18]
