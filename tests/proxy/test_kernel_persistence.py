"""The kernel engine begins, ends, is killed, and meets other people: traffic goes on."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from proxy.carried import ADDRESSES, NODE_OF_THE_LAB, PORT, CarriedNode, carried, frontend, rule, who_answers
from toolbox.lab import Lab, Machine
from toolbox.waiting import until

from svcdns.cluster.traffic_plan import Frontend, Rule
from svcdns.netlink.wire import NetlinkError, Socket
from svcdns.proxy import kernel, repairing
from svcdns.proxy.engine import EngineError
from svcdns.proxy.kernel import KernelEngine, clean_up
from svcdns.proxy.kernel_text import ruleset_text
from svcdns.proxy.loopback_ports import WithLoopbackPorts
from svcdns.proxy.relay import Relay

pytestmark = pytest.mark.usefixtures("may_make_hosts")
ADDRESS = ADDRESSES[4]["cluster"]


@pytest.fixture(scope="module")
def servers(lab: Lab) -> None:
    """Serve on containers."""
    for host in (lab.a1, lab.a2, lab.b1, lab.b2):
        lab.serve(host, "tcp", PORT)


@pytest.fixture
def node(lab: Lab, servers: None) -> Iterator[CarriedNode]:
    """Give a node without Services."""
    with carried(lab) as made:
        yield made


@pytest.fixture
def without_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a kernel before 6.9."""
    monkeypatch.setattr(kernel, "_table_flags", lambda socket: 0)


def nft(host: Machine, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run nft there."""
    return subprocess.run(host.command("nft", *words), input=text, capture_output=True, text=True)


def tables(host: Machine) -> list[str]:
    """Return the tables there."""
    return sorted(nft(host, "list", "tables").stdout.splitlines())


def owners(node: CarriedNode) -> None:
    """Skip where the kernel's tables have no owner that outlives a process."""
    if not node.engine.owns:
        pytest.skip("this kernel has no tables that persist (before Linux 6.9)")


@contextmanager
def connecting(lab: Lab) -> Iterator[list[str]]:
    """Connect all the time, from the client and from a container; give what went wrong."""
    wrong: list[str] = []
    made = dict.fromkeys(("client", "b2"), 0)
    over = threading.Event()

    def run(host: Machine) -> None:
        while not over.is_set():
            try:
                host.ask("tcp", ADDRESS, 80, 5)
                made[host.short] += 1
            except (OSError, EOFError) as error:
                wrong.append(f"{host.short}: {error!r}")

    threads = [threading.Thread(target=run, args=(host,)) for host in (lab.client, lab.b2)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert all(made.values()), made


def test_no_connection_notices_that_the_engine_begins_anew(lab: Lab, node: CarriedNode) -> None:
    rules = some_rules(lab)
    node.replace(rules)
    with lab.client.connect("tcp", ADDRESS, 80) as connected, connecting(lab) as wrong:
        for _ in range(25):
            node.restart()
            node.replace(rules)
        connected.send(b"?\n")
        assert connected.recv(100)
    assert wrong == []


KILLED = """
import sys
from proxy.carried import NODE_OF_THE_LAB, frontend, rule
from svcdns.cluster.traffic_plan import Destination, Endpoint, Rule
from svcdns.proxy.kernel import KernelEngine
engine = KernelEngine()
endpoints = tuple(Endpoint(bytes((10, 244, 0, last)), 8080) for last in (5, 6))
both = Destination(endpoints)
kept = {frontend("10.96.0.10"): Rule("default/web", both, both)}
engine.replace(kept, NODE_OF_THE_LAB)
print("ready", flush=True)
for number in range(1_000_000):
    one = Destination(endpoints[number % 2 :])
    churned = frontend(f"10.96.1.{number % 250}")
    sticky = Rule("default/other", one, one, 3600 * (number % 3))
    engine.apply({churned: sticky, frontend("10.96.0.10"): Rule("default/web", one, one)})
    if number % 20 == 19:
        engine.replace(kept, NODE_OF_THE_LAB)
"""


def test_no_connection_notices_that_a_proxy_is_killed_in_the_middle_of_changes(
    lab: Lab, node: CarriedNode
) -> None:
    rules = some_rules(lab)
    node.replace(rules)
    node.engine.close()
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), os.path.dirname(os.path.dirname(__file__))])
    with connecting(lab) as wrong:
        for _ in range(4):
            with lab.node.entered():
                process = subprocess.Popen(
                    [sys.executable, "-c", KILLED],
                    stdout=subprocess.PIPE,
                    env=os.environ | {"PYTHONPATH": path},
                )
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            with lab.client.connect("tcp", ADDRESS, 80):  # so that changes go on for a moment
                process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        node.restart()
        node.replace(rules)
    assert wrong == []
    assert who_answers(lambda: lab.client.ask("tcp", ADDRESS, 80).who) == {"a1", "a2"}
    assert "10.96.1." not in nft(lab.node, "list", "ruleset").stdout


