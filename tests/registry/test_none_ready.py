"""What a Service without a ready endpoint answers: nothing, or all, by its annotation; and who is leaving."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from registry.recorded_events import at_once, told
from toolbox.builders import endpoint_slice, headless, pod, without_selector
from toolbox.registry_harness import RegistryHarness, started
from toolbox.waiting import until

from svcdns.objects.kinds import ENDPOINTSLICE, POD, SERVICE
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions

__all__ = ["at_once"]

WRITE = WriteOptions()
NAME = "web.default.svc.cluster.local"


def policy(word: str | None) -> Patch:
    return Patch("merge", {"metadata": {"annotations": {"svcdns.io/when-none-ready": word}}})


async def set_ready(running: RegistryHarness, name: str, ready: bool) -> None:
    status = {"status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}
    await running.registry.patch(POD, "default", name, Patch("merge", status), WRITE, "status")


def answers(running: RegistryHarness) -> list[str]:
    return running.rrs(NAME, "A")


async def test_all_of_them_answer_when_none_is_ready(tmp_path: Path, at_once: None) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await registry.create(SERVICE, "default", headless("web"), WRITE)
        for n in (1, 2, 3):
            await registry.create(POD, "default", pod(f"web-{n}", f"10.1.0.{n}"), WRITE)
        await registry.create(POD, "default", pod("no-address", ""), WRITE)
        written = await registry.patch(SERVICE, "default", "web", policy("all"), WRITE)
        assert written.warnings == ()
        await set_ready(running, "web-1", False)
        assert answers(running) == ["10.1.0.2", "10.1.0.3"]
        await set_ready(running, "web-2", False)
        await set_ready(running, "web-3", False)
        everyone = ["10.1.0.1", "10.1.0.2", "10.1.0.3"]
        assert answers(running) == everyone
        assert running.rrs(f"10-1-0-1.{NAME}", "A") == ["10.1.0.1"]
        assert running.rrs("1.0.1.10.in-addr.arpa", "PTR") == [f"10-1-0-1.{NAME}."]
        slices = registry.page(ENDPOINTSLICE, "default", Selection()).items
        shown = [e["conditions"]["ready"] for one in slices for e in json.loads(one)["endpoints"]]
        assert shown == [False] * 3, "a proxy is told the truth"
        assert any("all of them are answered" in why for why in registry.explain("web", "default").reasons)
        await until(lambda: any(reason == "NoEndpointReady" for reason, *_ in told(running)))
        await registry.delete(POD, "default", "web-3", DeleteOptions(grace_period_seconds=3600))
        assert answers(running) == everyone[:2], "who is leaving has left"
        await set_ready(running, "web-2", True)
        assert answers(running) == ["10.1.0.2"]
        await set_ready(running, "web-2", False)
    async with started(tmp_path / "data") as running:
        assert answers(running) == everyone[:2], "as before, after a restart"
        await running.registry.patch(SERVICE, "default", "web", policy(None), WRITE)
        assert running.row(NAME) is None


async def test_slices_of_a_users_own_count_too(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        made = without_selector("web", clusterIP="None")
        made["metadata"]["annotations"] = {"svcdns.io/when-none-ready": "all"}
        await registry.create(SERVICE, "default", made, WRITE)
        for n in (1, 2):
            body = endpoint_slice(f"own-{n}", "web", f"192.0.2.{n}")
            body["endpoints"][0]["conditions"] = {"ready": False}
            await registry.create(ENDPOINTSLICE, "default", body, WRITE)
        assert answers(running) == ["192.0.2.1", "192.0.2.2"]
        await registry.create(ENDPOINTSLICE, "default", endpoint_slice("third", "web", "192.0.2.3"), WRITE)
        assert answers(running) == ["192.0.2.3"]
        await registry.delete(ENDPOINTSLICE, "default", "third", DeleteOptions())
        assert answers(running) == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize("word", ["latest", "", "ALL"])
async def test_another_word_is_none_with_a_warning(tmp_path: Path, word: str) -> None:
    async with started(tmp_path / "data") as running:
        await running.registry.create(SERVICE, "default", headless("web"), WRITE)
        await running.registry.create(POD, "default", pod(ready=False), WRITE)
        written = await running.registry.patch(SERVICE, "default", "web", policy(word), WRITE)
        assert [w for w in written.warnings if "when-none-ready" in w and "none, all, last" in w]
        again = await running.registry.patch(
            SERVICE, "default", "web", Patch("merge", {"metadata": {"labels": {"a": "b"}}}), WRITE
        )
        assert again.warnings == ()
        assert running.row(NAME) is None


async def test_any_order_of_changes_comes_to_the_same(tmp_path: Path) -> None:
    """More Pods than a slice holds; the answers follow from what is there, however it came about."""
    rng = random.Random(7)
    count = 210
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await registry.create(SERVICE, "default", headless("web"), WRITE)
        await registry.patch(SERVICE, "default", "web", policy("all"), WRITE)
        ready: dict[int, bool] = {}
        for n in range(count):
            ready[n] = False
            body = pod(f"web-{n}", f"10.1.{n // 250}.{n % 250 + 1}", ready=False)
            await registry.create(POD, "default", body, WRITE)
        for step in range(120):
            n = rng.randrange(count) if step % 3 else max(ready, key=ready.__getitem__)
            if rng.random() < 0.1 and len(ready) > 3 and n in ready:
                await registry.delete(POD, "default", f"web-{n}", DeleteOptions())
                del ready[n]
            elif n in ready:
                ready[n] = not ready[n] and rng.random() < 0.4
                await set_ready(running, f"web-{n}", ready[n])
            expected = [n for n in ready if ready[n]] or list(ready)
            assert answers(running) == sorted(f"10.1.{n // 250}.{n % 250 + 1}" for n in expected)
