"""Which Pod a client is: the one that has its address, as the store has it when a record is read.

That is a fraction of a second after the question.  An address that several Pods share (that of their node)
says of none who has asked.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from svcdns.store.snapshot import NO_SNAPSHOT, Begin

from .record import Record

_MOST_KEPT = 8192


class ClientPods:
    """The Pods of clients; may be called with a record."""

    def __init__(self) -> None:
        self._begin: Begin = lambda: NO_SNAPSHOT
        self._known: dict[str, tuple[str, str]] = {}

    def refresh(self, begin: Begin) -> None:
        """To be called about once a second: look anew; `begin` begins a snapshot of the store."""
        self._begin = begin
        self._known.clear()

    def __call__(self, record: Record) -> Record:
        """Return a record with the Pod of its client, the record itself where it is none."""
        if (known := self._known.get(record.client)) is None:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            known = self._known[record.client] = self._find(record.client)
        namespace, pod = known
        return record._replace(namespace=namespace, pod=pod) if pod else record

    def _find(self, client: str) -> tuple[str, str]:
        try:
            parsed = ip_address(client.partition("%")[0])
        except ValueError:
            return "", ""
        address = (isinstance(parsed, IPv6Address) and parsed.ipv4_mapped) or parsed
        with self._begin() as snapshot:
            octets = bytes((address.version,)) + address.packed
            pods = [] if snapshot is None else snapshot.pods_at(octets)
        return pods[0] if len(pods) == 1 else ("", "")
