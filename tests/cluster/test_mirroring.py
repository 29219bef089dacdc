"""Which slices Endpoints are mirrored into, beside a second reading of the controller's rules."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.cluster.mirroring import MOST_ADDRESSES, mirrored

Object = dict[str, Any]

IPS = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:DB8:0::1", "2001:db8::2"]
TARGETS = [None, {"kind": "Pod", "name": "a", "uid": "1"}, {"kind": "Pod", "name": "b", "uid": "2"}]
PORTS = [
    {"name": "http", "port": 80, "protocol": "TCP"},
    {"name": "http", "port": 8080, "protocol": "TCP"},
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns", "port": 53, "protocol": "TCP"},
    {"name": "web", "port": 81, "protocol": "TCP", "appProtocol": "http"},
]


@st.composite
def addresses(draw: st.DrawFn) -> Object:
    address: Object = {"ip": draw(st.sampled_from(IPS))}
    if (target := draw(st.sampled_from(TARGETS))) is not None:
        address["targetRef"] = target
    if draw(st.booleans()):
        address["hostname"] = draw(st.sampled_from(["x", "y"]))
    if draw(st.booleans()):
        address["nodeName"] = "n"
    return address


@st.composite
def subsets(draw: st.DrawFn) -> Object:
    ready, rest = draw(st.lists(addresses(), max_size=3)), draw(st.lists(addresses(), max_size=2))
    ports = draw(st.lists(st.sampled_from(PORTS), max_size=3, unique_by=json.dumps))
    subset = {"addresses": ready, "notReadyAddresses": rest, "ports": ports}
    return {field: found for field, found in subset.items() if found}


def repacked(given_subsets: list[Object]) -> dict[tuple[str, str], list[Object]]:
    """As Kubernetes' RepackSubsets goes about it, port by port: (address, uid) -> its ports, "" for none."""
    first: dict[tuple[str, str], Object] = {}
    by_port: dict[str, dict[tuple[str, str], bool]] = {}
    for subset in given_subsets:
        for port in subset.get("ports") or [None]:
            for field, ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(field, []):
                    key = (str(ip_address(address["ip"])), address.get("targetRef", {}).get("uid", ""))
                    first.setdefault(key, address)
                    states = by_port.setdefault(json.dumps(port, sort_keys=True), {})
                    if key not in states or states[key]:
                        states[key] = ready
    out: dict[tuple[str, str], list[Object]] = {}
    for port, states in by_port.items():
        for (ip, _), ready in states.items():
            out.setdefault((ip, port), []).append({"ready": ready})
    return out


@given(st.lists(subsets(), max_size=5))
def test_every_address_has_its_ports_and_is_ready_where_all_say_so(given_subsets: list[Object]) -> None:
    found = mirrored({"metadata": {}, "subsets": given_subsets})
    assert found.skipped == 0
    expected = repacked(given_subsets)
    seen: dict[tuple[str, str], set[bool]] = {}
    for each in found.slices:
        for endpoint in each["endpoints"]:
            (ip,) = endpoint["addresses"]
            assert ip == str(ip_address(ip)), "in canonical form"
            for port in each["ports"] or [None]:
                at = (ip, json.dumps(port, sort_keys=True))
                seen.setdefault(at, set()).add(endpoint["conditions"]["ready"])
    for (ip, port), states in expected.items():
        readiness = {state["ready"] for state in states}
        if port == "null":  # an address without ports may have got those of others with the same addresses
            continue
        twin = json.loads(port)["name"] == "http"  # of one name and protocol only one number can be mirrored
        assert twin or seen[(ip, port)] <= readiness
        assert twin or (True in readiness) is (True in seen[(ip, port)])
    assert {ip for ip, _ in seen} == {ip for ip, _ in expected}
    assert {at for at in seen if at[1] != "null"} <= set(expected)


