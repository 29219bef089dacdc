"""ExternalName Services and CNAMEs of zone files whose targets are not ours."""

import socket
from collections.abc import Callable, Iterator

import pytest
from dns.message import from_wire, make_query
from forward.behaviour.expecting import SERVICES, WEB, data, errors, has, said, to
from toolbox.builders import external
from toolbox.misbehaving import Misbehaving
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound

ZONE = """\
$ORIGIN corp.example.
$TTL 300
@ SOA ns hostmaster 1 7200 1800 86400 60
@ NS ns
ns A 192.0.2.53
out CNAME www.example.org.
gone CNAME nothing.example.org.
"""


@pytest.fixture(scope="module")
def aliased(upstream: Unbound) -> Iterator[RunningServer]:
    config = f'[dns]\nzones = "zones"\n[forward]\nupstreams = ["{upstream.address}"]\n'
    server = RunningServer(config=config)
    (server.folder / "zones").mkdir()
    (server.folder / "zones" / "corp.example.zone").write_text(ZONE)
    with server:
        for name, target in (
            ("ext", "www.example.org"),
            ("chain", "alias.example.org"),
            ("nope", "nothing.example.org"),
        ):
            assert server.post(SERVICES, external(name, target)).status == 201
        yield server


@pytest.mark.parametrize("tcp", [False, True])
def test_an_external_name_is_resolved_to_its_end(aliased: RunningServer, tcp: bool) -> None:
    reply = aliased.ask("ext.default.svc.cluster.local", tcp=tcp)
    assert (said(reply), data(reply)) == ("NOERROR", ["A 192.0.2.10", "CNAME www.example.org."])
    assert reply.answer[0].rdtype.name == "CNAME", "the alias comes first"
    assert has(reply, "AA"), "the first owner name is ours"
    assert data(aliased.ask("ext.default.svc.cluster.local", "AAAA", tcp=tcp)) == [
        "AAAA 2001:db8::10",
        "CNAME www.example.org.",
    ]


def test_the_upstreams_own_aliases_follow(aliased: RunningServer) -> None:
    reply = aliased.ask("chain.default.svc.cluster.local")
    assert data(reply) == ["A 192.0.2.10", "CNAME alias.example.org.", "CNAME www.example.org."]


def test_a_target_that_does_not_exist_says_so(aliased: RunningServer) -> None:
    for name in ("nope.default.svc.cluster.local", "gone.corp.example"):
        reply = aliased.ask(name)
        assert (said(reply), data(reply)) == ("NXDOMAIN", ["CNAME nothing.example.org."])
        assert [rrset.rdtype.name for rrset in reply.authority] == ["SOA"]


def test_a_target_without_that_type_is_nodata(aliased: RunningServer) -> None:
    reply = aliased.ask("ext.default.svc.cluster.local", "MX")
    assert (said(reply), data(reply)) == ("NOERROR", ["CNAME www.example.org."])


def test_asked_for_the_alias_itself_nobody_else_is_asked(aliased: RunningServer, upstream: Unbound) -> None:
    before = upstream.queries()
    assert data(aliased.ask("ext.default.svc.cluster.local", "CNAME")) == ["CNAME www.example.org."]
    assert upstream.queries() == before


def test_aliases_of_zone_files_lead_outside_too(aliased: RunningServer) -> None:
    reply = aliased.ask("out.corp.example")
    assert (said(reply), data(reply)) == ("NOERROR", ["A 192.0.2.10", "CNAME www.example.org."])


def test_nobody_but_our_zones_speaks_for_our_names(need: Callable[..., str]) -> None:
    """An upstream whose CNAME leads to a name of ours, and that says itself what is there."""
    need("unbound")
    lies = """\
lure.example.org. 300 IN CNAME web.default.svc.cluster.local.
web.default.svc.cluster.local. 300 IN A 198.51.100.66
far.example.org. 300 IN CNAME lure.example.org.
nowhere.example.org. 300 IN CNAME nothing.default.svc.cluster.local.
"""
    with Unbound(lies, tls=False, https=False, recursive=True) as liar, to(liar.address) as server:
        server.post(SERVICES, WEB)
        server.post(SERVICES, external("ext", "lure.example.org"))
        ours = "CNAME web.default.svc.cluster.local."
        for tcp in (False, True, False):
            assert data(server.ask("lure.example.org", tcp=tcp)) == ["A 10.96.0.10", ours]
            far = server.ask("far.example.org", tcp=tcp)
            assert data(far) == ["A 10.96.0.10", "CNAME lure.example.org.", ours]
            assert not has(far, "AA"), "the first owner name is not ours"
            ext = server.ask("ext.default.svc.cluster.local", tcp=tcp)
            assert data(ext) == ["A 10.96.0.10", "CNAME lure.example.org.", ours]
            nowhere = server.ask("nowhere.example.org", tcp=tcp)
            assert said(nowhere) == "NXDOMAIN"
            assert [str(rrset.name) for rrset in nowhere.authority] == ["cluster.local."]
        server.delete(f"{SERVICES}/web")
        assert data(server.ask("lure.example.org")) == [ours], "at once, as nothing of it was cached"


def test_who_may_not_ask_for_our_names_gets_them_by_no_detour(need: Callable[..., str]) -> None:
    need("unbound")
    lure = "lure.example.org. 300 IN CNAME web.default.svc.cluster.local.\n"
    acl = '[acl]\nnames = ["any", "!127.0.0.8/29"]\n'
    with Unbound(lure, tls=False, https=False) as upstream, to(upstream.address, acl) as server:
        server.post(SERVICES, WEB)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.9", 0))
            stranger.connect(server.dns)
            stranger.settimeout(60)
            stranger.send(make_query("lure.example.org", "A").to_wire())
            assert data(from_wire(stranger.recv(4096))) == ["CNAME web.default.svc.cluster.local."]
        assert "A 10.96.0.10" in data(server.ask("lure.example.org"))


def test_a_target_that_cannot_be_resolved_is_servfail_and_no_half_answer() -> None:
    with Misbehaving("servfail") as broken, to(broken.address) as server:
        server.post(SERVICES, external("ext", "www.example.org"))
        reply = server.ask("ext.default.svc.cluster.local", use_edns=0)
        assert (said(reply), data(reply)) == ("SERVFAIL", ["CNAME www.example.org."])
        assert errors(reply) == [22]
