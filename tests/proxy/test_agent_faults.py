"""A proxy whose API or engine does what none should: what was in effect stays, and nothing is missed."""

from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web
from cluster.traffic_harness import cluster_ip, endpoint, slice_of
from proxy.agent_harness import RecordingEngine, fetched, running_agent
from proxy.scripted_api import GONE, ScriptedApi, scripted_api
from toolbox.waiting import until

from svcdns.cluster.traffic import frontend_text
from svcdns.cluster.traffic_plan import TCP, Endpoint, Frontend, Host
from svcdns.proxy import unserved
from svcdns.proxy.agent import Agent
from svcdns.proxy.stand_ins import Loopback

VIP, OTHER = "TCP 10.96.0.1:80", "TCP 10.96.0.2:80"
SLICES = "endpointslices"
Object = dict[str, Any]


def at(revision: int, obj: Object) -> Object:
    """An object as of a revision."""
    metadata = {"namespace": "default", "uid": "u", **obj["metadata"], "resourceVersion": str(revision)}
    return {**obj, "metadata": metadata}


def web_at(revision: int, *addresses: str) -> Object:
    return at(revision, slice_of(*map(endpoint, addresses)))


def modified(obj: Object) -> Object:
    return {"type": "MODIFIED", "object": obj}


def fill(api: ScriptedApi) -> None:
    api.objects = {"services": [at(1, cluster_ip())], SLICES: [web_at(2, "10.0.0.1")]}


async def watching(api: ScriptedApi, times: int = 1) -> None:
    await until(lambda: len([one for one in api.watched if one[0] == SLICES]) >= times, "a watch of slices")


async def test_a_watch_that_ends_in_order_goes_on_where_it_was() -> None:
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        async with running_agent(api.url, engine):
            await watching(api)
            api.send(SLICES, modified(web_at(105, "10.0.0.2")))
            api.send(SLICES, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "130"}}})
            api.end(SLICES)
            await watching(api, 2)

            assert engine.endpoints(VIP) == ["10.0.0.2:8080"]
            assert [one for one in api.watched if one[0] == SLICES] == [(SLICES, "100"), (SLICES, "130")]
            assert api.lists.count(SLICES) == 1


@pytest.mark.parametrize("end", ["410", "half a line", "no JSON", "cut"])
async def test_what_happened_while_a_watch_was_broken_is_found_by_listing(
    end: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        async with running_agent(api.url, engine) as agent:
            await watching(api)
            api.objects = {"services": [at(200, cluster_ip("b", "10.96.0.2"))], SLICES: []}
            for plural in ("services", SLICES):
                match end:
                    case "410":
                        api.send(plural, GONE)
                    case "half a line":
                        api.send(plural, b'{"type":"ADDED","obj')
                        api.cut(plural)
                    case "no JSON":
                        api.send(plural, b"?\n")
                    case "cut":
                        api.cut(plural)

            await until(lambda: engine.endpoints(OTHER) == [] and engine.endpoints(VIP) is None)
            await until(lambda: agent.api.is_connected)
    assert engine.replaces == 1
    assert ("is not followed" in caplog.text) is (end != "410"), "who is told to list again has lost nothing"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500, text="no"),
        lambda: web.Response(status=401, text='{"message": "Unauthorized"}'),
        lambda: web.Response(text="?"),
        lambda: web.Response(text='{"metadata": {}, "items": 3}'),
    ],
    ids=["500", "401", "no JSON", "no list"],
)
async def test_a_list_that_fails_is_tried_again_and_cuts_nothing(answer: Any) -> None:
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        async with running_agent(api.url, engine) as agent:
            await watching(api)
            api.answer = lambda plural: answer() if plural == SLICES else None
            api.cut(SLICES)
            await until(lambda: api.lists.count(SLICES) >= 3, "the list to be tried again")
            assert engine.endpoints(VIP) == ["10.0.0.1:8080"]
            assert not agent.api.is_connected
            assert agent.status.page()["api"]["reason"]

            api.answer = lambda plural: None
            api.objects[SLICES] = [web_at(300, "10.0.0.9")]
            await until(lambda: engine.endpoints(VIP) == ["10.0.0.9:8080"])


async def test_a_listing_that_broke_off_leaves_nothing_behind_that_is_gone() -> None:
    """A first page showed an object, the second was refused; the next listing doesn't show it."""
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        pages = iter(
            [
                {"metadata": {"resourceVersion": "9", "continue": "x"}, "items": [web_at(3, "10.0.0.3")]},
                {"metadata": {"resourceVersion": "9"}, "items": []},
            ]
        )
        broken = web.json_response({"message": "too old"}, status=410)
        replies = iter([web.json_response(next(pages)), broken, web.json_response(next(pages))])
        api.answer = lambda plural: next(replies, None) if plural == SLICES else None
        async with running_agent(api.url, engine):
            assert engine.endpoints(VIP) == []


