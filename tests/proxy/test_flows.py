"""Flows whose endpoint left: they move at once, and no others do."""

import asyncio
import errno
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
from proxy.machine import machine, nft
from toolbox.hosts import Host as Namespace
from toolbox.waiting import GUARD_SECONDS, run, until

from svcdns.cluster.traffic_plan import NODE, TCP, UDP, Destination, Endpoint, Frontend, Host, Rule
from svcdns.netlink import conntrack, wire
from svcdns.proxy import flows
from svcdns.proxy.flows import Flows

VIPS = {4: "10.96.0.7", 6: "fd96::7"}
ENDS = {4: "10.244.0.1", 6: "fd44::1"}
NODES = {4: "192.168.77.1", 6: "fd77::1"}
PORT = 53
A, B = 5001, 5002
_TABLE = "table inet to { chain out { type nat hook output priority -100; ct status dnat accept"
"""A rule that looks at the state of connections, as the engine's do, has the kernel remember them."""
KNOWN = Host(node_addresses=tuple(ip_address(one).packed for one in NODES.values()))


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Namespace]:
    with machine() as made:
        made.ip("route add 10.96.0.0/12 dev lo", "route add fd96::/108 dev lo")
        yield made


def lead(host: Namespace, to: Mapping[str, int | None]) -> None:
    """Have the kernel translate each address, port 53, to a port of this machine, or nothing (None)."""
    rules = []
    for address, port in to.items():
        word, end = ("ip6", f"[{ENDS[6]}]") if ":" in address else ("ip", ENDS[4])
        if port:
            rules += [
                f"{word} daddr {address} {one} dport {PORT} dnat {word} to {end}:{port}"
                for one in ("udp", "tcp")
            ]
    nft(host, "\n".join(("table inet to", "delete table inet to", _TABLE, *rules, "}\n}\n")))


def serving(host: Namespace, family: int, port: int) -> socket.socket:
    with host.entered():
        made = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((ENDS[family], port))
    made.settimeout(GUARD_SECONDS)
    return made


