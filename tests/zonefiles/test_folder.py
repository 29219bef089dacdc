"""Zone files in the store: taken over when they parse, refused without harm when they don't."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from zonefiles.zone_folder_harness import OWN, T, ZoneFolderHarness, zone_text

from svcdns.store.snapshot import Zone
from svcdns.wire.key import key_of
from svcdns.zonefiles import zone_rows
from svcdns.zonefiles.checking import check_zone_files
from svcdns.zonefiles.folder import ZoneFolder
from svcdns.zonefiles.parsing import Parser


async def test_a_zone_file_is_served_beside_the_registrys_zones(world: ZoneFolderHarness) -> None:
    world.write("example.org.zone", zone_text(7, "www A 192.0.2.80", "* TXT x"))
    world.write("db.2.0.192.in-addr.arpa", zone_text(1))
    await world.zones.start()
    assert world.origins() == ["2.0.192.in-addr.arpa.", "cluster.local.", "in-addr.arpa.", "example.org."]
    assert world.address("www.example.org") == "192.0.2.80"
    assert world.address("mail.example.org") is None
    (zone,) = [zone for zone in world.serving().zones if zone.origin == "example.org."]
    assert (zone.kind, zone.cuts, zone.wildcards) == ("file", False, True)
    assert world.serving().zones[1:3] == OWN[::-1], "the registry's own zones are kept as they are"
    assert [(s.file, s.state, s.origin, s.rows) for s in world.zones.status()] == [
        ("db.2.0.192.in-addr.arpa", "loaded", "2.0.192.in-addr.arpa.", 2),
        ("example.org.zone", "loaded", "example.org.", 4),
    ]


async def test_a_changed_file_replaces_its_zone_and_leaves_no_old_rows(world: ZoneFolderHarness) -> None:
    world.write("example.org.zone", zone_text(1, "old A 192.0.2.1"))
    await world.zones.start()
    epoch = world.serving().epoch
    world.write("example.org.zone", zone_text(2, "new A 192.0.2.2"))
    await world.zones.refresh()
    assert world.serving().epoch > epoch
    assert world.address("new.example.org") == "192.0.2.2"
    assert world.address("old.example.org") is None
    assert world.row_count() == 3


async def test_a_broken_file_keeps_the_old_zone_and_says_file_and_line(
    world: ZoneFolderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("example.org.zone", zone_text(1, "www A 192.0.2.80"))
    await world.zones.start()
    world.write("example.org.zone", zone_text(2, "www A 192.0.2.800"))
    with caplog.at_level(logging.ERROR):
        await world.zones.refresh()
        for _ in range(3):
            await world.zones.poll()
    path = world.folder / "example.org.zone"
    assert world.address("www.example.org") == "192.0.2.80"
    assert world.serials() == {"example.org.zone": 1}
    assert world.errors()["example.org.zone"].startswith(f"{path}:5: ")
    assert len(caplog.messages) == 1 and f"{path}:5: " in caplog.text
    assert "example.org. stays as it was, serial 1" in caplog.text


async def test_a_removed_file_removes_its_zone(world: ZoneFolderHarness) -> None:
    world.write("example.org.zone", zone_text(1))
    await world.zones.start()
    (world.folder / "example.org.zone").unlink()
    await world.zones.refresh()
    assert world.origins() == [zone.origin for zone in (OWN[1], OWN[0])]
    assert (world.zones.status(), world.row_count()) == ([], 0)


async def test_a_renamed_file_leaves_no_gap(world: ZoneFolderHarness) -> None:
    world.write("example.org.zone", zone_text(1))
    await world.zones.start()
    seen = []
    plain = world.commit

    async def watching(write: Callable[[lmdb.Transaction], T]) -> T:
        result = await plain(write)
        seen.append("example.org." in world.origins())
        return result

    world.zones._commit = watching
    (world.folder / "example.org.zone").rename(world.folder / "db.example.org")
    await world.zones.refresh()
    assert seen and all(seen)
    assert world.serials() == {"db.example.org": 1}


async def test_a_file_is_taken_once_it_looked_the_same_twice(world: ZoneFolderHarness) -> None:
    await world.zones.start()
    world.write("example.org.zone", zone_text(1))
    await world.zones.poll()
    assert world.zones.status() == []
    world.write("example.org.zone", zone_text(2, "www A 192.0.2.80"))
    await world.zones.poll()
    assert world.zones.status() == []
    await world.zones.poll()
    assert world.serials() == {"example.org.zone": 2}
    (world.folder / "example.org.zone").unlink()  # an editor that writes by way of a rename
    await world.zones.poll()
    assert world.serials() == {"example.org.zone": 2}
    await world.zones.poll()
    assert world.serials() == {}


async def test_run_looks_at_the_folder_once_an_interval(world: ZoneFolderHarness) -> None:
    pauses: list[float] = []
    ended = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 3:
            ended.set()
            await asyncio.Event().wait()

    zones = ZoneFolder(world.folder, world.store, world.commit, interval=7, pause=pause)
    await zones.start()
    world.write("example.org.zone", zone_text(3))
    task = asyncio.create_task(zones.run())
    await ended.wait()
    task.cancel()
    assert pauses == [7, 7, 7, 7]
    assert world.serials() == {"example.org.zone": 3}


async def test_of_two_files_with_one_origin_the_first_is_served(
    world: ZoneFolderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("example.org.zone", zone_text(1))
    await world.zones.start()
    world.write("db.example.org", zone_text(2))
    with caplog.at_level(logging.ERROR):
        await world.zones.refresh()
    assert world.serials() == {"db.example.org": 2, "example.org.zone": 0}
    assert "example.org. is served from db.example.org already" in world.errors()["example.org.zone"]
    assert len(caplog.messages) == 1
    (world.folder / "db.example.org").unlink()
    await world.zones.poll()
    await world.zones.poll()
    await world.zones.poll()
    assert world.serials() == {"example.org.zone": 1} and not world.errors()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cluster.local.zone", "at or below the cluster domain"),
        ("team.CLUSTER.local.zone", "at or below the cluster domain"),
        ("in-addr.arpa.zone", "one of dns.reverse_zones"),
    ],
)
async def test_origins_of_the_registry_are_refused(world: ZoneFolderHarness, name: str, reason: str) -> None:
    world.write(name, zone_text(1))
    await world.zones.start()
    assert reason in world.errors()[name]
    assert len(world.serving().zones) == 2 and world.row_count() == 0


async def test_a_zone_that_the_configuration_forbids_by_now_is_taken_out(world: ZoneFolderHarness) -> None:
    world.write("example.org.zone", zone_text(1))
    await world.zones.start()
    world.serve((Zone("org.", key_of("org"), "cluster"), *world.serving().zones[2:]))
    world.store.close()
    world.open()
    await world.zones.start()
    assert world.origins() == ["org."]
    assert "at or below the cluster domain org." in world.errors()["example.org.zone"]


async def test_what_is_unchanged_is_not_loaded_again_at_a_restart(world: ZoneFolderHarness) -> None:
    world.write("example.org.zone", zone_text(1))
    world.write("example.net.zone", zone_text(1))
    await world.zones.start()
    world.store.close()
    world.open()
    world.zones = ZoneFolder(world.folder, world.store, world.commit, parser=lambda: Parser(("/bin/false",)))
    world.write("example.net.zone", zone_text(2))
    await world.zones.start()
    assert "the parser ended with exit code 1" in world.errors()["example.net.zone"]
    assert list(world.errors()) == ["example.net.zone"], "example.org's text needed no parser"
    assert world.serials() == {"example.net.zone": 1, "example.org.zone": 1}


async def test_an_interrupted_load_is_swept_at_the_next_start(world: ZoneFolderHarness) -> None:
    world.write("example.org.zone", zone_text(1))
    await world.zones.start()
    with world.store.env.begin(write=True) as txn:
        for version in (2, 9):
            rows = [(b"x%d\0" % number, b"\0\0") for number in range(700)]
            zone_rows.put_rows(txn, world.store.tables, version, rows)
    world.store.close()
    world.open()
    await world.zones.start()
    assert world.row_count() == 2 and world.address("ns.example.org") == "192.0.2.1"
    assert world.largest <= zone_rows.CHUNK


async def test_a_large_zone_is_written_in_small_transactions(world: ZoneFolderHarness) -> None:
    world.write("big.zone", zone_text(1, "$GENERATE 1-1800 h$ A 10.0.0.1"))
    await world.zones.start()
    assert world.row_count() == 1802
    world.write("big.zone", zone_text(2))
    await world.zones.refresh()
    assert world.row_count() == 2
    assert world.commits > 8 and world.largest <= zone_rows.CHUNK


async def test_a_store_that_is_full_is_an_error_of_the_file(world: ZoneFolderHarness) -> None:
    await world.zones.start()
    world.write("example.org.zone", zone_text(1))
    world.failing = lmdb.MapFullError("full")
    with pytest.raises(lmdb.MapFullError):
        await world.commit(lambda txn: None)
    world.zones._sweep = _nothing  # type: ignore[method-assign]
    await world.zones.refresh()
    assert "can't be stored" in world.errors()["example.org.zone"]
    world.failing = None
    await world.zones.refresh()
    assert world.serials() == {"example.org.zone": 1} and not world.errors()


async def _nothing() -> None:
    pass


async def test_only_zone_files_are_taken(world: ZoneFolderHarness) -> None:
    for name in (".example.org.zone", "example.org.zone~", ".example.org.zone.swp", "README", "db.x~"):
        world.write(name, "not a zone")
    (world.folder / "folder.zone").mkdir()
    os.symlink("nowhere", world.folder / "broken.zone")
    os.mkfifo(world.folder / "pipe.zone")
    await world.zones.start()
    assert world.zones.status() == []


async def test_a_missing_folder_means_no_zones(world: ZoneFolderHarness) -> None:
    world.folder.rmdir()
    await world.zones.start()
    assert world.zones.status() == [] and world.zones.error == ""


async def test_an_unreadable_folder_changes_nothing(
    world: ZoneFolderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("example.org.zone", zone_text(1))
    await world.zones.start()
    world.folder.rename(world.folder.with_name("moved"))
    world.folder.write_text("a file in its place")
    await world.zones.refresh()
    await world.zones.poll()
    assert "can't be read: Not a directory" in world.zones.error
    assert len(caplog.messages) == 1
    assert world.address("ns.example.org") == "192.0.2.1"


async def test_zones_are_not_loaded_before_the_registry(tmp_path: Path) -> None:
    world = ZoneFolderHarness(tmp_path)
    with pytest.raises(zone_rows.NotServing):
        await world.zones.start()
    world.store.close()


async def test_check_lists_every_file_without_a_store(tmp_path: Path) -> None:
    (tmp_path / "a.example.zone").write_text(zone_text(4))
    (tmp_path / "b.zone").write_text("$ORIGIN a.example.\n" + zone_text(5))
    (tmp_path / "c.example.zone").write_text("@ A 1.2.3.4\n")
    (tmp_path / "cluster.local.zone").write_text(zone_text(4))
    found = await check_zone_files(tmp_path, "cluster.local", ["in-addr.arpa"])
    assert [(status.file, status.state) for status in found] == [
        ("a.example.zone", "loaded"),
        ("b.zone", "refused"),
        ("c.example.zone", "refused"),
        ("cluster.local.zone", "refused"),
    ]
    assert "a.example. is served from a.example.zone already" in found[1].error
    assert found[2].error.startswith(f"{tmp_path}/c.example.zone:1: the record has no TTL")
