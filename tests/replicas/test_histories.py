"""Whatever happens at two replicas at once: they show the same, and so does one that begins with nothing.

The same is objects with their resourceVersions, the rows of all tables that follow from them, and replies of
DNS.  Random histories.  Each step is a few writes at once, some at one replica and some at the other.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replicas.replicas_harness import Object, Replica, Replicas, assert_alike, comparable
from toolbox.builders import (
    endpoint_slice,
    endpoints,
    namespace,
    pod,
    ready_condition,
    service,
    without_selector,
)
from toolbox.running_etcd import RunningEtcd
from toolbox.waiting import run, until

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, POD, SERVICE, Kind
from svcdns.registry import events
from svcdns.registry.requests import DeleteOptions

NAMES, PODS, NAMESPACES = ("web", "db"), ("p1", "p2", "p3", "p4"), ("default", "shop")


def in_namespace(obj: Object, where: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "namespace": where}}


def described(draw: st.DrawFn) -> tuple[str, Kind, str, str, Object]:
    """Draw a write: what is done, to which object, and what it is to be."""
    where = draw(st.sampled_from(NAMESPACES))
    what = draw(st.sampled_from(["create", "create", "create", "patch", "patch", "delete"]))
    kind = draw(st.sampled_from([SERVICE, SERVICE, POD, POD, POD, ENDPOINTS, ENDPOINTSLICE, NAMESPACE]))
    name = draw(st.sampled_from(PODS if kind is POD else NAMES))
    if kind is NAMESPACE:
        return (
            what,
            kind,
            "",
            "shop",
            namespace("shop") if what == "create" else {"metadata": {"labels": {"a": "b"}}},
        )
    if what == "patch":
        return what, kind, where, name, draw(st.sampled_from(CHANGES[kind.name]))
    made = draw(st.sampled_from(MADE[kind.name]))
    return (
        what,
        kind,
        where,
        name,
        in_namespace({**made, "metadata": {**made["metadata"], "name": name}}, where),
    )


writes = st.composite(described)()

MADE: dict[str, list[Object]] = {
    "Service": [
        service("web"),
        service("web", clusterIP="None"),
        service("db", type="NodePort"),
        service("db", clusterIP="10.96.0.9"),
        without_selector("db"),
        service("web", publishNotReadyAddresses=True),
    ],
    "Pod": [
        pod("p", f"10.1.0.{n}", app, ready=ready)
        for n, app, ready in ((1, "web", True), (2, "web", False), (3, "db", True), (4, "other", None))
    ],
    "Endpoints": [endpoints("db", "10.9.0.1"), endpoints("db", "10.9.0.1", "10.9.0.2")],
    "EndpointSlice": [
        endpoint_slice("own", "web", "10.8.0.1"),
        endpoint_slice("own", "db", "10.8.0.2", "10.8.0.3"),
    ],
}

CHANGES: dict[str, list[Object]] = {
    "Service": [
        {"spec": {"selector": {"app": "db"}}},
        {"spec": {"selector": {"app": "web"}}},
        {"spec": {"selector": None}},
        {"spec": {"ports": [{"name": "other", "port": 81}]}},
        {"metadata": {"labels": {"a": "b"}}},
    ],
    "Pod": [
        {"metadata": {"labels": {"app": "db"}}},
        {"metadata": {"labels": {"app": "web"}}},
        {"status": {"conditions": [ready_condition(True)]}},
        {"status": {"conditions": [ready_condition(False)]}},
    ],
    "Endpoints": [{"subsets": [{"addresses": [{"ip": "10.9.0.3"}]}]}],
    "EndpointSlice": [{"endpoints": [{"addresses": ["10.8.0.4"], "conditions": {"ready": True}}]}],
}


def done(at: Replica, write: tuple[str, Kind, str, str, Object]) -> Awaitable[Any]:
    what, kind, where, name, obj = write
    if what == "create":
        return at.create(obj)
    if what == "delete":
        return at.registry.delete(kind, where, name, DeleteOptions())
    return at.patch(kind, name, obj, where)


steps = st.lists(st.lists(st.tuples(st.booleans(), writes), min_size=1, max_size=4), min_size=1, max_size=12)


def assert_same_rows(a: Replica, b: Replica) -> None:
    """Assert that both have the same rows in all tables, and say the same to each question."""
    assert a.rows_but_apexes() == b.rows_but_apexes()
    assert a.tables() == b.tables()
    assert a.replies() == b.replies()


def is_going(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


async def check(replicas: Replicas, history: list[list[tuple[bool, Any]]]) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        for step in history:
            both = (done(a if first else b, write) for first, write in step)
            for found in await asyncio.gather(*both, return_exceptions=True):
                assert not isinstance(found, BaseException) or (
                    isinstance(found, StatusError) and found.code in (400, 403, 404, 409, 422)
                ), found
        await a.shows_what(b)
        await b.shows_what(a)
        await until(lambda: not any(map(is_going, a.objects(NAMESPACE))), "namespaces that go to be gone")
        await assert_alike(a, b)
        assert_same_rows(a, b)
        held = [one["spec"].get("clusterIP") for one in a.objects(SERVICE)]
        held = [ip for ip in held if ip not in (None, "None")]
        assert len(held) == len(set(held)), "an address has two owners"
        async with replicas.replica("new") as new:
            await new.shows_what(a)
            assert comparable(new.everything()) == comparable(a.everything())
            assert_same_rows(new, a)
            made = await new.create(namespace("last"))
            await a.shows_what(new)
            assert a.get(NAMESPACE, "last", "") == new.get(NAMESPACE, "last", "") == made
            assert a.revision == new.revision


@pytest.fixture(autouse=True, scope="module")
def no_events() -> Iterator[None]:
    """Have nothing written but the histories: Events would come at any time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "GATHER_SECONDS", 3600.0)
        yield


@given(steps)
@settings(max_examples=40)
def test_all_replicas_show_the_same(etcd: RunningEtcd, history: list[list[tuple[bool, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(check(Replicas(etcd, Path(folder)), history))
