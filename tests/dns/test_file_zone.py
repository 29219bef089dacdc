"""Zone files: RFC 1034 section 4.3.2, wildcards, delegations, DNAME."""

import dns.flags
import dns.rcode
import pytest
from toolbox.answerer_harness import TTL, AnswererHarness, Z, glue, lines, rrset, soa_sets

from svcdns.names.packed import APEX, CUT, DNAME
from svcdns.store.snapshot import Zone

LONG = "l" * 60


@pytest.fixture
def zones(world: AnswererHarness) -> AnswererHarness:
    zone = world.file_zone("example.org", cuts=True, wildcards=True)

    def put(name: str, *sets: object, flags: int = 0) -> None:
        world.put_file(zone, f"{name}.example.org", *sets, flags=flags)  # type: ignore[arg-type]

    with world.writing():
        put("www", rrset("A", "192.0.2.80"))
        put("alias", rrset("CNAME", "www.example.org."))
        put("far", rrset("CNAME", f"web.default.svc.{Z}."))
        put("a.b.c", rrset("TXT", '"deep"'))
        put("*.wild", rrset("A", "192.0.2.1"), rrset("MX", "10 mail.example.org."))
        put("here.wild", rrset("TXT", '"blocks"'))
        put("x.ent.wild", rrset("TXT", '"below"'))
        put("*.aliases", rrset("CNAME", "www.example.org."))
        put("x.*.starred", rrset("TXT", '"below a star"'))
        ns_glue = (glue("ns1.sub.example.org", "A", "192.0.2.2"), glue("ns1.sub.example.org", "AAAA", "::2"))
        put(
            "sub",
            rrset("NS", "ns1.sub.example.org.", "ns2.elsewhere.", glue=ns_glue),
            rrset("DS", "1 13 2 " + "00" * 32),
            flags=CUT,
        )
        put("ns1.sub", rrset("A", "192.0.2.2"), rrset("AAAA", "::2"))
        put("insecure", rrset("NS", "ns2.elsewhere."), flags=CUT)
        put("to-sub", rrset("CNAME", "www.sub.example.org."))
        put("moved", rrset("DNAME", "wild.example.org."), rrset("TXT", '"itself"'), flags=DNAME)
        put("long", rrset("DNAME", f"{LONG}.{LONG}.{LONG}.example.org."), flags=DNAME)
        put("circle", rrset("DNAME", "circle.example.org."), flags=DNAME)
    return world


def test_answer_and_nodata(zones: AnswererHarness) -> None:
    assert lines(zones.ask("www.example.org").answer) == [f"www.example.org. {TTL} A 192.0.2.80"]
    nodata = zones.ask("www.example.org", "AAAA")
    assert nodata.rcode() == dns.rcode.NOERROR
    assert nodata.authority[0].name.to_text() == "example.org."
    for name in ("b.c", "c", "ent.wild", "starred"):
        empty = zones.ask(f"{name}.example.org", "TXT")
        assert empty.rcode() == dns.rcode.NOERROR, name
        assert not empty.answer


def test_nxdomain(zones: AnswererHarness) -> None:
    for name in ("nothing", "x.www", "y.b.c"):
        reply = zones.ask(f"{name}.example.org")
        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert reply.authority[0].ttl == 3


def test_cname_chains_lead_into_the_cluster(zones: AnswererHarness) -> None:
    chain = zones.ask("far.example.org", "AAAA")
    assert [str(rrset[0]) for rrset in chain.answer] == [f"web.default.svc.{Z}.", "fd00::10"]
    assert lines(zones.ask("alias.example.org", "CNAME").answer) == [
        f"alias.example.org. {TTL} CNAME www.example.org."
    ]


@pytest.mark.parametrize("rrtype", ["RRSIG", "NSEC"])
@pytest.mark.parametrize("name", ["alias.example.org", "foo.aliases.example.org", f"ext.default.svc.{Z}"])
def test_what_an_alias_has_itself_leads_nowhere(zones: AnswererHarness, name: str, rrtype: str) -> None:
    """RFC 4035 section 2.5: these stand beside a CNAME."""
    reply = zones.ask(name, rrtype)
    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    assert reply.authority[0].rdtype.name == "SOA"


