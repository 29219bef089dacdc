"""Rows J: sizes, EDNS, classes, zones, and messages that are no questions.

Everything malformed stands in tests/dns/test_headers_and_sizes.py; here is what a client sees of each row.
"""

import struct
from ipaddress import ip_address
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import pytest
from behaviour.cluster_harness import SVC, TTL, ClusterHarness, Z, is_nodata, is_nxdomain, question, reply_to
from behaviour.listening import ask_tcp, ask_udp
from behaviour.objects import FILE, endpoint, endpoint_slice, headless, port, service

from svcdns.dns import stats
from svcdns.registry.answer_tables import current_table
from svcdns.wire.key import key_of, wire_of

WEB = f"web.{SVC}"
WWW = "www 60 A 192.0.2.80"
HUGE = 5000
PLAIN = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + wire_of(WEB) + b"\0\1\0\1"
EDNS1 = b"\0\0\x29\x04\xd0\0\1\0\0\0\0"


def many(name: str, count: int, first: str = "10.1.0.0", ports: Any = (), hostname: str = "") -> list[Any]:
    """A headless Service of `count` endpoints in slices of up to 1,000."""
    base = int(ip_address(first))
    family = type(ip_address(first))
    each = [endpoint(str(family(base + n)), hostname=hostname and f"{hostname}-{n}") for n in range(count)]
    slices = [
        endpoint_slice(f"{name}-{at}", name, *each[at : at + 1000], ports=ports)
        for at in range(0, count, 1000)
    ]
    return [headless(name, selector={}, ipFamilyPolicy="PreferDualStack"), *slices]


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    world: ClusterHarness = make_world(
        service("web", clusterIP="10.96.0.10"),
        *many("few", 5, ports=[port(80, "http")], hostname="a-name-that-is-rather-long"),
        *many("some", 100, "10.2.0.0", [port(80, "http")]),
        *many("huge", HUGE, "10.3.0.0"),
        *many("huge-six", HUGE, "2001:db8::"),
    )
    world.zone_file(FILE.format(origin="example.org", records=WWW))
    return world


@pytest.mark.row("J1")
@pytest.mark.parametrize(
    ("edns", "limit"),
    [(None, 512), (0, 512), (511, 512), (700, 700), (1232, 1232), (4096, 1232), (65535, 1232)],
)
@pytest.mark.parametrize(
    ("name", "rrtype", "octets"), [("some", "A", 16), ("huge-six", "AAAA", 28), ("some", "SRV", 60)]
)
def test_udp_sends_the_whole_rrs_that_fit(
    ask: Any, edns: int | None, limit: int, name: str, rrtype: str, octets: int
) -> None:
    reply = ask(f"{name}.{SVC}", rrtype, edns=edns)
    assert "TC" in reply.flags
    assert limit - octets < len(reply.wire) <= limit
    assert reply.answer
    assert not reply.additional
    assert not reply.authority


@pytest.mark.row("J1")
def test_udp_size_caps_whatever_the_client_says(new_world: Any) -> None:
    world = new_world(*many("some", 100), udp_size=600)
    reply = world.ask(f"some.{SVC}", edns=4096)
    assert 600 - 16 < len(reply.wire) <= 600
    assert reply.message.payload == 600


@pytest.mark.row("J1")
def test_additionals_give_way_before_answers_and_without_tc(ask: Any) -> None:
    name = f"_http._tcp.few.{SVC}"
    full = ask(name, "SRV", tcp=True)
    assert len(full.answer) == len(full.additional) == 5
    cut = ask(name, "SRV")
    assert "TC" not in cut.flags
    assert len(cut.wire) <= 512
    assert cut.sorted == full.sorted
    assert set(cut.additional) < set(full.additional)


@pytest.mark.row("J1")
def test_truncated_sets_are_a_random_part(ask: Any) -> None:
    seen = {address for _ in range(200) for address in ask(f"some.{SVC}").rdata}
    assert len(seen) == 100


@pytest.mark.row("J1")
@pytest.mark.parametrize(("name", "rrtype", "octets"), [("huge", "A", 16), ("huge-six", "AAAA", 28)])
@pytest.mark.parametrize("edns", [None, 1232])
def test_tcp_past_65535_octets_is_a_random_part_without_tc(
    ask: Any, name: str, rrtype: str, octets: int, edns: int | None
) -> None:
    firsts = set()
    for _ in range(3):
        reply = ask(f"{name}.{SVC}", rrtype, tcp=True, edns=edns)
        assert "TC" not in reply.flags
        count = len(reply.answer)
        assert len(set(reply.answer)) == count
        assert 65535 - octets - 40 < len(reply.wire) <= 65535
        expected = [(0, f"{count} of {HUGE}")] if edns else []
        assert reply.extended_errors == expected
        firsts.add(reply.answer[0])
    assert len(firsts) > 1


