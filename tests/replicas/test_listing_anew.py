"""A map that is made of a list at once is the one that taking object after object makes, row for row.

The list is what a random registry would have in etcd: no etcd is needed to take it.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast
from uuid import NAMESPACE_OID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replicas.replicas_harness import kind_of, rows_of
from toolbox.builders import namespace, node
from toolbox.random_objects import NAMESPACES, PODS, SERVICES, any_endpoints, any_pod, any_service, any_slice
from toolbox.registry_harness import started
from toolbox.waiting import run, until

from svcdns.cluster import slice_tree
from svcdns.cluster.endpoints import is_generated
from svcdns.config.sections import Config, DnsConfig, ServicesConfig
from svcdns.etcd import messages as etcd_messages
from svcdns.etcd.client import Etcd, Unavailable
from svcdns.names import row_parts
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, POD, STORED, Kind
from svcdns.registry.answer_tables import bring_up_to_date
from svcdns.registry.dns_rows import SERIAL
from svcdns.registry.replicated import revisions
from svcdns.registry.replicated.applying import Map, read_position
from svcdns.registry.replicated.keys import Keys, Named
from svcdns.registry.replicated.left_out import LeftOut
from svcdns.registry.replicated.listing import Progress, list_into
from svcdns.registry.replicated.listing_anew import ListingAnew
from svcdns.registry.replicated.relisting import Found, Relisting, Untakeable
from svcdns.registry.requests import WriteOptions
from svcdns.registry.settings import Settings, make_settings
from svcdns.registry.transaction import collection_prefix, decode, encode, scan
from svcdns.store.counts import COUNTS
from svcdns.store.environment import Store, open_store

Object = dict[str, Any]
Tables = dict[str, dict[bytes, bytes]]

KEYS = Keys("/svcdns/")
SPACES = [*NAMESPACES, "shop-b"]
"""Keys of etcd and of the store are in another order where one name begins with another."""
REVISION = 1000
"""Of the list."""
PAGE = 7
RANGES = (ip_network("10.96.0.0/24"), ip_network("fd00:96::/120"))
CONFIGS = {
    "plain": DnsConfig(),
    "empty hidden": DnsConfig(ignore_empty_service=True, pods="insecure"),
    "aliases, some not visible": DnsConfig(
        alias_zones=("home.arpa",),
        namespace_labels="dns!=no",
        reverse_zones=("10.in-addr.arpa", "0.10.in-addr.arpa"),
    ),
    "pod names": DnsConfig(endpoint_pod_names=True, namespaces=("default", "shop")),
    "a long domain": DnsConfig(),
}


def config_of(which: str) -> Config:
    domain = ".".join(["x" * 60] * 3) + ".long" if which == "a long domain" else "cluster.local"
    return Config(
        cluster_domain=domain, dns=CONFIGS[which], services=ServicesConfig(cluster_ip_ranges=RANGES)
    )


def any_object(rng: random.Random) -> Object:
    """Return some object as a user writes it."""
    kind = rng.choice(["Service", "Service", "Pod", "Pod", "Pod", "EndpointSlice", "Endpoints", "Node"])
    where = rng.choice(SPACES)
    if kind == "Node":
        return node(rng.choice(["here", "there"]))
    if kind == "Service":
        made = any_service(rng, rng.choice(SERVICES))
        if rng.random() < 0.4:
            made["metadata"]["annotations"]["svcdns.io/when-none-ready"] = rng.choice(["all", "last"])
        if made["spec"].get("ports") and rng.random() < 0.3 and "clusterIP" not in made["spec"]:
            made["spec"]["type"] = rng.choice(["NodePort", "LoadBalancer"])
        if rng.random() < 0.2 and made["spec"].get("type") != "ExternalName":
            made["spec"]["trafficDistribution"] = "PreferSameNode"
        made |= {"apiVersion": "v1"}
    elif kind == "Pod":
        made = {"apiVersion": "v1", **any_pod(rng, rng.choice([*PODS, "p5", "p6", "p7"]))}
        if rng.random() < 0.5:
            made["spec"]["nodeName"] = rng.choice(["here", "there"])
        if made["spec"]["containers"] and rng.random() < 0.2:
            made["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 80}}
        if rng.random() < 0.2:
            owner = {"apiVersion": "v1", "kind": "Service", "name": rng.choice(SERVICES)}
            made["metadata"]["ownerReferences"] = [owner | {"uid": uid_of("Service", where, owner["name"])}]
    elif kind == "Endpoints":
        made = {"apiVersion": "v1", **any_endpoints(rng, rng.choice(SERVICES))}
    else:
        made = {"apiVersion": "discovery.k8s.io/v1", **any_slice(rng, rng.choice(["s0", "s1"]))}
    made["metadata"]["namespace"] = where
    return made | {"kind": kind}


def uid_of(kind: str, where: str, name: str) -> str:
    return str(uuid5(NAMESPACE_OID, f"{kind}/{where}/{name}"))


async def listed(rng: random.Random, config: Config, objects: int) -> dict[Kind, list[Found]]:
    """Return what etcd would have of a registry into which some objects were written, sorted by keys."""
    with tempfile.TemporaryDirectory() as folder:
        async with started(Path(folder), config) as running:
            registry = running.registry
            spaces = [
                namespace(name) | {"metadata": {"name": name, "labels": {"dns": rng.choice(["yes", "no"])}}}
                for name in SPACES
            ]
            wanted = [*spaces, *(any_object(rng) for _ in range(objects))]
            writes = [
                registry.create(kind, obj["metadata"].get("namespace", ""), obj, WriteOptions())
                for obj in wanted
                for kind in [kind_of(obj)]
            ]
            for outcome in await asyncio.gather(*writes, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    assert isinstance(outcome, StatusError), outcome
                    assert outcome.code in (403, 404, 409, 422), outcome
            with registry.store.read() as txn:
                return {
                    kind: sorted(_found(rng, registry.store, txn, kind), key=lambda one: KEYS.object(*one[0]))
                    for kind in STORED
                }


def _found(rng: random.Random, store: Store, txn: Any, kind: Kind) -> Iterator[Found]:
    """Yield the objects of a kind, written at any time, by anybody; what follows from others is not there."""
    for key, octets in scan(txn, store.tables.objects, collection_prefix(kind)):
        _, where, name = key.decode().split("\0")
        obj = decode(octets)
        if kind is ENDPOINTSLICE and is_generated(obj):
            continue
        metadata = obj["metadata"]
        metadata["uid"] = uid_of(kind.name, where, name)
        metadata["creationTimestamp"] = f"2026-01-01T00:00:0{rng.randrange(3)}Z"
        metadata["resourceVersion"] = str(rng.randrange(4) * revisions.STEP)
        yield Named(kind, where, name), encode(obj), rng.randint(2, REVISION)


@contextmanager
def a_map(config: Config) -> Iterator[Map]:
    """Give a map of a new replica."""
    with tempfile.TemporaryDirectory() as folder, closing(open_store(Path(folder), "writer")) as store:
        of: Settings = make_settings(config)
        bring_up_to_date(store, of)
        yield Map(store, of, KEYS, "a registry", 1_700_000_000, LeftOut())


def take(how: type[Relisting] | type[ListingAnew], of: Map, found: dict[Kind, list[Found]]) -> set[Named]:
    """Take a list; return what had to be left out."""
    left_out: set[Named] = set()
    while True:
        taking = how(of, REVISION, (REVISION, b"the last one"), left_out)
        try:
            for kind in taking.ORDER:
                for begin in range(0, len(found[kind]), PAGE):
                    taking.take(found[kind][begin : begin + PAGE])
            while taking.step():
                pass
            taking.finish()
            return left_out
        except Untakeable as wrong:
            taking.abort()
            left_out.add(wrong.named)


def rows(of: Map) -> Tables:
    """Return all rows of a map but what tells how it came to be.

    That are the serials, and of slices that follow from others how often they have changed and when.
    """
    found: Tables = {}
    with of.store.read() as txn:
        for name, table in of.store.tables.by_name().items():
            with txn.cursor(db=table) as cursor:
                found[name] = {bytes(key): bytes(value) for key, value in cursor}
        position = read_position(txn, of.store)
    assert position is not None
    assert position.revision == REVISION
    apexes = {of.settings.names.apex, *(key for _, key in of.settings.reverse_zones)}
    answers = rows_of(of.store)
    found["answers_a"] = {key: row for key, row in answers.items() if key not in apexes}
    found["meta"] = {k: v for k, v in found["meta"].items() if k != COUNTS and not k.startswith(SERIAL)}
    found["objects"] = {key: _comparable(octets) for key, octets in found["objects"].items()}
    return found


def _comparable(octets: bytes) -> bytes:
    obj = decode(octets)
    if obj["kind"] == "EndpointSlice" and is_generated(obj):
        kept = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "generation")}
        return encode({**obj, "metadata": kept})
    return octets


async def both_ways(config: Config, found: dict[Kind, list[Found]]) -> set[Named]:
    """Take a list at once and one by one; return what was left out."""
    with a_map(config) as one_by_one, a_map(config) as at_once:
        left_out = take(Relisting, one_by_one, found)
        assert take(ListingAnew, at_once, found) == left_out
        expected, made = rows(one_by_one), rows(at_once)
        for table, standing in expected.items():
            assert made[table] == standing, table
        at_once.store.check()
        again = take(ListingAnew, at_once, found)  # as after other rules: nothing of before is left
        assert again == left_out
        assert rows(at_once) == made
    return left_out


@pytest.fixture(params=[False, True], ids=["", "small slices and parts"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have slices halved and rows kept in parts, which else takes hundreds of endpoints."""
    if request.param:
        for module, name, most in ((slice_tree, "MOST", 2), (row_parts, "WHOLE", 2), (row_parts, "LEAF", 1)):
            monkeypatch.setattr(module, name, most)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("which", CONFIGS)
