"""Several svcdns share a registry: what one takes all show, and none decides on what another has changed."""

import asyncio
import json
from collections.abc import Sequence
from ipaddress import ip_network

import pytest
from replicas.replicas_harness import Patient, Replica, Replicas, assert_alike, assert_same_objects
from toolbox.builders import endpoint_slice, endpoints, headless, namespace, pod, service, without_selector
from toolbox.running_etcd import RunningEtcd
from toolbox.waiting import until

from svcdns.config.sections import Config, DnsConfig, ServicesConfig
from svcdns.etcd.messages import Compare, Delete, Get, Outcome, Put
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, EVENT, NAMESPACE, POD, SERVICE, Kind
from svcdns.registry import events, unfinished_deletions
from svcdns.registry.dns_rows import SERIAL
from svcdns.registry.registry import Registry
from svcdns.registry.replicated.layout import Disagreement
from svcdns.registry.requests import DeleteOptions, Event, Selection
from svcdns.store.environment import open_store


async def test_what_one_replica_takes_both_show_alike(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(headless("web"))
        await b.create(pod("web-1", "10.1.0.1", ready=True))
        await a.create(pod("web-2", "10.1.0.2", ready=True))
        await b.create(without_selector("db"))
        await a.create(endpoints("db", "10.9.0.1"))
        await b.create(endpoint_slice("db-own", "db", "10.9.0.2"))
        await b.registry.delete(POD, "default", "web-1", DeleteOptions())
        await assert_alike(a, b)
        apex = a.registry.settings.names.apex
        assert a.rows()[apex] == b.rows()[apex], "the serial of a zone that both have seen to change"
        assert b.names(POD) == ["web-2"]
        assert any(b"\x0a\x01\x00\x02" in row for row in b.rows().values())


async def test_a_write_is_shown_by_who_took_it_when_it_is_answered(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b"):
        for number in range(10):
            made = await a.create(service(f"s{number}"))
            assert a.get(SERVICE, f"s{number}") == made


async def test_services_created_at_once_have_addresses_of_their_own(replicas: Replicas) -> None:
    config = config_of("10.96.0.0/27")
    async with replicas.replica("a", config) as a, replicas.replica("b", config) as b:
        made = await asyncio.gather(
            *(one.create(service(f"s{n}", type="NodePort")) for n, one in enumerate([a, b] * 15)),
            return_exceptions=True,
        )
        await assert_alike(a, b)
        given = [one["spec"]["clusterIP"] for one in made if isinstance(one, dict)]
        ports = [one["spec"]["ports"][0]["nodePort"] for one in made if isinstance(one, dict)]
        refused = [one for one in made if isinstance(one, StatusError)]
        assert len(given) == len(set(given)) == 30 == len(set(ports))
        assert refused == []
        with pytest.raises(StatusError, match="full"):
            await a.create(service("one-more"))


def config_of(*ranges: str) -> Config:
    """Return a configuration with these ranges of cluster IPs."""
    return Config(services=ServicesConfig(cluster_ip_ranges=tuple(map(ip_network, ranges))))


async def test_of_two_who_ask_for_one_address_one_gets_it(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        asked = (one.create(service(f"s{n}", clusterIP="10.96.0.77")) for n, one in enumerate([a, b]))
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in found].count(StatusError) == 1
        refused = next(one for one in found if isinstance(one, StatusError))
        assert refused.code == 422 and "already allocated" in refused.message


async def test_of_two_who_replace_what_they_have_seen_one_is_refused(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        seen = await a.create(service("web"))
        await b.shows_what(a)
        changed = [{**seen, "metadata": {**seen["metadata"], "labels": {"by": by}}} for by in "ab"]
        found = await asyncio.gather(a.replace(changed[0]), b.replace(changed[1]), return_exceptions=True)
        refused = [one for one in found if isinstance(one, StatusError)]
        assert [one.code for one in refused] == [409]
        await assert_alike(a, b)
        taken = next(one for one in found if isinstance(one, dict))
        assert a.get(SERVICE, "web") == taken


async def test_patches_of_one_object_at_both_replicas_are_all_kept(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(service("web"))
        await b.shows_what(a)
        await asyncio.gather(
            *(
                one.patch(SERVICE, "web", {"metadata": {"labels": {f"n{n}": "y"}}})
                for n, one in enumerate([a, b] * 10)
            )
        )
        await assert_alike(a, b)
        assert set(a.get(SERVICE, "web")["metadata"]["labels"]) == {f"n{n}" for n in range(20)}


async def test_nothing_is_created_in_a_namespace_that_another_replica_deletes(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(namespace("shop"))
        await b.shows_what(a)
        pods = [
            {**pod(f"p{n}", f"10.1.0.{n}"), "metadata": {"name": f"p{n}", "namespace": "shop"}}
            for n in range(40)
        ]

        async def create_all() -> list[object]:
            return list(await asyncio.gather(*map(b.create, pods), return_exceptions=True))

        found, _ = await asyncio.gather(
            create_all(), a.registry.delete(NAMESPACE, "", "shop", DeleteOptions())
        )
        await until(lambda: "shop" not in a.names(NAMESPACE), "the namespace to be gone")
        await assert_alike(a, b)
        assert a.names(POD) == []
        assert {one.code for one in found if isinstance(one, StatusError)} <= {403, 404}


class Held(Patient):
    """A client whose transactions that delete something wait while they are held."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        super().__init__(endpoints)
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.waits = asyncio.Event()

    async def transaction(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get] = ()
    ) -> Outcome:
        """Wait, and carry it out."""
        if any(isinstance(one, Delete) for one in success):
            self.waits.set()
            await self.may_go.wait()
        return await super().transaction(compares, success, failure)


async def test_finalizers_that_two_replicas_take_away_let_the_namespace_go(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished_deletions, "_TAKE_OVER_SECONDS", 1000.0)  # nobody looks again
    client = Held(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a, replicas.replica("b") as b:
        await a.create(namespace("shop"))
        for name in ("p1", "p2"):
            held = {"name": name, "namespace": "shop", "finalizers": ["example.com/held"]}
            await a.create({**pod(name), "metadata": held})
        await a.registry.delete(NAMESPACE, "", "shop", DeleteOptions())
        await b.shows_what(a)
        assert "shop" in b.names(NAMESPACE)
        await a.create(service("web"))  # behind all that the deletion has begun
        free = {"metadata": {"finalizers": None}}
        client.may_go.clear()
        client.waits.clear()
        first = asyncio.ensure_future(a.patch(POD, "p1", free, "shop"))
        await client.waits.wait()  # decided while the other Pod is there
        await b.patch(POD, "p2", free, "shop")
        client.may_go.set()
        await first
        await until(lambda: "shop" not in a.names(NAMESPACE), "the namespace to be gone")
        await assert_alike(a, b)


async def test_a_namespace_of_more_than_a_transaction_is_emptied(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(namespace("shop"))
        many = [
            {**service(f"s{n}", type="NodePort"), "metadata": {"name": f"s{n}", "namespace": "shop"}}
            for n in range(150)
        ]
        await asyncio.gather(*map(a.create, many))
        await b.registry.delete(NAMESPACE, "", "shop", DeleteOptions())
        await until(lambda: "shop" not in b.names(NAMESPACE), "the namespace to be gone")
        await assert_alike(a, b)
        assert a.names(SERVICE) == []


async def test_a_collection_of_more_than_a_transaction_is_deleted(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await asyncio.gather(*(a.create(pod(f"p{n}", f"10.1.0.{n}")) for n in range(150)))
        gone = await a.registry.delete_collection(POD, "default", Selection(), DeleteOptions())
        assert len(gone.items) == 150
        await assert_alike(a, b)
        assert b.names(POD) == []


async def test_a_service_has_as_many_node_ports_as_a_transaction_holds(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        for count in (123, 124):
            ports = [{"name": f"p{number}", "port": number + 1} for number in range(count)]
            many = service(f"s{count}", type="NodePort", ports=ports)
            if count == 123:
                await a.create(many)
                continue
            with pytest.raises(StatusError) as refused:
                await a.create(many)
            assert refused.value.code == 413
        assert a.names(SERVICE) == ["s123"]


async def test_a_pods_grace_period_ends_though_the_replica_that_began_it_is_gone(replicas: Replicas) -> None:
    async with replicas.replica("b") as b:
        async with replicas.replica("a") as a:
            await a.create(pod("web-1"))
            await a.registry.delete(POD, "default", "web-1", DeleteOptions(grace_period_seconds=1))
            assert a.names(POD) == ["web-1"]
        await until(lambda: b.names(POD) == [], "the Pod to be gone")


async def test_every_change_that_a_watcher_sees_has_a_resource_version_of_its_own(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(service("web"))
        await a.create(service("too", selector={"app": "web"}))
        began = a.revision
        await asyncio.gather(*(a.create(pod(f"p{n}", f"10.1.0.{n}", ready=True)) for n in range(40)))
        await a.create(pod("last", app="none"))
        await a.create(endpoint_slice("last", "none"))
        for kind in (POD, ENDPOINTSLICE):
            seen = [await changes(one, kind, began) for one in (a, b)]
            versions = [event.revision for event in seen[0]]
            assert versions == sorted(set(versions)), "whoever goes on from one of them would miss another"
            assert seen[0] == seen[1]
            assert len(versions) > (40 if kind is POD else 2)


async def changes(replica: Replica, kind: Kind, after: int) -> list[Event]:
    """Return what a watcher sees of a kind, up to the object `last`."""
    found: list[Event] = []
    async for batch in replica.registry.watch(kind, "", Selection(), after):
        found += batch.events
        if b'"name":"last"' in found[-1].object:
            return found
    raise AssertionError("the watch has ended")


async def test_a_hint_that_lasts_becomes_an_event_at_both(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HOLD_SECONDS", 0.1)
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(service("web"))
        for one in (a, b):
            await until(
                lambda one=one: any("matches no Pod" in event["message"] for event in one.objects(EVENT)),
                "the Event",
            )


async def test_replicas_that_differ_refuse_to_start(replicas: Replicas) -> None:
    async with replicas.replica("a"):
        with pytest.raises(Disagreement, match=r"cluster_domain: cluster\.local in etcd, other\.test here"):
            async with replicas.replica("b", Config(cluster_domain="other.test")):
                pass
        with pytest.raises(Disagreement, match=r"10\.96\.0\.0/12.*10\.7\.0\.0/16"):
            async with replicas.replica("c", config_of("10.7.0.0/16")):
                pass


async def test_members_of_two_etcds_are_refused(replicas: Replicas) -> None:
    with RunningEtcd() as other:
        both = [*replicas.etcd.endpoints, *other.endpoints]
        with pytest.raises(Disagreement, match="members of several etcds"):
            async with replicas.replica("a", client=Patient(both)):
                pass


async def test_two_etcds_that_were_begun_alike_are_refused(replicas: Replicas) -> None:
    """Debian's package begins one of a single member on each host: all of these have the same ids."""
    with RunningEtcd(like=replicas.etcd) as other:
        [one], [another] = replicas.etcd.endpoints, other.endpoints
        for both in ([one, another], [another, one]):
            with pytest.raises(Disagreement, match="has not the registry that the others have"):
                async with replicas.replica("a", client=Patient(both)):
                    pass


async def test_a_member_with_two_names_is_one(replicas: Replicas) -> None:
    [one] = replicas.etcd.endpoints
    async with replicas.replica("a", client=Patient([one, one.replace("127.0.0.1", "localhost")])) as a:
        await a.create(service("web"))


async def test_serials_count_with_the_revisions_of_etcd(replicas: Replicas) -> None:
    async with replicas.replica("a"):
        pass
    layout = json.loads(replicas.etcd.ctl("get", "--print-value-only", f"{replicas.prefix}layout"))
    began = layout["serials_from"] = 1_000
    replicas.etcd.ctl("put", f"{replicas.prefix}layout", json.dumps({**layout, "registry": "other"}))
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        made = await a.create(service("web"))
        await b.shows_what(a)
        expected = began + int(made["metadata"]["resourceVersion"]) // 1_000_000
        assert [serial_of(one) for one in (a, b)] == [expected, expected]
    other = Config(dns=DnsConfig(ttl=7))
    async with replicas.replica("b", other) as b:
        assert expected < serial_of(b) < expected + 100, "its answers were made anew, and no clock was asked"


def serial_of(replica: Replica) -> int:
    """Return the SOA serial of the cluster domain."""
    store, apex = replica.registry.store, replica.registry.settings.names.apex
    with store.read() as txn:
        return int.from_bytes(txn.get(SERIAL + apex, db=store.tables.meta) or b"")


async def test_a_newer_layout_is_refused(replicas: Replicas) -> None:
    replicas.etcd.ctl("put", f"{replicas.prefix}layout", '{"layout": 2, "more": true}')
    with pytest.raises(Disagreement, match="layout 2"):
        async with replicas.replica("a"):
            pass


async def test_a_store_with_a_registry_of_its_own_is_not_taken(replicas: Replicas) -> None:
    store = open_store(replicas.folder / "a", "writer")
    alone = Registry(store, Config())
    await alone.start()
    await Replica(alone).create(service("web"))
    await alone.stop()
    store.close()
    with pytest.raises(Disagreement, match="a registry of its own"):
        async with replicas.replica("a"):
            pass


async def test_a_data_folder_of_a_replica_is_a_registry_of_its_own_without_etcd(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        made = await a.create(service("web"))
        await a.create(pod("web-1", "10.1.0.1", ready=True))
        pods, services, rows = a.objects(POD), a.objects(SERVICE), a.rows_but_apexes()
    store = open_store(replicas.folder / "a", "writer")
    alone = Replica(Registry(store, Config()))
    await alone.registry.start()
    assert (alone.objects(POD), alone.objects(SERVICE), alone.rows_but_apexes()) == (pods, services, rows)
    with pytest.raises(StatusError, match="already allocated"):
        await alone.create(service("taken", clusterIP=made["spec"]["clusterIP"]))
    later = await alone.create(service("db"))
    assert int(later["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    await alone.registry.stop()
    store.close()
    with pytest.raises(Disagreement, match="a registry of its own"):
        async with replicas.replica("a"):
            pass


async def test_a_slice_of_a_client_that_has_the_name_of_a_generated_one_keeps_it(replicas: Replicas) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await a.create(service("web"))
        await a.create(pod("web-1", "10.1.0.1", ready=True))
        await a.create(endpoint_slice("own", "web", "10.8.0.1"))
        key = f"{replicas.prefix}objects/EndpointSlice/default/"
        own = json.loads(replicas.etcd.ctl("get", "--print-value-only", f"{key}own"))
        name = next(name for name in a.names(ENDPOINTSLICE) if name.startswith("web-"))
        own["metadata"] |= {"name": name, "uid": "6f0a4d5e-3f0c-4d84-9f5b-0f1d5bb7c1a2"}
        replicas.etcd.ctl("put", f"{key}{name}", json.dumps(own))
        for one in (a, b):
            await until(lambda one=one: len(one.names(ENDPOINTSLICE)) == 3, "the other name")
            assert one.get(ENDPOINTSLICE, name)["endpoints"] == own["endpoints"]
        await assert_same_objects(a, b)
        assert a.rows_but_apexes() == b.rows_but_apexes()
        await b.create(pod("web-2", "10.1.0.2", ready=True))
        await a.shows_what(b)
        assert a.rows_but_apexes() == b.rows_but_apexes()
