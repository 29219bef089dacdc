"""The cluster domain and the reverse zones, as a client sees them (rows A to F of docs/dns.md)."""

import dns.flags
import dns.rcode
import pytest
from toolbox.answerer_harness import TTL, AnswererHarness, Z, lines, rrset

from svcdns.dns import stats

WEB = f"web.default.svc.{Z}."
SOA = f"{Z}. 3 SOA ns.dns.{Z}. hostmaster.{Z}. 7 7200 1800 86400 5"


def test_cluster_ip_answers_a_and_aaaa(shared_world: AnswererHarness) -> None:
    assert lines(shared_world.ask(WEB).answer) == [f"{WEB} {TTL} A 10.96.0.10"]
    assert lines(shared_world.ask(WEB, "AAAA").answer) == [f"{WEB} {TTL} AAAA fd00::10"]


def test_reply_flags_copy_rd_and_cd_and_set_aa(shared_world: AnswererHarness) -> None:
    reply = shared_world.ask(WEB, flags=dns.flags.RD | dns.flags.CD | dns.flags.AD)
    assert reply.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.CD
    assert shared_world.ask(WEB, flags=0).flags == dns.flags.QR | dns.flags.AA


def test_srv_has_its_target_as_additional(shared_world: AnswererHarness) -> None:
    reply = shared_world.ask(f"_http._tcp.{WEB}", "SRV")
    assert lines(reply.answer) == [f"_http._tcp.{WEB} {TTL} SRV 0 50 80 {WEB}"]
    assert lines(reply.additional) == [f"{WEB} {TTL} A 10.96.0.10", f"{WEB} {TTL} AAAA fd00::10"]
    assert not reply.authority


@pytest.mark.parametrize("name", [WEB.upper(), "wEb.DeFault.sVc.CLUSTER.local."])
def test_letter_case_of_the_question_is_repeated(shared_world: AnswererHarness, name: str) -> None:
    reply = shared_world.ask(name)
    assert reply.question[0].name.to_text() == name
    assert reply.answer[0].name.to_text() == name
    negative = shared_world.ask("NOTHING." + name, "A")
    assert negative.authority[0].name.to_text() == name.split(".", 3)[3]


@pytest.mark.parametrize(
    ("name", "rrtype"),
    [
        (f"four.default.svc.{Z}", "AAAA"),
        (f"four.default.svc.{Z}", "MX"),
        (f"four.default.svc.{Z}", "CAA"),
        (f"four.default.svc.{Z}", "TYPE1234"),
        (f"four.default.svc.{Z}", "TYPE256"),
        (f"four.default.svc.{Z}", "TYPE200"),
        (f"four.default.svc.{Z}", "DS"),
        (f"four.default.svc.{Z}", "MAILA"),
        (f"_tcp.web.default.svc.{Z}", "A"),
        (Z, "A"),
        (Z, "TXT"),
        (Z, "HINFO"),
        (f"svc.{Z}", "A"),
        (f"pod.{Z}", "A"),
        (f"empty.svc.{Z}", "TXT"),
        (f"empty.{Z}", "A"),
        (f"default.pod.{Z}", "A"),
        (f"dns.{Z}", "A"),
        (f"ns.dns.{Z}", "AAAA"),
        (f"dns-version.{Z}", "A"),
        (f"ext.default.svc.{Z}", "SRV"),
        (WEB, "PTR"),
    ],
)
@pytest.mark.parametrize("edns", [None, 1232])
def test_existing_name_without_the_type_is_nodata(
    shared_world: AnswererHarness, name: str, rrtype: str, edns: int | None
) -> None:
    reply = shared_world.ask(name, rrtype, edns=edns)
    assert reply.rcode() == dns.rcode.NOERROR
    assert not reply.answer
    assert lines(reply.authority) == [SOA]


