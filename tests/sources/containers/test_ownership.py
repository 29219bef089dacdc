"""What a source may change and delete: what it has made, and of that only what nobody else has set."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sources.containers.fake_engine import FakeContainer, FakeEngine
from sources.containers.following import OTHERS, Following, following
from toolbox.builders import service
from toolbox.running_server import RunningServer
from toolbox.waiting import until

from svcdns.sources.containers import writing
from svcdns.sources.containers.plan import Key, Remark


def patched(server: RunningServer, path: str, body: Any) -> None:
    assert server.patch(path, body).status == 200


def made(server: RunningServer, namespace: str, kind: str, body: Any) -> None:
    server.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
    assert server.post(f"/api/v1/namespaces/{namespace}/{kind}", body).status == 201


async def test_a_service_of_somebody_else_stays_as_it_is(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    made(server, name, "services", {**service("db"), "metadata": {"name": "db"}})
    before = server.get(f"/api/v1/namespaces/{name}/services/db").json
    async with following(server, tmp_path, name, resync=1) as here:
        one = here.engine.start("a", "10.89.0.5", (name, "db", 1))
        event = await here.until_event(writing.NAME_TAKEN)
        assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("Service", "db")
        await here.until_listed(2)
        here.engine.remove(one)
        await here.until_addresses({})
    assert server.get(f"/api/v1/namespaces/{name}/services/db").json == before


async def test_a_pod_of_somebody_else_stays_and_the_container_is_shown_as_skipped(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """registrator#181, external-dns#5846: nobody's records but its own."""
    made(server, name, "pods", {"metadata": {"name": "db-1"}, "status": {"podIP": "192.0.2.1"}})
    before = server.get(f"/api/v1/namespaces/{name}/pods/db-1").json
    async with following(server, tmp_path, name) as here:
        here.engine.start("a", "10.89.0.5", (name, "db", 1))
        await until(lambda: here.reasons() == {"a": writing.NAME_TAKEN})
    assert server.get(f"/api/v1/namespaces/{name}/pods/db-1").json == before


