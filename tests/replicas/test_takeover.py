"""The work of a replica that dies is the others' within ten seconds of its last sign."""

import logging
import time

from replicas.replicas_harness import Killed, Replica, Replicas
from toolbox.waiting import until

from svcdns.registry.replicated.following import LOOK_SECONDS
from svcdns.registry.replicated.naming import LEASE_SECONDS
from svcdns.server.prober import DIVIDE_SECONDS

ELECTION_SECONDS = 2.0
"""Twice etcd's --election-timeout: its leader may have died too, and leases begin anew with the next one."""
LESSOR_SECONDS = 0.5
"""Between two looks of etcd for leases that have ended (lessor.go)."""
PODS = [f"web-{number}" for number in range(100)]

logger = logging.getLogger(__name__)


def test_all_that_a_takeover_waits_for_ends_within_ten_seconds() -> None:
    until_gone = ELECTION_SECONDS + LEASE_SECONDS + LESSOR_SECONDS
    until_taken = LOOK_SECONDS + DIVIDE_SECONDS  # a watch that has to go on elsewhere, and the prober's look
    assert until_gone + until_taken < 10


def owned(replica: Replica) -> set[str]:
    return {name for name in PODS if replica.registry.work.is_own("Pod", "default", name)}


async def test_what_a_killed_replica_did_another_one_does(replicas: Replicas) -> None:
    changed: list[float] = []
    async with replicas.replica("b") as b:
        async with replicas.replica("a", client=Killed(replicas.etcd.endpoints)) as a:
            await until(lambda: owned(a) | owned(b) == set(PODS) and owned(a), "the work to be divided")
            b.registry.work.tell(lambda: changed.append(time.monotonic()))
            died = time.monotonic()
        await until(lambda: owned(b) == set(PODS), "all to be taken over")
        assert changed, "who probes and waits for heartbeats is told"
        logger.info("taken over %.1f s after the last sign", changed[0] - died)