async def test_nothing_is_told_before_all_has_been_listed() -> None:
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        api.answer = lambda plural: web.Response(status=503) if plural == SLICES else None
        async with running_agent(api.url, engine, listed=False) as agent:
            await until(lambda: agent.api.services.is_listed and api.lists.count(SLICES) > 1)
            assert engine.replaces == 0
            assert agent.status.health()["healthy"] is False

            api.answer = lambda plural: None
            await until(lambda: engine.endpoints(VIP) == ["10.0.0.1:8080"])


@pytest.mark.parametrize("status", [403, 404, 503])
async def test_a_server_that_names_no_ranges_leaves_them_to_the_configuration(status: int) -> None:
    """One that is merely away doesn't: its ranges may be others."""
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        api.answer = lambda plural: web.Response(status=status) if plural == "servicecidrs" else None
        async with running_agent(api.url, engine, listed=False) as agent:
            if status != 503:
                await until(lambda: engine.host.ranges == (ip_network("10.96.0.0/12"),))
                return
            await until(lambda: api.lists.count("servicecidrs") > 2)
            assert agent.api.slices.is_listed
            assert engine.replaces == 0
            cidr = {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.112.0.0/16", "fd00::/108"]}}
            api.objects["servicecidrs"] = [cidr]
            api.answer = lambda plural: None
            await until(lambda: engine.host.ranges == (ip_network("10.112.0.0/16"), ip_network("fd00::/108")))
            assert engine.replaces == 1


async def test_an_object_that_cannot_be_read_keeps_no_other_away() -> None:
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        api.objects["services"].insert(
            0, {"metadata": {"name": "odd", "namespace": "x"}, "spec": {"ports": 7}}
        )
        async with running_agent(api.url, engine) as agent:
            assert engine.endpoints(VIP) == ["10.0.0.1:8080"]
            assert agent.api.revision == 100

            unreadable = web_at(101, "10.0.0.2") | {"endpoints": 7}
            api.objects[SLICES] = [unreadable]
            await watching(api)
            api.send(SLICES, modified(unreadable))
            api.cut(SLICES)
            await until(lambda: api.lists.count(SLICES) == 2 and agent.api.is_connected)
            assert engine.endpoints(VIP) == ["10.0.0.1:8080"], "what was known of it stays"


async def test_what_the_engine_refuses_is_told_again_with_what_came_since() -> None:
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        async with running_agent(api.url, engine) as agent:
            await watching(api)
            engine.refuses = lambda rules: True
            api.send(SLICES, modified(web_at(101, "10.0.0.2")))
            await until(lambda: agent.sync.refusal)
            api.send("services", {"type": "ADDED", "object": at(102, cluster_ip("b", "10.96.0.2"))})
            await until(lambda: len(agent.traffic.rules()) == 2)
            assert engine.endpoints(VIP) == ["10.0.0.1:8080"]
            assert "no room for it" in agent.status.why_unhealthy()

            engine.refuses = lambda rules: False
            await until(lambda: engine.endpoints(VIP) == ["10.0.0.2:8080"])
            assert engine.endpoints(OTHER) == []
            assert not agent.status.why_unhealthy()


@pytest.mark.parametrize("host", [Host(), Host(node_addresses=(bytes((192, 0, 2, 1)),))], ids=["", "machine"])
async def test_one_change_that_is_refused_does_not_keep_the_others_away(host: Host) -> None:
    """Nor what has become known of the machine meanwhile, nor that them."""
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        async with running_agent(api.url, engine) as agent:
            await watching(api)
            engine.refuses = lambda rules: any(frontend_text(one) == OTHER for one in rules)
            agent.sync.be_on(host)
            api.send(SLICES, modified(web_at(101, "10.0.0.2")))
            api.send("services", {"type": "ADDED", "object": at(102, cluster_ip("b", "10.96.0.2"))})

            await until(lambda: engine.endpoints(VIP) == ["10.0.0.2:8080"] and agent.sync.refusal)
            assert engine.endpoints(OTHER) is None

            other = replace(host, node_addresses=(bytes((192, 0, 2, 2)),))
            agent.sync.be_on(other)
            await until(lambda: engine.host == other)
            api.send(SLICES, modified(web_at(103, "10.0.0.3")))
            await until(lambda: engine.endpoints(VIP) == ["10.0.0.3:8080"])


async def test_an_engine_that_refuses_the_first_state_is_given_it_again() -> None:
    engine = RecordingEngine(refuses=lambda rules: True)
    async with scripted_api() as api:
        fill(api)
        async with running_agent(api.url, engine, listed=False) as agent:
            await until(lambda: agent.sync.refusal)
            engine.refuses = lambda rules: False
            await until(lambda: engine.endpoints(VIP) == ["10.0.0.1:8080"])


@pytest.mark.parametrize("bad", [{3}, {0, 17, 18}])
async def test_a_service_that_is_refused_in_the_first_state_keeps_no_other_away(bad: set[int]) -> None:
    refused = {f"TCP 10.96.1.{number}:80" for number in bad}
    engine = RecordingEngine(refuses=lambda rules: any(frontend_text(one) in refused for one in rules))
    async with scripted_api() as api:
        made = [at(200 + number, cluster_ip(f"s{number}", f"10.96.1.{number}")) for number in range(40)]
        fill(api)
        api.objects["services"] = [*api.objects["services"], *made]
        async with running_agent(api.url, engine) as agent:
            assert engine.endpoints(VIP) == ["10.0.0.1:8080"]
            assert len(engine.rules) == 1 + 40 - len(bad)
            assert {at.service for at in agent.sync.refused.values()} == {f"default/s{one}" for one in bad}
            assert "no room for it" in agent.status.why_unhealthy()
            agent.sync.wake()
            engine.refuses = lambda rules: False
            await until(lambda: len(engine.rules) == 41 and not agent.status.why_unhealthy())
            assert agent.sync.refused == {}


async def test_an_engine_that_wants_nothing_is_not_told_each_service_of_many() -> None:
    told: list[int] = []
    engine = RecordingEngine(refuses=lambda rules: told.append(len(rules)) or True)
    async with scripted_api() as api:
        fill(api)
        api.objects["services"] = [
            at(200 + number, cluster_ip(f"s{number}", f"10.96.{number // 250}.{number % 250}"))
            for number in range(1000)
        ]
        async with running_agent(api.url, engine, listed=False) as agent:
            await until(lambda: agent.sync.refusal)
            assert 10 <= len(told) <= 21
            assert engine.replaces == 0


@dataclass
class OnlyHere(RecordingEngine):
    """One with a relay that has found no place, or has one."""

    stand_ins: dict[Loopback, Frontend] = field(default_factory=dict)


async def test_an_endpoint_that_only_this_host_gets_to_is_a_problem_of_its_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unserved, "LOOK_SECONDS", 0.01)
    engine = OnlyHere()
    async with scripted_api() as api:
        fill(api)
        api.objects[SLICES] = [web_at(100, "127.0.0.1")]
        async with running_agent(api.url, engine) as agent:
            (found,) = await until(lambda: agent.problems().get("default/web"))
            assert found.reason == "EndpointOnlyHere"
            assert "only processes of this host get to TCP 127.0.0.1:8080" in found.text
            there = Endpoint(bytes((127, 0, 0, 1)), 8080)
            engine.stand_ins[Loopback(TCP, there)] = Frontend(4, bytes((10, 0, 0, 1)), TCP, 61000)
            await until(lambda: not agent.problems())


