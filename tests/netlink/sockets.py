"""Sockets to the kernel, in the network namespace of a host that a test has made."""

from collections.abc import Iterator
from contextlib import contextmanager

from toolbox.hosts import Host

from svcdns.netlink import wire


@contextmanager
def socket_on(host: Host, protocol: int) -> Iterator[wire.Socket]:
    """Open one there, for a body that stays in the test's own namespace."""
    with host.entered():
        made = wire.Socket(protocol)
    with made:
        yield made
