"""dnslib's own server loop (dnslib.server.DNSServer) with addresses from a hosts file, for peers.py.

    python bench/dnslib_server.py PORT FILE

A question costs what dnslib makes of it: one datagram, a parsed question, a reply of RR objects, packed.
Its log is off.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer


class Hosts(BaseResolver):
    """Addresses by name; a name that is not there does not exist."""

    def __init__(self, lines: list[str]) -> None:
        """Each line is an address and a name."""
        self._addresses: dict[str, list[str]] = {}
        for line in lines:
            address, name = line.split()
            self._addresses.setdefault(f"{name}.", []).append(address)

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """Return the reply to a question."""
        reply = request.reply()
        name = request.q.qname
        addresses = self._addresses.get(str(name).lower())
        if addresses is None:
            reply.header.rcode = RCODE.NXDOMAIN
        elif request.q.qtype == QTYPE.A:
            reply.add_answer(*(RR(name, QTYPE.A, ttl=5, rdata=A(address)) for address in addresses))
        return reply


def main(port: int, file: Path) -> None:
    """Serve until it is ended."""
    quiet = DNSLogger("-recv,-send,-request,-reply,-truncated,-error,-data")
    DNSServer(Hosts(file.read_text().splitlines()), port=port, address="127.0.0.1", logger=quiet).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
