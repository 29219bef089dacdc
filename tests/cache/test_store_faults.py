"""The cache with damaged files, a full disk or a killed writer: no answer is wrong, none is missing."""

import contextlib
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cache.store_processes import (
    KEYS,
    OCTETS,
    data_file,
    filled,
    flush,
    is_whole,
    key,
    latest,
    program,
    reader_of,
    reading,
    value,
)

from svcdns.cache import generations
from svcdns.cache import store as cache_module
from svcdns.cache.store import Cache, CacheReader, now


def _cut(folder: Path) -> None:
    with data_file(folder).open("r+b") as file:
        file.truncate(8192)


def _empty(folder: Path) -> None:
    data_file(folder).write_bytes(b"")


def _garbage(folder: Path) -> None:
    file = data_file(folder)
    with file.open("r+b") as open_file:
        open_file.write(random.Random(1).randbytes(20_000))


def _no_data(folder: Path) -> None:
    data_file(folder).unlink()


def _half_made(folder: Path) -> None:
    data_file(folder).with_name("made-by").unlink()


def _other_layout(folder: Path) -> None:
    made_by = data_file(folder).with_name("made-by")
    made_by.write_text(made_by.read_text().replace(f"{generations.LAYOUT} ", "77 ", 1))


DAMAGES = [_cut, _empty, _garbage, _no_data, _half_made, _other_layout]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    filled(tmp_path).close()
    damage(tmp_path)
    cache = Cache(tmp_path, OCTETS)
    assert cache.entries == 0
    assert cache.get(key(1)) is None
    cache.put(key(1), b"new")
    cache.commit()
    with reading(tmp_path) as reader:
        assert reader.get(key(1)) == b"new"
    cache.close()
    assert len(list(tmp_path.glob("cache/*"))) == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_reader_waits_until_damage_is_gone(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    filled(tmp_path).close()
    damage(tmp_path)
    with reading(tmp_path) as reader:
        assert reader.get(key(1)) is None
        filled(tmp_path).close()
        reader.refresh()
        assert reader.get(key(1)) == b"value 1"


def test_a_damaged_lock_file_is_made_anew(tmp_path: Path) -> None:
    filled(tmp_path).close()
    file = data_file(tmp_path).with_name("lock.mdb")
    file.write_bytes(random.Random(1).randbytes(file.stat().st_size))
    cache = filled(tmp_path)
    with reading(tmp_path) as reader:
        assert cache.get(key(1)) == reader.get(key(1)) == b"value 1"
    cache.close()


def test_a_generation_whose_opening_had_no_end_is_not_opened_again(tmp_path: Path) -> None:
    filled(tmp_path).close()
    generations.begin_opening(generations.home(tmp_path))  # and the process is killed
    cache = Cache(tmp_path, OCTETS)
    assert cache.get(key(1)) == b"value 1", "it was not held up"
    cache.close()
    generations.begin_opening(generations.home(tmp_path))  # and the process is ended after a long time
    os.utime(generations.home(tmp_path) / "opening", (0, 0))
    cache = Cache(tmp_path, OCTETS)
    assert cache.entries == 0
    cache.put(key(1), b"one")
    cache.commit()
    cache.close()
    cache = Cache(tmp_path, OCTETS)
    assert cache.get(key(1)) == b"one", "the next one is opened as ever"
    cache.close()


def test_after_a_boot_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path).close()
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("of the next boot\n")
    monkeypatch.setattr(generations, "_BOOT_ID", boot_id)
    assert reader_of(tmp_path).get(key(1)) is None
    cache = Cache(tmp_path, OCTETS)
    assert (cache.entries, cache.get(key(1))) == (0, None)
    cache.close()


def test_what_cannot_be_made_costs_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the folder's place stands a file; once it is gone, the next chores make the cache."""
    (tmp_path / "cache").write_text("somebody's file")
    cache = Cache(tmp_path, OCTETS)
    cache.put(key(1), b"one")
    cache.commit()
    cache.chores()
    assert (cache.get(key(1)), cache.entries, flush(cache, b"")) == (None, 0, 0)
    assert len(caplog.records) == 1
    (tmp_path / "cache").unlink()
    cache.chores()
    cache.put(key(1), b"one")
    cache.commit()
    assert cache.get(key(1)) == b"one"
    cache.close()


def test_a_full_map_drops_all_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache_module, "_MAP_FOR_EACH_OCTET", 0)
    monkeypatch.setattr(cache_module, "_MAP_AT_LEAST", OCTETS // 4)
    cache = Cache(tmp_path, OCTETS)
    with reading(tmp_path) as reader:
        for round_ in range(3):
            number = 0
            while True:
                cache.put(key(number), bytes(500))
                cache.commit()
                if cache.get(key(number)) is None:
                    break
                number += 1
            assert number > 50
            assert cache.entries == 0
            cache.chores()
            cache.put(key(1), b"round %d" % round_)
            cache.commit()
            reader.refresh()
            assert cache.get(key(1)) == reader.get(key(1)) == b"round %d" % round_
    assert len(caplog.records) == 1
    cache.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "svcdns-test", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system can't be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_costs_no_answer(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The cache itself fills it, then somebody else does; with room again it is made again."""
    cache = Cache(small_disk, 64 * OCTETS)
    with reading(small_disk) as reader:
        number = 0
        while cache.entries == number:
            number += 1
            cache.put(key(number), bytes(500))
            cache.commit()
        assert number > 100
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        for _ in range(3):
            cache.chores()
            cache.put(key(1), b"no room")
            cache.commit()
            reader.refresh()
            assert cache.get(key(1)) is reader.get(key(1)) is None
        ballast.unlink()
        cache.chores()
        cache.put(key(1), b"room")
        cache.commit()
        reader.refresh()
        assert cache.get(key(1)) == reader.get(key(1)) == b"room"
    assert len(caplog.records) == 1
    cache.close()


def test_a_killed_writer_tears_nothing_and_stops_no_reader(tmp_path: Path) -> None:
    reads = hits = kept = 0
    rnd = random.Random()
    reader = CacheReader(tmp_path)
    for _ in range(20):
        with program("write", tmp_path) as writer:
            assert writer.stdout is not None
            kept += int(writer.stdout.readline()) > 0
            assert writer.stdout.readline() == "writes\n"  # else it may be killed with nothing written
            reader.refresh(latest(tmp_path))
            end, some = reads + rnd.randrange(2000, 6000), hits + 200
            # The second on a machine where the writer has not had its turn.
            while reads < end or (hits < some and reads < end + 2_000_000):
                found = reader.get(key(rnd.randrange(KEYS)))
                reads += 1
                if found is not None:
                    hits += 1
                    assert is_whole(found)
            writer.kill()
            writer.wait()
        for number in range(KEYS):
            found = reader.get(key(number))
            assert found is None or is_whole(found)
    reader.close()
    assert kept >= 18  # the next one goes on with what the killed one has written
    assert hits >= 20 * 200
    cache = Cache(tmp_path, OCTETS)
    rows = {number: cache.get(key(number)) for number in range(KEYS)}
    assert all(is_whole(row) for row in rows.values() if row is not None)
    assert cache.entries == sum(row is not None for row in rows.values())
    cache.close()


def test_now_counts_seconds_since_boot() -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert uptime - 1 <= now() <= uptime + 60


def test_values_say_whether_they_are_whole() -> None:
    """The check of the test above sees a torn value."""
    octets = value(random.Random(1))
    assert is_whole(octets)
    assert not is_whole(octets[:-1])