@pytest.mark.parametrize(
    "name",
    [
        f"nothing.default.svc.{Z}",
        f"web.nowhere.svc.{Z}",
        f"nowhere.svc.{Z}",
        f"nowhere.{Z}",
        f"x.web.default.svc.{Z}",
        f"_nope._tcp.web.default.svc.{Z}",
        f"http.tcp.web.default.svc.{Z}",
        f"*.default.svc.{Z}",
        f"any.default.svc.{Z}",
        f"1-2-3-4.default.pod.{Z}",
        f"web.svc.{Z}",
        f"ext2.default.svc.{Z}",
        f"x.ext.default.svc.{Z}",
        f"we.default.svc.{Z}",
        f"web\\000.default.svc.{Z}",
        f"web\\001.default.svc.{Z}",
        f"default\\000web.svc.{Z}",
        f"default\\001\\001web.svc.{Z}",
    ],
)
@pytest.mark.parametrize("rrtype", ["A", "TXT", "SOA", "ANY", "CAA"])
def test_unknown_name_is_nxdomain(shared_world: AnswererHarness, name: str, rrtype: str) -> None:
    reply = shared_world.ask(name, rrtype)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert not reply.answer
    assert lines(reply.authority) == [SOA]
    assert reply.flags & dns.flags.AA


def test_apex_has_soa_and_ns(shared_world: AnswererHarness) -> None:
    soa = shared_world.ask(Z, "SOA")
    assert lines(soa.answer) == [SOA.replace(" 3 SOA", " 5 SOA")]
    assert not soa.authority
    assert not soa.additional
    ns = shared_world.ask(Z, "NS")
    assert lines(ns.answer) == [f"{Z}. {TTL} NS ns.dns.{Z}."]
    assert lines(ns.additional) == [f"ns.dns.{Z}. {TTL} A 192.0.2.53"]


def test_schema_version(shared_world: AnswererHarness) -> None:
    assert lines(shared_world.ask(f"dns-version.{Z}", "TXT").answer) == [
        f'dns-version.{Z}. 28800 TXT "1.1.0"'
    ]


@pytest.mark.parametrize(
    "name", [WEB, f"svc.{Z}", Z, f"_tcp.{WEB}", f"ext.default.svc.{Z}", f"web.default.{Z}"]
)
def test_any_gives_one_hinfo(shared_world: AnswererHarness, name: str) -> None:
    reply = shared_world.ask(name, "ANY")
    owner = name.removesuffix(".") + "."
    assert lines(reply.answer) == [f'{owner} 8482 HINFO "ANY obsoleted" "See RFC 8482"']
    assert not reply.authority


class TestShortNames:
    def test_same_answer_as_the_standard_form(self, shared_world: AnswererHarness) -> None:
        for name in ("web.default", "_http._tcp.web.default", "db-3.db.default"):
            for rrtype in ("A", "SRV", "AAAA", "TXT", "CAA"):
                short = shared_world.ask(f"{name}.{Z}", rrtype)
                full = shared_world.ask(f"{name}.svc.{Z}", rrtype)
                assert short.rcode() == full.rcode()
                assert [sorted(map(str, a)) for a in short.answer] == [
                    sorted(map(str, a)) for a in full.answer
                ]
                assert lines(short.authority) == lines(full.authority)
                assert lines(short.additional) == lines(full.additional)

    def test_own_labels_are_not_namespaces(self, world: AnswererHarness) -> None:
        world.put(f"web.dns.svc.{Z}", rrset("A", "10.96.0.77"))
        assert world.ask(f"web.dns.{Z}").rcode() == dns.rcode.NXDOMAIN
        assert world.ask(f"web.dns.svc.{Z}").answer

    def test_can_be_switched_off(self, world: AnswererHarness) -> None:
        world.serve(short_names=False)
        assert world.ask(f"web.default.{Z}").rcode() == dns.rcode.NXDOMAIN
        assert world.ask(f"default.{Z}").rcode() == dns.rcode.NXDOMAIN


