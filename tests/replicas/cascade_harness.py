"""Owners with more dependents than a transaction of etcd holds, and replicas that die in the middle."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from replicas.replicas_harness import Killed, Object, Replica, Replicas, know_each_other
from toolbox.builders import lease, pod, service
from toolbox.waiting import until

from svcdns.etcd.client import Unavailable
from svcdns.etcd.messages import Compare, Delete, Get, Outcome, Put
from svcdns.objects.kinds import LEASE, POD, Kind
from svcdns.registry.requests import DeleteOptions

MANY = 300
HELD = ["example.org/hold"]
Operations = Sequence[Put | Delete | Get]


def _is_of_step(one: Put | Delete | Get) -> bool:
    return isinstance(one, Delete) or (isinstance(one, Put) and b'"ownerReferences"' not in one.value)


class Steps(Killed):
    """A client whose deletions stop behind the first transaction that deletes, until they may go on."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        super().__init__(endpoints)
        self.begun = 0
        """Transactions that delete objects, or change what owns them."""
        self.stops = False
        self.may = asyncio.Event()
        self.away = 0
        """So many of these find etcd away."""

    async def transaction(
        self, compares: Sequence[Compare], success: Operations, failure: Sequence[Get] = ()
    ) -> Outcome:
        """Carry it out when it may be."""
        is_step = len([one for one in success if b"/objects/Pod/" in one.key and _is_of_step(one)]) > 1
        self.begun += is_step
        if is_step and self.begun > 1:
            if self.stops:
                await self.may.wait()
            if self.away:
                self.away -= 1
                raise Unavailable("as the test wants it")
        return await super().transaction(compares, success, failure)


def owned_by(owner: Object, obj: Object, **more: Any) -> Object:
    """Return an object as a dependent of another one."""
    named = {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **named, **more}
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}


def web_pod(number: int, owner: Object, **more: Any) -> Object:
    """Return a Pod of the Service `web` that an owner owns."""
    made = pod(f"web-{number:03}", f"10.1.{number // 250}.{number % 250}", ready=True, labels={"app": "web"})
    return owned_by(owner, made, **more)


async def own(replica: Replica, count: int = MANY) -> str:
    """Create an owner with so many Pods that block its deletion; return its name.

    To see to them is this replica's work.  A headless Service answers with them.
    """
    await replica.create(service("web", clusterIP="None"))
    for number in range(100):
        owner = await replica.create(lease(f"owner-{number}"))
        if replica.registry.work.is_own("cascade", "", owner["metadata"]["uid"]):
            owned = [web_pod(one, owner, blockOwnerDeletion=True) for one in range(count)]
            await asyncio.gather(*map(replica.create, owned))
            return str(owner["metadata"]["name"])
        await replica.registry.delete(LEASE, "default", owner["metadata"]["name"], DeleteOptions())
    raise AssertionError("no work is this replica's")


async def delete(
    replica: Replica, name: str, propagation: str = "", kind: Kind = LEASE, **more: Any
) -> Object:
    """Delete an object; return what is answered."""
    options = DeleteOptions(propagation=propagation, **more)
    place = "default" if kind.namespaced else ""
    written = await replica.registry.delete(kind, place, name, options)
    return dict(msgspec.json.decode(written.object))


def without_owner(replica: Replica) -> list[str]:
    return [
        one["metadata"]["name"] for one in replica.objects(POD) if "ownerReferences" not in one["metadata"]
    ]


async def has_gone(replica: Replica, kind: Kind = POD) -> None:
    """Wait until nothing of a kind is left."""
    await until(lambda: not replica.names(kind), f"the last {kind.plural} to go")


def addresses(replica: Replica) -> int:
    """Return how many A records the Service `web` answers with: rows of endpoints, as DNS reads them."""
    with replica.registry.store.read() as txn:
        return int(txn.stat(db=replica.registry.store.tables.endpoints)["entries"])


@asynccontextmanager
async def both(replicas: Replicas) -> AsyncIterator[tuple[Replica, Replica, Steps, str]]:
    """Give two replicas, the client of the first, whose deletions stop, and the name of an owner."""
    async with stopped(replicas, "a") as (a, client), replicas.replica("b") as b:
        await know_each_other(a, b)
        yield a, b, client, await begun_anew(client, own(a))


async def begun_anew(client: Steps, work: Coroutine[Any, Any, str]) -> str:
    """Prepare something before deletions stop."""
    client.stops = False
    name = await work
    client.stops, client.begun = True, 0
    return name


@asynccontextmanager
async def stopped(replicas: Replicas, name: str) -> AsyncIterator[tuple[Replica, Steps]]:
    """Give a replica whose deletions stop behind their first transaction, and its client.

    Where they may not go on before the end, they never do.
    """
    client = Steps(replicas.etcd.endpoints)
    client.stops = True
    async with replicas.replica(name, client=client) as replica:
        yield replica, client
        if not client.may.is_set():  # it dies
            client.away = MANY
            client.may.set()
