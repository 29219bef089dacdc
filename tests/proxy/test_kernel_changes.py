"""Changes of all kinds in a real kernel: none is refused, and the past leaves nothing behind."""

import subprocess
from collections.abc import Iterator
from socket import SO_SNDBUF, SOL_SOCKET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxy.test_kernel_elements import FRONTENDS, hosts, rules
from toolbox.hosts import Host, remove

from svcdns.cluster.traffic_plan import Destination, Endpoint, Frontend, Rule
from svcdns.cluster.traffic_plan import Host as Node
from svcdns.netlink import nft_dump
from svcdns.netlink.wire import NETFILTER, Socket
from svcdns.proxy.engine import EngineError
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


def test_what_is_larger_than_may_be_sent_goes_in_pieces(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        """As in a user namespace, where net.core.wmem_max is the end."""

    with host.entered():
        clean_up()
        engine, socket = KernelEngine(), Socket(NETFILTER)
    engine._socket._socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 100_000)
    monkeypatch.setattr(Socket, "_make_room", no_room)
    both = Destination((Endpoint(b"\x0a\0\0\x01", 80), Endpoint(b"\x0a\0\0\x02", 80)))
    wanted = {
        Frontend(4, number.to_bytes(4), 6, 80): Rule("default/web", both, both) for number in range(3000)
    }
    for _ in range(2):
        engine.replace(wanted, Node())
        assert len(nft_dump.elements(socket, IPV4, TABLE, "vip_frontends")) == 3000
    assert engine.held() == {"frontends": 3000, "endpoints": 2, "elements": 3000 * 4 + 2}
    engine.apply(dict.fromkeys(wanted))
    assert nft_dump.elements(socket, IPV4, TABLE, "vip_frontends") == []
    endpoints = tuple(Endpoint(number.to_bytes(4), 80) for number in range(9000))
    huge = Destination(endpoints)
    with pytest.raises(EngineError, match="wmem_max"):
        engine.apply({FRONTENDS[0]: Rule("default/web", huge, huge)})
    assert engine.held()["frontends"] == 0
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