def test_nobody_else_can_change_a_table_of_ours_while_we_live(lab: Lab, node: CarriedNode) -> None:
    owners(node)
    node.replace(some_rules(lab))
    assert nft(lab.node, "delete", "table", "ip", "svcdns").returncode
    assert nft(lab.node, "add", "rule", "ip", "svcdns", "vip", "drop").returncode
    nft(lab.node, "flush", "ruleset")
    assert lab.client.ask("tcp", ADDRESS, 80)
    with lab.node.entered():
        other = KernelEngine()
        with pytest.raises(EngineError, match="another svcdns proxy"):
            other.replace({}, NODE_OF_THE_LAB)
        other.close()
        with pytest.raises(EngineError, match="another svcdns proxy"):
            clean_up()
    assert lab.client.ask("tcp", ADDRESS, 80)


def test_where_tables_have_no_owner_what_others_took_away_comes_back(
    lab: Lab, without_owners: None, node: CarriedNode
) -> None:
    node.replace(some_rules(lab))
    assert not node.engine.repair()
    nft(lab.node, "flush", "ruleset")
    node.has("10.96.0.99", endpoints=[])  # a change finds out by itself
    assert lab.client.ask("tcp", ADDRESS, 80)
    nft(lab.node, "flush", "ruleset")
    assert node.engine.repair()
    assert lab.client.ask("tcp", ADDRESS, 80)
    nft(lab.node, "flush", "table", "ip", "svcdns")  # its rules, not itself
    node.replace(some_rules(lab))
    assert lab.client.ask("tcp", ADDRESS, 80)
    assert not node.engine.repair()


async def test_a_proxy_notices_by_itself_what_others_took_away(
    lab: Lab, without_owners: None, node: CarriedNode
) -> None:
    with lab.node.entered():
        other = KernelEngine()
    node.replace(some_rules(lab))
    engine = WithLoopbackPorts(node.engine, Relay())
    keeping = asyncio.create_task(repairing.keep(engine, 0.01))
    for _ in range(2):
        nft(lab.node, "flush", "ruleset")
        await until(lambda: len(tables(lab.node)) == 2, "the tables to come back")
        assert lab.client.ask("tcp", ADDRESS, 80)
    keeping.cancel()
    assert not other.repair()  # it has made nothing yet: it must not take away what stands
    assert lab.client.ask("tcp", ADDRESS, 80)
    other.close()


