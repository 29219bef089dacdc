"""The engine's JSON: what Docker and Podman say each in their own way means the same."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.sources.containers.engine_objects import (
    Attached,
    Container,
    ExposedPort,
    Published,
    inspected,
    listed,
)


def one_listed(tells_health: bool = True, **fields: Any) -> Container:
    found = listed(json.dumps([{"Id": "a" * 64, **fields}]).encode(), tells_health=tells_health)
    return found[0]


def one_inspected(before: Container | None = None, **fields: Any) -> Container:
    return inspected(json.dumps({"Id": "a" * 64, **fields}).encode(), before or Container("a" * 64, "a"))


def test_dockers_list_says_all_that_names_follow_from() -> None:
    found = one_listed(
        Names=["/web/db", "/shop-db-1"],
        State="running",
        Status="Up 2 minutes (health: starting)",
        Labels={"a": "b"},
        Ports=[
            {"PrivatePort": 5432, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 0, "Type": "tcp"},
        ],
        HostConfig={"NetworkMode": "shop_default"},
        NetworkSettings={
            "Networks": {"z": {"IPAddress": "10.0.0.2", "GlobalIPv6Address": "fd00::2"}, "a": None}
        },
    )
    assert (found.name, found.state, found.health) == ("shop-db-1", "running", "starting")
    assert found.exposed == (ExposedPort(80, "TCP"), ExposedPort(5432, "TCP"))
    assert found.published == tuple(Published(ExposedPort(80, "TCP"), ip, 8080) for ip in ("0.0.0.0", "::"))
    assert found.networks == (Attached("z", "10.0.0.2", "fd00::2"),)


@pytest.mark.parametrize(
    ("fields", "tells_health", "health"),
    [
        ({"Status": "Up 2 minutes"}, True, ""),
        ({"Status": "Up 2 minutes (healthy)"}, True, "healthy"),
        ({"Status": "Up 2 minutes (unhealthy)"}, False, "unhealthy"),
        ({"Status": "Up 2 minutes"}, False, None),  # Podman: an inspection tells (podman#27786)
        ({"Status": "Up 2 minutes (starting)"}, False, None),
        ({"Health": {"Status": "healthy"}, "Status": "Up"}, True, "healthy"),
        ({"Health": {"Status": "none"}, "Status": "Up"}, True, ""),
        ({"Health": {"Status": ""}, "Status": "Up"}, False, None),
        ({}, True, ""),
    ],
)
def test_health_in_a_list(fields: dict[str, Any], tells_health: bool, health: str | None) -> None:
    assert one_listed(tells_health, **fields).health == health


@pytest.mark.parametrize(
    ("status", "test", "health"),
    [
        ("", None, ""),  # podman#20029, #18792: an empty Health is no healthcheck
        ("none", None, ""),
        ("starting", ["CMD", "true"], "starting"),
        ("starting", ["NONE"], ""),  # podman#13578, #25034: for ever "starting" with --no-healthcheck
        ("starting", None, ""),
        ("starting", [], ""),
        ("healthy", ["CMD", "true"], "healthy"),
        ("unhealthy", ["CMD", "true"], "unhealthy"),
    ],
)
def test_starting_counts_only_where_something_is_checked(
    status: str, test: list[str] | None, health: str
) -> None:
    config = {"Healthcheck": {"Test": test} if test is not None else None}
    assert (
        one_inspected(State={"Status": "running", "Health": {"Status": status}}, Config=config).health
        == health
    )


def test_a_container_that_is_being_restarted_is_not_running() -> None:
    """weave#1977: `restarting` says Running=true."""
    assert (
        one_inspected(State={"Status": "running", "Running": True, "Restarting": True}).state == "restarting"
    )


def test_an_inspection_adds_what_podmans_list_lacks() -> None:
    found = one_inspected(
        State={"Status": "running", "StartedAt": "2026-01-01T00:00:00Z"},
        Config={"ExposedPorts": {"5432/tcp": {}, "53/udp": {}, "x": {}}},
        HostConfig={"NetworkMode": "container:" + "b" * 64},
        NetworkSettings={"Networks": {}, "Ports": {"9000/sctp": None}},
    )
    assert [(one.number, one.protocol) for one in found.exposed] == [
        (53, "UDP"),
        (5432, "TCP"),
        (9000, "SCTP"),
    ]
    assert (found.mode, found.started) == ("container:" + "b" * 64, "2026-01-01T00:00:00Z")


def test_the_last_words_of_a_healthcheck_are_short_and_on_one_line() -> None:
    log = [{"Output": "old"}, {"Output": "x" * 500 + "\nthe  end\n"}]
    found = one_inspected(State={"Status": "running", "Health": {"Status": "unhealthy", "Log": log}})
    assert len(found.health_log) == 200
    assert found.health_log.endswith("x the end")


def test_the_container_that_holds_a_pods_network_is_known() -> None:
    assert one_listed(Names=["/5c-infra"], Image="localhost/podman-pause:4.3.1-0").is_infra
    assert not one_listed(Names=["/my-infra"], Image="postgres").is_infra


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 99999) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
_words = ("Names", "State", "Status", "Ports", "Labels", "NetworkSettings", "HostConfig", "Health", "Config",
          "Created", "Image", "Name")  # fmt: skip


@given(st.dictionaries(st.sampled_from(_words), _json))
def test_whatever_an_engine_says_is_a_container_or_no_answer(fields: dict[str, Any]) -> None:
    for read in (one_listed, one_inspected):
        with suppress(msgspec.DecodeError):
            assert isinstance(read(**fields), Container)
