"""CNAMEs that lead to and fro between upstreams and our zones, and what is kept of such answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from forward.behaviour.expecting import SERVICES, WEB, WEB_NAME, data, errors, has, said
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for

ZONE = """\
$ORIGIN own.info.
$TTL 300
@ SOA ns hostmaster 1 7200 1800 86400 60
@ NS ns
ns A 192.0.2.53
out CNAME target.example.net.
pong CNAME ping.example.net.
"""
DELEGATION = "sub NS ns\n"
UPSTREAM = """\
target.example.net. 300 IN A 192.0.2.8
to-out.example.net. 300 IN CNAME out.own.info.
to-sub.example.net. 300 IN CNAME www.sub.own.info.
www.sub.own.info. 300 IN A 192.0.2.7
ping.example.net. 300 IN CNAME pong.own.info.
to-web.example.net. 300 IN CNAME web.default.svc.cluster.local.
"""


@pytest.fixture(scope="module")
def upstream(need: object) -> Iterator[Unbound]:
    with Unbound(UPSTREAM, tls=False, https=False, recursive=True) as running:
        yield running


def serving(upstream: Unbound, config: str = "", dns: str = "") -> RunningServer:
    forward = f'[forward]\nupstreams = ["{upstream.address}"]\n'
    made = RunningServer(config=f'[dns]\nzones = "zones"\n{dns}{forward}{config}')
    (made.folder / "zones").mkdir()
    zone_file(made).write_text(ZONE + DELEGATION)
    return made


def zone_file(server: RunningServer) -> Path:
    return server.folder / "zones" / "own.info.zone"


@pytest.fixture(scope="module")
def server(upstream: Unbound) -> Iterator[RunningServer]:
    with serving(upstream) as running:
        yield running


@pytest.mark.parametrize("tcp", [False, True])
def test_from_upstream_to_ours_and_outside_again(server: RunningServer, tcp: bool) -> None:
    for _ in range(2):
        reply = server.ask("to-out.example.net", tcp=tcp)
        assert said(reply) == "NOERROR"
        assert data(reply) == ["A 192.0.2.8", "CNAME out.own.info.", "CNAME target.example.net."]
        assert not has(reply, "AA"), "the first owner name is not ours"
        owners = [str(rrset.name) for rrset in reply.answer]
        assert owners == ["to-out.example.net.", "out.own.info.", "target.example.net."]


@pytest.mark.parametrize("tcp", [False, True])
def test_from_upstream_to_what_we_delegate(server: RunningServer, tcp: bool) -> None:
    for _ in range(2):
        assert data(server.ask("to-sub.example.net", tcp=tcp)) == ["A 192.0.2.7", "CNAME www.sub.own.info."]


@pytest.mark.parametrize("name", ["ping.example.net", "pong.own.info"])
def test_a_circle_across_the_border_is_a_clear_failure(server: RunningServer, name: str) -> None:
    reply = server.ask(name, use_edns=0)
    assert said(reply) == "SERVFAIL"
    assert errors(reply) == [0]
    assert has(reply, "AA") == name.endswith("own.info")
    assert data(server.ask("target.example.net")) == ["A 192.0.2.8"]


def test_what_stops_being_delegated_is_ours_behind_aliases_too(upstream: Unbound) -> None:
    with serving(upstream) as server:
        assert "A 192.0.2.7" in data(server.ask("to-sub.example.net"))
        zone_file(server).write_text(ZONE.replace(" 1 7200", " 2 7200") + "www.sub A 192.0.2.99\n")
        for name in ("www.sub.own.info", "to-sub.example.net"):
            wait_for(lambda: "A 192.0.2.99" in data(server.ask(name)), f"{name} to be ours")  # noqa: B023


def test_a_name_that_falls_through_is_ours_at_once_when_registered(upstream: Unbound) -> None:
    with serving(upstream, dns='fallthrough = ["."]\n') as server:
        for name in (WEB_NAME, "to-web.example.net"):
            assert said(server.ask(name)) == "NXDOMAIN"
        assert server.post(SERVICES, WEB).status == 201
        for name in (WEB_NAME, "to-web.example.net"):
            assert "A 10.96.0.10" in data(server.ask(name)), name


def test_answers_of_former_upstreams_are_forgotten(upstream: Unbound) -> None:
    """As the remedy for a zone that the usual upstreams don't know is to name its own."""
    server = serving(upstream)
    with server, Unbound("www.corp.info. 300 IN A 192.0.2.66\n", tls=False, https=False) as other:
        assert said(server.ask("www.corp.info")) == "NXDOMAIN"
        server.stop()
        zone = f'[[forward.zone]]\nname = "corp.info"\nupstreams = ["{other.address}"]\n'
        file = server.folder / "svcdns.toml"
        file.write_text(file.read_text() + zone)
        server.start()
        wait_for(
            lambda: data(server.ask("www.corp.info")) == ["A 192.0.2.66"], "its own upstream to be asked"
        )
