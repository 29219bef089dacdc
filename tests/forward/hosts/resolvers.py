"""What the hosts' resolv.conf points at: svcdns, or an unbound that answers the same by hand.

The second is what the first is measured by: the table of expected answers (world.py) holds for a
resolver of somebody else as well, so it describes resolvers and not us.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from forward.hosts.expectations import (
    ALIASES,
    OUTSIDE_ADDRESSES,
    OWN_ADDRESSES,
    RECORDS,
    ZONE,
    is_whole,
    manifests,
)
from forward.hosts.laboratory import Laboratory
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound


@contextlib.contextmanager
def outside(laboratory: Laboratory) -> Iterator[Unbound]:
    """Run a good upstream on the server's host."""
    with contextlib.ExitStack() as stack:
        with laboratory.server.entered():
            made = stack.enter_context(Unbound(RECORDS, tls=False, https=False, recursive=True))
        yield made


@contextlib.contextmanager
def svcdns(laboratory: Laboratory, upstreams: Sequence[str]) -> Iterator[RunningServer]:
    """Run svcdns on port 53 of the server's host; ask its API as `laboratory.server.entered()`."""
    ranges = ["10.96.0.0/16", *(["fd00:96::/112"] if laboratory.ipv6 else [])]
    config = f"[services]\ncluster_ip_ranges = {ranges}\n[forward]\nupstreams = {list(upstreams)}\n"
    listen = [f"[{address}]:53" if ":" in address else f"{address}:53" for address in laboratory.addresses]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="svcdns-test-")))
        file = manifests(folder, ipv6=laboratory.ipv6)
        server = RunningServer(workers=1, config=config, dns=listen, arguments=("--manifests", str(file)))
        with laboratory.server.entered():
            stack.enter_context(server)
        yield server


@contextlib.contextmanager
def reference(laboratory: Laboratory, upstream: str) -> Iterator[Unbound]:
    """Run an unbound on port 53 of the server's host that knows our names and forwards all others."""
    with contextlib.ExitStack() as stack:
        made = _Reference(laboratory.addresses, upstream)
        with laboratory.server.entered():
            stack.enter_context(made)
        yield made


_KNOWN = OWN_ADDRESSES | {
    name: OUTSIDE_ADDRESSES[target] for name, target in ALIASES.items() if is_whole(name)
}
"""unbound follows no CNAME of its own data, so where we alias it knows the addresses."""


class _Reference(Unbound):
    def __init__(self, addresses: Sequence[str], upstream: str) -> None:
        super().__init__(tls=False, https=False)
        self._addresses = addresses
        self._upstream = upstream

    def _configure(self) -> list[str]:
        file = self.folder / "unbound.conf"
        file.write_text(
            "server:\n"
            f'  directory: "{self.folder}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n'
            '  use-syslog: no\n  logfile: ""\n  do-daemonize: no\n  num-threads: 1\n'
            + "".join(f"  interface: {address}@53\n" for address in self._addresses)
            + "  access-control: 0.0.0.0/0 allow\n  access-control: ::/0 allow\n"
            "  do-not-query-localhost: no\n"
            '  module-config: "iterator"\n'
            f'  local-zone: "{ZONE}." static\n'
            f'  local-data: "{ZONE}. 5 IN SOA ns.{ZONE}. host.{ZONE}. 1 7200 1800 86400 5"\n'
            + "".join(
                f'  local-data: "{name}. 5 IN {"AAAA" if ":" in address else "A"} {address}"\n'
                for name, addresses in _KNOWN.items()
                for address in addresses
            )
            + "remote-control:\n  control-enable: no\n"
            f'forward-zone:\n  name: "."\n  forward-addr: {self._upstream.replace(":", "@")}\n'
        )
        return ["-d", "-p", "-c", str(file)]


def leaked(upstream: Unbound) -> list[str]:
    """Return the log lines of questions for names of ours that reached an upstream."""
    return [line for line in upstream.log().lower().splitlines() if f"{ZONE}. " in line]
