"""Whatever befalls members of etcd and replicas: nothing acknowledged is lost, no address is given twice.

Three members and three replicas, each on a host of its own, clients that write all the time, and a witness
at each replica that asks for names that are there all the time.  Afterwards the checker looks at all that
was done, the replicas are compared row for row, and each question has had its right answer.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from replicas import site_faults
from replicas.checker import check
from replicas.etcd_log import BY_ITSELF, SPAN, EtcdLog, mark_of
from replicas.history import History, Operation, Outcome
from replicas.replicas_harness import comparable, rows_of
from replicas.site import PREFIX, ReplicaHost, Site
from replicas.site_clients import (
    JSON,
    PODS,
    SERVICES,
    SHARED,
    SPACE,
    TURNING,
    Session,
    fqdn,
    leads_to,
    new_mark,
)
from replicas.site_removal import LEASES, NAMESPACES, Remover
from replicas.site_watcher import watching
from replicas.site_witness import witnessed
from replicas.site_work import working
from toolbox.builders import headless, namespace, pod, service
from toolbox.waiting import wait_for
from toolbox.witness import address, there

from svcdns.config.sections import Config
from svcdns.registry.settings import make_settings
from svcdns.store.environment import open_store

CLIENTS = 6
RECOVERY_SECONDS = 120.0
"""Against hanging only."""
LISTS = ("/api/v1/services", "/api/v1/pods", "/api/v1/namespaces", "/apis/discovery.k8s.io/v1/endpointslices")
SOAK_FAULTS = int(os.environ.get("SVCDNS_TEST_FAULTS", "150"))
"""How many the long run has."""


@pytest.fixture
def site(tmp_path: Path, may_change_rules: None, need: Callable[..., str]) -> Iterator[Site]:
    """Give a site that runs."""
    for program in ("etcd", "etcdctl"):
        need(program)
    with Site(tmp_path, need("gcc")) as made:
        yield made


@pytest.fixture
def seed() -> str:
    """Give what decides on the order of faults and on what clients do."""
    return os.environ["SVCDNS_TEST_SEED"]


class FaultRun:
    """One run: what is done, and what is found."""

    def __init__(self, site: Site, log: EtcdLog, seed: str, clients: int) -> None:
        self.site, self.log, self.seed, self.clients = site, log, seed, clients
        self.history = History()
        self.session = Session(self.history, site.replicas)
        self.chance = random.Random(seed)
        self.faults = 0
        self.longest = 0.0
        """Until all replicas took writes again, after the worst of them."""
        self.questions = self.told = 0

    def run(self, faults: Sequence[site_faults.Fault], longest: float) -> list[str]:
        """Have all faults happen, one after the other, for up to `longest` seconds; return what is wrong."""
        wanted = self._prepare()
        with (
            witnessed(self.site, wanted, self.history) as witnesses,
            watching(self.site.replicas, self.seed) as watcher,
            working(self.history, self.site.replicas, self.clients, self.seed) as clients,
        ):
            for fault in faults:
                began = time.monotonic()
                most = longest if self.chance.random() < 0.94 else 3 * longest
                lasts = self.chance.uniform(0.3, self.chance.uniform(1.0, most))
                with fault(self.site, self.log, self.chance):
                    time.sleep(lasts)
                healed = time.monotonic()
                self._recovered()
                self.longest = max(self.longest, time.monotonic() - healed)
                self.faults += 1
                print(f"{fault.__name__}: {time.monotonic() - began:.1f} s", flush=True)
        self.questions = sum(witness.questions for witness in witnesses)
        found = [one for witness in witnesses for one in witness.faults]
        found += [f"witness: {witness.failure!r}" for witness in witnesses if witness.failure]
        found += [line for replica in self.site.replicas for line in _failures(replica)]
        found += [one for client in clients for one in client.session.faults] + self.session.faults
        deleted = {one for client in clients if isinstance(client, Remover) for one in client.deleted}
        found += self._over(deleted)
        found += self._compared()
        self.told = sum(len(part.told) for part in watcher.parts)
        found += [f"watch: {watcher.failure!r}"] if watcher.failure else []
        return found + [fault for part in watcher.parts for fault in part.faults(self.history.changes)]

    def _prepare(self) -> dict[str, Any]:
        """Have what is there all the time; return what the witnesses are to be told."""
        at = self.site.replicas[0]
        with at.entered():
            calls = at.calls()
            calls.done("POST", "/api/v1/namespaces", namespace(SPACE))
            for name in SHARED:
                self._create(SERVICES, service(name))
            mark = new_mark()
            self._create(SERVICES, service(TURNING, **leads_to(mark)), mark)
            made = self._create(SERVICES, service("always"))
            self._create(SERVICES, headless("always-pods"))
            self._create(PODS, pod("always", "10.200.0.1", "always-pods", ready=True))
        wanted = {
            fqdn("always"): there(address(made["spec"]["clusterIP"])),
            fqdn("always-pods"): there(address("10.200.0.1")),
        }
        for replica in self.site.replicas:
            with replica.entered():
                for name, answer in wanted.items():
                    wait_for(lambda name=name, answer=answer, replica=replica: replica.ask(name) == answer)
        return wanted

    def _create(self, path: str, made: dict[str, Any], mark: str = "") -> dict[str, Any]:
        name = f"{made['kind']}/{SPACE}/{made['metadata']['name']}"
        at = self.site.replicas[0]
        operation, answer = self.session.write(at, "POST", path, name, made, content_type=JSON, mark=mark)
        assert operation.outcome is Outcome.DONE, answer
        return dict(answer)

    def _recovered(self) -> None:
        """Wait until each replica takes writes again."""
        for replica in self.site.replicas:
            wait_for(
                lambda replica=replica: self._writes(replica),
                f"{replica.short} to take writes",
                RECOVERY_SECONDS,
            )

    def _writes(self, at: ReplicaHost) -> bool:
        name = self.chance.choice(SHARED)
        change = {"metadata": {"labels": {"recovered": at.short}}}
        with at.entered():
            operation, _ = self.session.write(
                at, "PATCH", f"{SERVICES}/{name}", f"Service/{SPACE}/{name}", change
            )
        return operation.outcome is Outcome.DONE

    def _over(self, deleted: set[str]) -> list[str]:
        """Wait until no deletion is under way; return what is still there of what was deleted."""
        at = self.site.replicas[0]
        with at.entered():
            calls = at.calls()

            def standing() -> set[str] | None:
                found = [
                    one["metadata"]
                    for path in (NAMESPACES, LEASES)
                    for one in calls.done("GET", path)["items"]
                ]
                under_way = [one for one in found if "deletionTimestamp" in one and not one.get("finalizers")]
                return {one["name"] for one in found} if not under_way else None

            there = wait_for(standing, "all deletions to come to an end")
        assert there is not None
        return [f"deleted: {name} is there, its deletion was acknowledged" for name in there & deleted]

    def _compared(self) -> list[str]:
        """Return how the replicas differ in the end, and what the checker says."""
        shown = [self._shown(replica) for replica in self.site.replicas]
        newest = max(revision for _, revision in shown)
        for number, replica in enumerate(self.site.replicas):
            wait_for(
                lambda replica=replica: self._shown(replica)[1] >= newest, f"{replica.short} to catch up"
            )
            shown[number] = self._shown(replica)
        self.log.comes_to(newest)
        self._note_what_etcd_says()
        for replica, (objects, _) in zip(self.site.replicas, shown, strict=True):
            self.history.final[replica.short] = {
                f"{kind}/{one['metadata']['namespace']}/{one['metadata']['name']}": mark_of(one)
                for kind in ("Service", "Pod")
                for one in objects[kind]
            }
        found = check(self.history)
        rows = [_rows(replica) for replica in self.site.replicas]
        for replica, (objects, _), its_rows in zip(self.site.replicas, shown, rows, strict=True):
            if objects != shown[0][0]:
                found.append(f"alike: {replica.short} shows other objects than r1")
            found += [
                f"alike: {replica.short} has another row {key!r} than r1"
                for key in its_rows.keys() | rows[0].keys()
                if its_rows.get(key) != rows[0].get(key)
            ]
        return found

    def _note_what_etcd_says(self) -> None:
        """Have the history hold it, and what svcdns does by itself: it empties namespaces, for instance."""
        history, log = self.history, self.log
        history.changes, history.allocations = list(log.changes), list(log.allocations)
        history.spaces, history.owned = list(log.spaces), list(log.owned)
        ended = {space.name for space in history.spaces if not space.is_open}
        clients = {one.name for one in history.operations if not one.is_read}
        for change in history.changes:
            if change.mark is None and change.name.split("/")[1] in ended:
                history.operations.append(Operation("svcdns", change.name))
            elif change.mark is not None and change.mark.startswith(BY_ITSELF) and change.name not in clients:
                history.operations.append(Operation("svcdns", change.name, change.mark))

    def _shown(self, replica: ReplicaHost) -> tuple[dict[str, list[Any]], int]:
        """Return all objects that a replica shows, and the revision of etcd up to which."""
        found: dict[str, list[Any]] = {}
        revisions = []
        with replica.entered():
            calls = replica.calls()
            for path in LISTS:
                answer = calls.done("GET", path)
                kind = answer["kind"].removesuffix("List")
                found[kind] = [{"kind": kind, **item} for item in answer["items"]]
                revisions.append(int(answer["metadata"]["resourceVersion"]) // SPAN)
        return comparable(found), min(revisions)


def _failures(replica: ReplicaHost) -> list[str]:
    """Return what a replica has logged that must never be, whatever befalls it."""
    lines = replica.server.log().splitlines()
    return [f"log of {replica.short}: {line}" for line in lines if "CRITICAL" in line or "Traceback" in line]


def _rows(replica: ReplicaHost) -> dict[bytes, bytes]:
    """Return all rows of a replica but those with the SOA."""
    store = open_store(replica.server.data, "reader")
    try:
        settings = make_settings(Config())
        apexes = {settings.names.apex, *(key for _, key in settings.reverse_zones)}
        return {key: row for key, row in rows_of(store).items() if key not in apexes}
    finally:
        store.close()


def _some(found: list[str]) -> list[str]:
    """Return the first of what is wrong by each rule."""
    by_rule = groupby(sorted(found, key=_rule), key=_rule)
    return [fault for _, faults in by_rule for fault in list(faults)[:6]]


def _rule(fault: str) -> str:
    return fault.partition(": ")[0]


def run(
    site: Site,
    faults: Sequence[site_faults.Fault],
    seed: str,
    longest: float = 1.2,
    clients: int = CLIENTS,
) -> None:
    """Have faults happen, say what was done, and assert that nothing is wrong."""
    with EtcdLog(site.etcd, site.switch, PREFIX) as log:
        of = FaultRun(site, log, seed, clients)
        found = of.run(faults, longest)
    known = {outcome.name: of.history.count(outcome) for outcome in Outcome}
    print(f"{of.faults} faults, writes {known}, {of.questions} questions, {of.told} changes told to a watch")
    deleted = {space.name for space in of.history.spaces if not space.is_there}
    print(f"{len(of.history.answers)} answers of the name that turns, {len(deleted)} namespaces deleted")
    print(f"all took writes again {of.longest:.1f} s after the worst of them, at most")
    assert not found, "\n".join([f"{len(found)} in all", *_some(found)])
    assert known["DONE"] > 10 * of.faults and of.told > of.faults


def test_nothing_is_lost_whatever_befalls_members_and_replicas(site: Site, seed: str) -> None:
    chance = random.Random(seed)
    faults = [*site_faults.OF_MEMBERS, *site_faults.OF_REPLICAS]
    chance.shuffle(faults)
    run(site, faults, seed)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_nothing_is_lost_in_a_long_run_of_faults(site: Site, seed: str) -> None:
    chance = random.Random(seed)
    faults = []
    while len(faults) < SOAK_FAULTS:
        of_replica, of_members = chance.choice(site_faults.OF_REPLICAS), chance.choice(site_faults.OF_MEMBERS)
        faults.append(chance.choice([of_replica, of_members, site_faults.both(of_replica, of_members)]))
    run(site, faults, seed, longest=6.0, clients=2 * CLIENTS)