class TestWildcard:
    def test_owner_is_the_question(self, zones: AnswererHarness) -> None:
        for name in ("any.wild.example.org.", "A.B.wild.example.org."):
            assert lines(zones.ask(name).answer) == [f"{name} {TTL} A 192.0.2.1"]

    def test_lacks_the_type(self, zones: AnswererHarness) -> None:
        reply = zones.ask("any.wild.example.org", "TXT")
        assert reply.rcode() == dns.rcode.NOERROR
        assert not reply.answer
        assert reply.authority

    def test_existing_names_block_it(self, zones: AnswererHarness) -> None:
        for name in ("here.wild", "ent.wild", "wild"):
            reply = zones.ask(f"{name}.example.org")
            assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, []), name
        for name in ("x.here.wild", "y.ent.wild"):
            assert zones.ask(f"{name}.example.org").rcode() == dns.rcode.NXDOMAIN, name

    def test_with_a_cname(self, zones: AnswererHarness) -> None:
        reply = zones.ask("foo.aliases.example.org")
        assert lines(reply.answer) == [
            f"foo.aliases.example.org. {TTL} CNAME www.example.org.",
            f"www.example.org. {TTL} A 192.0.2.80",
        ]

    def test_asked_for_by_its_own_name(self, zones: AnswererHarness) -> None:
        assert zones.ask("*.wild.example.org").answer

    def test_empty_star_is_nodata(self, zones: AnswererHarness) -> None:
        reply = zones.ask("foo.starred.example.org")
        assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])


class TestDelegation:
    @pytest.mark.parametrize("name", ["sub", "www.sub", "ns1.sub", "a.b.c.sub"])
    @pytest.mark.parametrize("rrtype", ["A", "NS", "TXT", "ANY"])
    def test_referral(self, zones: AnswererHarness, name: str, rrtype: str) -> None:
        reply = zones.ask(f"{name}.example.org", rrtype)
        assert reply.rcode() == dns.rcode.NOERROR
        assert not reply.flags & dns.flags.AA
        assert not reply.answer
        assert lines(reply.authority) == [
            f"sub.example.org. {TTL} NS ns1.sub.example.org.",
            f"sub.example.org. {TTL} NS ns2.elsewhere.",
        ]
        assert lines(reply.additional) == [
            f"ns1.sub.example.org. {TTL} A 192.0.2.2",
            f"ns1.sub.example.org. {TTL} AAAA ::2",
        ]

    def test_ds_is_the_parents(self, zones: AnswererHarness) -> None:
        reply = zones.ask("sub.example.org", "DS")
        assert reply.flags & dns.flags.AA
        assert len(reply.answer) == 1
        missing = zones.ask("insecure.example.org", "DS")
        assert missing.rcode() == dns.rcode.NOERROR
        assert missing.authority[0].rdtype == dns.rdatatype.SOA
        assert not zones.ask("www.sub.example.org", "DS").flags & dns.flags.AA

    def test_behind_an_alias(self, zones: AnswererHarness) -> None:
        reply = zones.ask("to-sub.example.org")
        assert reply.flags & dns.flags.AA
        assert len(reply.answer) == 1
        assert reply.authority[0].name.to_text() == "sub.example.org."

    def test_glue_that_has_no_room_sets_tc(self, world: AnswererHarness) -> None:
        zone = world.file_zone("example.net", cuts=True)
        servers = [f"server-{n}.of-the-sub-domain.sub.example.net" for n in range(12)]
        extra = tuple(glue(name, "A", f"192.0.2.{n}") for n, name in enumerate(servers))
        ns = rrset("NS", *(f"{name}." for name in servers[:6]), glue=extra)
        world.put_file(zone, "sub.example.net", ns, flags=CUT)
        assert world.ask("www.sub.example.net").flags & dns.flags.TC
        assert not world.ask("www.sub.example.net", edns=1232).flags & dns.flags.TC


