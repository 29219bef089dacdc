"""The nameservers of a resolv.conf: how it is read, and what becomes of them when it changes."""

import logging
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.config import own_address
from svcdns.config.own_address import is_local, own_listener
from svcdns.config.sections import Endpoint
from svcdns.forward import system_nameservers
from svcdns.forward.system_nameservers import MOST, ResolvConf, parse
from svcdns.system import watched_file
from svcdns.system.watched_file import signature


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "resolv.conf"


def test_reads_what_glibc_reads() -> None:
    text = b"""\
# nameserver 192.0.2.1
; nameserver 192.0.2.2
search example.org
nameserver 192.0.2.3
nameserver\t2001:DB8::53   # the second
nameserver fe80::1%eth0
 nameserver 192.0.2.4
nameservers 192.0.2.5
nameserver 192.0.2.3
options ndots:5
nameserver 192.0.2.6 192.0.2.7\r
"""
    assert parse(text) == (["192.0.2.3", "2001:db8::53", "fe80::1%eth0", "192.0.2.6"], [])


def test_a_wildcard_address_is_this_machine() -> None:
    assert parse(b"nameserver 0.0.0.0\nnameserver ::\n") == (["127.0.0.1", "::1"], [])


@pytest.mark.parametrize(
    "line",
    [
        "nameserver",
        "nameserver dns.example",
        "nameserver 1.2.3.4:53",
        "nameserver 224.0.0.1",
        "nameserver fe80::1",
    ],
)
def test_what_is_no_address_is_left_out(line: str) -> None:
    found, wrong = parse(f"{line}\nnameserver 192.0.2.3\n".encode())
    assert found == ["192.0.2.3"]
    assert len(wrong) == 1


@given(st.binary(max_size=2000) | st.text("nameserv 0123456789.:%\n\0").map(str.encode))
def test_any_octets_are_read(octets: bytes) -> None:
    found, _ = parse(octets + b"\nnameserver 192.0.2.3\n")
    assert "192.0.2.3" in found


def test_a_change_is_seen_once(file: Path) -> None:
    file.write_text("nameserver 192.0.2.3\n")
    conf = ResolvConf(file)
    assert conf.refresh()
    assert conf.nameservers == ("192.0.2.3",)
    assert not conf.refresh()
    file.write_text("nameserver 192.0.2.4\nnameserver 192.0.2.3\n")
    assert conf.refresh()
    assert not conf.refresh()
    assert conf.nameservers == ("192.0.2.4", "192.0.2.3")


def test_a_file_of_the_same_size_that_takes_its_place_is_seen(file: Path) -> None:
    file.write_text("nameserver 192.0.2.3\n")
    conf = ResolvConf(file)
    conf.refresh()
    other = file.with_name("new")
    other.write_text("nameserver 192.0.2.4\n")
    os.utime(other, ns=(0, file.stat().st_mtime_ns))
    other.replace(file)
    assert conf.refresh()
    assert conf.nameservers == ("192.0.2.4",)


