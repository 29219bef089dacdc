"""Names that are not ours are answered as upstreams say, and our own as ever."""

import pytest
from dns.edns import GenericOption
from forward.behaviour.expecting import SERVICES, WEB, WEB_NAME, data, errors, has, said
from toolbox.builders import headless, pod
from toolbox.calls import PODS
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound


@pytest.mark.parametrize("tcp", [False, True])
def test_a_name_outside_is_answered_by_the_upstream(forwarding: RunningServer, tcp: bool) -> None:
    reply = forwarding.ask("www.example.org", tcp=tcp)
    assert (said(reply), data(reply)) == ("NOERROR", ["A 192.0.2.10"])
    assert has(reply, "RA")
    assert not has(reply, "AA")
    assert not has(reply, "AD")


@pytest.mark.parametrize(
    ("name", "rrtype", "expected"),
    [
        ("www.example.org", "AAAA", ["AAAA 2001:db8::10"]),
        ("example.org", "MX", ["MX 10 mail.example.org."]),
        ("_sip._tcp.example.org", "SRV", ["SRV 0 5 5060 www.example.org."]),
        ("alias.example.org", "A", ["A 192.0.2.10", "CNAME www.example.org."]),
        ("10.2.3.192.in-addr.arpa", "PTR", ["PTR www.example.org."]),
        ("WwW.eXample.ORG", "A", ["A 192.0.2.10"]),
    ],
)
def test_every_type_comes_through(
    forwarding: RunningServer, name: str, rrtype: str, expected: list[str]
) -> None:
    for _ in ("asked", "from the cache"):
        reply = forwarding.ask(name, rrtype)
        assert (said(reply), data(reply)) == ("NOERROR", expected)
        assert str(reply.question[0].name) == name + "."


@pytest.mark.parametrize(
    ("name", "rcode"), [("nothing.example.org", "NXDOMAIN"), ("mail.example.org", "NOERROR")]
)
def test_negative_answers_bring_the_zones_soa(forwarding: RunningServer, name: str, rcode: str) -> None:
    for _ in ("asked", "from the cache"):
        reply = forwarding.ask(name, "AAAA")
        assert (said(reply), data(reply)) == (rcode, [])
        assert [rrset.rdtype.name for rrset in reply.authority] == ["SOA"]
        assert reply.authority[0].ttl <= 60, "RFC 2308 section 5: no longer than MINIMUM"


def test_what_does_not_fit_is_cut_over_udp_and_whole_over_tcp(forwarding: RunningServer) -> None:
    for _ in ("asked", "from the cache"):
        small = forwarding.ask("many.example.org")
        assert has(small, "TC")
        assert 0 < len(data(small)) < 200
        whole = forwarding.ask("many.example.org", tcp=True)
        assert not has(whole, "TC")
        assert len(data(whole)) == 200
        assert len(data(forwarding.ask("huge.example.org", "TXT", tcp=True))) == 240


def test_cached_addresses_take_turns_to_be_first(forwarding: RunningServer) -> None:
    firsts = {str(forwarding.ask("many.example.org", tcp=True).answer[0][0]) for _ in range(30)}
    assert len(firsts) > 5


def test_search_list_leftovers_get_their_nxdomain_here(forwarding: RunningServer, upstream: Unbound) -> None:
    before = upstream.queries()
    for suffix in ("default.svc.cluster.local", "svc.cluster.local", "cluster.local"):
        reply = forwarding.ask(f"example.com.{suffix}")
        assert said(reply) == "NXDOMAIN"
        assert has(reply, "AA")
        assert str(reply.authority[0].name) == "cluster.local."
    assert upstream.queries() == before
    assert "cluster.local" not in upstream.log()


def test_our_own_ranges_never_leak(forwarding: RunningServer, upstream: Unbound) -> None:
    assert said(forwarding.ask("9.9.96.10.in-addr.arpa", "PTR")) == "NXDOMAIN"
    assert upstream.queries("9.9.96.10.in-addr.arpa.") == 0


