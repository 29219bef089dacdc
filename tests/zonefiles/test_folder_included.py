"""Files that zone files include are watched as these are; what of a file is ignored is said once."""

import logging

import pytest
from zonefiles.zone_folder_harness import ZoneFolderHarness, zone_text

from svcdns.zonefiles.checking import check_zone_files
from svcdns.zonefiles.folder import ZoneFolder
from svcdns.zonefiles.parsing import Parser


async def test_a_change_of_an_included_file_is_a_change_of_the_zone(world: ZoneFolderHarness) -> None:
    (world.folder / "hosts").write_text("www A 192.0.2.80\n$INCLUDE more\n")
    (world.folder / "more").write_text("ftp A 192.0.2.21\n")
    world.write("example.org.zone", zone_text(1, "$INCLUDE hosts"))
    await world.zones.start()
    assert world.address("www.example.org") == "192.0.2.80"
    (world.folder / "more").write_text("ftp A 192.0.2.210\n")
    await world.zones.poll()
    assert world.address("ftp.example.org") == "192.0.2.21", "it may still be being written"
    await world.zones.poll()
    assert world.address("ftp.example.org") == "192.0.2.210"
    (world.folder / "hosts").write_text("www A 192.0.2.81\n")
    await world.zones.poll()
    await world.zones.poll()
    assert (world.address("www.example.org"), world.address("ftp.example.org")) == ("192.0.2.81", None)


async def test_an_included_file_that_goes_refuses_the_zone_until_it_is_back(
    world: ZoneFolderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    (world.folder / "hosts").write_text("www A 192.0.2.80\n")
    world.write("example.org.zone", zone_text(1, "$INCLUDE hosts"))
    await world.zones.start()
    (world.folder / "hosts").unlink()
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            await world.zones.poll()
    assert len(caplog.messages) == 1 and "example.org.zone:5: the file 'hosts' is not there" in caplog.text
    assert world.address("www.example.org") == "192.0.2.80"
    (world.folder / "hosts").write_text("www A 192.0.2.81\n")
    await world.zones.poll()
    await world.zones.poll()
    assert world.address("www.example.org") == "192.0.2.81" and not world.errors()


async def test_a_file_that_is_included_may_come_last(world: ZoneFolderHarness) -> None:
    world.write("example.org.zone", zone_text(1, "$INCLUDE hosts"))
    await world.zones.start()
    assert "the file 'hosts' is not there" in world.errors()["example.org.zone"]
    (world.folder / "hosts").write_text("www A 192.0.2.80\n")
    for _ in range(3):
        await world.zones.poll()
    assert world.address("www.example.org") == "192.0.2.80" and not world.errors()


async def test_a_file_that_includes_others_is_not_loaded_again_at_a_restart(world: ZoneFolderHarness) -> None:
    (world.folder / "hosts").write_text("www A 192.0.2.80\n")
    for name in ("example.org.zone", "example.net.zone"):
        world.write(name, zone_text(1, f"$INCLUDE {'hosts' if 'org' in name else 'other'}"))
    (world.folder / "other").write_text("")
    await world.zones.start()
    world.store.close()
    world.open()
    world.zones = ZoneFolder(world.folder, world.store, world.commit, parser=lambda: Parser(("/bin/false",)))
    (world.folder / "other").write_text("www A 192.0.2.81\n")
    await world.zones.start()
    assert list(world.errors()) == ["example.net.zone"], "what example.org includes is as it was"


async def test_what_of_a_file_is_ignored_is_one_line(
    world: ZoneFolderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("example.org.zone", zone_text(1, "a.example.net. A 192.0.2.1", "d DNAME x", "a.d TXT x"))
    await world.zones.start()
    for _ in range(3):
        await world.zones.poll()
    (line,) = [each for each in caplog.messages if "ignored" in each]
    assert "zone example.org. from example.org.zone: 1 records outside" in line and "DNAME" in line
    (status,) = await check_zone_files(world.folder, "cluster.local", [])
    assert len(status.remarks) == 2 and status.state == "loaded"
