"""Addresses that are answered for, as `ip neigh` shows them, and what is said of them unasked."""

import contextlib
import errno
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolbox.hosts import Host, remove

from svcdns.netlink import neighbours, route, wire
from svcdns.netlink.neighbours import Proxy

HARDWARE = bytes.fromhex("020000007701")


@pytest.fixture
def host(may_make_hosts: None) -> Iterator[Host]:
    made = Host()
    made.ip("link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up")
    try:
        yield made
    finally:
        remove(made)


def shown(host: Host) -> str:
    words = ["ip", "-n", host.name]
    texts = [
        subprocess.run([*words, family, "neigh", "show", "proxy"], capture_output=True, text=True)
        for family in ("-4", "-6")
    ]
    return "".join(one.stdout for one in texts)


@pytest.mark.parametrize("address", ["192.168.77.200", "fd77::c8"])
def test_an_address_is_answered_for_until_it_is_no_more(host: Host, address: str) -> None:
    with host.entered(), wire.Socket(wire.ROUTE) as kernel:
        index = next(link.index for link in route.links(kernel) if link.name == "eth0")
        one = Proxy(index, ip_address(address).packed, 96)
        neighbours.add(kernel, one)
        neighbours.add(kernel, one)
        assert f"{address} dev eth0" in shown(host)
        assert neighbours.proxies(kernel) == [one]
        neighbours.delete(kernel, one)
        assert (shown(host), neighbours.proxies(kernel)) == ("", [])
        with pytest.raises(wire.NetlinkError) as refused:
            neighbours.delete(kernel, one)
        assert refused.value.errno == errno.ENOENT


def test_entries_of_others_are_told_apart(host: Host) -> None:
    host.ip("neigh add proxy 192.168.77.9 dev eth0", "neigh add proxy 192.168.77.8 dev eth0 protocol static")
    with host.entered(), wire.Socket(wire.ROUTE) as kernel:
        assert {one.protocol for one in neighbours.proxies(kernel)} == {0, 4}


def test_a_gratuitous_arp_is_a_request_and_a_reply_about_the_sender_itself() -> None:
    request, reply = neighbours.arp_frames(HARDWARE, bytes((192, 168, 77, 200)))
    assert request.hex() == (
        "ffffffffffff02000000770108060001080006040001020000007701c0a84dc8000000000000c0a84dc8"
    )
    assert reply[20:22] == b"\0\2" and reply[38:42] == bytes((192, 168, 77, 200))


def test_an_advertisement_has_a_sum_that_is_right_and_overrides() -> None:
    address = ip_address("fd77::c8").packed
    frame = neighbours.advertisement(HARDWARE, address)
    assert frame[:14].hex() == "33330000000102000000770186dd"
    ip, body = frame[14:54], frame[54:]
    assert (ip[6], ip[7], ip[8:24], len(body)) == (58, 255, address, 32)
    assert body[0] == 136 and body[4] & 0x20 and body[8:24] == address and body[26:] == HARDWARE
    pseudo = ip[8:40] + len(body).to_bytes(4, "big") + bytes((0, 0, 0, 58))
    assert neighbours.checksum(pseudo + body) == 0


@given(st.integers(1, 2**31 - 1), st.sampled_from([4, 16]), st.data(), st.integers(0, 255))
def test_any_proxy_reads_as_it_was_written(link: int, size: int, data: st.DataObject, protocol: int) -> None:
    one = Proxy(link, data.draw(st.binary(min_size=size, max_size=size)), protocol)
    assert neighbours.read_proxy(neighbours.packed(one)) == one


@given(st.binary(max_size=60))
def test_octets_of_any_kind_are_read_or_malformed(octets: bytes) -> None:
    with contextlib.suppress(wire.Malformed):
        neighbours.read_proxy(octets)
