"""Zone files among upstreams: what they delegate is asked for there, and what becomes theirs is not."""

from collections.abc import Iterator

import pytest
from dns.flags import Flag
from dns.message import Message, make_query
from dns.query import udp
from forward.behaviour.expecting import data, has, said
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for

APEX = """\
$TTL 300
@ SOA ns hostmaster 1 7200 1800 86400 60
@ NS ns
ns A 192.0.2.53
"""
PARENT = f"""\
$ORIGIN parent.example.
{APEX}sub NS ns.sub
ns.sub A 192.0.2.54
there CNAME www.sub
"""
UPSTREAM = """\
www.sub.parent.example. 300 IN A 192.0.2.1
www.parent.example. 300 IN A 198.51.100.66
dc.ad.parent.example. 300 IN A 192.0.2.3
1.0.168.192.in-addr.arpa. 300 IN PTR dc.ad.parent.example.
www.later.example. 300 IN A 192.0.2.2
points.example.org. 300 IN CNAME www.later.example.
"""


@pytest.fixture(scope="module")
def upstream(need: object) -> Iterator[Unbound]:
    with Unbound(UPSTREAM, tls=False, https=False, recursive=True) as running:
        yield running


def serving(upstream: str, config: str = "") -> RunningServer:
    made = RunningServer(config=f'[dns]\nzones = "zones"\n[forward]\nupstreams = [{upstream}]\n{config}')
    (made.folder / "zones").mkdir()
    (made.folder / "zones" / "parent.example.zone").write_text(PARENT)
    return made


@pytest.fixture(scope="module")
def server(upstream: Unbound) -> Iterator[RunningServer]:
    with serving(f'"{upstream.address}"') as running:
        yield running


def is_referral(reply: Message) -> bool:
    found = [(str(rrset.name), rrset.rdtype.name) for rrset in reply.authority]
    return said(reply) == "NOERROR" and not reply.answer and found == [("sub.parent.example.", "NS")]


@pytest.mark.parametrize("tcp", [False, True])
def test_delegated_names_are_resolved(server: RunningServer, tcp: bool) -> None:
    for _ in ("asked", "from the cache"):
        reply = server.ask("www.sub.parent.example", tcp=tcp)
        assert (said(reply), data(reply)) == ("NOERROR", ["A 192.0.2.1"])
        assert not has(reply, "AA")
    alias = server.ask("there.parent.example", tcp=tcp)
    assert data(alias) == ["A 192.0.2.1", "CNAME www.sub.parent.example."]
    assert said(server.ask("nothing.sub.parent.example", tcp=tcp)) == "NXDOMAIN"


def test_what_is_not_delegated_stays_here(server: RunningServer, upstream: Unbound) -> None:
    assert said(server.ask("www.parent.example")) == "NXDOMAIN"
    ds = server.ask("sub.parent.example", "DS")
    assert has(ds, "AA"), "the parent's to say (RFC 4035 section 3.1.4.1)"
    assert upstream.queries("www.parent.example.") == upstream.queries("sub.parent.example.", "DS") == 0


def test_who_wants_no_recursion_gets_the_referral(server: RunningServer) -> None:
    assert is_referral(server.ask("www.sub.parent.example", flags=0))


def test_who_may_not_have_it_gets_the_referral(upstream: Unbound) -> None:
    with serving(f'"{upstream.address}"', '[acl]\nforward = ["loopback", "!127.0.0.8/29"]\n') as server:
        host, port = server.dns
        question = make_query("www.sub.parent.example", "A")
        reply = udp(question, host, port=port, source="127.0.0.9", timeout=60)
        assert is_referral(reply)
        assert not has(reply, "RA")


def test_where_nobody_is_to_be_asked_there_is_the_referral(upstream: Unbound) -> None:
    zone = f'[[forward.zone]]\nname = "other.example"\nupstreams = ["{upstream.address}"]\n'
    with serving("", zone) as server:
        assert is_referral(server.ask("www.sub.parent.example", flags=Flag.RD))


def test_a_longer_zone_with_upstreams_of_its_own_decides(upstream: Unbound) -> None:
    """Within zone files and reverse zones of ours, delegated or not; who wants no recursion is refused."""
    upstreams = f'upstreams = ["{upstream.address}"]\n'
    zones = ("ad.parent.example", "168.192.in-addr.arpa", "10.in-addr.arpa")
    tables = "".join(f'[[forward.zone]]\nname = "{zone}"\n{upstreams}' for zone in zones)
    with serving("", tables) as server:
        for _ in ("asked", "from the cache"):
            dc = server.ask("dc.ad.parent.example")
            assert (said(dc), data(dc)) == ("NOERROR", ["A 192.0.2.3"])
            assert not has(dc, "AA")
            ptr = server.ask("1.0.168.192.in-addr.arpa", "PTR")
            assert data(ptr) == ["PTR dc.ad.parent.example."]
        assert said(server.ask("nothing.parent.example")) == "NXDOMAIN"
        assert has(server.ask("nothing.parent.example"), "AA")
        assert has(server.ask("ad.parent.example", "DS"), "AA"), "the parent's to say"
        assert upstream.queries("ad.parent.example.", "DS") == 0
        own = server.ask("7.0.96.10.in-addr.arpa", "PTR")
        assert (said(own), has(own, "AA")) == ("NXDOMAIN", True), "our own range"
        assert upstream.queries("7.0.96.10.in-addr.arpa.") == 0
        refused = server.ask("dc.ad.parent.example", flags=0)
        assert (said(refused), has(refused, "AA")) == ("REFUSED", False), (
            "not ours to say that it isn't there"
        )


def test_a_zone_file_of_the_same_name_hides_it_and_the_log_says_so(upstream: Unbound) -> None:
    zone = f'[[forward.zone]]\nname = "parent.example"\nupstreams = ["{upstream.address}"]\n'
    with serving("", zone) as server:
        assert said(server.ask("www.parent.example")) == "NXDOMAIN"
        text = "parent.example. is served from a zone file: its [[forward.zone]] has no effect"
        wait_for(lambda: text in server.log(), "a warning")


def test_a_zone_that_becomes_ours_is_not_answered_from_what_was_cached(upstream: Unbound) -> None:
    with serving(f'"{upstream.address}"') as server:
        names = ("points.example.org", "www.later.example")
        for name in names:
            assert "A 192.0.2.2" in data(server.ask(name))
        file = server.folder / "zones" / "later.example.zone"
        file.write_text(f"$ORIGIN later.example.\n{APEX}www A 192.0.2.99\n")
        for name in names:
            wait_for(lambda: "A 192.0.2.99" in data(server.ask(name)), f"{name} to be ours")  # noqa: B023


def test_nor_is_one_that_became_ours_while_the_server_was_down(upstream: Unbound) -> None:
    server = serving(f'"{upstream.address}"')
    with server:
        assert "A 192.0.2.2" in data(server.ask("points.example.org"))
        server.stop()
        file = server.folder / "zones" / "later.example.zone"
        file.write_text(f"$ORIGIN later.example.\n{APEX}www A 192.0.2.99\n")
        server.start()
        wait_for(lambda: "A 192.0.2.99" in data(server.ask("points.example.org")), "it to be ours")