def client(host: Namespace, address: str, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
    with host.entered():
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    made.settimeout(GUARD_SECONDS)
    made.connect((address, PORT))
    return made


def frontend(address: str | bytes, protocol: int = UDP, family: int = 4) -> Frontend:
    if isinstance(address, bytes):
        return Frontend(family, address, protocol, PORT)
    return Frontend(6 if ":" in address else 4, ip_address(address).packed, protocol, PORT)


def rule(family: int, *ports: int, outside: tuple[int, ...] | None = None) -> Rule:
    end = ip_address(ENDS[family]).packed
    inside, others = (
        Destination(tuple(Endpoint(end, port) for port in sorted(some)))
        for some in (ports, ports if outside is None else outside)
    )
    return Rule("default/web", inside, others)


def apply(
    host: Namespace,
    changed: Mapping[Frontend, Rule | None],
    before: Mapping[Frontend, Rule] | None = None,
    reset: bool = False,
) -> int:
    """Tell of what is in effect; return how many flows were forgotten when that is done."""

    async def telling() -> int:
        told = Flows(lambda: KNOWN, reset)
        task = asyncio.create_task(told.run())
        told.applied(changed, before or {})
        await until(lambda: told.is_done, "the flows")
        task.cancel()
        return told.forgotten

    with host.entered():
        return run(telling())


@pytest.mark.parametrize("family", [4, 6])
def test_a_socket_follows_its_service_from_endpoint_to_endpoint(host: Namespace, family: int) -> None:
    vip = VIPS[family]
    with serving(host, family, A) as one, serving(host, family, B) as other, client(host, vip) as asking:
        lead(host, {vip: A})
        asking.send(b"first")
        assert one.recv(100) == b"first"
        lead(host, {vip: B})
        asking.send(b"remembered")
        assert one.recv(100) == b"remembered"  # what the kernel does by itself
        assert apply(host, {frontend(vip): rule(family, B)}) == 1
        asking.send(b"second")
        assert other.recv(100) == b"second"


def test_a_flow_to_an_endpoint_that_stays_is_not_touched(host: Namespace) -> None:
    vip = VIPS[4]
    lead(host, {vip: A})
    with serving(host, 4, A) as one, client(host, vip) as asking:
        asking.send(b"first")
        one.recv(100)
        assert apply(host, {frontend(vip): rule(4, A, B)}) == 0
        assert apply(host, {frontend(vip): rule(4, B, outside=(A,))}) == 0
        assert apply(host, {frontend("10.96.0.8"): rule(4, B)}) == 0
        assert (
            apply(host, {frontend(vip, TCP): rule(4, B)}, {frontend(vip, TCP): rule(4, A)}, reset=True) == 0
        )


def test_with_no_endpoint_left_the_flow_goes_too(host: Namespace) -> None:
    vip = VIPS[4]
    lead(host, {vip: A})
    with serving(host, 4, A) as one, client(host, vip) as asking:
        asking.send(b"first")
        one.recv(100)
        assert apply(host, {frontend(vip): rule(4)}) == 1
        lead(host, {vip: None})
        with suppress(OSError):
            asking.send(b"second")
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.recv(100)


def test_a_flow_from_before_there_was_a_service_comes_to_it(host: Namespace) -> None:
    node = NODES[4]
    lead(host, {})
    with serving(host, 4, A) as one, client(host, node) as asking:
        with suppress(OSError):
            asking.send(b"nobody is there")
        lead(host, {node: A})
        assert apply(host, {frontend(NODE): rule(4, A)}) == 1
        with suppress(ConnectionRefusedError):
            asking.send(b"now")  # may be told that the first one was refused
        asking.send(b"now")
        assert one.recv(100) == b"now"


def test_of_a_service_that_went_only_what_was_translated_goes(host: Namespace) -> None:
    vip, node = VIPS[4], NODES[4]
    lead(host, {vip: A})
    with serving(host, 4, A) as one, client(host, vip) as asking, client(host, node) as other:
        asking.send(b"first")
        one.recv(100)
        with suppress(OSError):
            other.send(b"a program's own")
        assert apply(host, {frontend(vip): None, frontend(NODE): None}) == 1


def test_at_a_start_only_flows_move_whose_endpoint_left_meanwhile(host: Namespace) -> None:
    vips = [f"10.96.0.{number}" for number in range(20)]  # more than are asked for one by one
    lead(host, dict.fromkeys(vips, A))
    asking = [client(host, vip) for vip in vips]
    for each in asking:
        with suppress(ConnectionRefusedError):
            each.send(b"first")
    all_frontends = {frontend(vip): rule(4, A) for vip in vips}
    assert apply(host, all_frontends) == 0
    assert apply(host, all_frontends | {frontend(vips[3]): rule(4, B)}) == 1
    for each in asking:
        each.close()


def test_a_connection_goes_on_unless_it_is_to_be_reset(host: Namespace) -> None:
    vip = VIPS[4]
    at = frontend(vip, TCP)
    lead(host, {vip: A})
    with host.entered():
        listening = socket.create_server((ENDS[4], A))
        other = socket.create_server((ENDS[4], B))
    with listening, other, client(host, vip, socket.SOCK_STREAM) as asking, listening.accept()[0] as there:
        lead(host, {vip: B})
        assert apply(host, {at: rule(4, B)}, {at: rule(4, A)}) == 0
        asking.send(b"goes on")
        assert there.recv(100) == b"goes on"
        assert apply(host, {at: rule(4, A, B)}, {at: rule(4, A)}, reset=True) == 0
        assert apply(host, {at: rule(4, B)}, {}, reset=True) == 0  # a start: nothing is known to have left
        assert apply(host, {at: rule(4, B)}, {at: rule(4, A)}, reset=True) == 1
        with pytest.raises(ConnectionResetError):
            asking.send(b"and ends")
            asking.recv(100)


def test_endpoints_that_came_back_before_their_turn_are_not_reset() -> None:
    at = frontend(VIPS[4], TCP)
    told = Flows(lambda: KNOWN, reset_removed=True)
    told.applied({at: rule(4, B)}, {at: rule(4, A, B)})
    told.applied({at: rule(4, A)}, {at: rule(4, B)})
    (wanted,) = told.pending.values()
    assert [one.port for one in wanted.removed] == [B]


def test_what_could_not_be_looked_for_is_looked_for_again(
    host: Namespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vip, asked = VIPS[4], conntrack.flows
    refusals = iter([wire.Overrun(errno.ENOBUFS), wire.Malformed("cut off")])

    def refused_twice(*given: Any) -> Iterator[conntrack.Flow]:
        for refusal in refusals:
            raise refusal
        return asked(*given)

    lead(host, {vip: A})
    with serving(host, 4, A), client(host, vip) as asking:
        asking.send(b"first")
        monkeypatch.setattr(conntrack, "flows", refused_twice)
        monkeypatch.setattr(flows, "_FIRST_PAUSE", 0.01)
        assert apply(host, {frontend(vip): rule(4)}) == 1
    assert "No buffer space" in caplog.text and "cut off" in caplog.text


@pytest.mark.parametrize("now", [(A,), (B,), ()])
def test_what_waits_again_is_not_what_has_come_back_meanwhile(now: tuple[int, ...]) -> None:
    at, udp = frontend(VIPS[4], TCP), frontend(VIPS[4])
    wanting = Flows(lambda: KNOWN, reset_removed=True)
    wanting.applied({at: rule(4, B), udp: rule(4, B)}, {at: rule(4, A, B)})
    refused, wanting.pending = wanting.pending, {}
    wanting.applied({at: rule(4, *now), udp: rule(4, *now)}, {at: rule(4, B)})
    newer = wanting.pending[udp]
    wanting.have_again(refused)
    assert {one.port for one in wanting.pending[at].removed} == {A, B} - set(now)
    assert wanting.pending[udp] == newer


def test_the_program_conntrack_sees_the_same(host: Namespace, need: Callable[..., str]) -> None:
    need("conntrack")
    vip = VIPS[4]
    lead(host, {vip: A})
    with serving(host, 4, A), client(host, vip) as asking:
        asking.send(b"first")
        words = host.command("conntrack", "-L", "-p", "udp", "--orig-dst", vip)
        assert "dport=53" in subprocess.run(words, capture_output=True, text=True).stdout
        apply(host, {frontend(vip): rule(4)})
        assert "dport=53" not in subprocess.run(words, capture_output=True, text=True).stdout
