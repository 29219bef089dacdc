"""Faults of a site: each is a context manager that brings one about, and heals it at the end of its block."""

import contextlib
import json
import os
import random
import shutil
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from replicas.etcd_log import EtcdLog
from replicas.site import Site
from toolbox.hosts import Host
from toolbox.small_disk import Ballast
from toolbox.stopping import stop
from toolbox.waiting import GUARD_SECONDS, wait_for

DAY = 86_400
SOME_LOST = "numgen random mod 100 < 20 drop"
SOME_RESET = "tcp flags & ack == ack numgen random mod 100 < 10 reject with tcp reset"
Fault = Callable[[Site, EtcdLog, random.Random], AbstractContextManager[None]]


@contextmanager
def member_killed(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Kill a member."""
    member = chance.choice(site.etcd.members)
    member.kill()
    yield
    site.etcd.restart(member)


@contextmanager
def leader_frozen(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Have the leader stand still: it takes connections, and says nothing."""
    leader = site.etcd.leader()
    leader.freeze()
    try:
        yield
    finally:
        leader.signal(signal.SIGCONT)


@contextmanager
def all_members_killed(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Kill all members at once."""
    for member in site.etcd.members:
        member.kill()
    yield
    site.etcd.start()


@contextmanager
def member_replaced(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Kill a member, with all that it stored, and have another one in its place."""
    member = chance.choice(site.etcd.members)
    member.kill()
    yield
    site.etcd.replace(member)


@contextmanager
def member_cut_off(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Cut the leader, or another one, off from the other members, in one direction or both."""
    member = site.etcd.leader() if chance.random() < 0.7 else chance.choice(site.etcd.members)
    assert member.host is not None
    incoming, outgoing = chance.choice([(True, True), (True, False), (False, True)])
    site.cut(member.host, site.etcd.members, incoming=incoming, outgoing=outgoing)
    yield
    site.mend(member.host)


@contextmanager
def member_silent(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Have a member and the replicas lose each other, while it has the other members."""
    member = chance.choice(site.etcd.members)
    assert member.host is not None
    site.cut(member.host, site.replicas, incoming=chance.random() < 0.7, outgoing=True)
    yield
    site.mend(member.host)


@contextmanager
def member_losing_packets(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Have a part of all packets of a member be lost: all takes longer, some too long."""
    with _hindered(site, SOME_LOST, chance, of_replica=False):
        yield


@contextmanager
def member_reset(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Break connections of a member, one after the other."""
    with _hindered(site, SOME_RESET, chance, of_replica=False):
        yield


@contextmanager
def replica_losing_packets(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Have a part of all packets between a replica and etcd be lost."""
    with _hindered(site, SOME_LOST, chance, of_replica=True):
        yield


@contextmanager
def replica_reset(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Break connections between a replica and etcd: of its requests some are lost, of others the answer."""
    with _hindered(site, SOME_RESET, chance, of_replica=True):
        yield


@contextmanager
def _hindered(site: Site, verdict: str, chance: random.Random, *, of_replica: bool) -> Iterator[None]:
    incoming, outgoing = chance.choice([(True, True), (True, False), (False, True)])
    if of_replica:
        host: Host | None = chance.choice(site.replicas)
    else:
        host = chance.choice(site.etcd.members).host
    assert host is not None
    others = [*site.etcd.members, *([] if of_replica else site.replicas)]
    site.cut(host, others, incoming=incoming, outgoing=outgoing, verdict=verdict)
    try:
        yield
    finally:
        site.mend(host)


@contextmanager
def no_space(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Have etcd take nothing that needs room, as when it has used up its quota."""
    alarm = json.dumps({"action": "ACTIVATE", "memberID": "1", "alarm": "NOSPACE"}).encode()
    at = f"{chance.choice(site.etcd.endpoints)}/v3/maintenance/alarm"

    def raised() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(at, alarm, timeout=GUARD_SECONDS):
            return True
        return False

    with site.switch.entered():
        wait_for(raised, "the alarm to be raised")
    yield
    site.etcd.disarm()


@contextmanager
def replica_cut_off(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Cut a replica off from all members, in one direction or both."""
    replica = chance.choice(site.replicas)
    incoming, outgoing = chance.choice([(True, True), (True, False), (False, True)])
    site.cut(replica, site.etcd.members, incoming=incoming, outgoing=outgoing)
    yield
    site.mend(replica)


@contextmanager
def compacted_while_cut_off(site: Site, log: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Cut a replica off from all members and end its watch, and compact what it has not seen."""
    replica = chance.choice(site.replicas)
    site.cut(replica, site.etcd.members, incoming=True, outgoing=True)
    os.kill(replica.server.writer_pid, signal.SIGKILL)
    yield
    compact(site, log)
    site.mend(replica)


@contextmanager
def compacted(site: Site, log: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Compact all that there is, under load."""
    compact(site, log)
    yield
    compact(site, log)


def compact(site: Site, log: EtcdLog) -> None:
    """Compact up to where the log has come, where that can be done now."""
    site.etcd.compact(log.position)


@contextmanager
def replica_killed(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Kill all processes of a replica."""
    replica = chance.choice(site.replicas)
    replica.kill()
    yield
    replica.start()


@contextmanager
def replica_without_its_map(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Kill a replica and have it begin with nothing."""
    replica = chance.choice(site.replicas)
    replica.kill()
    shutil.rmtree(replica.server.data)
    yield
    replica.start()


@contextmanager
def replica_frozen(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Have all processes of a replica stand still."""
    replica = chance.choice(site.replicas)
    replica.leave()
    replica.freeze()
    try:
        yield
    finally:
        replica.signal(signal.SIGCONT)
        replica.be_back()


@contextmanager
def writer_killed(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Kill the writer of a replica: its DNS goes on."""
    replica = chance.choice(site.replicas)
    os.kill(replica.server.writer_pid, signal.SIGKILL)
    yield


@contextmanager
def writer_slow(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Have the writer of a replica stand still most of the time: its DNS goes on."""
    pid = chance.choice(site.replicas).server.writer_pid
    end = threading.Event()

    def hinder() -> None:
        while not end.wait(0.02):
            stop(pid)
            end.wait(0.1)
            os.kill(pid, signal.SIGCONT)

    hindering = threading.Thread(target=hinder, daemon=True)
    hindering.start()
    try:
        yield
    finally:
        end.set()
        hindering.join()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def disk_full(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Have no room for the map of a replica."""
    ballast = Ballast(chance.choice(site.replicas).disk)
    ballast.fill()
    yield
    ballast.drop()


@contextmanager
def clock_set(site: Site, _: EtcdLog, chance: random.Random) -> Iterator[None]:
    """Have the clock of a replica jump, and stay there."""
    chance.choice(site.replicas).clock.set(chance.choice([-30, -1, 1, 30]) * DAY)
    yield


OF_MEMBERS: tuple[Fault, ...] = (
    member_killed,
    leader_frozen,
    all_members_killed,
    member_replaced,
    member_cut_off,
    member_silent,
    member_losing_packets,
    member_reset,
    no_space,
    compacted,
)
OF_REPLICAS: tuple[Fault, ...] = (
    replica_cut_off,
    replica_losing_packets,
    replica_reset,
    compacted_while_cut_off,
    replica_killed,
    replica_without_its_map,
    replica_frozen,
    writer_killed,
    writer_slow,
    disk_full,
    clock_set,
)


def both(of_replica: Fault, of_members: Fault) -> Fault:
    """Have two of them at the same time."""

    @contextmanager
    def two(site: Site, log: EtcdLog, chance: random.Random) -> Iterator[None]:
        with of_replica(site, log, chance), of_members(site, log, chance):
            yield

    two.__name__ = f"{of_replica.__name__} and {of_members.__name__}"
    return two