def test_a_write_within_one_tick_of_the_clock_is_seen(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("nameserver 192.0.2.3\n")
    frozen = signature(file)
    monkeypatch.setattr(watched_file, "signature", lambda path: frozen)
    conf = ResolvConf(file)
    conf.refresh()
    file.write_text("nameserver 192.0.2.4\n")
    assert conf.refresh()
    assert conf.nameservers == ("192.0.2.4",)


def test_a_file_that_stays_is_not_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("nameserver 192.0.2.3\n")
    os.utime(file, (1, 1))  # long ago
    conf = ResolvConf(file)
    assert conf.refresh()
    monkeypatch.setattr(system_nameservers, "_octets", lambda path: pytest.fail("it is read again"))
    for _ in range(10):
        assert not conf.refresh()


def spoil_by_removing(file: Path) -> None:
    file.unlink()


def spoil_by_emptying(file: Path) -> None:
    file.write_text("")


def spoil_by_comments(file: Path) -> None:
    file.write_text("# nothing here\n")


def spoil_by_nul(file: Path) -> None:
    file.write_bytes(b"nameserver 192.0.2.9\0\n" + bytes(4096))


def spoil_by_size(file: Path) -> None:
    file.write_bytes(b"nameserver 192.0.2.9\n" + b"#" * (1 << 20))


def spoil_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def spoil_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def spoil_by_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


SPOILS = [
    spoil_by_removing,
    spoil_by_emptying,
    spoil_by_comments,
    spoil_by_nul,
    spoil_by_size,
    spoil_by_folder,
    spoil_by_pipe,
    spoil_by_loop,
]


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_broken_file_changes_nothing_and_is_told_once(
    spoil: object, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(spoil)
    file.write_text("nameserver 192.0.2.3\n")
    conf = ResolvConf(file)
    conf.refresh()
    caplog.clear()
    spoil(file)
    assert not any(conf.refresh() for _ in range(5))
    assert conf.nameservers == ("192.0.2.3",)
    (told,) = caplog.records
    assert told.levelno == logging.WARNING
    assert str(file) in told.getMessage()
    assert "still in use: 192.0.2.3" in told.getMessage()


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_broken_file_at_the_start_gives_no_list(
    spoil: object, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(spoil)
    file.write_text("")
    spoil(file)
    conf = ResolvConf(file)
    assert not any(conf.refresh() for _ in range(5))
    assert conf.nameservers == ()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_file_that_is_mended_is_taken(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    conf = ResolvConf(file)
    conf.refresh()
    file.mkdir()
    conf.refresh()
    file.rmdir()
    file.write_text("nameserver 192.0.2.3\n")
    assert conf.refresh()
    assert conf.nameservers == ("192.0.2.3",)
    assert "lists nameservers again" in caplog.text


def test_hundreds_of_lines_give_a_bounded_list(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("".join(f"nameserver 192.0.2.{n % 250 + 1}\n" for n in range(900)))
    conf = ResolvConf(file)
    conf.refresh()
    assert len(conf.nameservers) == MOST
    assert "more than 16 nameservers; 234 are left out" in caplog.text


# This server itself


def test_our_own_listener_is_left_out(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.3\n")
    conf = ResolvConf(file, [Endpoint("127.0.0.1", 53)])
    conf.refresh()
    assert conf.nameservers == ("192.0.2.3",)
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "127.0.0.1 is this server itself" in told
    assert "loop" in told
    assert "[forward] upstreams" in told


def test_a_file_that_lists_nobody_else_is_broken(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("nameserver 192.0.2.3\n")
    conf = ResolvConf(file, [Endpoint("127.0.0.1", 53)])
    conf.refresh()
    file.write_text("nameserver 127.0.0.1\n")
    assert not conf.refresh()
    assert conf.nameservers == ("192.0.2.3",)
    assert "no server but this one (127.0.0.1)" in caplog.text


def test_another_port_is_another_server(file: Path) -> None:
    file.write_text("nameserver 127.0.0.1\n")
    conf = ResolvConf(file, [Endpoint("127.0.0.1", 1053)])
    conf.refresh()
    assert conf.nameservers == ("127.0.0.1",)


def addresses_of_this_machine() -> list[str]:
    """Return an address of each family that isn't loopback, if there is one."""
    found = []
    for family, far in ((socket.AF_INET, "192.88.99.1"), (socket.AF_INET6, "2001:db8:ffff::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as routed:
            try:
                routed.connect((far, 53))
            except OSError:
                continue
            found.append(str(routed.getsockname()[0]))
    return found


def test_a_wildcard_listens_on_every_address_of_this_machine() -> None:
    own = [Endpoint("0.0.0.0", 53), Endpoint("::", 53)]
    for address in ["127.0.0.1", "127.9.9.9", "::1", *addresses_of_this_machine()]:
        assert own_listener(address, 53, own), address
    for address in ["192.0.2.201", "2001:db8::201", "9.9.9.9"]:
        assert own_listener(address, 53, own) is None, address
    assert own_listener("127.0.0.1", 5353, own) is None
    assert own_listener("::1", 53, own[:1]) is None, "a wildcard of IPv4 takes no IPv6"


def test_where_the_kernel_may_not_be_asked_binding_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(family: int, packed: bytes) -> int:
        raise PermissionError("no netlink here")

    monkeypatch.setattr(own_address, "_route_type", refused)
    for address in addresses_of_this_machine():
        assert is_local(address)
    assert not is_local("192.0.2.201")


def test_a_scope_that_is_not_here_is_another_machine() -> None:
    assert not is_local("fe80::1234%nowhere")