class TestDname:
    def test_rewrites_names_below(self, zones: AnswererHarness) -> None:
        reply = zones.ask("Any.Moved.example.org")
        assert [rrset.to_text() for rrset in reply.answer] == [
            f"Moved.example.org. {TTL} IN DNAME wild.example.org.",
            f"Any.Moved.example.org. {TTL} IN CNAME Any.wild.example.org.",
            f"Any.wild.example.org. {TTL} IN A 192.0.2.1",
        ]

    def test_cname_question_gets_the_made_one(self, zones: AnswererHarness) -> None:
        reply = zones.ask("any.moved.example.org", "CNAME")
        assert [rrset.rdtype.name for rrset in reply.answer] == ["DNAME", "CNAME"]

    def test_its_owner_is_not_rewritten(self, zones: AnswererHarness) -> None:
        assert [rrset.rdtype.name for rrset in zones.ask("moved.example.org", "TXT").answer] == ["TXT"]
        assert [rrset.rdtype.name for rrset in zones.ask("moved.example.org", "DNAME").answer] == ["DNAME"]
        assert zones.ask("moved.example.org", "A").rcode() == dns.rcode.NOERROR

    def test_too_long_is_yxdomain(self, zones: AnswererHarness) -> None:
        reply = zones.ask(f"{LONG}.{LONG}.long.example.org")
        assert reply.rcode() == dns.rcode.YXDOMAIN
        assert [rrset.rdtype.name for rrset in reply.answer] == ["DNAME"]

    def test_into_itself_ends(self, zones: AnswererHarness) -> None:
        for flags, rcode in ((0, dns.rcode.NOERROR), (dns.flags.RD, dns.rcode.SERVFAIL)):
            reply = zones.ask("x.circle.example.org", flags=flags)
            assert reply.rcode() == rcode
            assert [rrset.rdtype.name for rrset in reply.answer] == ["DNAME", "CNAME"]