def test_a_list_taken_at_once_makes_the_map_that_one_by_one_makes(which: str) -> None:
    @given(st.integers(0, 1 << 32), st.integers(0, 80))
    @settings(max_examples=6)
    def check(seed: int, objects: int) -> None:
        async def compare() -> None:
            rng = random.Random(seed)
            assert not await both_ways(config_of(which), await listed(rng, config_of(which), objects))

        run(compare())

    check()


def by_hand(name: str, kind: str = "Pod", **fields: Any) -> tuple[Kind, Found]:
    """Return an object as somebody wrote it into etcd who looked at others."""
    metadata = {"namespace": "default", "name": name, "uid": "u", "labels": {"app": "x"}}
    metadata |= {"creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "5000"}
    obj = {"apiVersion": "v1", "kind": kind, "metadata": metadata | fields.pop("metadata", {}), **fields}
    of = kind_of(obj)
    return of, (Named(of, "default", name), encode(obj), 7)


ADDRESS = {"podIP": "10.0.0.9"}
BY_HAND = {
    "not JSON": (POD, (Named(POD, "default", "x"), b"{", 7)),
    "of another name": (POD, (Named(POD, "default", "x"), by_hand("y")[1][1], 7)),
    "no address": by_hand("x", status={"podIP": "nowhere"}),
    "no conditions": by_hand("x", status=ADDRESS | {"conditions": ["x"]}),
    "no labels": by_hand("x", metadata={"labels": 5}),
    "no place": by_hand("x", metadata={"resourceVersion": "9" * 30}),
    "no number": by_hand("x", metadata={"resourceVersion": "9" * 5000}),
    "no Service's ports": by_hand("a", "Service", spec={"ports": 5, "selector": {"app": "x"}}),
    "no Endpoints": by_hand("c", "Endpoints", subsets=7),
}


@pytest.mark.parametrize("what", BY_HAND)
async def test_what_nothing_can_be_made_of_is_left_out_alike(what: str) -> None:
    config = config_of("plain")
    found = await listed(random.Random(1), config, 40)
    for kind, good in (
        by_hand("a", "Service", spec={"selector": {"app": "x"}, "clusterIP": "None", "ipFamilies": ["IPv4"]}),
        by_hand("c", "Service", spec={"clusterIP": "None", "ipFamilies": ["IPv4"]}),
        by_hand("good", status=ADDRESS),
        BY_HAND[what],
    ):
        found[kind] = sorted(
            [good, *(one for one in found[kind] if one[0] != good[0])], key=lambda one: KEYS.object(*one[0])
        )
    left_out = await both_ways(config, found)
    assert left_out <= {BY_HAND[what][1][0]}


async def test_a_list_that_was_cut_off_leaves_the_map_as_it_was() -> None:
    config = config_of("plain")
    first, second = [await listed(random.Random(seed), config, 40) for seed in (1, 2)]
    with a_map(config) as one, a_map(config) as other:
        take(ListingAnew, one, first)
        before = rows(one)
        cut = ListingAnew(one, REVISION, (REVISION, b"another"), set())
        for kind in cut.ORDER:
            cut.take(second[kind])
        assert cut.step()
        cut.abort()
        assert rows(one) == before
        take(ListingAnew, one, second)
        take(ListingAnew, other, second)
        assert rows(one) == rows(other)


class Slow:
    """A client of etcd that has two pages of Pods, and may lose the second."""

    def __init__(self, lost: Exception | None = None) -> None:
        self.second = asyncio.Event()
        self._lost = lost

    async def range(self, key: bytes, *_: Any, limit: int = 0, **__: Any) -> etcd_messages.Found:
        """Return a page."""
        if limit == 1:
            return etcd_messages.Found((), 1, False, 3)
        if not key.startswith(KEYS.of_kind(POD)):
            return etcd_messages.Found((), 1, False, 0)
        if is_second := not key.endswith(b"/"):
            await self.second.wait()
            if self._lost is not None:
                raise self._lost
        named = [KEYS.object(POD, "default", name) for name in (["p3"] if is_second else ["p1", "p2"])]
        kvs = tuple(etcd_messages.KeyValue(name, b"{}", 1, 1, 1, 0) for name in named)
        return etcd_messages.Found(kvs, 1, not is_second, 3)


class Taker:
    """Notes what it is given."""

    ORDER = (NAMESPACE, POD)

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.steps = 2

    def take(self, found: Iterable[Found]) -> None:
        """Take a page."""
        self.taken += [named.name for named, _, _ in found if named is not None]

    def take_cascades(self, found: Iterable[tuple[str, bytes]]) -> None:
        """There are none."""
        assert not [*found]

    def step(self) -> bool:
        """Count down."""
        self.steps -= 1
        return self.steps >= 0


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


async def test_it_is_said_how_far_a_list_is_and_one_page_is_taken_while_the_next_is_fetched() -> None:
    etcd, taker, progress = Slow(), Taker(), Progress()
    task = asyncio.create_task(list_into(taker, cast(Etcd, etcd), KEYS, 1, in_thread, progress))
    await until(lambda: taker.taken == ["p1", "p2"], "the first page to be taken")
    assert "2 of 3 objects so far" in progress.text
    etcd.second.set()
    await task
    assert taker.taken == ["p1", "p2", "p3"]
    assert "all 3 objects are listed, 2 parts" in progress.text
    progress.end()
    assert not progress.text


async def test_an_etcd_that_goes_away_ends_a_list_behind_what_is_being_taken() -> None:
    etcd, taker = Slow(Unavailable("away")), Taker()
    etcd.second.set()
    with pytest.raises(Unavailable):
        await list_into(taker, cast(Etcd, etcd), KEYS, 1, in_thread, Progress())
    assert taker.taken == ["p1", "p2"]
    assert taker.steps == 2
