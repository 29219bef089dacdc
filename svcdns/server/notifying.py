"""Telling secondaries that a zone has changed (NOTIFY, RFC 1996), so that they come at once.

The serials of all zones are looked at whenever the store has changed, at most every LOOK_SECONDS.  A zone
has one NOTIFY under way to each secondary: a later change waits for it, and is then told by the next.  One
that is not answered is sent again, ever more slowly, TRIES times; the secondary's own refresh does the rest.
At the start all zones are told: nobody knows what was missed.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from svcdns.config.readers import Endpoint, Wrong
from svcdns.config.sections import Config
from svcdns.config.tsig_keys import TsigKey, read_keys
from svcdns.dns.transfer_rows import serial, soa
from svcdns.dns.view import View, ZoneTable
from svcdns.names.records import SOA_EXPIRE, SOA_REFRESH, SOA_RETRY
from svcdns.store.environment import Store
from svcdns.store.snapshot import Snapshots, Zone
from svcdns.system.log_on_change import LogOnChange

from .child_process import Fatal

if TYPE_CHECKING:
    import dns.message

LOOK_SECONDS = 0.25
AT_ONCE = 64
"""NOTIFYs that are under way at one time."""
TRIES = 5
FIRST_WAIT_SECONDS = 1.0
"""For the answer to the first try; twice as long for each further one."""

log = logging.getLogger(__name__)

Serials = dict[str, int]
"""Of zones, by origin."""


class Notifying:
    """Tells the secondaries of a configuration."""

    def __init__(self, config: Config, store: Store) -> None:
        """Raises Fatal for keys that can't be read."""
        self._snapshots = Snapshots(store)
        self._store = store
        self._secondaries = config.dns.notify
        self._key = _first_key(config.dns.tsig_keys)
        self._sources = [one.host for one in config.dns.listen if not ip_address(one.host).is_unspecified]
        self._under_way: dict[tuple[Endpoint, str], asyncio.Task[None]] = {}
        self._told: dict[tuple[Endpoint, str], int] = {}
        self._of_files: dict[str, tuple[int, int]] = {}
        """Of zone files, the version that was looked at and its serial."""
        self._room = asyncio.Semaphore(AT_ONCE)
        self._silent: dict[Endpoint, LogOnChange] = {}

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        seen, waits = -1, False
        try:
            while self._secondaries:
                now = self._store.env.info()["last_txnid"]
                if now != seen or waits:
                    seen, waits = now, self._tell(self._serials_or_none())
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._under_way.values():
                task.cancel()

    def _serials_or_none(self) -> Serials:
        """Return the serials, none where they can't be read: the next change is looked at again."""
        try:
            return self._serials()
        except Exception:
            log.exception("the serials of zones can't be read; secondaries are not told of this change")
            return {}

    def _serials(self) -> Serials:
        with self._snapshots.begin() as snapshot:
            if snapshot.serving is None:
                return {}
            view = View(snapshot, ZoneTable(snapshot.serving))
            return {zone.origin: self._serial(view, zone) for zone in snapshot.serving.zones}

    def _serial(self, view: View, zone: Zone) -> int:
        """Return a zone's serial; that of a zone file is read once for each time that it is loaded."""
        if zone.kind != "file":
            return serial(soa(view, zone))
        known = self._of_files.get(zone.origin)
        if known is None or known[0] != zone.version:
            known = self._of_files[zone.origin] = zone.version, serial(soa(view, zone))
        return known[1]

    def _tell(self, serials: Serials) -> bool:
        """Begin a NOTIFY for each secondary and zone that need one; return whether some wait for another."""
        waits = False
        for secondary in self._secondaries:
            for origin, number in serials.items():
                who = secondary, origin
                if self._told.get(who) == number:
                    continue
                if who in self._under_way:
                    waits = True
                    continue
                self._told[who] = number
                task = asyncio.create_task(self._notify(secondary, origin, number))
                self._under_way[who] = task
                task.add_done_callback(partial(self._ended, who))
        return waits

    def _ended(self, who: tuple[Endpoint, str], _: object) -> None:
        self._under_way.pop(who, None)

    async def _notify(self, secondary: Endpoint, origin: str, number: int) -> None:
        """Send until there is an answer, or TRIES times."""
        wait = FIRST_WAIT_SECONDS
        async with self._room:
            for _ in range(TRIES):
                if await self._is_answered(self._message(origin, number), secondary, wait):
                    self._answered(secondary, "")
                    return
                wait *= 2
        self._answered(secondary, f"{TRIES} NOTIFYs to {secondary} about {origin} have had no answer")

    async def _is_answered(self, message: dns.message.Message, secondary: Endpoint, wait: float) -> bool:
        import dns.asyncquery
        import dns.exception

        began = asyncio.get_running_loop().time()
        try:
            source = self._source(secondary)
            await dns.asyncquery.udp(message, secondary.host, wait, secondary.port, source=source)
        except (dns.exception.DNSException, OSError, ValueError):
            # A refused port is known at once; it is not asked again at once.
            await asyncio.sleep(began + wait - asyncio.get_running_loop().time())
            return False
        return True

    def _message(self, origin: str, number: int) -> dns.message.Message:
        """Return the NOTIFY, which holds the new serial as a hint (RFC 1996 section 3.7)."""
        import dns.flags
        import dns.message
        import dns.opcode
        import dns.rrset
        import dns.tsig

        found = dns.message.make_query(origin, "SOA")
        found.flags = dns.flags.AA
        found.set_opcode(dns.opcode.NOTIFY)
        numbers = f"{number} {SOA_REFRESH} {SOA_RETRY} {SOA_EXPIRE} 0"
        found.answer.append(dns.rrset.from_text(origin, 0, "IN", "SOA", f". . {numbers}"))
        if self._key is not None:
            found.use_tsig(dns.tsig.Key(self._key.name, self._key.secret, self._key.algorithm))
        return found

    def _source(self, secondary: Endpoint) -> str | None:
        """Return the address to send from: one that we answer at, which the secondary knows us by."""
        is_six = ":" in secondary.host
        return next((host for host in self._sources if (":" in host) is is_six), None)

    def _answered(self, secondary: Endpoint, trouble: str) -> None:
        """Log when a secondary stops answering, and when it answers again."""
        known = self._silent.setdefault(secondary, LogOnChange(False))
        if known.is_new(bool(trouble)):
            log.warning(trouble) if trouble else log.info("%s answers NOTIFYs again", secondary)


def _first_key(file: Path | None) -> TsigKey | None:
    if file is None:
        return None
    try:
        return read_keys(file)[0]
    except Wrong as wrong:
        raise Fatal(f"dns.tsig_keys: {wrong}") from None
