"""The socket of netlink, where the kernel's answers are other than they should be."""

import errno
import struct

import pytest

from svcdns.netlink import wire
from svcdns.netlink.wire import (
    ACK,
    DUMP,
    NETFILTER,
    NLMSG_NOOP,
    Malformed,
    Message,
    Overrun,
    Received,
    Socket,
)


def test_an_answer_that_never_comes_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_PATIENCE", struct.pack("@ll", 0, 10_000))
    with Socket(NETFILTER) as socket:
        with pytest.raises(Overrun) as raised:
            socket.exchange([Message(NLMSG_NOOP, DUMP, b"")])  # the kernel ignores it
        assert raised.value.errno == errno.ETIMEDOUT
        assert socket.exchange([Message(NLMSG_NOOP, ACK, b"")]) == []


def test_an_answer_without_its_code_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Socket(NETFILTER) as socket:
        monkeypatch.setattr(socket, "receive", lambda flags: [Received(wire.NLMSG_ERROR, 0, 1, b"\0")])
        with pytest.raises(Malformed):
            socket.exchange([Message(NLMSG_NOOP, ACK, b"")])


def test_numbers_of_messages_begin_anew_when_they_run_out() -> None:
    with Socket(NETFILTER) as socket:
        socket._sequence = wire._SEQUENCE_MASK - 1
        for _ in range(3):
            assert socket.exchange([Message(NLMSG_NOOP, ACK, b"")] * 2) == []
        assert socket._sequence == 4