class TestZonesOverEachOther:
    """Which zone answers where several could."""

    def test_longest_origin_wins_and_ds_goes_to_the_parent(self, zones: AnswererHarness) -> None:
        inner = zones.file_zone("inner.example.org")
        zones.put_file(inner, "www.inner.example.org", rrset("A", "192.0.2.9"))
        assert zones.ask("www.inner.example.org").answer
        assert zones.ask("nothing.inner.example.org").authority[0].name.to_text() == "inner.example.org."
        ds = zones.ask("inner.example.org", "DS")
        assert ds.rcode() == dns.rcode.NOERROR
        assert ds.authority[0].name.to_text() == "example.org."
        assert zones.ask("example.org", "DS").authority[0].name.to_text() == "example.org."

    def test_ds_of_the_cluster_domain(self, world: AnswererHarness) -> None:
        assert world.ask(Z, "DS").authority[0].name.to_text() == f"{Z}."
        world.file_zone("local")
        ds = world.ask(Z, "DS")
        assert ds.rcode() == dns.rcode.NOERROR
        assert ds.authority[0].name.to_text() == "local."

    def test_name_above_an_origin_exists(self, world: AnswererHarness) -> None:
        world.file_zone("example.org")
        world.file_zone("a.b.example.org")
        assert world.ask("b.example.org").rcode() == dns.rcode.NOERROR
        assert world.ask("x.b.example.org").rcode() == dns.rcode.NXDOMAIN

    def reverse(self, world: AnswererHarness, *, fallthrough: bool, origin: str) -> Zone:
        world.registry_zone("192.in-addr.arpa", "reverse", fallthrough=fallthrough)
        world.put("1.2.168.192.in-addr.arpa", rrset("PTR", f"web.default.svc.{Z}."))
        world.put("1.9.168.192.in-addr.arpa", rrset("PTR", f"web.default.svc.{Z}."))
        zone = world.file_zone(origin)
        world.put_file(zone, "1.2.168.192.in-addr.arpa", rrset("PTR", "file."))
        world.put_file(zone, "2.2.168.192.in-addr.arpa", rrset("PTR", "file."))
        world.serve(own_reverse=(b"arpa\0in-addr\000192\000168\0009\0",))
        world.put_file(zone, "3.9.168.192.in-addr.arpa", rrset("PTR", "file."))
        return zone

    @pytest.mark.parametrize(
        ("fallthrough", "origin", "goes_on"),
        [
            (True, "168.192.in-addr.arpa", True),
            (False, "168.192.in-addr.arpa", True),
            (True, "in-addr.arpa", True),
            (False, "in-addr.arpa", False),
            (True, "192.in-addr.arpa", True),
        ],
    )
    def test_reverse_names(
        self, world: AnswererHarness, fallthrough: bool, origin: str, goes_on: bool
    ) -> None:
        self.reverse(world, fallthrough=fallthrough, origin=origin)
        registered = world.ask("1.2.168.192.in-addr.arpa", "PTR")
        assert str(registered.answer[0][0]) == f"web.default.svc.{Z}."
        other_type = world.ask("1.2.168.192.in-addr.arpa", "TXT")
        assert other_type.rcode() == dns.rcode.NOERROR
        assert other_type.authority[0].name.to_text() == "192.in-addr.arpa."
        in_file = world.ask("2.2.168.192.in-addr.arpa", "PTR")
        assert bool(in_file.answer) is goes_on
        assert in_file.rcode() == (dns.rcode.NOERROR if goes_on else dns.rcode.NXDOMAIN)
        unknown = world.ask("3.2.168.192.in-addr.arpa", "PTR")
        assert unknown.rcode() == dns.rcode.NXDOMAIN
        assert unknown.authority[0].name.to_text() == (f"{origin}." if goes_on else "192.in-addr.arpa.")
        own = world.ask("3.9.168.192.in-addr.arpa", "PTR")
        assert own.rcode() == dns.rcode.NXDOMAIN
        assert own.authority[0].name.to_text() == "192.in-addr.arpa."

    def test_registry_keeps_a_name_from_nxdomain(self, world: AnswererHarness) -> None:
        world.registry_zone("192.in-addr.arpa", "reverse", fallthrough=True)
        world.put("1.2.168.192.in-addr.arpa", rrset("PTR", f"web.default.svc.{Z}."))
        world.file_zone("168.192.in-addr.arpa")
        reply = world.ask("2.168.192.in-addr.arpa", "PTR")
        assert reply.rcode() == dns.rcode.NOERROR
        assert not reply.answer

    def test_cluster_domain_falls_through_only_if_told(self, world: AnswererHarness) -> None:
        zone = world.file_zone("local")
        world.put_file(zone, f"extra.default.svc.{Z}", rrset("A", "192.0.2.99"))
        world.put_file(zone, f"web.default.svc.{Z}", rrset("A", "192.0.2.98"), rrset("TXT", '"no"'))
        assert world.ask(f"extra.default.svc.{Z}").rcode() == dns.rcode.NXDOMAIN
        world.zones = [z if z.kind != "cluster" else Zone(z.origin, z.key, z.kind, True) for z in world.zones]
        world.serve()
        assert str(world.ask(f"extra.default.svc.{Z}").answer[0][0]) == "192.0.2.99"
        assert str(world.ask(f"web.default.svc.{Z}").answer[0][0]) == "10.96.0.10"
        assert not world.ask(f"web.default.svc.{Z}", "TXT").answer


def test_zone_without_soa_is_servfail(world: AnswererHarness) -> None:
    zone = world.file_zone("example.org")
    world.put_file(zone, "example.org", *soa_sets("example.org")[1:], flags=APEX)
    assert world.ask("nothing.example.org").rcode() == dns.rcode.SERVFAIL


def test_type_numbers_are_not_mixed_up_in_a_row(world: AnswererHarness) -> None:
    """URI and CAA are 256 and 257: side by side their octets hold those of A."""
    zone = world.file_zone("example.org")
    sets = (rrset("URI", '1 1 "https://example.org"'), rrset("CAA", '0 issue "ca.example"'))
    world.put_file(zone, "www.example.org", *sets)
    reply = world.ask("www.example.org")
    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    assert world.ask("www.example.org", "URI").answer
    assert world.ask("www.example.org", "CAA").answer
