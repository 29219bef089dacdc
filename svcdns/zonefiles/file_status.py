"""How a zone file stands, and which origins none may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from svcdns.store.snapshot import Zone
from svcdns.wire.key import key_of

from .frames import ZoneHead
from .zone_rows import ZoneRecord


@dataclass(frozen=True, slots=True)
class FileStatus:
    """How a zone file stands: `origin`, `serial` and `rows` are those in service, "" and 0 if none is."""

    file: str
    origin: str = ""
    serial: int = 0
    rows: int = 0
    error: str = ""
    """Why the file as it is now is refused ("file:line: what"), or empty."""
    remarks: tuple[str, ...] = ()
    """What of it is ignored or will not work; only said by `check_zone_files`."""

    @property
    def state(self) -> str:
        """Return "loaded", or "refused"."""
        return "refused" if self.error else "loaded"


def file_status(name: str, zone: ZoneRecord | ZoneHead | None, error: str = "") -> FileStatus:
    """Return how a file stands; `zone` is what is served from it, if anything is."""
    if zone is None:
        return FileStatus(name, error=error)
    return FileStatus(name, zone.origin, zone.serial, zone.rows, error)


def origin_fault(key: bytes, origin: str, zones: Sequence[Zone], catalog_zone: str = "") -> str:
    """Return why a file can't serve an origin beside the registry's zones, or an empty text."""
    if catalog_zone and key == key_of(catalog_zone):
        return f"{origin} is dns.catalog_zone, which follows from the others"
    for zone in zones:
        if zone.kind == "cluster" and key.startswith(zone.key):
            return f"{origin} is at or below the cluster domain {zone.origin}, which the registry serves"
        if zone.kind == "reverse" and key == zone.key:
            return f"{origin} is one of dns.reverse_zones, which the registry serves"
    return ""
