"""A folder of zone files and a store, as the writer has them."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import lmdb

from svcdns.names.packed import find
from svcdns.store.environment import Store, open_store
from svcdns.store.snapshot import SERVING, Serving, Snapshots, Zone, encode_serving
from svcdns.wire.key import key_of
from svcdns.zonefiles import zone_rows
from svcdns.zonefiles.folder import ZoneFolder

T = TypeVar("T")

OWN = (
    Zone("in-addr.arpa.", key_of("in-addr.arpa"), "reverse", fallthrough=True),
    Zone("cluster.local.", key_of("cluster.local"), "cluster"),
)


def zone_text(serial: int, *lines: str) -> str:
    head = f"$TTL 300\n@ SOA ns hostmaster {serial} 7200 1800 86400 60\n  NS ns\nns A 192.0.2.1\n"
    return head + "".join(line + "\n" for line in lines)


class ZoneFolderHarness:
    """A store with the registry's `serving` in it, a folder, and whoever watches it."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "zones"
        self.folder.mkdir()
        self.data = tmp_path / "data"
        self.largest = 0
        self.commits = 0
        self.failing: Exception | None = None
        self.open()

    def open(self) -> None:
        self.store: Store = open_store(self.data, "writer")
        self.zones = ZoneFolder(self.folder, self.store, self.commit)

    def serve(self, zones: tuple[Zone, ...] = OWN) -> None:
        serving = Serving("a", key_of("cluster.local"), True, "verified", 5, zones)
        with self.store.env.begin(write=True) as txn:
            txn.put(SERVING, encode_serving(serving), db=self.store.tables.meta)

    async def commit(self, write: Callable[[lmdb.Transaction], T]) -> T:
        if self.failing:
            raise self.failing
        before = self.row_count()
        with self.store.env.begin(write=True) as group, self.store.env.begin(write=True, parent=group) as txn:
            result = write(txn)
        self.largest = max(self.largest, abs(self.row_count() - before))
        self.commits += 1
        return result

    def row_count(self) -> int:
        with self.store.read() as txn:
            return txn.stat(self.store.tables.zone_rows)["entries"]

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def origins(self) -> list[str]:
        """All zones in the order in which a reader tries them."""
        return [zone.origin for zone in self.serving().zones]

    def serving(self) -> Serving:
        with self.store.read() as txn:
            return zone_rows.serving_of(txn, self.store.tables)

    def address(self, name: str) -> str | None:
        """What a DNS worker would answer, as text; None where the name isn't there."""
        snapshot = Snapshots(self.store).begin()
        try:
            assert snapshot.serving is not None
            key = key_of(name)
            zone = next(zone for zone in snapshot.serving.zones if key.startswith(zone.key))
            row = snapshot.zone_row(zone, key)
            found = find(row, 1) if row is not None else None
            return ".".join(map(str, next(found.rrs())[-4:])) if found else None
        finally:
            snapshot.txn.abort()

    def serials(self) -> dict[str, int]:
        return {status.file: status.serial for status in self.zones.status()}

    def errors(self) -> dict[str, str]:
        return {status.file: status.error for status in self.zones.status() if status.error}
