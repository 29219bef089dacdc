"""The Service default/kubernetes leads to the APIs of all replicas that live."""

from replicas.replicas_harness import Killed, Replica, Replicas
from toolbox.waiting import until

from svcdns.config.sections import Config
from svcdns.objects.kinds import ENDPOINTSLICE, SERVICE
from svcdns.registry.registry import Registry
from svcdns.server.own_service import OwnService
from svcdns.store.environment import open_store


def keeper(replica: Replica, number: int) -> OwnService:
    """Return what keeps it for a replica whose API listens at an address and a port of its own."""
    return OwnService(replica.registry, lambda: [f"192.0.2.{number}"], 6440 + number)


def reached(replica: Replica) -> set[tuple[str, int]]:
    """Return to which addresses and ports the Service leads."""
    return {
        (address, one["ports"][0]["port"])
        for one in replica.objects(ENDPOINTSLICE)
        for endpoint in one["endpoints"]
        for address in endpoint["addresses"]
    }


async def test_it_leads_to_all_replicas_that_live(replicas: Replicas) -> None:
    async with replicas.replica("b") as b:
        async with replicas.replica("a", client=Killed(replicas.etcd.endpoints)) as a:
            for one in (a, b):
                await until(lambda one=one: len(one.registry.sharing.living) == 2, "both to be known")
            keepers = [keeper(a, 1), keeper(b, 2)]
            for _ in range(2):
                for one in keepers:
                    await one.repair()
            await a.shows_what(b)
            await b.shows_what(a)
            stands = a.objects(SERVICE), a.objects(ENDPOINTSLICE)
            for one in keepers:
                await one.repair()
            assert (a.objects(SERVICE), a.objects(ENDPOINTSLICE)) == stands, (
                "neither undoes what the other has done"
            )
            assert reached(a) == {("192.0.2.1", 6441), ("192.0.2.2", 6442)}
            assert a.names(SERVICE) == ["kubernetes"]
        await until(lambda: len(b.registry.sharing.living) == 1, "the lease of the other to end")
        await keepers[1].repair()
        assert reached(b) == {("192.0.2.2", 6442)}


async def test_that_of_a_server_on_its_own_goes(replicas: Replicas) -> None:
    store = open_store(replicas.folder / "alone", "writer")
    alone = Registry(store, Config())
    await alone.start()
    await keeper(Replica(alone), 9).repair()
    left = Replica(alone).objects(ENDPOINTSLICE)[0]
    await alone.stop()
    store.close()
    async with replicas.replica("a") as a:
        kept = {key: left["metadata"][key] for key in ("name", "namespace", "labels")}
        await a.create({**left, "metadata": kept})
        await until(lambda: a.registry.work.is_own("Service", "default", "kubernetes"), "its work")
        await keeper(a, 1).repair()
        assert reached(a) == {("192.0.2.1", 6441)}
