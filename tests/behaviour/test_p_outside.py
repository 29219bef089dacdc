"""Rows P: names that are not ours; and what forwarding adds to rows A1 and J5."""

import asyncio
from typing import Any

import dns.flags
import dns.message
import pytest
from behaviour.cluster_harness import SVC, Z, is_nxdomain, question, reply_to
from behaviour.forwarding_harness import STRANGER, ForwardingClusterHarness, asked
from behaviour.listening import ask_udp
from behaviour.objects import external, headless, pod, service
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for

from svcdns.config.sections import ForwardZone
from svcdns.dns import stats

WEB = f"web.{SVC}"


@pytest.fixture(scope="module")
def world(forward_all_to: Any, upstream: Unbound) -> ForwardingClusterHarness:
    world: ForwardingClusterHarness = forward_all_to(
        [upstream.address], service("web", clusterIP="10.96.0.10")
    )
    return world


@pytest.mark.row("A1")
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("name", [WEB, f"nothing.{SVC}", Z, "10.0.96.10.in-addr.arpa", "www.example.org"])
def test_ra_is_where_the_client_may_forward(ask: Any, name: str, tcp: bool) -> None:
    for edns in (None, 1232):
        for flags in (0, dns.flags.RD):
            assert "RA" in ask(name, tcp=tcp, edns=edns, flags=flags).flags
            if not tcp:
                assert "RA" not in ask(name, source=STRANGER, edns=edns, flags=flags).flags


@pytest.mark.row("A1")
def test_no_ra_where_nothing_is_forwarded(forward_to: Any) -> None:
    world = forward_to([], service("web", clusterIP="10.96.0.10"))
    for name in (WEB, f"nothing.{SVC}", "www.example.org"):
        assert "RA" not in world.ask(name).flags


@pytest.mark.row("J5")
@pytest.mark.parametrize("name", ["www.example.org", "local", "cluster.locals", "xcluster.local", "."])
@pytest.mark.parametrize("rrtype", ["A", "SOA", "ANY"])
@pytest.mark.parametrize(("how", "why"), [({"source": STRANGER}, 18), ({"flags": 0}, 20)])
def test_names_in_no_zone_refused(ask: Any, name: str, rrtype: str, how: dict[str, Any], why: int) -> None:
    reply = ask(name, rrtype, edns=1232, **how)
    assert reply.rcode == "REFUSED"
    assert [code for code, _ in reply.extended_errors] == [why]
    assert not reply.answer + reply.authority
    assert "AA" not in reply.flags


@pytest.mark.row("J5")
def test_names_in_no_zone_where_nothing_is_forwarded(forward_to: Any) -> None:
    reply = forward_to([]).ask("www.example.org", edns=1232)
    assert reply.rcode == "REFUSED"
    assert [code for code, _ in reply.extended_errors] == [20]


@pytest.mark.row("J5", "P1")
@pytest.mark.parametrize("tcp", [False, True])
def test_names_in_no_zone_are_answered_as_upstreams_say(ask: Any, tcp: bool) -> None:
    for _ in ("asked", "from the cache"):
        reply = ask("wWw.eXample.org", tcp=tcp)
        assert [line.split()[0::3] for line in reply.answer] == [["wWw.eXample.org.", "192.0.2.10"]]
        assert {"RA", "RD"} <= reply.flags
        assert "AA" not in reply.flags


@pytest.mark.row("P1")
def test_do_and_cd_are_passed_on_and_kept_apart(forward_to: Any) -> None:
    with Misbehaving() as upstream:
        world = forward_to([upstream.address])
        for flags in (dns.flags.RD, dns.flags.RD | dns.flags.CD):
            for do in (False, True):
                for _ in ("asked", "from the cache"):
                    query = dns.message.make_query("www.example.org", "A", use_edns=0, want_dnssec=do)
                    query.flags = dns.flags.Flag(flags)
                    reply = world.run(ask_udp(world.place, query))
                    assert reply.rdata == ["192.0.2.7"]
                    assert ("CD" in reply.flags) == bool(flags & dns.flags.CD)
                    assert bool(reply.message.ednsflags & dns.flags.DO) is do
        passed = [
            (bool(one.ednsflags & dns.flags.DO), bool(one.flags & dns.flags.CD)) for one in asked(upstream)
        ]
        assert sorted(passed) == [(False, False), (False, True), (True, False), (True, True)]


