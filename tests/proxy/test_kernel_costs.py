"""What a change costs does not depend on what else stands in the kernel: ratios of CPU time, alternating."""

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest
from proxy.carried import NODE_OF_THE_LAB, frontend
from toolbox.hosts import Host, remove

from svcdns.cluster.traffic_plan import Destination, Endpoint, Rule
from svcdns.proxy.kernel import KernelEngine, clean_up

pytestmark = pytest.mark.alone
INTERVALS, ENDPOINTS, ROUNDS = 50_000, 5_000, 40
_FIRST = int(ip_address("172.16.0.0"))


@pytest.fixture
def host(may_make_hosts: None) -> Iterator[Host]:
    """Give a namespace."""
    made = Host()
    yield made
    remove(made)


def endpoints(numbers: range) -> Destination:
    return Destination(tuple(Endpoint((_FIRST + number).to_bytes(4), 8080) for number in numbers))


def rule(numbers: range) -> Rule:
    there = endpoints(numbers)
    return Rule("default/web", there, there)


def flips(engine: KernelEngine, address: str, *numbers: range) -> Callable[[], float]:
    """Return a function: the CPU milliseconds, the kernel's too, of a change to each of these endpoints."""
    at, wanted = frontend(address), [rule(one) for one in numbers]

    def flip() -> float:
        began = time.process_time()
        for one in wanted:
            engine.apply({at: one})
        return (time.process_time() - began) * 1e3 / len(wanted)

    return flip


def ratio(one: Callable[[], float], other: Callable[[], float]) -> float:
    """Return by how much the first costs more, of medians of works that are done in turn."""
    for work in (one, other):
        work()
    found = [(one(), other()) for _ in range(ROUNDS)]
    first, second = (statistics.median(some) for some in zip(*found, strict=True))
    print(f"{first:.3f} ms, {second:.3f} ms")
    return first / second


def test_a_foreign_set_of_many_intervals_makes_a_change_no_dearer(host: Host) -> None:
    other = Host()
    intervals = (_FIRST + 4 * number for number in range(INTERVALS))
    texts = ",".join(f"{ip_address(one)}-{ip_address(one + 1)}" for one in intervals)
    text = (
        f"table ip foreign {{ set many {{ type ipv4_addr; flags interval; elements = {{ {texts} }}\n}}\n}}\n"
    )
    subprocess.run(host.command("nft", "-f", "-"), input=text, text=True, check=True)
    engines = []
    try:
        for one in (host, other):
            with one.entered():
                engines.append(KernelEngine())
        for engine in engines:
            engine.replace({frontend("10.96.0.10"): rule(range(3))}, NODE_OF_THE_LAB)
        changes = [flips(engine, "10.96.0.10", range(1, 4), range(3), range(2)) for engine in engines]
        assert ratio(*changes) <= 1.3
    finally:
        for engine in engines:
            engine.close()
        with host.entered():
            clean_up()
        remove(other)


def test_a_flip_among_many_endpoints_takes_as_many_elements_as_among_few(host: Host) -> None:
    """What is sent is the same; the Service's endpoints are compared, which is the rest of the cost."""
    with host.entered():
        engine = KernelEngine()
    try:
        many, few = "10.96.0.10", "10.96.0.11"
        engine.replace(
            {frontend(many): rule(range(ENDPOINTS)), frontend(few): rule(range(3))}, NODE_OF_THE_LAB
        )
        many_flips = flips(engine, many, range(1, ENDPOINTS + 1), range(ENDPOINTS))
        few_flips = flips(engine, few, range(1, 4), range(3))
        found = ratio(many_flips, few_flips)
        print(f"{ENDPOINTS} endpoints: {found:.1f} times the cost of 3")
        assert found <= ENDPOINTS / 3 / 10
    finally:
        engine.close()
        with host.entered():
            clean_up()