def test_a_name_that_was_forwarded_is_ours_once_it_is_registered(forwarding: RunningServer) -> None:
    name = "7.7.0.203.in-addr.arpa"
    assert said(forwarding.ask(name, "PTR")) == "NXDOMAIN"
    assert forwarding.post(SERVICES, headless("late")).status == 201
    assert forwarding.post(PODS, pod("late", "203.0.7.7", "late", ready=True)).status == 201
    assert forwarding.answers(name, "PTR") == ["203-0-7-7.late.default.svc.cluster.local."]


def test_own_names_say_that_recursion_is_available(forwarding: RunningServer) -> None:
    forwarding.post(SERVICES, WEB)
    reply = forwarding.ask(WEB_NAME)
    assert has(reply, "RA")
    assert has(reply, "AA")
    assert data(reply) == ["A 10.96.0.10"]


def test_who_wants_no_recursion_gets_no_forwarding(forwarding: RunningServer) -> None:
    reply = forwarding.ask("www.example.org", flags=0, use_edns=0)
    assert said(reply) == "REFUSED"
    assert errors(reply) == [20]


def test_the_name_above_our_zone_exists_whatever_upstreams_say(forwarding: RunningServer) -> None:
    for tcp in (False, True, False):
        assert said(forwarding.ask("local", tcp=tcp)) == "NOERROR", "RFC 8020"


@pytest.mark.parametrize(
    ("name", "rrtype", "rcode", "expected"),
    [
        ("localhost", "A", "NOERROR", ["A 127.0.0.1"]),
        ("db.localhost", "AAAA", "NOERROR", ["AAAA ::1"]),
        ("localhost", "MX", "NOERROR", []),
        ("_dns.resolver.arpa", "SVCB", "NOERROR", []),
        ("hidden.onion", "A", "NXDOMAIN", []),
        ("broken.invalid", "A", "NXDOMAIN", []),
    ],
)
def test_special_names_never_go_upstream(
    forwarding: RunningServer, upstream: Unbound, name: str, rrtype: str, rcode: str, expected: list[str]
) -> None:
    before = upstream.queries()
    reply = forwarding.ask(name, rrtype)
    assert (said(reply), data(reply)) == (rcode, expected)
    assert upstream.queries() == before


def test_what_is_below_a_registered_address_is_ours(forwarding: RunningServer, upstream: Unbound) -> None:
    assert forwarding.post(PODS, pod("below", "203.0.7.8")).status == 201
    assert said(forwarding.ask("x.8.7.0.203.in-addr.arpa", "PTR")) == "NXDOMAIN"
    assert upstream.queries("x.8.7.0.203.in-addr.arpa.") == 0


def test_a_question_in_much_padding_is_answered(forwarding: RunningServer) -> None:
    padding = GenericOption(12, bytes(3_000))
    reply = forwarding.ask("zero.example.org", tcp=True, options=[padding], use_edns=0, payload=4096)
    assert data(reply) == ["A 192.0.2.12"]


def test_with_zones_alone_all_other_names_are_refused(upstream: Unbound) -> None:
    zone = f'[[forward.zone]]\nname = "example.org"\nupstreams = ["{upstream.address}"]\n'
    with RunningServer(config=f"[forward]\nupstreams = []\n{zone}") as server:
        assert data(server.ask("www.example.org")) == ["A 192.0.2.10"]
        reply = server.ask("www.example.net", use_edns=0)
        assert (said(reply), errors(reply)) == ("REFUSED", [20])
        assert said(server.ask("9.9.9.9.in-addr.arpa", "PTR")) == "NXDOMAIN"


def test_without_upstreams_other_names_are_refused(server: RunningServer) -> None:
    reply = server.ask("www.example.net", use_edns=0)
    assert (said(reply), errors(reply)) == ("REFUSED", [20])
    assert not has(reply, "RA")
