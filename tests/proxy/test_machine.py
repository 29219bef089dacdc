"""The agent's machine: what of it cannot be put in order is logged, shown, and counted."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from proxy.machine import machine, said
from proxy.test_check import DOCKER, iptables
from toolbox.hosts import Host
from toolbox.waiting import run, until

from svcdns.config.sections import Config, ProxyConfig, ServicesConfig
from svcdns.proxy import changes_made, docker_jump
from svcdns.proxy.connection_metrics import connection_metrics
from svcdns.proxy.machine import KernelMachine

RANGE = ip_network("10.96.0.0/12")


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    with machine() as made:
        yield made


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_made, "DEFAULT_FOLDER", tmp_path / "run")


def config(folder: Path) -> Config:
    balanced = (ip_network("192.168.77.192/26"),)
    return Config(data=folder, services=ServicesConfig(load_balancer_ranges=balanced))


def test_nothing_is_set_up_before_the_ranges_are_known(host: Host, tmp_path: Path) -> None:
    with host.entered():
        made = KernelMachine(config(tmp_path), sets_up=True)
        assert said(host, "ip", "route", "show", "proto", "96") == ""
        made.ranges_are([RANGE])
        routes = said(host, "ip", "route", "show", "proto", "96")
    assert "10.96.0.0/12" in routes and "192.168.77.192/26" in routes
    assert RANGE in made.host().ranges


def test_an_engine_without_packet_rules_has_nothing_set_up(host: Host, tmp_path: Path) -> None:
    with host.entered():
        made = KernelMachine(config(tmp_path), sets_up=False)
        made.ranges_are([RANGE])
        assert said(host, "ip", "route", "show", "proto", "96") == ""
    assert made.host().node_addresses


def test_what_stands_in_the_way_is_logged_once_and_shown(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.ip("route add 10.100.0.0/16 dev br0")
    with host.entered():
        made = KernelMachine(config(tmp_path), sets_up=True)
        made.ranges_are([RANGE])
        made.ranges_are([RANGE])
    assert "to br0" in made.complaints()[0]
    assert caplog.text.count("to br0") == 1


def test_dockers_rules_are_passed_beside_the_event_loop_and_soon(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iptables(host, DOCKER)
    threads: list[threading.Thread] = []
    change = docker_jump.iptables.change

    def noted(*about: Any) -> None:
        threads.append(threading.current_thread())
        change(*about)

    monkeypatch.setattr(docker_jump.iptables, "change", noted)

    async def running() -> None:
        made = KernelMachine(config(tmp_path), sets_up=True)
        made.ranges_are([RANGE])
        task = asyncio.create_task(made.run(lambda: None))
        await until(lambda: len(threads) > 0, "the jump")
        task.cancel()

    with host.entered():
        run(running())
    assert threading.main_thread() not in threads


def test_forwarding_is_switched_on_once_the_ranges_are_known(host: Host, tmp_path: Path) -> None:
    wanted = replace(config(tmp_path), proxy=ProxyConfig(forwarding="enable"))
    with host.entered():
        switch = Path("/proc/sys/net/ipv4/ip_forward")
        switch.write_text("0")
        made = KernelMachine(wanted, sets_up=True)
        assert switch.read_text() == "0\n"
        made.ranges_are([RANGE])
        assert switch.read_text() == "1\n"


def test_what_was_changed_is_noted_where_this_process_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, expected in ((tmp_path / "run", tmp_path / "run"), (Path("/proc/svcdns"), tmp_path)):
        monkeypatch.setattr(changes_made, "DEFAULT_FOLDER", folder)
        monkeypatch.setattr("os.access", lambda path, _: "proc" not in str(path))
        assert changes_made.folder_for(tmp_path) == expected


def test_metrics_of_connections_are_there_with_an_engine_that_has_them() -> None:
    names = {metric.name for metric in connection_metrics(3)}
    assert "svcdns_proxy_flows_forgotten" in names
    assert list(connection_metrics(None)) == []
