"""Pods that promise heartbeats: late, heard of again, expired; and nobody flaps when a writer starts."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from registry.recorded_events import at_once, told
from toolbox.builders import headless, lease, namespace, pod
from toolbox.registry_harness import RegistryHarness, started
from toolbox.waiting import until

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import LEASE, NAMESPACE, POD, SERVICE
from svcdns.registry.heartbeats import Heartbeats
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions

__all__ = ["at_once"]

WRITE = WriteOptions()
NAME = "web.default.svc.cluster.local"


def beating(name: str = "web-1", ip: str = "10.1.0.1", period: str = "1s", **more: str) -> dict[str, Any]:
    made = pod(name, ip)
    annotations = {"svcdns.io/heartbeat": period}
    annotations |= {f"svcdns.io/{key.replace('_', '-')}": value for key, value in more.items()}
    return {**made, "metadata": {**made["metadata"], "annotations": annotations}}


async def create(running: RegistryHarness, body: dict[str, Any]) -> dict[str, Any]:
    written = await running.registry.create(POD, "default", body, WRITE)
    return dict(json.loads(written.object))


def read(running: RegistryHarness, name: str = "web-1") -> dict[str, Any] | None:
    try:
        return dict(json.loads(running.registry.get(POD, "default", name)))
    except StatusError:
        return None


def condition(running: RegistryHarness, kind: str, name: str = "web-1") -> dict[str, Any]:
    found = read(running, name)
    assert found is not None
    return next((c for c in found["status"]["conditions"] if c["type"] == kind), {})


def answers(running: RegistryHarness) -> list[str]:
    return running.rrs(NAME, "A")


async def test_a_silent_pod_is_late_and_a_heartbeat_brings_it_back(tmp_path: Path, at_once: None) -> None:
    async with started(tmp_path / "data") as running:
        await running.registry.create(SERVICE, "default", headless("web"), WRITE)
        await create(running, beating())
        assert answers(running) == ["10.1.0.1"]
        assert condition(running, "svcdns.io/Heartbeat")["reason"] == "InTime"
        await until(lambda: answers(running) == [])
        late = condition(running, "svcdns.io/Heartbeat")
        assert (late["status"], late["reason"], late["message"]) == ("False", "Late", "no heartbeat for 1s")
        ready = condition(running, "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "NotReadyByHeartbeat")
        await running.registry.heartbeats.beat("default", "web-1")
        assert answers(running) == ["10.1.0.1"], "a heartbeat is answered when the Pod is ready"
        assert condition(running, "Ready")["status"] == "True"
        await until(lambda: {"HeartbeatLate", "HeartbeatResumed"} <= {reason for reason, *_ in told(running)})
        words = {text for reason, text, _ in told(running) if reason == "EndpointNotReady"}
        assert "Pod web-1 (10.1.0.1) is not ready: no heartbeat for 1s" in words
        await until(lambda: answers(running) == [])


async def test_heartbeats_in_time_are_no_writes(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        await create(running, beating(period="3s"))
        before = read(running)
        for _ in range(18):
            await running.registry.heartbeats.beat("default", "web-1")
            await asyncio.sleep(0.2)
        assert read(running) == before


async def test_who_is_silent_for_longer_is_deleted(tmp_path: Path, at_once: None) -> None:
    async with started(tmp_path / "data") as running:
        await create(running, beating(expire_after="2s"))
        await create(running, beating("held", "10.1.0.2", expire_after="1s"))
        patch = Patch("merge", {"metadata": {"finalizers": ["example.org/hold"]}})
        await running.registry.patch(POD, "default", "held", patch, WRITE)
        await until(lambda: read(running) is None)
        await until(lambda: (read(running, "held") or {})["metadata"].get("deletionTimestamp"))
        await until(lambda: ("HeartbeatExpired", "Deleted: no heartbeat for 2s", 1) in told(running))
        with pytest.raises(StatusError) as missing:
            await running.registry.heartbeats.beat("default", "web-1")
        assert missing.value.code == 404, "a client registers again"


async def test_what_a_heartbeat_is_refused_for(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        beats = running.registry.heartbeats
        await create(running, pod("plain", "10.1.0.1"))
        await create(running, beating())
        await running.registry.create(NAMESPACE, "", namespace("other"), WRITE)
        await running.registry.create(POD, "other", beating(), WRITE)
        refused = await beats.beat_each(
            [("default", name) for name in ("web-1", "plain", "nobody")] + [("other", "web-1")]
        )
        assert [(one.name, one.code) for one in refused] == [("plain", 409), ("nobody", 404)]
        await running.registry.delete(POD, "default", "web-1", DeleteOptions())
        await running.registry.delete(NAMESPACE, "", "other", DeleteOptions())
        keys = [("default", "web-1"), ("other", "web-1")]
        assert [one.code for one in await beats.beat_each(keys)] == [404, 404]
        for name, code in (("plain", 409), ("web-1", 404)):
            with pytest.raises(StatusError) as caught:
                await beats.beat("default", name)
            assert caught.value.code == code


@pytest.mark.parametrize(
    ("annotations", "field"),
    [
        ({"heartbeat": "0.5s"}, "heartbeat"),
        ({"heartbeat": "25h"}, "heartbeat"),
        ({"heartbeat": "30"}, "heartbeat"),
        ({"heartbeat": ""}, "heartbeat"),
        ({"heartbeat": "-5s"}, "heartbeat"),
        ({"heartbeat": "1s" * 100_000}, "heartbeat"),
        ({"expire-after": "5m"}, "expire-after"),
        ({"heartbeat": "30s", "expire-after": "29s"}, "expire-after"),
        ({"heartbeat": "30s", "expire-after": "never"}, "expire-after"),
    ],
)
async def test_what_can_be_promised(tmp_path: Path, annotations: dict[str, str], field: str) -> None:
    async with started(tmp_path / "data") as running:
        body = pod("web-1", "10.1.0.1")
        body["metadata"]["annotations"] = {f"svcdns.io/{key}": value for key, value in annotations.items()}
        with pytest.raises(StatusError) as caught:
            await create(running, body)
        assert caught.value.code == 422
        assert [cause.field for cause in caught.value.causes] == [f"metadata.annotations[svcdns.io/{field}]"]
        await create(running, beating(period="1m30.5s"))


async def test_a_lease_of_the_same_name_counts(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        await create(running, beating(period="1s"))
        await until(lambda: condition(running, "Ready")["status"] == "False")
        held = lease("web-1", leaseDurationSeconds=3600, renewTime="2026-01-01T00:00:00.000000Z")
        await running.registry.create(LEASE, "default", held, WRITE)
        assert condition(running, "Ready")["status"] == "True"
        await asyncio.sleep(1.5)
        assert condition(running, "Ready")["status"] == "True", "it holds for as long as the Lease says"
        await running.registry.heartbeats.beat("default", "web-1")
        await until(lambda: condition(running, "Ready")["status"] == "False")
        same = {"spec": {"leaseTransitions": 1}}
        await running.registry.patch(LEASE, "default", "web-1", Patch("merge", same), WRITE)
        assert condition(running, "Ready")["status"] == "False", "nobody has renewed it"
        given_back = {"spec": {"holderIdentity": "", "renewTime": "2026-01-01T00:00:01.000000Z"}}
        await running.registry.patch(LEASE, "default", "web-1", Patch("merge", given_back), WRITE)
        assert condition(running, "Ready")["status"] == "False", "nobody holds it"


async def test_nobody_flaps_when_a_writer_starts(tmp_path: Path) -> None:
    """A thousand Pods that were heard of long ago have a full period, and their state stays what it was."""
    names = [f"web-{n}" for n in range(1000)]
    async with started(tmp_path / "data") as running:
        made = [beating(name, f"10.2.{n // 250}.{n % 250 + 1}", "4s") for n, name in enumerate(names)]
        for start in range(0, 1000, 100):
            await asyncio.gather(*(create(running, body) for body in made[start : start + 100]))
            await running.registry.heartbeats.beat_each([("default", name) for name in names[: start + 100]])
        await until(lambda: condition(running, "Ready", "web-0")["status"] == "False")
        await running.registry.heartbeats.beat_each([("default", name) for name in names])
        await create(running, beating("late", "10.3.0.1", "1s"))
        await until(lambda: condition(running, "Ready", "late")["status"] == "False")
        now = running.registry.heartbeats._clock()  # for good: nobody is late while a thousand are resumed
        running.registry.heartbeats._clock = lambda: now
        await running.registry.heartbeats.beat_each([("default", name) for name in names])
    async with started(tmp_path / "data") as running:
        began, stored = time.monotonic(), running.registry.page(POD, "", Selection()).items
        await asyncio.sleep(0.5)
        assert condition(running, "Ready", "late")["status"] == "False", "it was late, and nothing was heard"
        while time.monotonic() - began < 5.5:
            await running.registry.heartbeats.beat_each([("default", name) for name in names])
            await asyncio.sleep(0.3)
        assert running.registry.page(POD, "", Selection()).items == stored
        await running.registry.heartbeats.beat("default", "late")
        assert condition(running, "Ready", "late")["status"] == "True"


async def test_nobody_is_late_for_what_the_server_slept_through(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        await create(running, beating())
        time.sleep(2.5)  # the event loop stands still, as in a process that is stopped
        await asyncio.sleep(0.2)
        await running.registry.heartbeats.beat("default", "web-1")
        assert condition(running, "svcdns.io/Heartbeat")["status"] == "True"
        transitions = condition(running, "Ready")["lastTransitionTime"]
        found = read(running)
        assert found is not None and transitions == found["metadata"]["creationTimestamp"]


async def test_a_promise_can_be_changed_and_taken_back(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        await create(running, beating(period="1h"))

        async def annotate(period: str | None) -> None:
            patch = Patch("merge", {"metadata": {"annotations": {"svcdns.io/heartbeat": period}}})
            await running.registry.patch(POD, "default", "web-1", patch, WRITE)

        await annotate("1s")
        await until(lambda: condition(running, "Ready")["status"] == "False")
        await annotate(None)
        assert condition(running, "Ready")["status"] == "True"
        assert condition(running, "svcdns.io/Heartbeat") == {}
        await annotate("1s")
        assert condition(running, "Ready")["status"] == "True"
        await until(lambda: condition(running, "Ready")["status"] == "False")


async def test_a_write_that_is_refused_is_tried_again(tmp_path: Path) -> None:
    """A full disk makes nobody ready for good, and no heartbeat is answered that did not count."""
    async with started(tmp_path / "data") as running:
        real, full = running.registry.heartbeats, True

        async def write(action: Any) -> Any:
            if full:
                raise StatusError(507, "InsufficientStorage", "the disk is full")
            return await real._write(action)

        real.stop()
        mine = running.registry.heartbeats = Heartbeats(running.registry.store, write)
        await create(running, beating())
        await asyncio.sleep(1.5)
        assert condition(running, "Ready")["status"] == "True"
        full = False
        await until(lambda: condition(running, "Ready")["status"] == "False")
        full = True
        with pytest.raises(StatusError, match="full"):
            await mine.beat("default", "web-1")
        full = False
        await asyncio.gather(*(mine.beat("default", "web-1") for _ in range(3)))
        assert condition(running, "Ready")["status"] == "True"
        mine.stop()