@pytest.mark.row("P2")
@pytest.mark.parametrize("rrtype", ["A", "AAAA", "HTTPS", "ANY"])
def test_leftovers_of_search_lists_stay_here(ask: Any, upstream: Unbound, rrtype: str) -> None:
    for suffix in (SVC, f"svc.{Z}", Z):
        assert is_nxdomain(ask(f"example.com.{suffix}", rrtype))
    assert ask(f"after-{rrtype}.example.org").rcode == "NXDOMAIN"
    wait_for(lambda: upstream.queries(f"after-{rrtype}.example.org."), "a later question")
    assert "cluster.local" not in upstream.log()


@pytest.mark.row("P3")
@pytest.mark.parametrize("tcp", [False, True])
def test_a_name_above_a_zone_of_ours_exists(ask: Any, tcp: bool) -> None:
    for _ in ("asked", "from the cache"):
        reply = ask("local", tcp=tcp)
        assert reply.rcode == "NOERROR"
        assert not reply.answer
        assert [line.split()[2] for line in reply.authority] == ["SOA"]
        assert "AA" not in reply.flags
    assert ask("locals", tcp=tcp).rcode == "NXDOMAIN"


@pytest.mark.row("P4")
def test_equal_questions_are_one_upstream(forward_to: Any) -> None:
    with Misbehaving("slow", seconds=0.5) as upstream:
        world = forward_to([upstream.address])

        async def crowd() -> list[str]:
            queries = [question("Www.example.org" if n % 2 else "www.example.org") for n in range(100)]
            replies = await asyncio.gather(*(ask_udp(world.place, query) for query in queries))
            return [line for reply in replies for line in reply.rdata]

        assert world.run(crowd()) == ["192.0.2.7"] * 100
        assert len(asked(upstream)) == 1


@pytest.mark.row("P5")
def test_negative_answers_are_kept(ask: Any, upstream: Unbound) -> None:
    for _ in ("asked", "from the cache"):
        assert ask("never.example.org").rcode == "NXDOMAIN"
        assert ask("mail.example.org", "AAAA").rcode == "NOERROR"
    assert ask("last.example.org").rcode == "NXDOMAIN"
    wait_for(lambda: upstream.queries("last.example.org."), "a later question")
    assert upstream.queries("never.example.org.") == upstream.queries("mail.example.org.", "AAAA") == 1


@pytest.mark.row("P6")
def test_no_upstream_answers(forward_to: Any) -> None:
    with Misbehaving() as upstream:
        world = forward_to([upstream.address], service("web", clusterIP="10.96.0.10"), cache={"max_ttl": 0})
        assert world.ask("www.example.org", edns=1232).rcode == "NOERROR"
        upstream.behaviour = "servfail"
        for _ in ("asked", "from the cache"):
            reply = world.ask("www.example.org", edns=1232)
            assert reply.rcode == "SERVFAIL"
            assert [code for code, _ in reply.extended_errors] == [22]
        assert len(asked(upstream)) == 2
        assert world.ask(WEB).rdata == ["10.96.0.10"]


