"""Leases: locks between programs, which are renewed every few seconds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from toolbox.builders import lease, node, service
from toolbox.registry_harness import RegistryHarness, each_event
from toolbox.waiting import GUARD_SECONDS

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import LEASE, NODE, SERVICE
from svcdns.registry.registry import Registry
from svcdns.registry.requests import Patch, Selection, WriteOptions
from svcdns.store import log

OPTIONS = WriteOptions()


async def put(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    written = await registry.replace(LEASE, "default", "leader", body, OPTIONS)
    return dict(json.loads(written.object))


def taken_by(old: dict[str, Any], holder: str) -> dict[str, Any]:
    return {**old, "spec": {**old["spec"], "holderIdentity": holder}}


def test_of_candidates_that_come_at_once_one_gets_it(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        bodies = [lease(holder=f"candidate-{number}") for number in range(8)]
        creating = (registry.create(LEASE, "default", body, OPTIONS) for body in bodies)
        outcomes = await asyncio.gather(*creating, return_exceptions=True)
        assert sorted(getattr(outcome, "code", 201) for outcome in outcomes) == [201, *[409] * 7]
        free = await put(registry, taken_by(json.loads(registry.get(LEASE, "default", "leader")), ""))
        taking = (put(registry, taken_by(free, f"candidate-{number}")) for number in range(8))
        outcomes = await asyncio.gather(*taking, return_exceptions=True)
        [winner] = [outcome for outcome in outcomes if isinstance(outcome, dict)]
        assert json.loads(registry.get(LEASE, "default", "leader")) == winner
        assert {outcome.code for outcome in outcomes if isinstance(outcome, StatusError)} == {409}

    run(work)


@pytest.mark.parametrize("revision", [None, "", "0"])
def test_nobody_takes_it_without_having_looked(run: Any, revision: str | None) -> None:
    async def work(running: RegistryHarness) -> None:
        made = await put(running.registry, lease())
        assert made["spec"]["holderIdentity"] == "one", "a PUT makes it"
        body = taken_by(made, "two")
        body["metadata"] = {"name": "leader", "resourceVersion": revision}
        with pytest.raises(StatusError) as refused:
            await put(running.registry, body)
        assert refused.value.code == 422
        assert [cause.field for cause in refused.value.causes] == ["metadata.resourceVersion"]
        patch = Patch("merge", {"spec": {"holderIdentity": "two"}})
        await running.registry.patch(LEASE, "default", "leader", patch, OPTIONS)
        apply = Patch("apply", lease(holder="three"))
        forced = WriteOptions(field_manager="a", force=True)
        written = await running.registry.patch(LEASE, "default", "leader", apply, forced)
        assert json.loads(written.object)["spec"]["holderIdentity"] == "three"

    run(work)


def test_names_know_nothing_of_nodes_and_leases(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", service(), OPTIONS)
        before = running.rrs("cluster.local", "SOA")
        assert before
        await running.registry.create(NODE, "", node("web"), OPTIONS)
        await running.registry.create(LEASE, "default", lease("web"), OPTIONS)
        assert running.rrs("cluster.local", "SOA") == before, "no zone has changed"

    run(work)


@pytest.mark.embedded("revisions are etcd's")
def test_renewals_leave_the_log_of_other_kinds_alone(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        await registry.create(SERVICE, "default", service(), OPTIONS)
        after = registry.page(LEASE, "", Selection()).revision
        made = await put(registry, lease())
        for _ in range(20):
            made = await put(registry, {**made, "spec": {**made["spec"], "leaseTransitions": after}})
            after += 1
        table = registry.store.tables.log
        entries, complete = log.after(registry.store, table, 0, 10_000)
        assert complete and LEASE.name not in {entry.kind for _, entry in entries}
        revision = int(made["metadata"]["resourceVersion"])
        events = each_event(registry.watch(LEASE, "default", Selection(), revision - 1))
        event = await asyncio.wait_for(anext(events), GUARD_SECONDS)
        assert (event.type, event.revision) == ("MODIFIED", revision)

    run(work)
