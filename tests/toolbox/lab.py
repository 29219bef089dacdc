"""A network with containers in it, for traffic to Services: hosts of its own, each a network namespace.

    with Lab(br_netfilter=True) as lab:
        lab.serve(lab.a1, "tcp", 8080)                  # it says who it is, and whom it sees
        lab.client.ask("tcp", "192.168.77.1", 30080)    # Answer(who="a1", seen="192.168.77.9")

       client                    node                     second
    192.168.77.9             192.168.77.1              192.168.77.2
         |                     |  |  |                   |  |
         +--------- LAN -------+--|--|-------------------+  |
                                  |  |                      |
                    br-a 10.244.0.1  br-b 10.245.0.1     br-far 10.246.0.1
                        |      |        |      |              |
                     a1 .5  a2 .6    b1 .5  b2 .6           far .5

IPv6 likewise: fd77::9, fd44::5, fd45::5, fd46::5.  `client` sends what is meant for SERVICES and
LB_ADDRESSES to `node`, and has no other way to the containers; the nodes forward, and know the way to each
other's.

Rules: as for `toolbox.hosts`.  Servers are sockets of one thread of the test, so they end with it.
"""

import contextlib
import selectors
import socket
import struct
import threading
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from toolbox.hosts import Host, remove, sweep
from toolbox.waiting import GUARD_SECONDS, wait_for

SERVICES = ("10.96.0.0/12", "fd96::/108")
"""Where cluster IPs may be taken from."""
LB_ADDRESSES = ("192.168.77.192/26", "fd77::c0/122")
"""Addresses of the LAN that no host has."""

_BRIDGE_SWITCHES = Path("/proc/sys/net/bridge")
BR_NETFILTER = (False, True) if _BRIDGE_SWITCHES.exists() else (None,)
"""What this kernel allows for the lab's `br_netfilter`."""
_LINGER_AND_RESET = struct.pack("ii", 1, 0)

MadeHost = TypeVar("MadeHost", bound=Host)


class Answer(NamedTuple):
    """What a server said: its host's name, and the address and port that it sees its client at."""

    who: str
    seen: str
    port: int


class Machine(Host):
    """A host with a name and one address a family."""

    def __init__(self, short: str, *addresses: str) -> None:
        """Make the namespace; its interfaces are made by the lab."""
        super().__init__()
        self.short = short
        self.addresses = {6 if ":" in address else 4: address for address in addresses}
        """By family: 4, 6."""

    def connect(
        self, protocol: str, address: str, port: int, seconds: float = GUARD_SECONDS
    ) -> socket.socket:
        """Return a connected socket of this host ("tcp", "udp").  Raises as `socket.connect` does."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        with self.entered():
            made = socket.socket(family, kind)
        try:
            made.settimeout(seconds)
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made

    def ask(self, protocol: str, address: str, port: int, seconds: float = GUARD_SECONDS) -> Answer:
        """Return what the server there says.  Raises ConnectionRefusedError, TimeoutError, other OSErrors."""
        with self.connect(protocol, address, port, seconds) as connected:
            return ask_again(connected)


def ask_again(connected: socket.socket) -> Answer:
    """Return what the server at the other end says now.  Raises OSError; EOFError where it hung up."""
    connected.send(b"who?\n")
    text = connected.recv(1000).decode()
    if not text:
        raise EOFError("the server closed the connection")
    who, seen, port = text.split()
    return Answer(who, seen.removeprefix("::ffff:"), int(port))


class Server:
    """One listening socket; a context manager, though it also ends with the lab."""

    def __init__(self, servers: "Servers", who: str, listening: socket.socket) -> None:
        """Belong to the servers of a lab."""
        self._servers, self.who, self.socket = servers, who, listening
        self.port: int = listening.getsockname()[1]
        self.connections: list[socket.socket] = []
        """Those that are open, for TCP."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more; connections stay."""
        self._servers.forget(self.socket)

    def reset(self) -> None:
        """End its connections by a reset, as a program that is killed with octets unread does."""
        while self.connections:
            connection = self.connections.pop()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_AND_RESET)
            self._servers.forget(connection)


class Servers:
    """All servers of a lab: one thread.  Each line, or datagram, is answered by who answers whom."""

    def __init__(self) -> None:
        """Start the thread."""
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, who: str, listening: socket.socket) -> Server:
        """Serve a socket that listens, or is bound (UDP)."""
        listening.setblocking(False)
        server = Server(self, who, listening)
        with self._lock:
            self._selector.register(listening, selectors.EVENT_READ, server)
        return server

    def forget(self, served: socket.socket) -> None:
        """Close a socket; twice is fine."""
        with self._lock, contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(served)
            served.close()

    def close(self) -> None:
        """End the thread and close all sockets."""
        self._wake.close()
        self._thread.join(GUARD_SECONDS)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                with self._lock, contextlib.suppress(OSError, KeyError):
                    if key.fd in self._selector.get_map():  # else it was closed meanwhile
                        assert isinstance(key.fileobj, socket.socket)
                        self._serve(key.fileobj, key.data)

    def _serve(self, served: socket.socket, server: Server) -> None:
        if served is not server.socket:
            self._answer(served, server)
        elif served.type == socket.SOCK_STREAM:
            made, _ = served.accept()
            made.setblocking(False)
            server.connections.append(made)
            self._selector.register(made, selectors.EVENT_READ, server)
        else:
            _, peer = served.recvfrom(1 << 16)
            served.sendto(f"{server.who} {peer[0]} {peer[1]}\n".encode(), peer)

    def _answer(self, served: socket.socket, server: Server) -> None:
        try:
            got = served.recv(1 << 16)
        except ConnectionError:
            got = b""
        if got:
            peer = served.getpeername()
            served.sendall(f"{server.who} {peer[0]} {peer[1]}\n".encode() * got.count(b"\n"))
        else:
            self._selector.unregister(served)
            served.close()
            server.connections.remove(served)


