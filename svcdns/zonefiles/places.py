"""Where in a zone file a name's records stand: file and line, for who wants to look.

The store has no lines: the text is read once more, as it is now, by the reader of zone files.  That takes a
moment for each record, so of files beyond MOST_OCTETS only the file is said.  What was read last is kept, as
long as the file looks the same.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import dns.name

from svcdns.system.watched_file import Signature, signature
from svcdns.wire import codes
from svcdns.wire.key import key_of_labels, key_of_wire, wire_of

from .file_names import origin_of
from .includes import IncludeError, Includes, open_file
from .zone_file_error import ZoneFileError
from .zone_rows import ZoneRecord
from .zone_text import ZoneText, decode

MOST_OCTETS = 256 << 10
_MOST_KEPT = 4


class Place(NamedTuple):
    """A path within the folder of zone files, and a line from 1 on; 0: not known."""

    file: str
    line: int = 0


_Lines = dict[tuple[bytes, int], Place]
"""By key and type: where the first record of the RRset stands."""


class Places:
    """Places in the files of one folder; used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: OrderedDict[str, tuple[tuple[Signature, ...], _Lines]] = OrderedDict()

    def find(self, zone: ZoneRecord, owner: bytes, rrtype: int) -> Place:
        """Return where a name (its key) has this type, else a CNAME or the like; else where the SOA is."""
        lines = self._lines(zone)
        apex = key_of_wire(wire_of(zone.origin))
        wanted = [(owner, one) for one in (rrtype, codes.CNAME, codes.DNAME, codes.NS)]
        found = (lines[key] for key in (*wanted, (apex, codes.SOA)) if key in lines)
        return next(found, Place(zone.file))

    def _lines(self, zone: ZoneRecord) -> _Lines:
        path = self._folder / zone.file
        now = tuple(signature(self._folder / name) for name in (zone.file, *zone.included))
        kept = self._kept.pop(zone.file, None)
        lines = kept[1] if kept is not None and kept[0] == now else self._read(path)
        self._kept[zone.file] = now, lines
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return lines

    def _read(self, path: Path) -> _Lines:
        """Return the places of a file and of what it includes, {} for one that is large or can't be read."""
        lines: _Lines = {}
        try:
            file = open_file(path)
            if file is None:
                return {}
            with closing(file):
                octets = file.read(MOST_OCTETS + 1)
            if len(octets) > MOST_OCTETS:
                return {}
            origin = dns.name.from_text(origin_of(path.name) or ".")
            text = ZoneText(str(path), decode(octets), origin, _Small(self._folder))
            for record in text.records():
                source = Path(record.source)
                place = Place(str(source.relative_to(self._folder)), record.line)
                owner = key_of_labels(list(record.owner.labels[:-1]))
                lines.setdefault((owner, record.rdata.rdtype), place)
        except (OSError, ZoneFileError, ValueError):
            return {}
        return lines


class _Small(Includes):
    """Included files, as long as they are small together."""

    def _octets(self, path: str, name: str) -> bytes | None:
        read = sum(len(one) for one in self.octets.values() if one)
        if read + signature(Path(path))[2] > MOST_OCTETS:
            raise IncludeError("too large to be read for its lines")
        return super()._octets(path, name)
