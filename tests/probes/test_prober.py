"""When Pods are probed, and what is written of them; in a time of its own."""

import asyncio
import itertools

import pytest

from svcdns.probes import prober
from svcdns.probes.networks import why_not
from svcdns.probes.prober import CONDITION, NotWritten, PodName, Prober
from svcdns.probes.verdicts import Outcome

POD = PodName("default", "p")


def pod(name="p", ip="10.1.0.1", uid="u", stands=None, phase="Running", **numbers):
    """Return a Pod with one probe, and what its condition says already."""
    probe = {"tcpSocket": {"port": 80}, **numbers}
    conditions = [{"type": "Ready", "status": "True"}]
    if stands is not None:
        conditions.append({"type": CONDITION, "status": stands, "reason": "ProbeSucceeded", "message": ""})
    return {
        "metadata": {"name": name, "namespace": "default", "uid": uid},
        "spec": {"containers": [{"name": "c", "readinessProbe": probe}]},
        "status": {"podIP": ip, "phase": phase, "conditions": conditions},
    }


class World:
    """Pods that are healthy or not, as a script says, and what was written of them."""

    def __init__(self, loop) -> None:
        self.loop = loop
        self.healthy = True
        self.slow = 0.0
        self.probed = []
        """When, in seconds."""
        self.written = []
        """(seconds, Pod's name, ready, reason, turned)"""
        self.refuse = 0
        """How many writes fail."""
        self.under_way = self.most = 0
        self.prober = Prober(self._run, self._write, lambda address: "")

    async def _run(self, check, address):
        self.probed.append(self.loop.time())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.slow)
        finally:
            self.under_way -= 1
        return Outcome(True) if self.healthy else Outcome(False, "connection refused")

    async def _write(self, name, uid, verdict, turned):
        if self.refuse:
            self.refuse -= 1
            raise NotWritten("gone")
        self.written.append((self.loop.time(), name.name, verdict.ready, verdict.reason, turned))

    def run(self, seconds):
        """Let so much time pass."""

        async def passing():
            writing = asyncio.ensure_future(self.prober.write())
            await asyncio.sleep(seconds)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

        self.loop.run_until_complete(passing())

    def tell(self, *pods):
        async def telling():
            for one in pods:
                self.prober.put(one)

        self.loop.run_until_complete(telling())

    def divide(self, own):
        """Have the Pod of one name probed, and no other."""

        async def dividing():
            self.prober.divide(lambda name: name.name == own)

        self.loop.run_until_complete(dividing())


@pytest.fixture
def world(instant):
    made = World(instant)
    yield made

    async def close():
        made.prober.close()
        await asyncio.sleep(0)

    instant.run_until_complete(close())


def test_a_new_pod_is_probed_at_once_and_then_every_period(world) -> None:
    world.tell(pod(periodSeconds=7))
    world.run(30)
    assert world.probed == pytest.approx([0, 7, 14, 21, 28])
    assert world.written == [(0, "p", True, "ProbeSucceeded", True)], "one transition, one write"


def test_the_period_is_kept_however_long_a_probe_takes(world) -> None:
    world.slow = 0.9
    world.tell(pod(periodSeconds=3))
    world.run(10)
    assert world.probed == pytest.approx([0, 3, 6, 9])


def test_the_initial_delay(world) -> None:
    world.tell(pod(initialDelaySeconds=5))
    world.run(6)
    assert world.probed == [5]


def test_readiness_is_not_asked_for_before_the_startup_probe_has_succeeded(world) -> None:
    asked = []

    async def run(check, address):
        asked.append((check.port, world.loop.time()))
        return Outcome(check.port == 2 or world.loop.time() > 5, "not yet")

    world.prober._run = run
    made = pod()
    made["spec"]["containers"][0] = {
        "name": "c",
        "startupProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 2, "failureThreshold": 30},
        "readinessProbe": {"tcpSocket": {"port": 2}, "periodSeconds": 3},
    }
    world.tell(made)
    world.run(13)
    assert [at for port, at in asked if port == 1] == pytest.approx([0, 2, 4, 6]), "no more once it has"
    assert [at for port, at in asked if port == 2] == pytest.approx([6, 9, 12])
    assert [one[:3] for one in world.written] == [(0, "p", False), (6, "p", True)]


def test_what_takes_too_long_has_failed(world) -> None:
    world.slow = 2.0
    world.tell(pod(timeoutSeconds=1))
    world.run(5)
    assert world.written == [(1, "p", False, "ProbeFailed", True)]


def test_it_takes_as_many_failures_as_the_threshold_says(world) -> None:
    world.tell(pod(periodSeconds=10, failureThreshold=3))
    world.run(5)
    world.healthy = False
    world.run(40)
    assert [one[0] for one in world.written] == pytest.approx([0, 30])
    assert world.written[1][1:] == ("p", False, "ProbeFailed", True)


def test_a_pod_that_was_ready_before_stays_so_and_is_not_probed_at_once_with_all_others(world) -> None:
    world.tell(*(pod(f"p{n}", stands="True", uid=str(n)) for n in range(200)))
    world.run(10)
    assert world.written == [], "what stands is right"
    assert len(world.probed) == 200
    spread = [sum(1 for at in world.probed if begin <= at < begin + 1) for begin in range(10)]
    assert all(5 <= count <= 45 for count in spread), spread