@pytest.mark.row("P6")
def test_what_has_run_out_stands_in(forward_to: Any) -> None:
    with Misbehaving() as upstream:
        world = forward_to([upstream.address], cache={"max_ttl": 1, "max_negative_ttl": 1})
        world.ask("www.example.org")
        world.ask("www.example.org", "MX")
        upstream.behaviour = "nxdomain"
        world.ask("gone.example.org")
        upstream.behaviour = "servfail"
        for name, rrtype, why, data in (
            ("www.example.org", "A", 3, ["192.0.2.7"]),
            ("www.example.org", "MX", 3, []),
            ("gone.example.org", "A", 19, []),
        ):

            def stale(name: str = name, rrtype: str = rrtype) -> Any:
                reply = world.ask(name, rrtype, edns=1232)
                return reply if reply.extended_errors else None

            reply = wait_for(stale, "it to run out")
            assert [code for code, _ in reply.extended_errors] == [why]
            assert reply.rdata == data
            assert {rr.ttl for rr in reply.message.answer + reply.message.authority} == {30}
            assert reply.rcode == ("NXDOMAIN" if why == 19 else "NOERROR")


@pytest.mark.row("P7")
def test_a_client_with_too_many_questions(forward_to: Any) -> None:
    with Misbehaving("silent") as upstream:
        objects = [service("web", clusterIP="10.96.0.10")]
        world = forward_to([upstream.address], *objects, forward={"outstanding_per_client": 3})

        async def greedy() -> None:
            names = [f"n{number}.example.org" for number in range(10)]
            queries = [question(name, edns=1232) for name in names]
            tasks = [asyncio.create_task(ask_udp(world.place, query)) for query in queries]
            for number, task in enumerate(asyncio.as_completed(tasks)):
                reply = await task
                assert reply.rcode == "SERVFAIL"
                assert [code for code, _ in reply.extended_errors] == [23]
                if number == 6:
                    break
            assert (await ask_udp(world.place, question(WEB))).rdata == ["10.96.0.10"]
            waiting = [task for task in tasks if not task.done()]
            assert len(waiting) == 3
            for task in waiting:
                task.cancel()

        world.run(greedy())
        assert world.counters.slots[stats.FORWARD_REFUSED] == 7


@pytest.mark.row("P8")
def test_what_was_forwarded_is_ours_once_it_is_registered(forward_to: Any, upstream: Unbound) -> None:
    world = forward_to([upstream.address])
    name = "10.2.3.192.in-addr.arpa"
    for _ in ("asked", "from the cache"):
        assert world.ask(name, "PTR").rdata == ["www.example.org."]
    world.add(headless("db"), pod("db-0", "192.3.2.10", app="db"))
    for tcp in (False, True):
        reply = world.ask(name, "PTR", tcp=tcp)
        assert reply.rdata == [f"192-3-2-10.db.{SVC}."]
        assert "AA" in reply.flags
    world.zone_file("$ORIGIN example.org.\n@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\nwww 60 A 192.0.2.99\n")
    world.add(external("ext", "www.example.org"))
    assert world.ask(f"ext.{SVC}").answer[1:] == ["www.example.org. 60 A 192.0.2.99"]


@pytest.mark.row("P9")
def test_each_address_is_first_at_times(ask: Any) -> None:
    replies = [ask("many.example.org", edns=1232) for _ in range(20)]
    assert len({reply.answer[0] for reply in replies}) > 5
    whole = [ask("many.example.org", tcp=True) for _ in range(5)]
    assert len({tuple(sorted(line.split()[-1] for line in reply.answer)) for reply in whole}) == 1


