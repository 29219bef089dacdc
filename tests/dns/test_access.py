"""Who may ask for what: longest prefix, families, odd addresses, and what a worker remembers."""

import time
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.config.acl import allows, rules_of
from svcdns.config.sections import AclConfig, Config, DnsConfig, ForwardConfig
from svcdns.dns import access
from svcdns.dns.access import FORWARD, NAMES, TRANSFER, Access, Rights

ALL = NAMES | FORWARD | TRANSFER


def rights(address: str, *, forwards: bool = True, **acl: tuple[str, ...]) -> int:
    return Access(AclConfig(**acl), forwards=forwards).rights(address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", NAMES | FORWARD),
        ("127.255.0.9", NAMES | FORWARD),
        ("::1", NAMES | FORWARD),
        ("10.1.2.3", NAMES | FORWARD),
        ("172.16.0.1", NAMES | FORWARD),
        ("172.31.255.255", NAMES | FORWARD),
        ("172.32.0.0", NAMES),
        ("192.168.9.9", NAMES | FORWARD),
        ("169.254.0.1", NAMES | FORWARD),
        ("100.64.0.1", NAMES | FORWARD),
        ("100.128.0.0", NAMES),
        ("fd00::1", NAMES | FORWARD),
        ("fe80::1", NAMES | FORWARD),
        ("fe80::1%eth0", NAMES | FORWARD),
        ("192.0.2.1", NAMES),
        ("9.9.9.9", NAMES),
        ("2001:db8::1", NAMES),
        ("::2", NAMES),
    ],
)
def test_by_default_strangers_get_our_own_names_only(address: str, expected: int) -> None:
    assert Access.of(Config()).rights(address) == expected


def test_the_longest_prefix_decides_whatever_the_order() -> None:
    names = ("any", "!10.0.0.0/8", "10.1.0.0/16", "!10.1.1.1")
    for order in (names, names[::-1]):
        for address, allowed in [
            ("192.0.2.1", True),
            ("10.0.0.1", False),
            ("10.1.0.1", True),
            ("10.1.1.1", False),
            ("10.1.1.2", True),
        ]:
            assert bool(rights(address, names=order) & NAMES) is allowed, address


def test_an_address_in_no_network_is_refused() -> None:
    assert rights("192.0.2.1", names=("loopback",), forward=(), transfer=()) == 0
    assert rights("2001:db8::1", names=("0.0.0.0/0",)) == 0


@pytest.mark.parametrize("address", ["::ffff:10.1.1.1", "::ffff:10.1.1.1%eth0", "::FFFF:0a01:0101"])
def test_ipv4_inside_ipv6_is_ipv4(address: str) -> None:
    assert rights(address, names=("10.1.1.1",)) == NAMES | FORWARD
    assert rights(address, names=("::/0",), forward=()) == 0


@pytest.mark.parametrize("text", ["", "x", "%", "%eth0", "10.1.1", "10.1.1.1:53", "[::1]", "\0", "1" * 5000])
def test_what_is_no_address_has_no_rights(text: str) -> None:
    assert rights(text, names=("any",), forward=("any",), transfer=("any",)) == 0


def test_forwarding_is_nobody_s_where_nothing_is_forwarded() -> None:
    assert rights("127.0.0.1", forwards=False) == NAMES
    off = Config(forward=ForwardConfig(upstreams=()))
    assert Access.of(off).rights("127.0.0.1") == NAMES


def test_transfer_to_is_a_short_form_of_acl_transfer() -> None:
    dns = DnsConfig(transfer_to=(ip_network("192.0.2.1"),))
    both = Access.of(Config(dns=dns, acl=AclConfig(transfer=("198.51.100.0/24", "!198.51.100.7"))))
    for address, allowed in [
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("198.51.100.1", True),
        ("198.51.100.7", False),
        ("127.0.0.1", False),
    ]:
        assert bool(both.rights(address) & TRANSFER) is allowed, address


Networks = st.one_of(
    st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 32)).map(
        lambda drawn: str(ip_network((drawn[0], drawn[1]), strict=False))
    ),
    st.tuples(st.integers(0, (1 << 128) - 1), st.integers(0, 128)).map(
        lambda drawn: str(ip_network((drawn[0], drawn[1]), strict=False))
    ),
)


@given(st.dictionaries(Networks, st.booleans(), max_size=12), st.data())
def test_it_decides_as_the_plainest_way_does(drawn: dict[str, bool], data: st.DataObject) -> None:
    texts = tuple(text if allowed else f"!{text}" for text, allowed in drawn.items())
    inside = [ip_network(text).network_address for text in drawn]
    inside += [ip_network(text).broadcast_address for text in drawn]
    edge = st.sampled_from(inside) if inside else st.nothing()
    address = data.draw(edge | st.ip_addresses())
    if address.version == 6 and address.ipv4_mapped:
        return
    assert bool(rights(str(address), names=texts) & NAMES) is allows(rules_of(texts), address)


@given(st.text(max_size=45))
def test_no_text_does_more_than_have_no_rights(text: str) -> None:
    assert rights(text) in (0, NAMES, NAMES | FORWARD)


def test_rights_are_worked_out_once_for_each_client() -> None:
    asked: list[str] = []

    class Counting(Access):
        def rights(self, address: str) -> int:
            asked.append(address)
            return super().rights(address)

    table = Rights(Counting(AclConfig(), forwards=True))
    assert [table["10.0.0.1"], table["10.0.0.1"], table["192.0.2.1"]] == [NAMES | FORWARD] * 2 + [NAMES]
    assert asked == ["10.0.0.1", "192.0.2.1"]


def test_forged_addresses_cost_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_REMEMBERED", 100)
    table = Rights(Access(AclConfig(), forwards=True))
    for number in range(1_000):
        assert table[str(ip_address(number + (10 << 24)))] == NAMES | FORWARD
        assert len(table) <= 100


def test_ten_thousand_networks_cost_little() -> None:
    networks = tuple(f"{'!' if n % 2 else ''}10.{n >> 8}.{n & 255}.0/24" for n in range(10_000))
    begun = time.process_time()
    found = Access(AclConfig(names=networks), forwards=True)
    assert time.process_time() - begun < 5  # a fraction of a second; a quadratic way takes a minute
    assert found.rights("10.3.2.1") & NAMES
    assert not found.rights("10.3.3.1") & NAMES