@pytest.mark.parametrize(
    "found",
    [
        "table ip svcdns { set vips { type inet_service; }; chain vip { drop; }; }",
        "table ip svcdns { chain nat_in { type filter hook input priority 5; }; set x { type mark; }; }",
        "table ip svcdns { chain one { }; chain other { jump one; }; map vip_slots { type mark : mark; }; }",
        "printed",
    ],
)
def test_a_table_of_our_name_becomes_ours_whatever_is_in_it(lab: Lab, node: CarriedNode, found: str) -> None:
    rules = some_rules(lab)
    node.replace({})
    node.engine.close()
    with lab.node.entered():
        clean_up()
    text = ruleset_text(rules, NODE_OF_THE_LAB) if found == "printed" else found
    done = nft(lab.node, "-f", "-", text=text)
    assert not done.returncode, done.stderr
    node.restart()
    node.replace(rules)
    assert who_answers(lambda: lab.client.ask("tcp", ADDRESS, 80).who) == {"a1", "a2"}


def test_a_table_of_another_layout_goes_when_the_new_one_stands(lab: Lab, node: CarriedNode) -> None:
    nft(lab.node, "add", "table", "ip", "svcdns-0")
    nft(lab.node, "add", "table", "ip6", "svcdns-7")
    nft(lab.node, "add", "table", "ip", "svcdnsother")
    node.replace(some_rules(lab))
    assert tables(lab.node) == ["table ip svcdns", "table ip svcdnsother", "table ip6 svcdns"]
    nft(lab.node, "delete", "table", "ip", "svcdnsother")


def test_cleaning_up_removes_ours_and_nothing_else_and_twice_is_fine(lab: Lab, node: CarriedNode) -> None:
    node.replace(some_rules(lab))
    node.engine.close()
    nft(lab.node, "add", "table", "ip", "nat")
    nft(lab.node, "add", "table", "ip6", "svcdns-9")
    with lab.node.entered():
        assert clean_up() == ["ip svcdns", "ip6 svcdns", "ip6 svcdns-9"]
        assert clean_up() == []
    assert tables(lab.node) == ["table ip nat"]
    nft(lab.node, "delete", "table", "ip", "nat")
    node.restart()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOMEM, errno.ENOBUFS, errno.EOVERFLOW, errno.EMSGSIZE])
def test_what_the_kernel_refuses_changes_nothing_and_works_later(
    lab: Lab, node: CarriedNode, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.replace(some_rules(lab))

    def refuse(*_: object) -> None:
        raise NetlinkError(code, 1)

    change: list[Callable[[], None]] = [
        lambda: node.has(ADDRESS, endpoints=[lab.b1]),
        lambda: node.replace({frontend(ADDRESS): rule(4, [lab.b1])}),
    ]
    for one in change:
        with monkeypatch.context() as patched:
            patched.setattr(Socket, "exchange", refuse)
            with pytest.raises(EngineError) as raised:
                one()
        assert "\n" not in str(raised.value)
        assert who_answers(lambda: lab.client.ask("tcp", ADDRESS, 80).who) == {"a1", "a2"}
    for one in change:
        one()
        assert lab.client.ask("tcp", ADDRESS, 80).who == "b1"


def test_without_rights_the_engine_says_so_in_one_line(lab: Lab) -> None:
    script = "from svcdns.proxy.kernel import KernelEngine; import os; os.setuid(65534); KernelEngine()"
    with lab.node.entered():
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "EngineError: nf_tables: not permitted: CAP_NET_ADMIN" in done.stderr.splitlines()[-1]


def some_rules(lab: Lab) -> dict[Frontend, Rule]:
    """Return rules of all kinds; the cluster IP leads to a1 and a2."""
    found = {frontend(ADDRESS): rule(4, [lab.a1, lab.a2])}
    for family in (4, 6):
        known = ADDRESSES[family]
        found |= {
            frontend(known["other"]): rule(family, [lab.a1, lab.b1], affinity=3600),
            frontend(known["other"], 81): rule(family, []),
            frontend(known["lb"]): rule(family, [lab.a1], outside=[], source_ranges=["0.0.0.0/0", "::/0"]),
            frontend("", 30080, family=family): rule(family, [lab.a1, lab.b1], outside=[lab.a1], affinity=60),
            frontend("", 30081, "udp", family): rule(family, [lab.a1]),
        }
    return found