@pytest.mark.row("J1")
def test_udp_says_tc_and_tcp_has_all(world: ClusterHarness) -> None:
    async def work() -> None:
        async with world.listening() as place:
            query = question(f"some.{SVC}")
            over_udp = await ask_udp(place, query)
            (over_tcp,) = await ask_tcp(place, query)
            assert "TC" in over_udp.flags
            assert "TC" not in over_tcp.flags
            assert len(over_tcp.answer) == 100
            assert set(over_udp.answer) < set(over_tcp.answer)

    world.run(work())


@pytest.mark.row("J1")
def test_tcp_answers_several_questions_of_one_connection_in_order(world: ClusterHarness) -> None:
    async def work() -> None:
        async with world.listening() as place:
            queries = [
                question(WEB),
                question(f"nothing.{SVC}"),
                question(f"some.{SVC}"),
                question(WEB, "SRV"),
            ] * 5
            replies = await ask_tcp(place, *queries)
            assert [len(reply.answer) for reply in replies] == [1, 0, 100, 1] * 5

    world.run(work())


@pytest.mark.row("J2")
@pytest.mark.parametrize("name", [WEB, f"nothing.{SVC}", f"some.{SVC}", "elsewhere.info"])
@pytest.mark.parametrize("tcp", [False, True])
def test_one_opt_for_one(world: ClusterHarness, name: str, tcp: bool) -> None:
    """Version 0, our own size, DO copied, unknown options dropped."""
    for do in (False, True):
        options = [dns.edns.GenericOption(10, b"12345678"), dns.edns.GenericOption(65001, b"")]
        query = dns.message.make_query(name, "A", use_edns=0, payload=4000, want_dnssec=do, options=options)
        reply = reply_to(query, world.raw(query.to_wire(), tcp=tcp))
        assert reply.message.edns == 0
        assert reply.message.payload == 1232
        assert bool(reply.message.ednsflags & dns.flags.DO) is do
        assert not [option for option in reply.message.options if option.otype != dns.edns.OptionType.EDE]


@pytest.mark.row("J2")
@pytest.mark.parametrize("name", [WEB, f"nothing.{SVC}", f"some.{SVC}", "elsewhere.info"])
def test_no_opt_for_none(ask: Any, name: str) -> None:
    assert ask(name).message.edns == -1


@pytest.mark.row("J3")
def test_other_edns_versions(world: ClusterHarness) -> None:
    wire = world.raw(PLAIN[:11] + b"\1" + PLAIN[12:] + EDNS1)
    assert wire is not None
    message = dns.message.from_wire(wire)
    assert dns.rcode.to_text(message.rcode()) == "BADVERS"
    assert message.edns == 0
    assert not message.answer


@pytest.mark.row("J4")
@pytest.mark.parametrize("rrclass", ["CH", "HS", "ANY", "NONE"])
def test_other_classes(world: ClusterHarness, rrclass: str) -> None:
    query = dns.message.make_query(WEB, "A", rdclass=rrclass)
    reply = reply_to(query, world.raw(query.to_wire()))
    assert reply.rcode == "REFUSED"
    assert "AA" not in reply.flags


@pytest.mark.row("J5")
@pytest.mark.parametrize("name", ["example.com", "local", "cluster.locals", "xcluster.local", "arpa", "."])
@pytest.mark.parametrize("rrtype", ["A", "SOA", "ANY"])
def test_names_in_no_zone(ask: Any, name: str, rrtype: str) -> None:
    reply = ask(name, rrtype)
    assert reply.rcode == "REFUSED"
    assert "AA" not in reply.flags
    assert not reply.answer
    assert not reply.authority