class TestExternalName:
    def test_cname_alone(self, shared_world: AnswererHarness) -> None:
        reply = shared_world.ask(f"inner.default.svc.{Z}", "CNAME")
        assert lines(reply.answer) == [f"inner.default.svc.{Z}. {TTL} CNAME {WEB}"]

    @pytest.mark.parametrize("rrtype", ["A", "AAAA", "TXT"])
    def test_target_outside_our_zones(self, shared_world: AnswererHarness, rrtype: str) -> None:
        reply = shared_world.ask(f"away.default.svc.{Z}", rrtype)
        assert reply.rcode() == dns.rcode.NOERROR
        assert lines(reply.answer) == [f"away.default.svc.{Z}. {TTL} CNAME www.elsewhere.info."]
        assert not reply.authority

    @pytest.mark.parametrize(("name", "target"), [("inner", WEB), ("short", f"web.default.{Z}.")])
    def test_target_inside_is_followed(self, shared_world: AnswererHarness, name: str, target: str) -> None:
        reply = shared_world.ask(f"{name}.default.svc.{Z}", edns=1232)
        assert lines(reply.answer) == sorted(
            [f"{name}.default.svc.{Z}. {TTL} CNAME {target}", f"{target} {TTL} A 10.96.0.10"]
        )

    def test_target_without_the_type(self, shared_world: AnswererHarness) -> None:
        reply = shared_world.ask(f"inner.default.svc.{Z}", "TXT")
        assert reply.rcode() == dns.rcode.NOERROR
        assert len(reply.answer) == 1
        assert lines(reply.authority) == [SOA]

    def test_missing_target(self, shared_world: AnswererHarness) -> None:
        reply = shared_world.ask(f"lost.default.svc.{Z}")
        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert lines(reply.answer) == [f"lost.default.svc.{Z}. {TTL} CNAME nothing.default.svc.{Z}."]
        assert lines(reply.authority) == [SOA]

    def test_loops_end(self, shared_world: AnswererHarness) -> None:
        for flags, rcode in ((0, dns.rcode.NOERROR), (dns.flags.RD, dns.rcode.SERVFAIL)):
            reply = shared_world.ask(f"loop1.default.svc.{Z}", flags=flags)
            assert reply.rcode() == rcode
            assert len(reply.answer) == 2

    def test_chains_end_after_ten_links(self, shared_world: AnswererHarness) -> None:
        assert len(shared_world.ask(f"chain0.default.svc.{Z}", edns=4096).answer) == 10
        within = shared_world.ask(f"chain6.default.svc.{Z}", edns=4096)
        assert len(within.answer) == 10
        assert within.answer[-1].to_text().endswith("IN A 10.96.0.15")

    def test_target_in_a_zone_file(self, world: AnswererHarness) -> None:
        zone = world.file_zone("example.org")
        world.put_file(zone, "www.example.org", rrset("A", "192.0.2.80"))
        reply = world.ask(f"ext.default.svc.{Z}")
        assert lines(reply.answer)[1] == f"www.example.org. {TTL} A 192.0.2.80"
        missing = world.ask(f"ext.default.svc.{Z}", "AAAA")
        assert missing.authority[0].name.to_text() == "example.org."


class TestInsecurePods:
    @pytest.fixture
    def insecure(self, world: AnswererHarness) -> AnswererHarness:
        world.serve(pods="insecure")
        return world

    @pytest.mark.parametrize(
        ("label", "rrtype", "address"),
        [
            ("1-2-3-4", "A", "1.2.3.4"),
            ("2001-db8--1", "AAAA", "2001:db8::1"),
            ("2001-DB8--0", "AAAA", "2001:db8::"),
            ("--1", "AAAA", "::1"),
        ],
    )
    def test_the_address_that_it_spells(
        self, insecure: AnswererHarness, label: str, rrtype: str, address: str
    ) -> None:
        name = f"{label}.default.pod.{Z}."
        assert lines(insecure.ask(name, rrtype).answer) == [f"{name} {TTL} {rrtype} {address}"]
        other = insecure.ask(name, "TXT")
        assert other.rcode() == dns.rcode.NOERROR
        assert lines(other.authority) == [SOA]

    @pytest.mark.parametrize(
        "name",
        [
            "1-2-3.default",
            "1-2-3-400.default",
            "01-2-3-4.default",
            "x.default",
            "1-2-3-4.nowhere",
            "y.1-2-3-4.default",
            "-.default",
            "1:2--.default",
            "1--2--3.default",
        ],
    )
    def test_no_address_or_no_namespace(self, insecure: AnswererHarness, name: str) -> None:
        assert insecure.ask(f"{name}.pod.{Z}").rcode() == dns.rcode.NXDOMAIN

    def test_namespace_itself(self, insecure: AnswererHarness) -> None:
        assert insecure.ask(f"default.pod.{Z}").rcode() == dns.rcode.NOERROR


