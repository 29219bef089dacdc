"""Many zone files are read by one process, and what is wrong with one of them is nothing to the others."""

import os
import signal
import sys
from pathlib import Path

import pytest
from toolbox.waiting import GUARD_SECONDS
from zonefiles.zone_folder_harness import ZoneFolderHarness, zone_text

from svcdns.cluster.event_messages import EventMessage
from svcdns.zonefiles import folder as zone_folder
from svcdns.zonefiles.folder import ZoneFolder
from svcdns.zonefiles.parsing import Limits, Parser
from svcdns.zonefiles.zone_file_error import ZoneFileError

PARSER = """
import os, signal, sys, time
from svcdns.zonefiles import parser
compile_zone = parser.compile_zone
def misbehaving(text, origin, source, include):
    while "hangs" in source:
        time.sleep(600)
    if "kills" in source:
        os.kill(os.getpid(), signal.SIGKILL)
    if "eats" in source:
        raise MemoryError
    return compile_zone(text, origin, source, include)
parser.compile_zone = misbehaving
with open(sys.argv[1], "a") as file:
    file.write("started\\n")
parser.main(*sys.argv[2:])
"""
"""The real parser, which does to itself what a file's name says."""


LIMITS = Limits(seconds=GUARD_SECONDS)


class Site:
    """A folder with zones, what was said of them in this order, and how many parsers it took."""

    def __init__(self, world: ZoneFolderHarness, count: int, limits: Limits = LIMITS) -> None:
        self.world = world
        self.said: list[EventMessage] = []
        self._started = world.data.parent / "started"
        for number in range(count):
            world.write(f"z{number:03}.test.zone", zone_text(1))
        command = (sys.executable, "-c", PARSER, str(self._started))
        world.zones = ZoneFolder(
            world.folder,
            world.store,
            world.commit,
            parser=lambda: Parser(command, limits),
            record=self.said.extend,
        )

    async def start(self) -> int:
        """Load all; return how many zones are served from files."""
        await self.world.zones.start()
        return sum(1 for zone in self.world.serving().zones if zone.kind == "file")

    @property
    def parsers(self) -> int:
        return len(self._started.read_text().splitlines())


async def test_300_files_take_one_parser_and_few_transactions(world: ZoneFolderHarness) -> None:
    site = Site(world, 300)
    assert await site.start() == 300
    assert site.parsers == 1
    assert world.commits < 10
    assert world.address("ns.z000.test") == world.address("ns.z299.test") == "192.0.2.1"
    assert len(site.said) == 300


async def test_what_the_server_has_in_memory_is_not_counted_to_the_parser(world: ZoneFolderHarness) -> None:
    ballast = bytearray(200 << 20)
    ballast[::4096] = b"x" * (len(ballast) // 4096)
    site = Site(world, 5, Limits(seconds=GUARD_SECONDS, octets=500 << 20))
    assert await site.start() == 5
    assert site.parsers == 1


async def test_a_file_that_takes_too_long_holds_up_no_other(
    world: ZoneFolderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone_folder, "PATIENCE_SECONDS", 10.0)  # the others' parser has to start within it
    site = Site(world, 20, Limits(seconds=15))
    world.write("z005-hangs.zone", zone_text(1))
    assert await site.start() == 20
    assert "the parser took longer than 15 s and was ended" in world.errors()["z005-hangs.zone"]
    (last,) = site.said[20:]
    assert "z005-hangs.zone" in str(last), "all others were served when it was given up"


async def test_a_damaged_file_is_refused_and_the_parser_goes_on(world: ZoneFolderHarness) -> None:
    site = Site(world, 20)
    world.write("z005-damaged.zone", "$TTL 300\n\n@ SOA \0\xff ns\n")
    assert await site.start() == 20
    assert list(world.errors()) == ["z005-damaged.zone"]
    assert world.errors()["z005-damaged.zone"].startswith(f"{world.folder}/z005-damaged.zone:3: ")
    assert site.parsers == 1


@pytest.mark.parametrize(("name", "error"), [("kills", "by signal 9"), ("eats", "needs more memory")])
async def test_a_file_that_the_parser_dies_of_is_refused_alone(
    world: ZoneFolderHarness, name: str, error: str
) -> None:
    site = Site(world, 20)
    world.write(f"z005-{name}.zone", zone_text(1))
    assert await site.start() == 20
    assert list(world.errors()) == [f"z005-{name}.zone"]
    assert error in world.errors()[f"z005-{name}.zone"]
    assert site.parsers == 3, "it is tried again in a new one, and the files behind it have a third"


async def test_a_parser_killed_between_files_is_replaced(tmp_path: Path) -> None:
    """Nobody is to blame: the file behind is read as if nothing had happened."""
    path = tmp_path / "example.org.zone"
    path.write_text(zone_text(7))
    async with Parser() as parser:
        async with parser.parse(path) as zone:
            assert zone.head.serial == 7
        assert parser.pid
        os.kill(parser.pid, signal.SIGKILL)
        async with parser.parse(path) as zone:
            assert [len(rows) async for rows in zone.frames()] == [2]


async def test_a_zone_whose_rows_nobody_wants_costs_no_parser(tmp_path: Path) -> None:
    (tmp_path / "example.org.zone").write_text(zone_text(7, "$GENERATE 1-2000 h$ A 192.0.2.1"))
    (tmp_path / "damaged.zone").write_text("x")
    async with Parser() as parser:
        async with parser.parse(tmp_path / "example.org.zone"):
            before = parser.pid
        with pytest.raises(ZoneFileError):
            async with parser.parse(tmp_path / "damaged.zone"):
                pass
        async with parser.parse(tmp_path / "example.org.zone") as zone:
            assert sum([len(rows) async for rows in zone.frames()]) == zone.head.rows == 2002
        assert parser.pid == before


async def test_a_parser_left_half_way_is_ended(tmp_path: Path) -> None:
    (tmp_path / "example.org.zone").write_text(zone_text(7, "$GENERATE 1-2000 h$ A 192.0.2.1"))
    async with Parser() as parser:
        async with parser.parse(tmp_path / "example.org.zone") as zone:
            await anext(zone.frames())
        assert parser.pid == 0
        async with parser.parse(tmp_path / "example.org.zone") as zone:
            assert zone.head.serial == 7


async def test_of_two_files_with_one_origin_the_first_is_served_though_both_are_new(
    world: ZoneFolderHarness,
) -> None:
    site = Site(world, 3)
    for name in ("a.zone", "b.zone"):
        world.write(name, "$ORIGIN same.test.\n" + zone_text(1 if name == "a.zone" else 2))
    assert await site.start() == 4
    assert world.serials()["a.zone"] == 1
    assert "same.test. is served from a.zone already" in world.errors()["b.zone"]


async def test_what_the_disk_does_not_take_is_refused_by_name(world: ZoneFolderHarness) -> None:
    site = Site(world, 3)
    await world.zones.start()
    for number in range(3):
        world.write(f"z{number:03}.test.zone", zone_text(2))
    world.failing = OSError(28, "No space left on device")
    await world.zones.refresh()
    assert sorted(world.errors()) == [f"z{number:03}.test.zone" for number in range(3)]
    world.failing = None
    await world.zones.refresh()
    assert set(world.serials().values()) == {2} and not world.errors() and site.said
