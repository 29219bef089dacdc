"""A Service that goes on answering the Pods that were ready last, when none is ready any more."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cluster.traffic_harness import Run
from registry.recorded_events import at_once, told, told_of, until
from toolbox.builders import endpoint_slice, headless, pod, service, without_selector
from toolbox.registry_harness import RegistryHarness, started

from svcdns.config.sections import Config, DnsConfig, ServicesConfig
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, POD, SERVICE
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions

__all__ = ["at_once"]

WRITE = WriteOptions()
NAME = "web.default.svc.cluster.local"
LAST = {"svcdns.io/when-none-ready": "last"}


def noted(made: dict[str, Any]) -> dict[str, Any]:
    """Return a Service that wants the last ones answered."""
    made["metadata"]["annotations"] = LAST
    return made


async def annotate(running: RegistryHarness, word: str | None) -> tuple[str, ...]:
    patch = Patch("merge", {"metadata": {"annotations": {"svcdns.io/when-none-ready": word}}})
    return (await running.registry.patch(SERVICE, "default", "web", patch, WRITE)).warnings


async def set_ready(running: RegistryHarness, name: str, ready: bool) -> None:
    status = {"status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}
    await running.registry.patch(POD, "default", name, Patch("merge", status), WRITE, "status")


async def delete(running: RegistryHarness, name: str, grace: int | None = None) -> None:
    await running.registry.delete(POD, "default", name, DeleteOptions(grace_period_seconds=grace))


def answers(running: RegistryHarness) -> list[str]:
    return running.rrs(NAME, "A")


def conditions(running: RegistryHarness) -> dict[str, tuple[bool, bool]]:
    """Return (ready, serving) by the Pods' names."""
    shown = {}
    for octets in running.registry.page(ENDPOINTSLICE, "default", Selection()).items:
        for one in json.loads(octets)["endpoints"]:
            if "targetRef" in one:
                shown[one["targetRef"]["name"]] = (one["conditions"]["ready"], one["conditions"]["serving"])
    return shown


@asynccontextmanager
async def three_pods(folder: Path) -> AsyncIterator[RegistryHarness]:
    """Give a Service of three Pods of which web-2 was ready last."""
    async with started(folder) as running:
        await running.registry.create(SERVICE, "default", noted(headless()), WRITE)
        for n in (1, 2, 3):
            await running.registry.create(POD, "default", pod(f"web-{n}", f"10.1.0.{n}"), WRITE)
        for n in (1, 3, 2):
            await set_ready(running, f"web-{n}", False)
        yield running


async def test_all_names_go_on_answering_who_was_ready_last(tmp_path: Path, at_once: None) -> None:
    async with three_pods(tmp_path / "data") as three:
        assert answers(three) == ["10.1.0.2"]
        assert three.rrs(f"_http._tcp.{NAME}", "SRV") == [f"0 100 8080 10-1-0-2.{NAME}."]
        assert three.rrs(f"10-1-0-2.{NAME}", "A") == ["10.1.0.2"]
        assert three.row(f"10-1-0-1.{NAME}") is None
        assert three.rrs("2.0.1.10.in-addr.arpa", "PTR") == [f"10-1-0-2.{NAME}."]
        assert three.rrs("1.0.1.10.in-addr.arpa", "PTR") == []
        assert conditions(three) == {"web-1": (False, False), "web-2": (True, False), "web-3": (False, False)}
        assert any(
            "web-2, ready last, is answered on" in why
            for why in three.registry.explain("web", "default").reasons
        )
        found = await told_of(three, "involvedObject.kind=Service", "NoEndpointReady")
        assert [text for reason, text, _ in found if reason == "NoEndpointReady" and "Pod web-2" in text]


async def test_who_is_kept_is_not_counted_as_ready(tmp_path: Path) -> None:
    async with three_pods(tmp_path / "data") as three:
        await three.registry.create(SERVICE, "default", headless("other"), WRITE)
        await three.registry.create(POD, "default", pod("o-1", "10.1.1.1", "other"), WRITE)
        counts = {"all": 4, "ready": 1, "answered_not_ready": 1, "services_without_ready": 1}
        assert three.registry.endpoint_counts() == counts
        await annotate(three, "all")
        assert three.registry.endpoint_counts() == {**counts, "answered_not_ready": 3}
        await set_ready(three, "web-1", True)
        ready = {"all": 4, "ready": 2, "answered_not_ready": 0, "services_without_ready": 0}
        assert three.registry.endpoint_counts() == ready


