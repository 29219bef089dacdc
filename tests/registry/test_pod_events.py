"""A Pod that no Service selects: each change of its readiness is an Event of the Pod all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from registry.recorded_events import READY, at_once, status, told
from toolbox.builders import headless, pod
from toolbox.registry_harness import RegistryHarness, started
from toolbox.waiting import until

from svcdns.objects.kinds import POD, SERVICE
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions

__all__ = ["at_once"]

WRITE = WriteOptions()
PROBED = {"containers": [{"name": "c", "readinessProbe": {"tcpSocket": {"port": 1}}}]}


async def change(running: RegistryHarness, patch: dict[str, Any], subresource: str = "") -> None:
    strategic = Patch("strategic", patch)
    await running.registry.patch(POD, "default", "web-1", strategic, WRITE, subresource)


def of_pod(running: RegistryHarness) -> set[tuple[str, str, int]]:
    """Return the Events of the Pod itself, without their kind."""
    return told(running, "involvedObject.kind=Pod")


@pytest.mark.parametrize(
    ("patch", "subresource", "text"),
    [
        (
            {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Disk"}]}},
            "status",
            "condition Ready is False, Disk",
        ),
        (
            {"metadata": {"annotations": {"svcdns.io/ready": "false"}}},
            "",
            "annotation svcdns.io/ready is 'false'",
        ),
        (
            {
                "status": {
                    "conditions": [{"type": "svcdns.io/Probe", "status": "False", "message": "HTTP 503"}]
                }
            },
            "status",
            "its readinessProbe fails (HTTP 503)",
        ),
    ],
    ids=["report", "annotation", "probe"],
)
async def test_who_is_in_no_service_is_told_of(
    tmp_path: Path, at_once: None, patch: dict[str, Any], subresource: str, text: str
) -> None:
    async with started(tmp_path / "data") as running:
        made = pod(ready=True, **PROBED)
        passed = {"type": "svcdns.io/Probe", "status": "True"}
        made["status"]["conditions"].append(passed)
        await running.registry.create(POD, "default", made, WRITE)
        await change(running, patch, subresource)
        await until(lambda: ("PodNotReady", f"The Pod is not ready: {text}", 1) in of_pod(running))
        assert [reason for reason, *_ in of_pod(running)] == ["PodNotReady"], "its creation is no change"


async def test_heartbeats(tmp_path: Path, at_once: None) -> None:
    async with started(tmp_path / "data") as running:
        made = pod()
        made["metadata"]["annotations"] = {"svcdns.io/heartbeat": "1s"}
        await running.registry.create(POD, "default", made, WRITE)
        await until(
            lambda: ("PodNotReady", "The Pod is not ready: no heartbeat for 1s", 1) in of_pod(running)
        )
        await running.registry.heartbeats.beat("default", "web-1")
        await until(lambda: "PodReady" in {reason for reason, *_ in of_pod(running)})


async def test_an_endpoint_says_it_already(tmp_path: Path, at_once: None) -> None:
    async with started(tmp_path / "data") as running:
        await running.registry.create(SERVICE, "default", headless(), WRITE)
        await running.registry.create(POD, "default", pod(), WRITE)
        await status(running, "web-1", "False")
        await until(lambda: "EndpointNotReady" in {reason for reason, *_ in of_pod(running)})
        assert not {reason for reason, *_ in of_pod(running)} & {"PodReady", "PodNotReady"}
        other = {"metadata": {"labels": {"app": "other"}}}
        await change(running, other)
        await status(running, "web-1", "True")
        await until(lambda: ("PodReady", "The Pod is ready: condition Ready is True", 1) in of_pod(running))


async def test_one_whose_service_publishes_it_anyway(tmp_path: Path, at_once: None) -> None:
    async with started(tmp_path / "data") as running:
        published = headless(publishNotReadyAddresses=True)
        await running.registry.create(SERVICE, "default", published, WRITE)
        await running.registry.create(POD, "default", pod(), WRITE)
        await status(running, "web-1", "False")
        await until(lambda: "PodNotReady" in {reason for reason, *_ in of_pod(running)})


async def test_flapping_is_counted_and_what_changes_nothing_is_no_change(
    tmp_path: Path, at_once: None
) -> None:
    async with started(tmp_path / "data") as running:
        await running.registry.create(POD, "default", pod(), WRITE)
        for _ in range(5):
            await status(running, "web-1", "False")
            await change(running, {"metadata": {"labels": {"app": "other"}}})
            await status(running, "web-1", "True")
        counted = {
            ("PodNotReady", "The Pod is not ready: condition Ready is False", 5),
            ("PodReady", "The Pod is ready: condition Ready is True", 5),
        }
        await until(lambda: of_pod(running) == counted)


async def test_an_address_that_comes_and_a_pod_that_leaves(tmp_path: Path, at_once: None) -> None:
    async with started(tmp_path / "data") as running:
        await running.registry.create(POD, "default", pod(ip=""), WRITE)
        await change(running, {"status": {"podIP": "10.1.0.1"}}, "status")
        await until(lambda: ("PodReady", f"The Pod is ready: {READY}", 1) in of_pod(running))
        await running.registry.delete(POD, "default", "web-1", DeleteOptions(grace_period_seconds=300))
        going = "The Pod is not ready: the Pod is being deleted"
        await until(lambda: ("PodNotReady", going, 1) in of_pod(running))