def test_one_failure_after_a_restart_takes_nobody_out(world) -> None:
    world.healthy = False
    world.tell(pod(stands="True", periodSeconds=10))
    world.run(19)
    assert world.written == []
    world.run(20)
    assert [one[1:] for one in world.written] == [("p", False, "ProbeFailed", True)]


def test_a_verdict_that_cannot_be_written_is_written_later(world) -> None:
    world.refuse = 3
    world.tell(pod())
    world.run(8)
    assert [one[0] for one in world.written] == pytest.approx([3])


def test_what_is_written_is_what_holds_by_then(world) -> None:
    world.refuse = 15
    world.tell(pod(periodSeconds=1, failureThreshold=1))
    world.run(4.5)
    world.healthy = False
    world.run(20)
    assert [one[2] for one in world.written] == [False]


def test_words_are_brought_up_to_date_once_a_minute(world) -> None:
    world.healthy = False
    world.tell(pod(periodSeconds=10))
    texts = itertools.count()

    async def run(check, address):
        return Outcome(False, f"failure {next(texts)}")

    world.prober._run = run
    world.run(185)
    assert [one[0] for one in world.written] == pytest.approx([0, 60, 120, 180])
    assert [one[4] for one in world.written] == [True, False, False, False], "nothing turned"


def test_what_loading_takes_is_no_time_of_the_pod(world) -> None:
    async def load(check):
        await asyncio.sleep(5)

    world.prober = Prober(world._run, world._write, lambda address: "", load)
    world.tell(pod(timeoutSeconds=1, failureThreshold=1, periodSeconds=100))
    world.run(20)
    assert world.probed == [5]
    assert [one[2] for one in world.written] == [True]


def test_a_pod_that_goes_is_probed_no_more(world) -> None:
    world.tell(pod())
    world.run(15)
    before = len(world.probed)
    world.prober.remove(pod())
    world.run(60)
    assert len(world.probed) == before
    assert len(world.prober) == 0


@pytest.mark.parametrize(
    "changed", [{"ip": "10.1.0.2"}, {"uid": "another"}, {"periodSeconds": 3}], ids=["address", "uid", "probe"]
)
def test_a_pod_that_changes_is_probed_anew(world, changed) -> None:
    world.tell(pod(initialDelaySeconds=1))
    world.run(5)
    world.tell(pod(initialDelaySeconds=1, **changed))
    world.run(1.5)
    assert world.probed == pytest.approx([1, 6])


def test_a_change_of_something_else_changes_nothing(world) -> None:
    world.tell(pod(periodSeconds=10))
    for _ in range(20):
        world.run(1)
        world.tell(pod(periodSeconds=10, stands="True"))
    assert world.probed == pytest.approx([0, 10, 20])


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_not_probed(world, phase) -> None:
    world.tell(pod(phase=phase), pod("q", ip=""))
    world.run(30)
    assert world.probed == []


def test_a_pod_that_is_anothers_is_not_probed_until_it_is_taken_over(world) -> None:
    world.divide("own")
    world.tell(pod("own"), pod("other", stands="True"))
    world.run(30)
    assert {name for _, name, *_ in world.written} == {"own"}
    world.healthy = False
    count = len(world.probed)
    world.divide("other")
    world.run(30)
    assert len(world.probed) > count
    assert [(name, ready) for _, name, ready, *_ in world.written][1:] == [("other", False)]


def test_so_many_at_once_and_no_more(world, monkeypatch) -> None:
    monkeypatch.setattr(prober, "MOST_AT_ONCE", 5)
    world.prober = Prober(world._run, world._write, lambda address: "")
    world.slow = 0.5
    world.tell(*(pod(f"p{n}", uid=str(n)) for n in range(40)))
    world.run(8)
    assert len(world.probed) >= 40
    assert world.most == 5


def test_an_address_that_may_not_be_probed_is_named(world) -> None:
    from ipaddress import ip_network

    allowed = [ip_network("10.0.0.0/8")]
    world.prober = Prober(world._run, world._write, lambda address: why_not(address, allowed))
    world.tell(pod(ip="192.0.2.1"), pod("q", ip="10.1.2.3"))
    world.run(1)
    assert len(world.probed) == 1
    assert sorted(one[1:4] for one in world.written) == [
        ("p", False, "ProbeNotRun"),
        ("q", True, "ProbeSucceeded"),
    ]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("224.0.0.1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("8.8.8.8", "[probes] networks"),
        ("::ffff:8.8.8.8", "[probes] networks"),
        ("10.1.2.3", ""),
        ("127.0.0.1", ""),
        ("fd00::1", ""),
    ],
)
def test_where_probes_may_go(address, text) -> None:
    from ipaddress import ip_network

    allowed = [ip_network(one) for one in ("10.0.0.0/8", "127.0.0.0/8", "fc00::/7")]
    found = why_not(address, allowed)
    assert (text in found) if text else found == ""
