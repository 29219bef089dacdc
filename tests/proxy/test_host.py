"""The machine around the proxy, put in order: routes, hairpin mode, forwarding; and followed."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace

import pytest
from proxy.machine import machine, said, state
from toolbox.hosts import Host
from toolbox.waiting import run, until

from svcdns.netlink import wire
from svcdns.proxy.changes_made import ChangesMade
from svcdns.proxy.cleanup import cleanup
from svcdns.proxy.host import HostWatch
from svcdns.proxy.host_settings import HostSettings

BR_NETFILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
RANGES = ("10.96.0.0/12", "fd96::/108", "192.168.77.192/26")
SETTINGS = HostSettings(
    cluster_ranges=tuple(map(ip_network, RANGES[:2])), load_balancer_ranges=(ip_network(RANGES[2]),)
)


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    with machine() as made:
        yield made


def look(host: Host, folder: Path, settings: HostSettings = SETTINGS) -> HostWatch:
    """Look once, as a proxy that starts does."""
    with host.entered(), HostWatch(settings, folder) as watch:
        watch.look()
    return watch


def own_routes(host: Host) -> set[str]:
    lines = [said(host, "ip", family, "route", "show", "proto", "96") for family in ("-4", "-6")]
    return {line.split()[0] for line in "".join(lines).splitlines()}


def hairpin(host: Host) -> str:
    return "on" if "hairpin on" in said(host, "ip", "-d", "link", "show", "veth0") else "off"


def write(host: Host, path: str, value: str) -> None:
    with host.entered():
        Path("/proc/sys/net", path).write_text(value)


def read(host: Host, path: str) -> str:
    with host.entered():
        return Path("/proc/sys/net", path).read_text().strip()


def test_the_ranges_get_routes_and_the_host_is_found(host: Host, tmp_path: Path) -> None:
    watch = look(host, tmp_path)
    assert own_routes(host) == set(RANGES)
    assert watch.complaints == ()
    assert [str(ip_address(one)) for one in watch.host().node_addresses] == ["192.168.77.1", "fd77::1"]
    assert [str(one) for one in watch.host().local_networks] == ["10.244.0.0/24", "fd44::/64"]
    assert [str(one) for one in watch.host().ranges] == ["10.96.0.0/12", "192.168.77.192/26", "fd96::/108"]


@pytest.mark.parametrize("address", ["10.96.0.1", "fd96::1"])
def test_a_packet_to_a_range_starts_out_without_a_default_route(
    host: Host, tmp_path: Path, address: str
) -> None:
    host.ip("route del default via 192.168.77.9", "route del default via fd77::9")
    refused = subprocess.run(host.command("ip", "route", "get", address), capture_output=True)
    assert refused.returncode
    look(host, tmp_path)
    way = said(host, "ip", "route", "get", address)
    assert " dev lo " in way and ("src 192.168.77.1" in way or "src fd77::1" in way)


def test_a_second_look_and_a_second_start_change_nothing(host: Host, tmp_path: Path) -> None:
    look(host, tmp_path)
    before = state(host)
    look(host, tmp_path)
    assert state(host) == before


def test_routes_of_ranges_that_are_ours_no_more_are_taken_out(host: Host, tmp_path: Path) -> None:
    look(host, tmp_path)
    look(host, tmp_path, replace(SETTINGS, cluster_ranges=(ip_network("10.112.0.0/12"),)))
    assert own_routes(host) == {"10.112.0.0/12", RANGES[2]}
    look(host, tmp_path, replace(SETTINGS, routes=False))
    assert own_routes(host) == set()


def test_a_vpn_that_leads_to_a_range_is_named_and_keeps_it(host: Host, tmp_path: Path) -> None:
    host.ip("tuntap add tun7 mode tun", "link set tun7 up", "route add 10.100.0.0/16 dev tun7")
    watch = look(host, tmp_path)
    assert watch.complaints == (
        "10.96.0.0/12 gets no route of ours: there is a route for 10.100.0.0/16 to tun7",
    )
    assert own_routes(host) == set(RANGES[1:])
    assert ip_network(RANGES[0]) not in watch.host().ranges


def test_a_vpn_that_comes_later_gets_the_range_back(host: Host, tmp_path: Path) -> None:
    look(host, tmp_path)
    host.ip("tuntap add tun7 mode tun", "link set tun7 up", "route add 10.0.0.0/8 dev tun7")
    assert "tun7" in look(host, tmp_path).complaints[0]
    assert RANGES[0] not in own_routes(host)


@pytest.mark.skipif(not BR_NETFILTER.exists(), reason="this kernel has no br_netfilter")
@pytest.mark.parametrize("switch", ["0", "1"])
def test_ports_of_local_bridges_are_turned_where_frames_pass_packet_rules(
    host: Host, tmp_path: Path, switch: str
) -> None:
    for name in ("iptables", "ip6tables"):
        write(host, f"bridge/bridge-nf-call-{name}", switch)
    before = state(host)
    look(host, tmp_path, replace(SETTINGS, hairpin=False))
    assert hairpin(host) == "off"
    look(host, tmp_path)
    assert hairpin(host) == ("on" if switch == "1" else "off")
    look(host, tmp_path)  # a second proxy knows what the first one changed
    with host.entered():
        cleanup([tmp_path])
    assert state(host) == before


@pytest.mark.skipif(not BR_NETFILTER.exists(), reason="this kernel has no br_netfilter")
def test_ports_of_machines_and_of_other_bridges_are_left_alone(host: Host, tmp_path: Path) -> None:
    write(host, "bridge/bridge-nf-call-iptables", "1")
    host.ip(
        "tuntap add tap7 mode tap",  # a VM, which may have a bridge of its own
        "link set tap7 master br0",
        "link add br-up type bridge",  # the way out: it has the default route
        "link set br-up up",
        "address add 192.168.78.1/24 dev br-up",
        "link add veth8 type veth peer name other8",
        "link set veth8 master br-up up",
        "route replace default via 192.168.78.9",
    )
    look(host, tmp_path)
    shown = said(host, "ip", "-d", "link")
    assert shown.count("hairpin on") == 1 and hairpin(host) == "on"


@pytest.mark.skipif(not BR_NETFILTER.exists(), reason="this kernel has no br_netfilter")
def test_a_port_that_was_turned_by_others_stays_so(host: Host, tmp_path: Path) -> None:
    write(host, "bridge/bridge-nf-call-iptables", "1")
    host.ip("link set veth0 type bridge_slave hairpin on")
    look(host, tmp_path)
    with host.entered():
        cleanup([tmp_path])
    assert hairpin(host) == "on"


@pytest.mark.skipif(not BR_NETFILTER.exists(), reason="this kernel has no br_netfilter")
def test_what_cannot_be_written_down_is_not_changed(host: Host, tmp_path: Path) -> None:
    write(host, "bridge/bridge-nf-call-iptables", "1")
    write(host, "ipv4/ip_forward", "0")
    (tmp_path / "file").write_text("")
    watch = look(host, tmp_path / "file" / "folder", replace(SETTINGS, forwarding=True))
    assert hairpin(host) == "off" and read(host, "ipv4/ip_forward") == "0"
    assert any("hairpin_mode of veth0" in one for one in watch.complaints)
    assert any("net.ipv4.ip_forward" in one for one in watch.complaints)


def test_forwarding_is_left_alone_or_switched_on_and_back(host: Host, tmp_path: Path) -> None:
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        write(host, name, "0")
    write(host, "ipv4/conf/br0/forwarding", "1")  # somebody's own, on one link
    before = state(host)
    look(host, tmp_path)
    assert read(host, "ipv4/ip_forward") == "0"
    look(host, tmp_path, replace(SETTINGS, forwarding=True))
    assert read(host, "ipv4/ip_forward") == read(host, "ipv6/conf/all/forwarding") == "1"
    with host.entered():
        cleanup([tmp_path])
    assert state(host) == before


def test_forwarding_that_is_missing_is_said_where_containers_are(host: Host, tmp_path: Path) -> None:
    write(host, "ipv4/ip_forward", "0")
    write(host, "ipv6/conf/all/forwarding", "1")
    (complaint,) = look(host, tmp_path).complaints
    assert "IPv4 is not forwarded" in complaint
    host.ip("link del br0", "link del veth0")
    assert look(host, tmp_path).complaints == ()


def test_forwarding_that_was_on_stays_on(host: Host, tmp_path: Path) -> None:
    write(host, "ipv4/ip_forward", "1")
    look(host, tmp_path, replace(SETTINGS, forwarding=True))
    with host.entered():
        cleanup([tmp_path])
    assert read(host, "ipv4/ip_forward") == "1"


def test_ipv6_is_not_forwarded_where_that_loses_the_default_route(host: Host, tmp_path: Path) -> None:
    write(host, "ipv6/conf/all/forwarding", "0")
    host.ip("route del default via fd77::9", "route add default via fd77::9 dev eth0 proto ra")
    watch = look(host, tmp_path, replace(SETTINGS, forwarding=True))
    assert read(host, "ipv6/conf/all/forwarding") == "0"
    assert "sysctl -w net.ipv6.conf.eth0.accept_ra=2" in watch.complaints[0]
    write(host, "ipv6/conf/eth0/accept_ra", "2")
    look(host, tmp_path, replace(SETTINGS, forwarding=True))
    assert read(host, "ipv6/conf/all/forwarding") == "1"


def test_what_was_changed_before_the_boot_or_elsewhere_is_forgotten(host: Host, tmp_path: Path) -> None:
    made = ChangesMade(tmp_path)
    made.note("hairpin", "4 veth0", "off")
    with host.entered():
        assert ChangesMade(tmp_path).all() == []
    (file,) = tmp_path.iterdir()
    assert [one.name for one in ChangesMade(tmp_path).all()] == ["4 veth0"]
    file.write_text(file.read_text().replace('"boot": "', '"boot": "another'))
    assert ChangesMade(tmp_path).all() == []


def test_a_namespace_that_has_the_number_of_one_that_ended_is_not_taken_for_it(
    may_change_rules: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svcdns.proxy.changes_made._NAMESPACE", Path("/proc/1/ns/net"))
    for _ in range(2):
        with machine() as one, one.entered():
            assert ChangesMade(tmp_path).all() == []
            ChangesMade(tmp_path).note("sysctl", "net/ipv4/ip_forward", "0")


@pytest.mark.parametrize(
    "octets",
    [b"", b"{", b"[]", b'{"changed": [["a"]]}', b'{"changed": 7}', b"\xff", b'{"changed": [[1, 2, 3]]}'],
)
def test_a_file_that_cannot_be_read_is_as_none(tmp_path: Path, octets: bytes) -> None:
    made = ChangesMade(tmp_path)
    made.note("hairpin", "4 veth0", "off")
    (file,) = tmp_path.iterdir()
    file.write_bytes(octets)
    assert ChangesMade(tmp_path).all() == []


def test_a_note_keeps_the_first_value_and_its_file_goes_with_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    made = ChangesMade(folder)
    made.note("sysctl", "a", "0")
    made.note("sysctl", "a", "1")
    assert [one.before for one in ChangesMade(folder).all()] == ["0"]
    made.forget("sysctl", "a")
    made.forget("sysctl", "a")
    assert not folder.exists()


def follow(host: Host, folder: Path, *steps: str, wanted: str) -> list[tuple[str, ...]]:
    """Follow a machine while `ip` does the steps; return the local networks of each time it was told."""

    async def following() -> list[tuple[str, ...]]:
        told: list[tuple[str, ...]] = []
        with HostWatch(SETTINGS, folder) as watch:
            watch.look()
            task = asyncio.create_task(
                watch.run(lambda: told.append(tuple(map(str, watch.host().local_networks))))
            )
            await asyncio.to_thread(host.ip, *steps)
            await until(lambda: told and wanted in told[-1], f"{wanted} among local networks")
            task.cancel()
            return told

    with host.entered():
        return run(following())


def test_a_network_that_comes_is_told_once_for_all_that_comes_with_it(host: Host, tmp_path: Path) -> None:
    steps = [
        "link add br9 type bridge",
        "link set br9 up",
        *(f"address add 10.9.{one}.1/24 dev br9" for one in range(50)),
    ]
    told = follow(host, tmp_path, *steps, wanted="10.9.49.0/24")
    assert len(told) < 10


def test_an_overrun_is_a_change(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = wire.Socket.receive
    overrun = []

    def receive(socket: wire.Socket, flags: int = 0) -> list[wire.Received]:
        if flags and not overrun:
            overrun.append(socket)
            raise wire.Overrun(105)
        return real(socket, flags)

    monkeypatch.setattr(wire.Socket, "receive", receive)
    follow(
        host,
        tmp_path,
        "link add br9 type bridge",
        "link set br9 up",
        "address add 10.9.0.1/24 dev br9",
        wanted="10.9.0.0/24",
    )
    assert overrun


@pytest.mark.parametrize(("took", "pause"), [(0.5, 5.0), (30.0, 60.0)])
def test_a_look_that_takes_long_is_followed_by_a_pause_that_has_an_end(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took: float, pause: float
) -> None:
    async def looking() -> float:
        with HostWatch(SETTINGS, tmp_path) as watch:
            watch.look(at_once=True)
            clock = [0.0]

            def look() -> None:
                clock[0] += took

            monkeypatch.setattr(watch, "look", look)
            monkeypatch.setattr("svcdns.proxy.host.time", SimpleNamespace(monotonic=lambda: clock[0]))
            return await watch._next_look(lambda: None)

    with host.entered():
        assert asyncio.run(looking()) == pause


def test_two_may_look_at_once(host: Host, tmp_path: Path) -> None:
    async def looking() -> None:
        with HostWatch(SETTINGS, tmp_path) as watch:
            looks = [asyncio.to_thread(watch.look) for _ in range(200)]
            found = await asyncio.gather(*looks)
            assert {len(one.local_networks) for one in found} == {2}

    with host.entered():
        run(looking())


def test_a_route_of_ours_that_somebody_takes_out_comes_back(host: Host, tmp_path: Path) -> None:
    async def following() -> None:
        with HostWatch(SETTINGS, tmp_path) as watch:
            watch.look()
            task = asyncio.create_task(watch.run(lambda: None))
            await asyncio.to_thread(host.ip, "route del 10.96.0.0/12 dev lo")
            await until(lambda: RANGES[0] in own_routes(host), "the route")
            task.cancel()

    with host.entered():
        run(following())


def test_without_rights_it_says_so_and_the_host_is_found_all_the_same(host: Host, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from ipaddress import ip_network\n"
        "from svcdns.proxy.host import HostWatch, HostSettings\n"
        "settings = HostSettings(cluster_ranges=(ip_network('10.96.0.0/12'),))\n"
        "watch = HostWatch(settings, Path('/nonexistent'))\n"
        "print(watch.look().node_addresses[0].hex(), *watch.complaints)"
    )
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    text = said(host, *words, sys.executable, "-c", program)
    assert "c0a84d01" in text and "10.96.0.0/12 gets no route of ours: Operation not permitted" in text
