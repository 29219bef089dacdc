"""Changes of all kinds in a real kernel: none is refused, and the past leaves nothing behind."""

import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxy.test_kernel_elements import FRONTENDS, hosts, rules
from toolbox.hosts import Host, remove

from svcdns.cluster.traffic_plan import Frontend, Rule
from svcdns.cluster.traffic_plan import Host as Node
from svcdns.netlink import nft_dump
from svcdns.netlink.wire import NETFILTER, Socket
from svcdns.proxy.kernel import KernelEngine, clean_up
from svcdns.proxy.kernel_rules import TABLE

Change = dict[Frontend, Rule | None]
IPV4 = 2


@pytest.fixture(scope="module")
def host(may_make_hosts: None) -> Iterator[Host]:
    """Give a namespace."""
    made = Host()
    yield made
    remove(made)


def standing(socket: Socket) -> dict[str, object]:
    """Return all elements in the kernel, by set; of slots without their numbers, which depend on the past."""
    found: dict[str, object] = {}
    for name in nft_dump.sets(socket, IPV4, TABLE):
        elements = nft_dump.elements(socket, IPV4, TABLE, name)
        if name.endswith("_slots"):
            elements = [one._replace(key=one.key[:-4]) for one in elements]
        found[name] = sorted(elements, key=repr)
    return found


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(FRONTENDS), rules | st.none(), max_size=4), st.none() | hosts
        ),
        min_size=2,
        max_size=8,
    )
)
def test_no_change_is_refused_and_none_leaves_anything_behind(
    host: Host, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[Change, Node | None]]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the kernel refused a change")

    with host.entered():
        clean_up()
        engine = KernelEngine()
        socket = Socket(NETFILTER)
    wanted: dict[Frontend, Rule] = {}
    node = Node()
    try:
        engine.replace({}, node)
        with monkeypatch.context() as patched:
            patched.setattr(KernelEngine, "_restore", never)
            patched.setattr(KernelEngine, "_recreate", never)
            for changed, other in steps:
                engine.apply(changed, other)
                node = other or node
                wanted |= {one: rule for one, rule in changed.items() if rule}
                for one, rule in changed.items():
                    if rule is None:
                        wanted.pop(one, None)
            after = standing(socket)
            engine.replace(wanted, node)
        assert standing(socket) == after
        assert engine.held()["frontends"] == len(wanted)
    finally:
        engine.close()
        socket.close()


def test_a_change_while_others_change_their_own_rules_is_refused_by_nobody(host: Host) -> None:
    with host.entered():
        clean_up()
        engine = KernelEngine()
    engine.replace({}, Node())
    add = "".join(f"add table ip other{number}\n" for number in range(200))
    others = subprocess.Popen(host.command("nft", "-f", "-"), stdin=subprocess.PIPE, text=True)
    assert others.stdin is not None
    others.stdin.write(add)
    others.stdin.close()
    while others.poll() is None:
        for one in FRONTENDS[:4]:
            engine.apply({one: None})
            engine.apply({}, Node(node_addresses=(one.address,)))
    assert others.returncode == 0
    engine.close()
    subprocess.run(host.command("nft", "flush", "ruleset"), check=True)