@pytest.mark.row("J6")
@pytest.mark.parametrize(
    "packet",
    [
        PLAIN[:4] + struct.pack(">4H", 0, 0, 0, 0),
        PLAIN[:4] + struct.pack(">4H", 2, 0, 0, 0) + PLAIN[12:] * 2,
        PLAIN[:20],
        PLAIN[:12] + b"\xc0\x0c\0\1\0\1",
    ],
)
def test_malformed_is_formerr(world: ClusterHarness, packet: bytes) -> None:
    wire = world.raw(packet)
    assert wire is not None
    assert wire[:2] == packet[:2]
    assert wire[3] & 0xF == 1


@pytest.mark.row("J6")
def test_octets_behind_a_question_mean_nothing(world: ClusterHarness) -> None:
    assert world.raw(PLAIN + b"\0") == world.raw(PLAIN)


@pytest.mark.row("J6")
@pytest.mark.parametrize("packet", [b"", PLAIN[:11], PLAIN[:2] + b"\x81" + PLAIN[3:]])
def test_replies_and_less_than_a_header_are_silence(world: ClusterHarness, packet: bytes) -> None:
    assert world.raw(packet) is None


@pytest.mark.row("J6")
def test_other_opcodes(world: ClusterHarness) -> None:
    wire = world.raw(PLAIN[:2] + b"\x21" + PLAIN[3:])
    assert wire is not None
    assert wire[3] & 0xF == 4


@pytest.mark.row("J7")
def test_owners_are_compressed_to_fit(ask: Any) -> None:
    """Five SRVs of 80 octets leave no room for five long glue owners; pointers to the targets do."""
    name = f"_http._tcp.few.{SVC}"
    full = ask(name, "SRV", tcp=True)
    assert len(full.wire) > 700
    fitted = ask(name, "SRV", edns=700)
    assert len(fitted.wire) <= 700
    assert len(fitted.answer) == 5
    assert fitted.additional == full.additional


@pytest.mark.row("J8")
def test_an_exception_costs_one_servfail(new_world: Any, caplog: pytest.LogCaptureFixture) -> None:
    world = new_world(service("web", clusterIP="10.96.0.10"))
    damaged = b"\0\1\0\1"  # says that there is an A, and ends

    def damage(txn: Any) -> None:
        txn.put(key_of(f"bad.{SVC}"), damaged, db=current_table(world.registry.store, txn))

    world.run(world.registry.transact(damage))
    assert world.ask(f"bad.{SVC}").rcode == "SERVFAIL"
    assert world.counters.slots[stats.PANICS] == 1
    assert "no answer" in caplog.text
    assert world.ask(WEB).rdata == ["10.96.0.10"]


@pytest.mark.row("J9")
def test_the_longest_zone_answers(new_world: Any) -> None:
    world = new_world(service("web"), reverse_zones=("10.in-addr.arpa", "in-addr.arpa"), fallthrough=())
    for origin in ("org", "example.org", "deep.example.org"):
        world.zone_file(FILE.format(origin=origin, records=WWW))
    assert is_nxdomain(world.ask("x.deep.example.org"), "deep.example.org.")
    assert is_nxdomain(world.ask("x.example.org"), "example.org.")
    assert is_nxdomain(world.ask("x.y.org"), "org.")
    assert is_nxdomain(world.ask("9.9.9.10.in-addr.arpa", "PTR"), "10.in-addr.arpa.")
    assert is_nxdomain(world.ask("9.9.9.11.in-addr.arpa", "PTR"), "in-addr.arpa.")
    assert world.ask("www.deep.example.org").answer == ["www.deep.example.org. 60 A 192.0.2.80"]


@pytest.mark.row("J9")
def test_ds_is_a_question_to_the_zone_above(new_world: Any) -> None:
    world = new_world(reverse_zones=("10.in-addr.arpa", "in-addr.arpa"))
    for origin in ("local", "org", "example.org"):
        world.zone_file(FILE.format(origin=origin, records=WWW))
    assert is_nodata(world.ask("example.org", "DS"), "org.")
    assert is_nodata(world.ask(Z, "DS"), "local.")
    assert is_nodata(world.ask("10.in-addr.arpa", "DS"), "in-addr.arpa.")
    assert is_nodata(world.ask("org", "DS"), "org."), "there is no zone above"
    assert is_nodata(world.ask(f"default.svc.{Z}", "DS")), "no zone begins here"


@pytest.mark.row("J1")
def test_a_reply_that_fits_has_no_tc(ask: Any) -> None:
    reply = ask(f"few.{SVC}")
    assert "TC" not in reply.flags
    assert reply.sorted == sorted(f"few.{SVC}. {TTL} A 10.1.0.{n}" for n in range(5))
