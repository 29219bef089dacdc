"""ExternalName Services and CNAMEs of zone files whose targets are not ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from expecting import SERVICES, data, errors, has, said, to
from running import RunningServer
from upstreams import Misbehaving, Unbound

ZONE = """\
$ORIGIN corp.example.
$TTL 300
@ SOA ns hostmaster 1 7200 1800 86400 60
@ NS ns
ns A 192.0.2.53
out CNAME www.example.org.
gone CNAME nothing.example.org.
"""


def external(name: str, target: str) -> dict[str, object]:
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "spec": {"type": "ExternalName", "externalName": target},
    }


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


def test_a_target_that_cannot_be_resolved_is_servfail_and_no_half_answer() -> None:
    with Misbehaving("servfail") as broken, to(broken.address) as server:
        server.post(SERVICES, external("ext", "www.example.org"))
        reply = server.ask("ext.default.svc.cluster.local", use_edns=0)
        assert (said(reply), data(reply)) == ("SERVFAIL", ["CNAME www.example.org."])
        assert errors(reply) == [22]
