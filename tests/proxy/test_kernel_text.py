"""The kernel engine's rules as text: nft loads it, and lists it as what the engine makes."""

import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxy.carried import NODE_OF_THE_LAB
from proxy.test_kernel_elements import FRONTENDS, hosts, rules
from toolbox.hosts import Host, remove

from svcdns.cluster.traffic_plan import Destination, Endpoint, Frontend, Rule, WhenEmpty
from svcdns.cluster.traffic_plan import Host as Node
from svcdns.proxy.kernel import KernelEngine, clean_up
from svcdns.proxy.kernel_text import ruleset_text

pytestmark = pytest.mark.usefixtures("may_make_hosts")


@pytest.fixture(scope="module")
def host(may_make_hosts: None) -> Iterator[Host]:
    """Give a namespace."""
    made = Host()
    yield made
    remove(made)


def listed(host: Host) -> list[str]:
    """Return the lines of the rule set, sorted, without its owner."""
    done = subprocess.run(host.command("nft", "list", "ruleset"), capture_output=True, text=True, check=True)
    lines = (line.partition(" # progname")[0].strip(" \t,") for line in done.stdout.splitlines())
    pieces = (line.removeprefix("elements = { ").removesuffix(" }") for line in lines)
    return sorted(piece for line in pieces for piece in line.split(", ") if line and line != "flags owner")


def load(host: Host, text: str) -> None:
    """Have nft load a text."""
    done = subprocess.run(host.command("nft", "-f", "-"), input=text, capture_output=True, text=True)
    assert not done.returncode, f"{done.stderr}\n{text}"


def family_6(rule: Rule) -> Rule:
    """Return a rule with endpoints of IPv6."""

    def moved(some: Destination) -> Destination:
        endpoints = (Endpoint(bytes((0xFD, *bytes(11))) + one.address, one.port) for one in some.endpoints)
        return Destination(tuple(endpoints), some.when_empty)

    inside = moved(rule.inside)
    outside = inside if rule.outside == rule.inside else moved(rule.outside)
    return Rule(rule.service, inside, outside, rule.affinity_seconds, rule.source_ranges)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.dictionaries(st.sampled_from(FRONTENDS), rules, max_size=6), node=hosts, six=st.booleans())
def test_what_is_printed_is_what_the_engine_does(
    host: Host, wanted: dict[Frontend, Rule], node: Node, six: bool
) -> None:
    if six:
        prefix = bytes((0xFD, *bytes(11)))
        wanted = {
            Frontend(6, one.address and prefix + one.address, one.protocol, one.port): family_6(rule)
            for one, rule in wanted.items()
        }
    with host.entered():
        clean_up()
        engine = KernelEngine()
    engine.replace(wanted, node)
    ours = listed(host)
    engine.close()
    with host.entered():
        clean_up()
    load(host, ruleset_text(wanted, node))
    assert listed(host) == ours


def test_a_printed_file_may_be_loaded_twice(host: Host) -> None:
    none = Destination((), WhenEmpty.DROP)
    text = ruleset_text({FRONTENDS[0]: Rule("default/web", none, none)}, NODE_OF_THE_LAB)
    load(host, text)
    before = listed(host)
    load(host, text)
    assert listed(host) == before