@given(st.lists(subsets(), max_size=5))
def test_slices_are_as_the_api_takes_them(given_subsets: list[Object]) -> None:
    found = mirrored({"metadata": {}, "subsets": given_subsets}).slices
    for each in found:
        names = [port["name"] for port in each["ports"]]
        assert len(set(names)) == len(names), "a name stands once"
        families = {f"IPv{ip_address(endpoint['addresses'][0]).version}" for endpoint in each["endpoints"]}
        assert families == {each["addressType"]}
        identities = [json.dumps(endpoint, sort_keys=True) for endpoint in each["endpoints"]]
        assert len(set(identities)) == len(identities)
        readiness = [endpoint["conditions"]["ready"] for endpoint in each["endpoints"]]
        assert readiness == sorted(readiness, reverse=True), "ready ones first"
    keys = [json.dumps([each["addressType"], each["ports"]]) for each in found]
    assert len(set(keys)) == len(keys), "one slice a family and set of ports"


def subset(*ips: str, ports: list[Object] = PORTS[:1]) -> Object:
    return {"addresses": [{"ip": ip} for ip in ips], "ports": ports}


def test_ports_of_several_subsets_come_together() -> None:
    """As in Kubernetes' own example: what has the same addresses is one set of ports."""
    http, dns = PORTS[0], PORTS[2]
    given_subsets = [subset("192.0.2.1", ports=[http]), subset("192.0.2.1", ports=[dns])]
    (found,) = mirrored({"metadata": {}, "subsets": given_subsets}).slices
    assert found["ports"] == [http, dns]
    apart = [subset("192.0.2.1", "192.0.2.2", ports=[http]), subset("192.0.2.1", ports=[dns])]
    found_apart = mirrored({"metadata": {}, "subsets": apart}).slices
    assert [(each["ports"], len(each["endpoints"])) for each in found_apart] == [([http], 2), ([dns], 1)]


def test_one_name_with_two_protocols_is_two_slices() -> None:
    found = mirrored({"metadata": {}, "subsets": [subset("192.0.2.1", ports=PORTS[2:4])]}).slices
    assert [each["ports"] for each in found] == [[PORTS[2]], [PORTS[3]]]


def test_what_stands_as_ready_and_not_ready_is_not_ready() -> None:
    both = {"addresses": [{"ip": "192.0.2.1"}], "notReadyAddresses": [{"ip": "192.0.2.1"}]}
    (found,) = mirrored({"metadata": {}, "subsets": [both]}).slices
    assert [endpoint["conditions"] for endpoint in found["endpoints"]] == [{"ready": False}]


@pytest.mark.parametrize(("ready", "rest"), [(MOST_ADDRESSES + 1, 5), (MOST_ADDRESSES - 1, 5), (600, 400)])
def test_a_set_of_ports_has_a_thousand_addresses(ready: int, rest: int) -> None:
    """Of both families together, ready ones first."""
    ips = [f"10.{i >> 8}.{i & 255}.1" if i % 2 else f"2001:db8::{i:x}" for i in range(ready + rest)]
    one = {
        "notReadyAddresses": [{"ip": ip} for ip in ips[ready:]],
        "addresses": [{"ip": ip} for ip in ips[:ready]],
    }
    found = mirrored({"metadata": {}, "subsets": [one]})
    states = [e["conditions"]["ready"] for each in found.slices for e in each["endpoints"]]
    assert len(states) == MOST_ADDRESSES and sum(states) == min(ready, MOST_ADDRESSES)
    assert found.skipped == ready + rest - MOST_ADDRESSES


def test_much_is_put_in_order_in_little_time() -> None:
    """Many ports and addresses, each subset with ports of others: not every port with every address again."""
    ports = [{"name": f"p{i}", "port": i + 1, "protocol": "TCP"} for i in range(100)]
    many = [subset(f"10.0.{i >> 8}.{i & 255}", ports=ports[: i + 1]) for i in range(100)]
    found = mirrored({"metadata": {}, "subsets": many})
    assert sum(len(each["ports"]) for each in found.slices) == 100
