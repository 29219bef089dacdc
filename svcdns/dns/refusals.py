"""Who was refused by an access list: one line in the log for each network (/24, of IPv6 /64).

The path that answers questions only notes that a message was refused; whose it was is looked up when a batch
is done.  Addresses can be forged, so at most MOST networks are named in FORGET_SECONDS, by each worker; the
metrics count all (rcode REFUSED).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from svcdns.system.client_networks import network_of

from .access import FORWARD, NAMES, TRANSFER

log = logging.getLogger(__name__)

MOST = 100
FORGET_SECONDS = 3600.0
_MOST_WAITING = 64
_LISTS = {
    NAMES: ("names", "our own names", ""),
    FORWARD: ("forward", "names that are not ours", ""),
    TRANSFER: ("transfer", "a whole zone", ", or to transfer_to in [dns]"),
}
"""By the right that was missing: the list of [acl], what was asked for, and where else it can be allowed."""


class Refusals:
    """The refusals of one worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._named: set[tuple[str, int]] = set()
        self._since = float("-inf")
        self.waiting: list[tuple[bytes, int]] = []
        """Messages of this batch that were refused, and for which right."""

    def note(self, packet: bytes, right: int) -> None:
        """A message was refused because its client lacks a right (access.NAMES, FORWARD, TRANSFER)."""
        if len(self.waiting) < _MOST_WAITING:
            self.waiting.append((packet, right))

    def of_batch(self, batch: Iterable[tuple[bytes, tuple[str, object]]]) -> None:
        """Log what was refused; `batch` has the messages, and tuples that begin with the client's address."""
        clients = {id(packet): client[0] for packet, client in batch}
        waiting, self.waiting = self.waiting, []
        for packet, right in waiting:
            if id(packet) in clients:
                self.log(clients[id(packet)], right)

    def of_client(self, address: str) -> None:
        """Log what was refused to one client, whose all of it is."""
        waiting, self.waiting = self.waiting, []
        for _, right in waiting:
            self.log(address, right)

    def log(self, address: str, right: int) -> None:
        """Log that a client was refused, unless that was said of its network lately."""
        now = self._clock()
        if now - self._since >= FORGET_SECONDS:
            self._named.clear()
            self._since = now
        network = network_of(address)
        if not network or (network, right) in self._named or len(self._named) > MOST:
            return
        self._named.add((network, right))
        if len(self._named) > MOST:
            log.warning(
                "clients of more than %d networks are refused; others are not named for an hour", MOST
            )
            return
        word, what, elsewhere = _LISTS[right]
        log.warning(
            '%s asked for %s and is refused by acl.%s; to allow its network, add "%s" to %s in [acl]%s',
            address,
            what,
            word,
            network,
            word,
            elsewhere,
        )
