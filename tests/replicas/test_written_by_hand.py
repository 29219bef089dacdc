"""What somebody wrote into etcd by hand counts as not there, and is named."""

import json

import pytest
from replicas.replicas_harness import Replica, Replicas, assert_alike
from toolbox.builders import pod
from toolbox.waiting import until

from svcdns.objects.kinds import EVENT, POD


async def test_what_somebody_wrote_by_hand_counts_as_not_there(
    replicas: Replicas,
) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        good = await a.create(pod("web-2"))
        looks_good = {**good, "metadata": {**good["metadata"], "name": "web-3"}, "spec": 5, "status": [1]}
        for name, text in (
            ("broken", "{not JSON"),
            ("list", "[1]"),
            ("other", '{"kind": "Pod"}'),
            ("web-2", "null"),
            ("web-3", json.dumps(looks_good)),
        ):
            replicas.etcd.ctl("put", f"{replicas.prefix}objects/Pod/default/{name}", text)
        replicas.etcd.ctl("put", f"{replicas.prefix}objects/Nothing/default/x", "x")
        replicas.etcd.ctl("put", f"{replicas.prefix}objects/Pod//x/y", "x")
        await b.create(pod("web-1"))
        await assert_alike(a, b)
        assert a.names(POD) == ["web-1"]
        async with replicas.replica("c") as c:
            await assert_alike(a, c)


async def test_what_somebody_wrote_by_hand_is_named_once_in_the_log_and_by_an_event(
    replicas: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"{replicas.prefix}objects/Pod/default/broken"

    def said() -> int:
        return sum("default/broken in etcd is left out" in line for line in caplog.messages)

    def events(at: Replica) -> list[str]:
        found = [one for one in at.objects(EVENT) if one["reason"] == "LeftOut"]
        return [f"{one['involvedObject']['name']}: {one['message']}" for one in found]

    async with replicas.replica("a") as a:
        for text in ("{not JSON", "{not JSON", "[1]"):
            replicas.etcd.ctl("put", key, text)
            await a.create(pod(f"p{len(a.names(POD))}", f"10.1.0.{len(a.names(POD)) + 1}"))
        assert said() == 2, "once for each thing that is wrong with it"
        await until(lambda: len(events(a)) == 2, "the Events")
        assert all(one.startswith("broken: What stands in etcd counts as not there") for one in events(a))
        caplog.clear()
        async with replicas.replica("b") as b:
            await until(lambda: len(a.names(POD)) == len(b.names(POD)) == 3, "the other one to show the rest")
            assert said() == 1, "by the one that has just met it"
        replicas.etcd.ctl("del", key)
        caplog.clear()
        replicas.etcd.ctl("put", key, "[1]")
        await until(lambda: said() == 1, "it to be named again")
