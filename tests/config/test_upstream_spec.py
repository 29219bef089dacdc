"""How upstreams are written, and what is refused."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.config.upstream_spec import Spec, parse


@pytest.mark.parametrize(
    ("text", "spec", "canonical"),
    [
        ("9.9.9.9", Spec("udp", "9.9.9.9", 53), ""),
        ("9.9.9.9:53", Spec("udp", "9.9.9.9", 53), "9.9.9.9"),
        ("127.0.0.1:5353", Spec("udp", "127.0.0.1", 5353), ""),
        ("2001:DB8:0::1", Spec("udp", "2001:db8::1", 53), "2001:db8::1"),
        ("[2001:db8::1]", Spec("udp", "2001:db8::1", 53), "2001:db8::1"),
        ("[2001:db8::1]:53", Spec("udp", "2001:db8::1", 53), "2001:db8::1"),
        ("[2001:db8::1]:54", Spec("udp", "2001:db8::1", 54), ""),
        ("::ffff:192.0.2.1", Spec("udp", "192.0.2.1", 53), "192.0.2.1"),
        ("fe80::1%eth0", Spec("udp", "fe80::1%eth0", 53), ""),
        ("[fe80::1%eth0]:5353", Spec("udp", "fe80::1%eth0", 5353), ""),
        ("tcp://192.0.2.1", Spec("tcp", "192.0.2.1", 53), ""),
        ("TCP://[::1]:5353", Spec("tcp", "::1", 5353), "tcp://[::1]:5353"),
        ("tls://1.1.1.1", Spec("tls", "1.1.1.1", 853), ""),
        ("tls://2001:db8::1", Spec("tls", "2001:db8::1", 853), "tls://[2001:db8::1]"),
        (
            "tls://9.9.9.9:8853#DNS.quad9.net.",
            Spec("tls", "9.9.9.9", 8853, server_name="dns.quad9.net"),
            "tls://9.9.9.9:8853#dns.quad9.net",
        ),
        ("tls://dns.quad9.net", Spec("tls", "dns.quad9.net", 853), ""),
        (
            "https://DNS.Example/Dns-Query",
            Spec("https", "dns.example", 443, "/Dns-Query"),
            "https://dns.example/Dns-Query",
        ),
        ("https://dns.example:8443/q?t=1", Spec("https", "dns.example", 8443, "/q?t=1"), ""),
        ("https://[2001:db8::1]/q", Spec("https", "2001:db8::1", 443, "/q"), ""),
        (
            "https://dns.example/q#[2001:db8::1]",
            Spec("https", "dns.example", 443, "/q", connect="2001:db8::1"),
            "https://dns.example/q#2001:db8::1",
        ),
        ("/etc/resolv.conf", Spec("file", path="/etc/resolv.conf"), ""),
    ],
)
def test_what_may_be_written(text: str, spec: Spec, canonical: str) -> None:
    assert parse(text) == spec
    assert str(spec) == (canonical or text)
    assert parse(str(spec)) == spec


REFUSED_WORDS = """
. resolver dns.example 9.9.9 9.9.9.9,8.8.8.8 9.9.9.9/32 9.9.9.9#a [9.9.9.9] [::1 []:53 [::1]53
0.0.0.0 :: 224.0.0.1 ff02::fb 255.255.255.255 ::ffff:0.0.0.0 fe80::1 2001:db8::1%eth0 fe80::1% fe80::1%e/x
9.9.9.9: 9.9.9.9:0 9.9.9.9:65536 9.9.9.9:-1 9.9.9.9:５３ 9.9.9.9:dns 9.9.9.9:5:5 [::1]:0 [::1]:
udp://9.9.9.9 quic://9.9.9.9 ://9.9.9.9 tcp:// tcp://dns.example tcp://9.9.9.9/ http://a.example/q
tls:// tls://9.9.9.9# tls://dns.example#other.example tls://9.9.9.9#1.1.1.1 tls://a..b tls://1.2.3
tls://9.9.9.9/x tls://user@dns.example tls://-a.example
https://dns.example https:///q https://user:pw@dns.example/q https://dns.example?x https://a/%zz
https://dns.example/q{?dns} https://dns.example:0/q https://dns.example/q# https://a/q#b
/ /etc/
"""
REFUSED = [
    *REFUSED_WORDS.split(),
    *("", " ", "9.9.9.9 ", " 9.9.9.9", "fe80::1%a b", "https://dns.example/q q", "/etc/a\nb", "/a\0b"),
    "tls://" + "a" * 64,
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_may_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"allowed: "):
        parse(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("9.9.9.9#5353", "9.9.9.9:5353"),
        ("9.9.9.9@5353", "9.9.9.9:5353"),
        ("9.9.9.9#53", "9.9.9.9"),
        ("tcp://9.9.9.9@5353", "tcp://9.9.9.9:5353"),
        ("2001:db8::1#5353", "[2001:db8::1]:5353"),
        ("[2001:db8::1]@5353", "[2001:db8::1]:5353"),
        ("tls://9.9.9.9#8853", "tls://9.9.9.9:8853"),
        ("tls://9.9.9.9@8853#dns.quad9.net", "tls://9.9.9.9:8853#dns.quad9.net"),
        ("9.9.9.9@853#dns.quad9.net", "tls://9.9.9.9#dns.quad9.net"),
    ],
)
def test_the_ports_of_dnsmasq_and_unbound_are_understood_but_not_taken(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match="a port stands behind a colon") as caught:
        parse(text)
    assert f"did you mean {meant}? allowed: " in str(caught.value)


@pytest.mark.parametrize(
    "text", ["9.9.9.9#0", "9.9.9.9#99999", "9.9.9#53", "fe80::1@53", "0.0.0.0#53", "9.9.9.9#a"]
)
def test_nothing_is_guessed_that_is_no_upstream(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: ") as caught:
        parse(text)
    assert "did you mean" not in str(caught.value)


@given(st.text() | st.from_regex(r"(tcp|tls|https)://[^ ]{0,20}") | st.text("019.:[]#/%@abctls", max_size=30))
def test_any_text_is_refused_or_has_one_spelling(text: str) -> None:
    try:
        spec = parse(text)
    except ValueError as wrong:
        assert "allowed: " in str(wrong) and len(str(wrong)) < 600
    else:
        assert parse(str(spec)) == spec and str(parse(str(spec))) == str(spec)


def test_where_it_connects_to() -> None:
    assert parse("https://dns.example/q#192.0.2.1").address == "192.0.2.1"
    assert parse("https://192.0.2.1/q").address == "192.0.2.1"
    assert parse("tls://dns.example").address == ""
    assert parse("/etc/resolv.conf").address == ""
    assert parse("https://[::1]:8443/q").url == "https://[::1]:8443/q"


def test_reading_them_takes_the_standard_library_only() -> None:
    code = (
        "import sys, svcdns.config.upstream_spec;"
        "print([m for m in ('dns', 'dnslib', 'httpx', 'lmdb', 'asyncio') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