class TestReverse:
    def test_ptr(self, shared_world: AnswererHarness) -> None:
        name = "10.0.96.10.in-addr.arpa."
        assert lines(shared_world.ask(name, "PTR").answer) == [f"{name} {TTL} PTR {WEB}"]

    def test_negatives_name_the_reverse_zone(self, shared_world: AnswererHarness) -> None:
        unknown = shared_world.ask("9.0.96.10.in-addr.arpa", "PTR")
        assert unknown.rcode() == dns.rcode.NXDOMAIN
        assert unknown.authority[0].name.to_text() == "10.in-addr.arpa."
        for name, rrtype in (("96.10.in-addr.arpa", "PTR"), ("10.0.96.10.in-addr.arpa", "A")):
            reply = shared_world.ask(name, rrtype)
            assert reply.rcode() == dns.rcode.NOERROR
            assert reply.authority[0].name.to_text() == "10.in-addr.arpa."


def test_headless_a_are_all_there(shared_world: AnswererHarness) -> None:
    reply = shared_world.ask(f"many.default.svc.{Z}")
    assert {str(rdata) for rdata in reply.answer[0]} == {f"10.1.0.{n}" for n in range(20)}


def test_name_in_no_zone_is_refused(shared_world: AnswererHarness) -> None:
    reply = shared_world.ask("www.example.com", edns=1232)
    assert reply.rcode() == dns.rcode.REFUSED
    assert not reply.flags & dns.flags.AA
    assert reply.extended_errors()[0].code == 20
    assert shared_world.ask(".", "NS").rcode() == dns.rcode.REFUSED
    assert shared_world.ask("xcluster.local").rcode() == dns.rcode.REFUSED


def test_nothing_loaded_is_servfail(empty_world: AnswererHarness) -> None:
    for name in (WEB, "example.com", "."):
        reply = empty_world.ask(name, edns=1232)
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert reply.extended_errors()[0].code == 14


def test_change_is_seen_at_once(world: AnswererHarness) -> None:
    assert world.ask(f"new.default.svc.{Z}").rcode() == dns.rcode.NXDOMAIN
    world.put(f"new.default.svc.{Z}", rrset("A", "10.96.0.99"))
    assert world.ask(f"new.default.svc.{Z}").answer
    world.drop(f"new.default.svc.{Z}")
    assert world.ask(f"new.default.svc.{Z}").rcode() == dns.rcode.NXDOMAIN
    world.registry_zone(Z, "cluster", serial=8)
    world.zones.pop()
    assert world.ask(f"new.default.svc.{Z}").authority[0][0].serial == 8


def test_replies_are_counted(world: AnswererHarness) -> None:
    for name, rrtype in (
        (WEB, "A"),
        (WEB, "A"),
        (WEB, "TXT"),
        ("nothing." + WEB, "CAA"),
        ("example.com", "MX"),
    ):
        world.ask(name, rrtype)
    world.ask("10.0.96.10.in-addr.arpa", "PTR", transport=stats.TCP)
    assert {tuple(count) for count in stats.replies(world.counters.slots)} == {
        ("A", "NOERROR", "udp", "cluster", 2),
        ("TXT", "NODATA", "udp", "cluster", 1),
        ("other", "NXDOMAIN", "udp", "cluster", 1),
        ("MX", "REFUSED", "udp", "other", 1),
        ("PTR", "NOERROR", "tcp", "reverse", 1),
    }