class Lab:
    """The hosts of the picture above; a context manager that makes and removes them."""

    def __init__(self, *, br_netfilter: bool | None = None) -> None:
        """`br_netfilter`: whether bridged packets pass packet rules; None: as the kernel has it."""
        self._br_netfilter = br_netfilter
        self._made: list[Host] = []

    def __enter__(self) -> Self:
        sweep()
        try:
            self._build()
            self._servers = Servers()
        except BaseException:
            self._remove_hosts()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()
        self._remove_hosts()

    def serve(self, host: Machine, protocol: str, port: int, address: str = "", who: str = "") -> Server:
        """Serve on a host: at one address, or all of both families ("")."""
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        family = socket.AF_INET if "." in address else socket.AF_INET6
        with host.entered():
            made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not address else 1)
        made.bind((address or "::", port))
        if protocol == "tcp":
            made.listen(128)
        return self._servers.add(who or host.short, made)

    def _build(self) -> None:
        self._lan = self._add(Host())
        self._lan.ip("link add br-lan type bridge mcast_snooping 0", "link set br-lan up")
        self.client = self._on_the_lan("client", 9)
        self.node = self._on_the_lan("node", 1)
        self.second = self._on_the_lan("second", 2)
        for node in (self.node, self.second):
            self._forward(node)
        for bridge, number in (("a", 44), ("b", 45)):
            self._bridge(self.node, bridge, number)
        self._bridge(self.second, "far", 46)
        self.a1, self.a2 = (self._container(self.node, "a", 44, last) for last in (5, 6))
        self.b1, self.b2 = (self._container(self.node, "b", 45, last) for last in (5, 6))
        self.far = self._container(self.second, "far", 46, 5)
        for network in (*SERVICES, *LB_ADDRESSES):
            self.client.ip(f"route add {network} via {'fd77::1' if ':' in network else '192.168.77.1'}")
        self.node.ip("route add 10.246.0.0/24 via 192.168.77.2", "route add fd46::/64 via fd77::2")
        for number in (44, 45):
            self.second.ip(
                f"route add 10.2{number}.0.0/24 via 192.168.77.1", f"route add fd{number}::/64 via fd77::1"
            )
        self.containers = (self.a1, self.a2, self.b1, self.b2, self.far)
        for host in (self.second, self.client, *self.containers):
            for family in (4, 6):
                gateway = self._gateway(host, family)
                wait_for(partial(host.reaches, gateway), f"{host.short} to reach {gateway}")

    def _gateway(self, host: Machine, family: int) -> str:
        """Return the first address of its network."""
        network, separator, _ = host.addresses[family].rpartition("." if family == 4 else ":")
        return f"{network}{separator}1"

    def _on_the_lan(self, name: str, last: int) -> Machine:
        made = self._add(Machine(name, f"192.168.77.{last}", f"fd77::{last}"))
        self._join(made, self._lan, "br-lan", f"port{last}")
        return made

    def _bridge(self, node: Machine, name: str, number: int) -> None:
        node.ip(
            # An address of its own: else each port that is added may change it.
            f"link add br-{name} address 02:00:00:00:00:{number} type bridge mcast_snooping 0",
            f"link set br-{name} up",
            f"address add 10.2{number}.0.1/24 dev br-{name}",
            f"address add fd{number}::1/64 dev br-{name} nodad",
        )

    def _container(self, node: Machine, bridge: str, number: int, last: int) -> Machine:
        name = bridge if bridge == "far" else f"{bridge}{last - 4}"
        made = self._add(Machine(name, f"10.2{number}.0.{last}", f"fd{number}::{last}"))
        self._join(made, node, f"br-{bridge}", f"veth-{name}")
        made.ip(f"route add default via 10.2{number}.0.1", f"route add default via fd{number}::1")
        return made

    def _join(self, made: Machine, switch: Host, bridge: str, port: str) -> None:
        switch.ip(
            f"link add {port} type veth peer name eth0 netns {made.name}",
            f"link set {port} master {bridge} up",
        )
        made.ip(
            "link set eth0 up",
            f"address add {made.addresses[4]}/24 dev eth0",
            f"address add {made.addresses[6]}/64 dev eth0 nodad",
        )

    def _forward(self, node: Machine) -> None:
        with node.entered():
            for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                Path("/proc/sys/net", switch).write_text("1")
            if self._br_netfilter is not None:
                for switch in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
                    (_BRIDGE_SWITCHES / switch).write_text(str(int(self._br_netfilter)))

    def _add(self, host: MadeHost) -> MadeHost:
        self._made.append(host)
        return host

    def _remove_hosts(self) -> None:
        for host in self._made:
            remove(host)
        self._made = []
