"""Zone files without a store: what is wrong with those of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from svcdns.store.snapshot import Zone
from svcdns.wire.key import key_of

from .file_status import FileStatus, file_status, origin_fault
from .listing import list_zone_files
from .parsing import Parser
from .zone_file_error import ZoneFileError


async def check_zone_files(
    folder: Path, cluster_domain: str, reverse_zones: Sequence[str]
) -> list[FileStatus]:
    """Parse every zone file of a folder without a store; what `svcdns check` shows."""
    zones = [Zone(cluster_domain, key_of(cluster_domain), "cluster")]
    zones += [Zone(origin, key_of(origin), "reverse") for origin in reverse_zones]
    served: dict[bytes, str] = {}
    found = []
    async with Parser() as parser:
        for name in sorted(list_zone_files(folder)):
            try:
                async with parser.parse(folder / name) as zone:
                    head = zone.head
                text = origin_fault(head.key, head.origin, zones)
                if not text and head.key in served:
                    text = f"{head.origin} is served from {served[head.key]} already"
                if text:
                    raise ZoneFileError(str(folder / name), 0, text)
                served[head.key] = name
                found.append(replace(file_status(name, head), remarks=head.remarks))
            except ZoneFileError as refused:
                found.append(file_status(name, None, str(refused)))
    return found
