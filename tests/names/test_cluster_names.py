"""Keys of reverse names: those of the names that RFC 1035 section 3.5 and RFC 3596 section 2.5 say."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from svcdns.names.cluster_names import reverse_address, reverse_key
from svcdns.wire.key import key_of


@given(st.ip_addresses())
def test_the_key_of_an_address_is_that_of_its_reverse_name(address: IPv4Address | IPv6Address) -> None:
    assert reverse_key(address) == key_of(address.reverse_pointer)
    assert reverse_address(reverse_key(address)) == address
