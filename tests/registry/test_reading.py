"""Lists: what a selection by name finds is looked up, and must be what a scan would find."""

from __future__ import annotations

from typing import Any

import pytest
from toolbox.builders import pod, service
from toolbox.registry_harness import RegistryHarness

from svcdns.objects.field_selectors import FieldSelector
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE
from svcdns.objects.selectors import LabelSelector
from svcdns.registry.requests import Selection, WriteOptions
from svcdns.registry.transaction import decode


@pytest.mark.parametrize(
    ("namespace", "fields", "labels", "found"),
    [
        ("default", "metadata.name=p1", "", ["default/p1"]),
        ("", "metadata.name=p1", "", ["default/p1", "other/p1"]),
        ("", "metadata.name=p1,metadata.namespace=other", "", ["other/p1"]),
        ("", "metadata.namespace=other", "", ["other/p1", "other/p3"]),
        ("other", "metadata.namespace=default", "", []),
        ("default", "metadata.name=p1,metadata.name!=p1", "", []),
        ("default", "metadata.name=p1", "app=web", ["default/p1"]),
        ("default", "metadata.name=p1", "app=db", []),
        ("default", "metadata.name=p1,status.phase=Failed", "", []),
        ("default", "metadata.name=nope", "", []),
        ("default", "metadata.name=", "", []),
        ("default", "metadata.name=" + "x" * 2000, "", []),
    ],
)
def test_by_name(run: Any, namespace: str, fields: str, labels: str, found: list[str]) -> None:
    async def work(running: RegistryHarness) -> list[str]:
        registry = running.registry
        await registry.create(NAMESPACE, "", {"metadata": {"name": "other"}}, WriteOptions())
        for where, name in (("default", "p1"), ("default", "p2"), ("other", "p1"), ("other", "p3")):
            await registry.create(POD, where, pod(name, "10.1.0.1"), WriteOptions())
        selector = LabelSelector.parse(labels) if labels else None
        page = registry.page(POD, namespace, Selection(selector, FieldSelector.parse(fields, POD)))
        names = [decode(octets)["metadata"] for octets in page.items]
        return [f"{metadata['namespace']}/{metadata['name']}" for metadata in names]

    assert run(work) == found


def test_by_name_in_pages(run: Any) -> None:
    async def work(running: RegistryHarness) -> tuple[int, str]:
        registry = running.registry
        await registry.create(SERVICE, "default", service("web"), WriteOptions())
        selection = Selection(None, FieldSelector.parse("metadata.name=web", SERVICE))
        page = registry.page(SERVICE, "default", selection, 1)
        return len(page.items), page.continue_

    assert run(work) == (1, "")


def test_a_cluster_scoped_kind_by_name(run: Any) -> None:
    async def work(running: RegistryHarness) -> list[str]:
        selection = Selection(None, FieldSelector.parse("metadata.name=default", NAMESPACE))
        return [decode(o)["metadata"]["name"] for o in running.registry.page(NAMESPACE, "", selection).items]

    assert run(work) == ["default"]