async def test_endpoints_and_proxies_say_the_same(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        await running.registry.create(SERVICE, "default", noted(service()), WRITE)
        for n in (1, 2):
            await running.registry.create(POD, "default", pod(f"web-{n}", f"10.1.0.{n}"), WRITE)
        for n in (1, 2):
            await set_ready(running, f"web-{n}", False)
        (subset,) = json.loads(running.registry.get(ENDPOINTS, "default", "web"))["subsets"]
        assert [one["ip"] for one in subset["addresses"]] == ["10.1.0.2"]
        assert [one["ip"] for one in subset["notReadyAddresses"]] == ["10.1.0.1"]
        kinds = (SERVICE, ENDPOINTSLICE)
        pages = [running.registry.page(kind, "default", Selection()).items for kind in kinds]
        objects = [json.loads(octets) for page in pages for octets in page]
        about = [one for one in objects if one["metadata"]["name"].startswith("web")]
        shown = Run(*about).shown
        assert [where for where, _ in shown.values()] == ["10.1.0.2:8080"], shown


async def test_one_that_becomes_ready_ends_it(tmp_path: Path) -> None:
    async with three_pods(tmp_path / "data") as three:
        await set_ready(three, "web-1", True)
        assert answers(three) == ["10.1.0.1"]
        assert conditions(three)["web-2"] == (False, False)
        await set_ready(three, "web-1", False)
        assert answers(three) == ["10.1.0.1"], "the last one is another"
        await set_ready(three, "web-2", True)
        await set_ready(three, "web-1", True)
        assert answers(three) == ["10.1.0.1", "10.1.0.2"]


async def test_a_kept_one_that_becomes_ready_again_is_told(tmp_path: Path, at_once: None) -> None:
    async with three_pods(tmp_path / "data") as three:
        await set_ready(three, "web-2", True)
        assert conditions(three)["web-2"] == (True, True)
        await until(
            three,
            lambda: any(
                reason == "EndpointReady" and "condition Ready is True" in text
                for reason, text, _ in told(three, "involvedObject.name=web-2")
            ),
        )


@pytest.mark.parametrize("grace", [None, 0, 300])
async def test_who_leaves_is_not_kept_and_nobody_in_its_place(tmp_path: Path, grace: int | None) -> None:
    async with three_pods(tmp_path / "data") as three:
        await delete(three, "web-2", grace)
        assert answers(three) == []
        assert conditions(three)["web-1"] == (False, False)
        if grace:
            return
        await three.registry.create(POD, "default", pod("web-2", "10.1.0.2", ready=False), WRITE)
        assert answers(three) == [], "another Pod of that name was never ready"


@pytest.mark.parametrize("grace", [None, 300])
async def test_a_ready_one_that_leaves_is_not_kept(tmp_path: Path, grace: int | None) -> None:
    async with three_pods(tmp_path / "data") as three:
        await set_ready(three, "web-3", True)
        await delete(three, "web-3", grace)
        assert answers(three) == []


async def test_a_restart_and_other_settings_change_nothing(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        await running.registry.create(SERVICE, "default", noted(headless()), WRITE)
        for n in (1, 2):
            await running.registry.create(POD, "default", pod(f"web-{n}", f"10.1.0.{n}"), WRITE)
        for n in (2, 1):
            await set_ready(running, f"web-{n}", False)
    async with started(tmp_path / "data") as running:
        assert answers(running) == ["10.1.0.1"]
    async with started(tmp_path / "data", Config(dns=DnsConfig(ttl=17))) as running:
        assert answers(running) == ["10.1.0.1"], "all rows were made anew"
        await set_ready(running, "web-2", True)
        assert answers(running) == ["10.1.0.2"]


async def test_without_the_word_nobody_is_kept(tmp_path: Path) -> None:
    async with three_pods(tmp_path / "data") as three:
        assert await annotate(three, None) == ()
        assert answers(three) == []
        assert await annotate(three, "last") == ()
        assert answers(three) == [], "what was ready before the word came is not known"
        await set_ready(three, "web-3", True)
        await set_ready(three, "web-3", False)
        assert answers(three) == ["10.1.0.3"]
        await annotate(three, "all")
        assert answers(three) == ["10.1.0.1", "10.1.0.2", "10.1.0.3"]


async def test_a_pod_that_changes_while_it_is_kept_is_kept_as_it_is_now(tmp_path: Path) -> None:
    async with three_pods(tmp_path / "data") as three:
        moved = Patch("merge", {"status": {"podIP": "10.1.9.9", "podIPs": [{"ip": "10.1.9.9"}]}})
        await three.registry.patch(POD, "default", "web-2", moved, WRITE, "status")
        assert answers(three) == ["10.1.9.9"]
        gone = Patch("merge", {"metadata": {"labels": {"app": "other"}}})
        await three.registry.patch(POD, "default", "web-2", gone, WRITE)
        assert answers(three) == [], "it is no endpoint any more"


async def test_a_users_own_slice_that_is_ready_ends_it(tmp_path: Path) -> None:
    async with three_pods(tmp_path / "data") as three:
        own = endpoint_slice("own", "web", "192.0.2.1")
        await three.registry.create(ENDPOINTSLICE, "default", own, WRITE)
        assert answers(three) == ["192.0.2.1"]
        assert conditions(three)["web-2"] == (False, False)
        await three.registry.delete(ENDPOINTSLICE, "default", "own", DeleteOptions())
        assert answers(three) == [], "the Pods were not ready last"
        await three.registry.create(ENDPOINTSLICE, "default", own, WRITE)
        await set_ready(three, "web-2", True)
        await set_ready(three, "web-2", False)
        assert answers(three) == ["192.0.2.1"]


async def test_both_families(tmp_path: Path) -> None:
    ranges = (ip_network("10.96.0.0/24"), ip_network("fd00:96::/120"))
    config = Config(services=ServicesConfig(cluster_ip_ranges=ranges))
    async with started(tmp_path / "data", config) as running:
        both = noted(headless(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4", "IPv6"]))
        await running.registry.create(SERVICE, "default", both, WRITE)
        for n in (1, 2):
            made = pod(f"web-{n}", f"10.1.0.{n}")
            made["status"]["podIPs"] = [{"ip": f"10.1.0.{n}"}, {"ip": f"fd00::{n}"}]
            await running.registry.create(POD, "default", made, WRITE)
        for n in (1, 2):
            await set_ready(running, f"web-{n}", False)
        assert (answers(running), running.rrs(NAME, "AAAA")) == (["10.1.0.2"], ["fd00::2"])
        await set_ready(running, "web-1", True)
        assert (answers(running), running.rrs(NAME, "AAAA")) == (["10.1.0.1"], ["fd00::1"])


async def test_all_that_stop_being_published_were_answered_last(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        published = noted(headless(publishNotReadyAddresses=True))
        await running.registry.create(SERVICE, "default", published, WRITE)
        for n in (1, 2):
            body = pod(f"web-{n}", f"10.1.0.{n}", ready=False)
            await running.registry.create(POD, "default", body, WRITE)
        patch = Patch("merge", {"spec": {"publishNotReadyAddresses": False}})
        await running.registry.patch(SERVICE, "default", "web", patch, WRITE)
        assert answers(running) == ["10.1.0.1", "10.1.0.2"]


async def test_clients_on_the_same_node_keep_their_hint(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        near = noted(service(trafficDistribution="PreferSameNode"))
        await running.registry.create(SERVICE, "default", near, WRITE)
        await running.registry.create(POD, "default", pod("web-1", nodeName="here"), WRITE)
        (before,) = endpoints_of(running)
        await set_ready(running, "web-1", False)
        (after,) = endpoints_of(running)
        assert after["hints"] == before["hints"] == {"forNodes": [{"name": "here"}]}


def endpoints_of(running: RegistryHarness) -> list[dict[str, Any]]:
    slices = map(json.loads, running.registry.page(ENDPOINTSLICE, "default", Selection()).items)
    found = [one for one in slices if one["metadata"]["name"].startswith("web")]
    return [endpoint for one in found for endpoint in one["endpoints"]]


async def test_it_takes_a_selector(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        made = noted(without_selector(clusterIP="None"))
        written = await running.registry.create(SERVICE, "default", made, WRITE)
        assert [text for text in written.warnings if "without a selector" in text]
        own = endpoint_slice("own", "web", "192.0.2.1")
        await running.registry.create(ENDPOINTSLICE, "default", own, WRITE)
        own["endpoints"][0]["conditions"] = {"ready": False}
        await running.registry.replace(ENDPOINTSLICE, "default", "own", own, WRITE)
        assert answers(running) == []


async def test_any_changes_of_many_pods_come_to_what_was_ready_last(tmp_path: Path) -> None:
    """More Pods than a slice holds, beside a model of a set for each state."""
    rng = random.Random(3)
    count = 210
    async with started(tmp_path / "data") as running:
        await running.registry.create(SERVICE, "default", noted(headless()), WRITE)
        for n in range(count):
            body = pod(f"web-{n}", f"10.1.{n // 250}.{n % 250 + 1}", ready=False)
            await running.registry.create(POD, "default", body, WRITE)
        ready: set[int] = set()
        last: set[int] = set()
        there = set(range(count))
        for step in range(200):
            n = rng.choice(sorted(ready or there) if step % 3 else sorted(there))
            before = set(ready)
            if rng.random() < 0.1:
                await delete(running, f"web-{n}")
                ready.discard(n)
                there.discard(n)
            else:
                ready ^= {n}
                await set_ready(running, f"web-{n}", n in ready)
            last = set() if ready else (before or last) & there
            expected = ready or last
            assert answers(running) == sorted(f"10.1.{n // 250}.{n % 250 + 1}" for n in expected), step
