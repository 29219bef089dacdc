"""What svcdns tells as Events, and how tests wait for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from toolbox.registry_harness import RegistryHarness, each_event
from toolbox.waiting import GUARD_SECONDS

from svcdns.objects.kinds import EVENT, POD
from svcdns.objects.selectors import FieldSelector
from svcdns.registry import events
from svcdns.registry.requests import Patch, Selection, WriteOptions

WRITE = WriteOptions()
READY = "nobody has set its Ready condition, so it is taken as ready"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about how long Events wait."""
    monkeypatch.setattr(events, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.0)


def selected(text: str = "") -> Selection:
    return Selection(fields=FieldSelector.parse(text, EVENT)) if text else Selection()


def listed(running: RegistryHarness, text: str = "", namespace: str = "") -> list[dict[str, Any]]:
    page = running.registry.page(EVENT, namespace, selected(text))
    return [json.loads(octets) for octets in page.items]


def told(running: RegistryHarness, text: str = "", namespace: str = "") -> set[tuple[str, str, int]]:
    """Reason, message and count of all Events that a field selector selects."""
    return {(e["reason"], e["message"], e["count"]) for e in listed(running, text, namespace)}


async def until(running: RegistryHarness, condition: Callable[[], Any]) -> Any:
    """Return the condition's first true value, looked at after each change of an Event."""

    async def look() -> Any:
        revision = running.registry.page(EVENT, "", Selection()).revision
        stream = each_event(running.registry.watch(EVENT, "", Selection(), revision))
        while not (value := condition()):
            await anext(stream)
        return value

    return await asyncio.wait_for(look(), GUARD_SECONDS)


async def told_of(running: RegistryHarness, text: str, *reasons: str) -> set[tuple[str, str, int]]:
    """Return what is told when it has these reasons."""

    def look() -> set[tuple[str, str, int]]:
        found = told(running, text)
        return found if {reason for reason, _, _ in found} >= set(reasons) else set()

    found: set[tuple[str, str, int]] = await until(running, look)
    return found


async def status(running: RegistryHarness, name: str, ready: str, **words: str) -> None:
    change = {"status": {"conditions": [{"type": "Ready", "status": ready, **words}]}}
    await running.registry.patch(POD, "default", name, Patch("merge", change), WRITE, "status")
