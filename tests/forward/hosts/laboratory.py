"""A network of its own: a server's host and clients' hosts, each a network namespace, on one bridge.

    with Laboratory(ipv6=True) as laboratory:
        with laboratory.server.entered():
            ...                                     # sockets and processes made here live on that host
        host = laboratory.host(ndots=5)             # its resolv.conf names the server
        host.run("getent", "ahosts", "web")

Rules: nothing of the machine is touched but /run/netns and /etc/netns, both under names that carry the
test's own process.  What a killed run left behind is removed by the next.  Nothing sleeps for a
fixed time: a host is handed out when it reaches the server.
"""

from collections.abc import Iterator
from functools import partial
from typing import Self

from toolbox.hosts import Host, remove, sweep
from toolbox.waiting import wait_for

SEARCH = "default.svc.cluster.local svc.cluster.local cluster.local"

_BRIDGE = "02:00:00:00:00:01"


class Laboratory:
    """A server's host and, when asked for, clients' hosts; a context manager that removes them all."""

    def __init__(self, *, ipv6: bool) -> None:
        """Without `ipv6` no host has any IPv6 address but ::1."""
        self.ipv6 = ipv6
        self.addresses = ("10.99.0.1", "fd99::1") if ipv6 else ("10.99.0.1",)
        """Of the server's host."""

    def __enter__(self) -> Self:
        sweep()
        self._hosts: list[Host] = []
        try:
            self.server = self._new()
            # An address of its own: else each port that is added may change it, and hosts that know the
            # former one reach nobody for half a minute.
            bridge = f"link add br0 address {_BRIDGE} type bridge mcast_snooping 0"
            self.server.ip(bridge, *self._interface("br0", 1))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def host(self, *, ndots: int, nameserver: str = "", options: str = "") -> Host:
        """Add a client's host, its only nameserver the server's host (by its last address)."""
        made = self._new()
        number = len(self._hosts) + 8
        self.server.ip(
            f"link add port{number} type veth peer name eth0 netns {made.name}",
            f"link set port{number} master br0 up",
        )
        made.ip(*self._interface("eth0", number))
        made.address = f"10.99.0.{number}"
        asked = nameserver or self.addresses[-1]
        words = f"ndots:{ndots} {options}".strip()
        made.write("resolv.conf", f"nameserver {asked}\nsearch {SEARCH}\noptions {words}\n")
        made.write("hosts", "127.0.0.1 localhost\n")
        made.write("nsswitch.conf", "hosts: files dns\n")  # and not a resolver of the machine
        for address in self.addresses:
            wait_for(partial(made.reaches, address), f"{made.name} to reach {address}")
        return made

    def close(self) -> None:
        """Remove all hosts, and end what still runs there."""
        for host in self._hosts:
            remove(host)
        self._hosts = []

    def _new(self) -> Host:
        made = Host()
        self._hosts.append(made)
        return made

    def _interface(self, name: str, number: int) -> Iterator[str]:
        """Yield what gives an interface its addresses; without duplicate detection they work at once."""
        if not self.ipv6:
            yield f"link set {name} addrgenmode none"
        yield f"link set {name} up"
        yield f"address add 10.99.0.{number}/24 dev {name}"
        if self.ipv6:
            yield f"address add fd99::{number:x}/64 dev {name} nodad"