@pytest.mark.row("P10")
def test_a_question_of_ours_that_comes_back_ends_its_upstream(
    forward_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Misbehaving() as upstream:
        world = forward_to([upstream.address], service("web", clusterIP="10.96.0.10"))

        def probe() -> Any:
            world.ask(WEB)  # the loop runs only while a question is asked
            found = [one for one in upstream.asked if one.question[0].rdtype.name == "HINFO"]
            return found and found[0]

        query = dns.message.make_query(wait_for(probe, "a probe").question[0].name, "HINFO", use_edns=0)
        reply = world.run(ask_udp(world.place, query))
        assert reply_to(query, reply.wire).rcode == "REFUSED"
        assert "loop" in caplog.text
        assert world.counters.slots[stats.FORWARD_LOOPS] == 1
        lost = world.ask("www.example.org", edns=1232)
        assert lost.rcode == "SERVFAIL"
        assert [code for code, _ in lost.extended_errors] == [22]
        assert world.ask(WEB).rdata == ["10.96.0.10"]


@pytest.mark.row("P11")
@pytest.mark.parametrize(
    ("name", "rrtype", "rcode", "expected"),
    [
        ("localhost", "A", "NOERROR", ["127.0.0.1"]),
        ("db.localhost", "AAAA", "NOERROR", ["::1"]),
        ("localhost", "TXT", "NOERROR", []),
        ("hidden.onion", "A", "NXDOMAIN", []),
        ("nothing.invalid", "A", "NXDOMAIN", []),
        ("_dns.resolver.arpa", "SVCB", "NOERROR", []),
        ("www.test", "A", "NXDOMAIN", []),
        ("test", "DS", "NXDOMAIN", []),
        ("printer.local", "A", "NXDOMAIN", []),
        ("local", "A", "NOERROR", []),  # it is above a zone of ours
        ("nas.home.arpa", "A", "NXDOMAIN", []),
        ("7.1.168.192.in-addr.arpa", "PTR", "NXDOMAIN", []),
        ("1.0.31.172.in-addr.arpa", "PTR", "NXDOMAIN", []),
        ("1.0.127.100.in-addr.arpa", "PTR", "NXDOMAIN", []),
        ("1.0.0.127.in-addr.arpa", "PTR", "NXDOMAIN", []),
        ("1.2.0.192.in-addr.arpa", "TXT", "NXDOMAIN", []),
        ("168.192.in-addr.arpa", "A", "NOERROR", []),
        ("168.192.in-addr.arpa", "NS", "NOERROR", ["localhost."]),
        ("168.192.in-addr.arpa", "SOA", "NOERROR", ["localhost. nobody.invalid. 1 3600 1200 604800 60"]),
        (f"{'.'.join('1' + '0' * 31)}.ip6.arpa", "PTR", "NOERROR", []),
        ("1.d.f.ip6.arpa", "PTR", "NXDOMAIN", []),
        ("1.b.e.f.ip6.arpa", "PTR", "NXDOMAIN", []),
    ],
)
def test_special_names_never_go_upstream(
    forward_to: Any, name: str, rrtype: str, rcode: str, expected: list[str]
) -> None:
    with Misbehaving() as upstream:
        reply = forward_to([upstream.address]).ask(name, rrtype)
        assert (reply.rcode, reply.rdata) == (rcode, expected)
        names = [str(query.question[0].name) for query in upstream.asked]
        assert f"{name}." not in names
        assert bool(reply.authority) is (not reply.answer), "so that clients know how long to keep it"


@pytest.mark.row("P11")
@pytest.mark.parametrize(
    "name",
    [
        "www.example",
        "www.tests",
        "locals",
        "1.0.15.172.in-addr.arpa",
        "1.0.32.172.in-addr.arpa",
        "1.0.63.100.in-addr.arpa",
        "1.0.128.100.in-addr.arpa",
        "1.169.192.in-addr.arpa",
        "1.c.f.ip6.arpa",
        "9.b.d.0.1.0.0.2.ip6.arpa",
    ],
)
def test_names_beside_special_ones_go_upstream(forward_to: Any, name: str) -> None:
    with Misbehaving() as upstream:
        forward_to([upstream.address]).ask(name)
        assert f"{name}." in [str(query.question[0].name) for query in upstream.asked]


@pytest.mark.row("P11")
def test_a_site_that_has_special_names_is_asked_for_them(forward_to: Any) -> None:
    with Misbehaving() as upstream, Misbehaving() as site:
        zones = [
            ForwardZone(name, (site.address,)) for name in ("corp.local", "168.192.in-addr.arpa", "test")
        ]
        world = forward_to([upstream.address], forward={"zone": tuple(zones)})
        names = ["www.corp.local", "corp.local", "7.1.168.192.in-addr.arpa", "www.test"]
        for name in names:
            world.ask(name)
        asked = {str(query.question[0].name) for query in site.asked}
        assert asked >= {f"{name}." for name in names}
        assert world.ask("www.local").rcode == world.ask("1.10.in-addr.arpa", "PTR").rcode == "NXDOMAIN"

        world.zone_file(
            "$ORIGIN home.arpa.\n@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\n"
            "nas 60 A 192.0.2.5\nsub 60 NS ns.elsewhere.\n"
        )
        assert world.ask("nas.home.arpa").rdata == ["192.0.2.5"]
        world.ask("www.sub.home.arpa")  # delegated, so upstreams know
        assert "www.sub.home.arpa." in [str(query.question[0].name) for query in upstream.asked]


@pytest.mark.row("P12")
def test_what_a_zone_file_delegates_is_upstreams_to_say(forward_to: Any, upstream: Unbound) -> None:
    world = forward_to([upstream.address])
    world.zone_file(
        "$ORIGIN org.\n$TTL 60\n@ SOA ns.org. h.org. 1 2 3 4 5\n@ NS ns.org.\nns A 192.0.2.53\n"
        "example NS ns.example\nns.example A 192.0.2.54\nthere CNAME www.example\n"
    )
    for _ in ("asked", "from the cache"):
        found = world.ask("www.example.org")
        assert (found.rcode, found.rdata) == ("NOERROR", ["192.0.2.10"])
        assert "AA" not in found.flags
    assert sorted(world.ask("there.org").rdata) == ["192.0.2.10", "www.example.org."]
    assert world.ask("nothing.example.org").rcode == "NXDOMAIN"
    for how in ({"flags": 0}, {"source": STRANGER}):
        referral = world.ask("www.example.org", **how)
        assert (referral.rcode, referral.rdata) == ("NOERROR", [])
        assert [line.split()[0] for line in referral.authority] == ["example.org."]
    assert "AA" in world.ask("example.org", "DS").flags


@pytest.mark.row("P13")
def test_of_all_zones_the_longest_decides(forward_to: Any, upstream: Unbound) -> None:
    zones = tuple(ForwardZone(name, (upstream.address,)) for name in ("example.org", "10.in-addr.arpa"))
    world = forward_to([], forward={"zone": zones})
    world.zone_file("$ORIGIN org.\n$TTL 60\n@ SOA ns.org. h.org. 1 2 3 4 5\n@ NS ns.org.\nns A 192.0.2.53\n")
    assert world.ask("www.example.org").rdata == ["192.0.2.10"]
    assert is_nxdomain(world.ask("nothing.org"), "org.")
    assert world.ask("www.example.org", flags=0).rcode == "REFUSED"
    assert is_nxdomain(world.ask("7.0.96.10.in-addr.arpa", "PTR"), "in-addr.arpa.")
    assert "AA" in world.ask("example.org", "DS").flags


@pytest.mark.row("P14")
def test_aliases_lead_from_upstream_to_upstream(forward_to: Any, upstream: Unbound) -> None:
    other = Unbound("www.corp.info. 300 IN A 192.0.2.66\n", tls=False, https=False)
    records = "to.example.net. 300 IN CNAME www.corp.info.\nwww.corp.info. 300 IN A 198.51.100.66\n"
    with other, Unbound(records, tls=False, https=False, recursive=True) as first:
        zone = (ForwardZone("corp.info", (other.address,)),)
        world = forward_to([first.address], forward={"zone": zone})
        for tcp in (False, True, False):
            reply = world.ask("to.example.net", tcp=tcp)
            assert sorted(reply.rdata) == ["192.0.2.66", "www.corp.info."], "as who is responsible says"
        assert other.queries("www.corp.info.") == 1