async def test_fields_that_somebody_has_set_stay_theirs_and_others_are_kept(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    async with following(server, tmp_path, name, resync=1) as here:
        labels = {"svcdns.io/dns-ttl": "30", "svcdns.io/port": "pg=5432"}
        here.engine.start("a", "10.89.0.5", (name, "db", 1), labels=labels)
        await here.until_addresses({f"{name}/db-1": "10.89.0.5"})
        path = f"/api/v1/namespaces/{name}/services/db"
        patched(server, path, {"metadata": {"annotations": {"svcdns.io/dns-ttl": "7", "mine": "x"}}})
        event = await here.until_event(writing.FIELD_TAKEN)
        assert "dns-ttl" in event["message"]
        here.engine.start("b", "10.89.0.6", (name, "db", 2), labels={**labels, "svcdns.io/port": "new=9"})
        await until(
            lambda: [p["name"] for p in server.get(path).json["spec"].get("ports", [])] == ["new", "pg"]
        )
        annotations = server.get(path).json["metadata"]["annotations"]
        assert annotations == {"svcdns.io/dns-ttl": "7", "mine": "x"}
        await here.until_listed(4)
        assert len(await here.events(writing.FIELD_TAKEN)) == 1


async def test_a_pod_that_somebody_takes_out_stays_out(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """Its condition is theirs: `svcdns unready` holds, whatever the container's health."""
    async with following(server, tmp_path, name, resync=1) as here:
        one = here.engine.start("a", "10.89.0.5", (name, "db", 1), health="healthy")
        await here.until_addresses({f"{name}/db-1": "10.89.0.5"})
        await here.client.set_ready("db-1", False, "disk", namespace=name)
        here.engine.flip(one, "unhealthy")
        here.engine.flip(one, "healthy")
        await here.until_event(writing.FIELD_TAKEN)
        await here.until_listed(3)
        assert await here.addresses() == {}


async def test_what_was_deleted_by_hand_comes_back(server: RunningServer, tmp_path: Path, name: str) -> None:
    async with following(server, tmp_path, name, resync=1) as here:
        here.engine.start("a", "10.89.0.5", (name, "db", 1))
        await here.until_addresses({f"{name}/db-1": "10.89.0.5"})
        assert server.delete(f"/api/v1/namespaces/{name}/pods/db-1?gracePeriodSeconds=0").status == 200
        assert server.delete(f"/api/v1/namespaces/{name}/services/db").status == 200
        await here.until_addresses({f"{name}/db-1": "10.89.0.5"})
        await until(lambda: server.get(f"/api/v1/namespaces/{name}/services/db").status == 200)


async def replaced_by_another(server: RunningServer, here: Following, name: str) -> tuple[FakeContainer, str]:
    """Have a container's Pod replaced by somebody else's; return the container and the path of Pods."""
    one = here.engine.start("a", "10.89.0.5", (name, "db", 1))
    await here.until_addresses({f"{name}/db-1": "10.89.0.5"})
    path = f"/api/v1/namespaces/{name}/pods"
    assert server.delete(f"{path}/db-1?gracePeriodSeconds=0").status == 200
    theirs = {"metadata": {"name": "db-1"}, "status": {"podIP": "192.0.2.1"}}
    assert server.post(path, theirs).status == 201
    return one, path


async def test_a_pod_put_in_the_place_of_ours_is_not_touched(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """What is applied and deleted is meant by its uid."""
    async with following(server, tmp_path, name) as here:
        one, path = await replaced_by_another(server, here, name)
        before = server.get(f"{path}/db-1").json
        here.engine.change(one, "restart", address="10.89.0.9")
        await until(lambda: here.reasons() == {"a": writing.NAME_TAKEN})
        here.engine.remove(one)
        await until(lambda: here.reasons() == {})
        assert server.get(f"{path}/db-1").json == before


async def test_what_was_put_in_the_place_of_ours_is_not_deleted_with_its_container(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    async with following(server, tmp_path, name) as here:
        one, path = await replaced_by_another(server, here, name)
        here.engine.remove(one)
        await until(lambda: here.reasons() == {})
        assert server.get(f"{path}/db-1").status == 200


async def test_a_service_put_in_the_place_of_ours_is_not_touched(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    async with following(server, tmp_path, name) as here:
        here.engine.start("a", "10.89.0.5", (name, "db", 1), exposed=())
        await here.until_addresses({f"{name}/db-1": "10.89.0.5"})
        path = f"/api/v1/namespaces/{name}/services"
        assert server.delete(f"{path}/db").status == 200
        selector = {"db.member.svcdns.io/of": "true"}
        theirs = {"metadata": {"name": "db"}, "spec": {"clusterIP": "None", "selector": selector}}
        assert server.post(path, theirs).status == 201
        before = server.get(f"{path}/db").json
        here.engine.start("b", "10.89.0.6", (name, "db", 2))  # whose port the Service would get
        await here.until_addresses({f"{name}/db-1": "10.89.0.5", f"{name}/db-2": "10.89.0.6"})
        await here.until_event(writing.NAME_TAKEN)
        assert server.get(f"{path}/db").json == before


async def test_one_made_by_somebody_else_in_the_same_moment_is_given_back(
    server: RunningServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {
        "metadata": {"name": "db", "labels": {"a": "b"}},
        "spec": {"clusterIP": "None", "selector": {"db.member.svcdns.io/of": "true"}},
    }
    made(server, name, "services", theirs)
    path = f"/api/v1/namespaces/{name}/services/db"
    before = server.get(path).json
    whose, looked = writing.Writing._whose, []

    async def looked_too_early(self: writing.Writing, key: Key) -> Remark | None:
        looked.append(key)
        return None if looked.count(key) == 1 else await whose(self, key)

    monkeypatch.setattr(writing.Writing, "_whose", looked_too_early)
    async with following(server, tmp_path, name) as here:
        here.engine.start("a", "10.89.0.5", (name, "db", 1))
        await here.until_event(writing.NAME_TAKEN)
        await here.until_addresses({f"{name}/db-1": "10.89.0.5"})
    after = server.get(path).json
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == {"a": "b"}
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]  # it was touched


async def test_two_engines_never_touch_each_others_objects(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    other = f"{name}-other"
    one, two = FakeEngine(tmp_path / "one.sock"), FakeEngine(tmp_path / "two.sock")
    one.start("a", "10.89.0.5", (name, "db", 1))
    two.start("b", "10.99.0.5", (name, "db", 1))
    two.start("c", "10.99.0.6", (name, "db", 2))
    known = (*OTHERS, name, other)
    async with one, two, following(server, tmp_path, name, one, known) as left:
        await left.until_addresses({f"{name}/db-1": "10.89.0.5"})
        async with following(server, tmp_path, other, two, known) as right:
            await right.until_addresses({f"{name}/db-2": "10.99.0.6"})  # found by the Service of the first
            await until(lambda: right.reasons() == {"b": writing.NAME_TAKEN, "c": ""})
            found = await asyncio.to_thread(server.answers, f"db.{name}.svc.cluster.local")
            assert found == ["10.89.0.5", "10.99.0.6"]
        await left.until_addresses({f"{name}/db-1": "10.89.0.5"})
        async with following(server, tmp_path, other, two, known, prefix_engine=True) as right:
            wanted = {f"{name}/db-1-{other}": "10.99.0.5", f"{name}/db-2-{other}": "10.99.0.6"}
            await right.until_addresses(wanted)


async def test_an_engine_that_is_configured_no_more_leaves_nothing(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    former = f"{name}-former"
    engine = FakeEngine(tmp_path / "engine.sock")
    engine.start("a", "10.89.0.5", (name, "a", 1))
    async with engine, following(server, tmp_path, former, engine, (*OTHERS, former)) as here:
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
    made(server, name, "pods", {"metadata": {"name": "mine"}, "status": {"podIP": "192.0.2.1"}})
    async with following(server, tmp_path, name, known=(*OTHERS, name)):
        await until(lambda: not pods_of(server, name, former))
    assert server.get(f"/api/v1/namespaces/{name}/pods/mine").status == 200


async def test_orphans_are_kept_where_that_is_said(server: RunningServer, tmp_path: Path, name: str) -> None:
    former = f"{name}-former"
    engine = FakeEngine(tmp_path / "engine.sock")
    engine.start("a", "10.89.0.5", (name, "a", 1))
    async with engine, following(server, tmp_path, former, engine, (*OTHERS, former)) as here:
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
    async with following(server, tmp_path, name, known=(*OTHERS, name), keep_orphans=True) as here:
        await here.until_listed(1)
        here.engine.start("b", "10.89.0.6", (name, "b", 1))
        await here.until_addresses({f"{name}/b-1": "10.89.0.6"})
        assert pods_of(server, name, former)


def pods_of(server: RunningServer, namespace: str, engine: str) -> list[Any]:
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=svcdns.io/engine={engine}"
    found: list[Any] = server.get(path).json["items"]
    return found


async def test_what_may_not_change_is_made_anew(server: RunningServer, tmp_path: Path, name: str) -> None:
    """The port of a published container differs after each start, and a Pod's ports are fixed."""
    labels = {"svcdns.io/address": "published", "svcdns.io/port": "pg=5432"}
    async with following(server, tmp_path, name) as here:
        one = here.engine.start(
            "a", compose=(name, "db", 1), labels=labels, published=(("192.0.2.7", 40001, "5432/tcp"),)
        )
        await here.until_addresses({f"{name}/db-1": "192.0.2.7"})
        here.engine.change(one, "restart", published=(("192.0.2.7", 40002, "5432/tcp"),))

        def ports() -> list[str]:
            found = server.answers(f"_pg._tcp.db.{name}.svc.cluster.local", "SRV")
            return [text.split()[2] for text in found]

        await until(lambda: ports() == ["40002"])


async def test_a_service_gets_a_cluster_ip_and_keeps_it_while_all_is_made_anew(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    async with following(server, tmp_path, name, resync=1) as here:
        words = {"svcdns.io/cluster-ip": "auto", "svcdns.io/port": "http=80"}
        one = here.engine.start("a", "10.89.0.5", (name, "web", 1), labels=words)
        await here.until_addresses({f"{name}/web-1": "10.89.0.5"})
        address = (await here.services())[f"{name}/web"]["spec"]["clusterIP"]
        assert address.startswith("10.")
        here.engine.remove(one)
        await here.until_addresses({})
        await here.until_listed(3)
        here.engine.start("a", "10.89.0.6", (name, "web", 1), labels=words)
        await here.until_addresses({f"{name}/web-1": "10.89.0.6"})
        assert (await here.services())[f"{name}/web"]["spec"]["clusterIP"] == address


async def test_a_cluster_ip_that_is_none_is_told_and_keeps_no_pod_away(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    async with following(server, tmp_path, name) as here:
        labels = {"svcdns.io/cluster-ip": "192.0.2.1", "svcdns.io/port": "http=80"}
        here.engine.start("a", "10.89.0.5", (name, "web", 1), labels=labels)
        event = await here.until_event(writing.REFUSED)
        assert "192.0.2.1" in event["message"]
        await here.until_addresses({f"{name}/web-1": "10.89.0.5"})


async def test_a_bad_label_keeps_only_its_container_away(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    async with following(server, tmp_path, name) as here:
        here.engine.start("bad", "10.89.0.4", (name, "db", 1), labels={"svcdns.io/ready": "maybe"})
        here.engine.start("good", "10.89.0.5", (name, "db", 2))
        await here.until_addresses({f"{name}/db-2": "10.89.0.5"})
        event = await here.until_event("BadLabel")
        assert event["involvedObject"]["namespace"] == "kube-system"
        assert "svcdns.io/ready" in event["message"] and "always" in event["message"]


async def test_the_api_that_goes_away_gets_it_all_later(tmp_path: Path) -> None:
    name = "engine-away"
    with RunningServer(workers=1) as server:
        port = server.api.rpartition(":")[2]
        async with following(server, tmp_path, name) as here:
            one = here.engine.start("a", "10.89.0.5", (name, "a", 1))
            await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
            await asyncio.to_thread(server.stop)
            here.engine.stop(one)
            here.engine.start("b", "10.89.0.6", (name, "b", 1))
            await until(lambda: here.source.status.events["start"] >= 2)
            server._command += ["--api", f"127.0.0.1:{port}"]
            await asyncio.to_thread(server.start)
            await here.until_addresses({f"{name}/b-1": "10.89.0.6"})
