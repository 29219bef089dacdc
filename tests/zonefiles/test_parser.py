"""The parser is a process of its own: what it dies of is an error of the file."""

import sys
from pathlib import Path

import pytest

from svcdns.zonefiles.parsing import PARSER, Limits, Parser
from svcdns.zonefiles.zone_file_error import ZoneFileError

TEXT = "$TTL 300\n@ SOA ns hostmaster 1 7200 1800 86400 60\n  NS ns\nns A 192.0.2.1\n"


async def _parse(path: Path, *, limits: Limits = Limits(), code: str = "") -> None:  # noqa: B008
    command = (sys.executable, "-c", code) if code else PARSER
    async with Parser(command, limits) as parser, parser.parse(path) as zone:
        async for _ in zone.frames():
            pass


async def test_a_parser_that_dies_hangs_or_lies_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "example.org.zone"
    path.write_text(TEXT)
    with pytest.raises(ZoneFileError, match="by signal 9"):
        await _parse(path, code="import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ZoneFileError, match="with exit code 3"):
        await _parse(path, code="import sys; sys.exit(3)")
    with pytest.raises(ZoneFileError, match=r"longer than 0\.2 s"):
        await _parse(path, limits=Limits(seconds=0.2), code="import time; time.sleep(600)")
    with pytest.raises(ZoneFileError, match="the parser gave no zone"):
        await _parse(path, code="import os; os.write(1, b'\\0\\0\\0\\2hi')")


async def test_a_zone_of_which_rows_are_missing_is_refused(tmp_path: Path) -> None:
    code = """if True:
        import sys, msgspec
        from svcdns.zonefiles.frames import ZoneHead
        from svcdns.zonefiles.parser import _write
        head = ZoneHead("x.", b"x\\0", 1, False, False, 2, b"")
        for frame in (msgspec.msgpack.encode(head), b""):
            _write(sys.stdout.buffer, frame)
        """
    with pytest.raises(ZoneFileError, match="the parser gave 0 of 2 names"):
        await _parse(tmp_path / "x.zone", code=code)


async def test_a_zone_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zone"
    path.write_text(TEXT + "$GENERATE 1-1000000 h$ A 10.0.0.1\n")
    with pytest.raises(ZoneFileError, match="needs more memory"):
        await _parse(path, limits=Limits(octets=64 << 20))


async def test_a_fault_in_an_included_file_is_said_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "example.org.zone"
    path.write_text(TEXT + "$INCLUDE inc\n")
    (tmp_path / "inc").write_text("\na A 192.0.2.300\n")
    with pytest.raises(ZoneFileError) as refused:
        await _parse(path)
    assert str(refused.value).startswith(f"{tmp_path}/inc:2: ")
    assert [name for name, _ in refused.value.included] == ["inc"]