async def test_the_zone_of_the_node_is_learned_and_followed() -> None:
    engine = RecordingEngine()
    zone = {"metadata": {"name": "here", "labels": {"topology.kubernetes.io/zone": "a"}}}
    hinted = slice_of(endpoint("10.0.0.1", "x", "a"), endpoint("10.0.0.2", "x", "b"))
    async with scripted_api() as api:
        api.objects = {"services": [at(1, cluster_ip())], SLICES: [at(2, hinted)], "nodes": [at(3, zone)]}
        async with running_agent(api.url, engine):
            await until(lambda: engine.endpoints(VIP) == ["10.0.0.1:8080"])
            await until(lambda: "nodes" in dict(api.watched))
            api.send("nodes", {"type": "DELETED", "object": at(4, zone)})
            await until(lambda: engine.endpoints(VIP) == ["10.0.0.1:8080", "10.0.0.2:8080"])


async def test_the_own_port_tells_of_health_metrics_and_to_this_machine_the_status() -> None:
    engine = RecordingEngine()
    async with scripted_api() as api:
        fill(api)
        async with running_agent(api.url, engine) as agent:
            url = await _own_port(agent)
            assert (await fetched(f"{url}/healthz"))[0] == 200
            metrics = (await fetched(f"{url}/metrics"))[2].decode()
            assert "svcdns_proxy_api_connected 1.0" in metrics
            assert 'svcdns_proxy_held{engine="recording",kind="frontends"} 1.0' in metrics
            assert "svcdns_proxy_sync_duration_seconds_count 1.0" in metrics
            assert b'"10.0.0.1:8080"' in (await fetched(f"{url}/status?service=default/web"))[2]
            assert b'"frontends": []' in (await fetched(f"{url}/status?service=default/other"))[2]
            assert (await fetched(f"{url}/status", Host="evil.example.org:80"))[0] == 403

            engine.refuses = lambda rules: True
            await watching(api)
            api.send(SLICES, modified(web_at(101, "10.0.0.2")))
            await until(lambda: agent.sync.refusal)
            assert (await fetched(f"{url}/healthz"))[0] == 503


async def _own_port(agent: Agent) -> str:
    host, port = await until(lambda: agent.listening, "the own port")
    return f"http://{host}:{port}"
