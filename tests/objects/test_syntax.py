"""Syntax of names, ports and addresses; the texts are Kubernetes' own."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.objects import syntax


@pytest.mark.parametrize("text", ["a", "0", "my-name", "a" * 63])
def test_labels(text: str) -> None:
    assert syntax.label_errors(text) == []


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a.b", "a_b", "é", "a\n", "a" * 64])
def test_no_labels(text: str) -> None:
    assert syntax.label_errors(text)


def test_a_label_that_is_wrong_and_long_has_two_errors() -> None:
    long, wrong = syntax.label_errors("_" * 64)
    assert long == "must be no more than 63 bytes"
    assert wrong == (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
        "and must start and end with an alphanumeric character "
        "(e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )


def test_subdomains() -> None:
    assert syntax.subdomain_errors("a.b-c.0") == []
    assert syntax.subdomain_errors("a" * 253) == []
    assert syntax.subdomain_errors("a" * 254) == ["must be no more than 253 bytes"]
    assert syntax.subdomain_errors("a..b")


def test_domains_must_fit_into_dns() -> None:
    assert syntax.domain_errors("www.example.com.") == []
    assert syntax.domain_errors("a" * 63 + ".example") == []
    assert syntax.domain_errors("a" * 64 + ".example") == ["each label must be no more than 63 bytes"]
    assert syntax.domain_errors("www.example.com..")


@pytest.mark.parametrize("text", ["http", "a", "8a", "a-b-c", "a" * 15])
def test_port_names(text: str) -> None:
    assert syntax.port_name_errors(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a" * 16, "must be no more than 15 bytes"),
        ("80", "must contain at least one letter (a-z)"),
        ("a--b", "must not contain consecutive hyphens"),
        ("-a", "must not begin or end with a hyphen"),
        ("Http", "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
    ],
)
def test_no_port_names(text: str, message: str) -> None:
    assert syntax.port_name_errors(text) == [message]


@pytest.mark.parametrize("text", ["a", "A.b_c-d", "example.com/My.Name", "a" * 63, "x" * 253 + "/y"])
def test_keys(text: str) -> None:
    assert syntax.key_errors(text) == []


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "name part must be non-empty"),
        ("/a", "prefix part must be non-empty"),
        ("a/", "name part must be non-empty"),
        ("a/b/c", "a qualified name must consist of"),
        ("A.com/b", "prefix part a lowercase RFC 1123 subdomain"),
        ("a" * 64, "name part must be no more than 63 bytes"),
        ("-a", "name part must consist of alphanumeric"),
        ("x" * 1000, "must be no more than 317 bytes"),
    ],
)
def test_no_keys(text: str, start: str) -> None:
    assert syntax.key_errors(text)[0].startswith(start)


def test_label_values() -> None:
    assert syntax.label_value_errors("") == []
    assert syntax.label_value_errors("My_value.1") == []
    assert syntax.label_value_errors("a b")
    assert syntax.label_value_errors("a" * 64) == ["must be no more than 63 bytes"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.01", "must not have leading 0s"),
        ("::ffff:10.0.0.1", "must not be an IPv4-mapped IPv6 address"),
        ("fe80::1%eth0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff) without a zone"),
        ("10.0.0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("10.0.0.256", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("1" * 100_000, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    ],
)
def test_no_addresses(text: str, message: str) -> None:
    assert syntax.address_errors(text) == [message]
    assert syntax.parse_address(text) is None


@given(st.ip_addresses())
def test_every_address_is_one(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = address.version == 6 and address.ipv4_mapped is not None
    assert (syntax.address_errors(str(address)) == []) is not mapped


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "10.0.0.1", "fe80::1", "169.254.1.1", "8.8.8.8"])
def test_unicast_includes_loopback(text: str) -> None:
    assert syntax.unicast_errors(text) == []


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "x"])
def test_no_unicast(text: str) -> None:
    assert syntax.unicast_errors(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "fe80::1", "169.254.1.1", "239.1.1.1", "0.0.0.0"])
def test_not_routable(text: str) -> None:
    assert syntax.routable_errors(text)


ALMOST = st.from_regex(r"[0-9a-fx:. \x00%/-]{0,20}", fullmatch=True)
SOUND = st.ip_addresses().map(str)


@given(st.one_of(st.text(max_size=20), ALMOST, SOUND, SOUND.map(lambda text: "0" + text)))
def test_an_address_is_what_the_standard_library_takes_for_one(text: str) -> None:
    try:
        expected = ipaddress.ip_address(text)
    except ValueError:
        with pytest.raises(ValueError):
            syntax.address_of(text)
    else:
        assert syntax.address_of(text) == expected
