"""The cache keeps what it is given, within its bound, whatever happens to its files and its writer."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can `from cache_programs import key`

from cache_programs import KEYS, is_whole, key, value

from svcdns.store import cache as cache_module
from svcdns.store import cache_folder
from svcdns.store.cache import Cache, CacheReader, now

OCTETS = 1 << 20
PROGRAM = Path(__file__).parent / "cache_programs.py"


class Reader:
    """A CacheReader in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def get(self, key: bytes) -> bytes | None:
        found = self._order(key.hex())
        return None if found == "none" else bytes.fromhex(found)

    def look_again(self) -> None:
        assert self._order("look") == "looked"

    def _order(self, order: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def program(name: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(PROGRAM), name, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    with program("read", folder) as process:
        yield Reader(process)


def data_file(folder: Path) -> Path:
    (found,) = folder.glob("cache/*/data.mdb")
    return found


def filled(folder: Path, entries: int = 10) -> Cache:
    cache = Cache(folder, OCTETS)
    for number in range(entries):
        cache.put(key(number), b"value %d" % number)
    cache.commit()
    return cache


def test_what_was_put_is_found_before_and_after_the_commit(tmp_path: Path) -> None:
    cache = Cache(tmp_path, OCTETS)
    with reading(tmp_path) as reader:
        cache.put(key(1), b"one")
        assert cache.get(key(1)) == b"one"
        assert reader.get(key(1)) is None
        cache.commit()
        assert cache.get(key(1)) == reader.get(key(1)) == b"one"
        cache.put(key(1), b"")
        cache.commit()
        assert cache.get(key(1)) == reader.get(key(1)) == b""
        assert cache.get(key(2)) is None
        assert reader.get(key(2)) is None
    assert cache.entries == 1
    cache.close()


def test_the_oldest_written_goes_first_and_writing_again_makes_young(tmp_path: Path) -> None:
    cache = Cache(tmp_path, OCTETS)
    numbers = range(10_000)
    for number in numbers:
        cache.put(key(number), bytes(500))
        if number % 100 == 0:
            cache.put(key(0), bytes(500))
            cache.commit()
    cache.commit()
    kept = [number for number in numbers if cache.get(key(number)) is not None]
    assert kept[0] == 0
    assert kept[1:] == list(range(kept[1], 10_000))
    assert len(kept) == cache.entries
    assert 300 < len(kept) < OCTETS / 500
    cache.close()


def test_a_value_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.put(b"large", bytes(OCTETS))
    cache.put(b"k" * 512, b"a key larger than LMDB takes")
    cache.put(b"", b"no key")
    cache.commit()
    assert cache.get(b"large") is None
    assert cache.entries == 10
    cache.close()


@pytest.mark.parametrize(("puts", "smallest", "largest"), [(200_000, 60, 300), (20_000, 1, 20_000)])
def test_the_bound_holds_on_disk_too(tmp_path: Path, puts: int, smallest: int, largest: int) -> None:
    """So many random puts that all was replaced many times: free pages have to be used again."""
    rnd = random.Random(1)
    bound = 4 * OCTETS
    cache = Cache(tmp_path, bound)
    for number in range(puts):
        cache.put(key(rnd.randrange(300_000)), rnd.randbytes(rnd.randrange(smallest, largest)))
        if number % 8 == 0:
            cache.commit()
            assert cache.octets <= bound
    cache.commit()
    assert cache.octets > bound * 0.9
    assert data_file(tmp_path).stat().st_blocks * 512 < bound * 1.5
    found, octets = cache.entries, cache.octets
    cache.close()
    cache = Cache(tmp_path, bound)
    assert (cache.entries, cache.octets) == (found, octets)
    cache.close()


def test_without_octets_nothing_is_kept(tmp_path: Path) -> None:
    filled(tmp_path).close()
    cache = Cache(tmp_path, 0)
    cache.put(key(1), b"one")
    cache.commit()
    cache.chores()
    assert cache.get(key(1)) is None
    assert (cache.entries, cache.octets, cache.flush(b"")) == (0, 0, 0)
    assert CacheReader(tmp_path).get(key(1)) is None
    assert not list(tmp_path.glob("cache/*"))
    cache.close()


def test_it_is_still_there_after_a_restart(tmp_path: Path) -> None:
    filled(tmp_path).close()
    cache = Cache(tmp_path, OCTETS)
    assert cache.get(key(3)) == b"value 3"
    assert cache.entries == 10
    cache.put(key(3), b"new")
    cache.commit()
    assert (cache.get(key(3)), cache.entries) == (b"new", 10)
    cache.close()


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    filled(tmp_path).close()
    for path in tmp_path.glob("cache/**/*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


# Flushing


def test_flush_removes_a_name_and_all_below_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, OCTETS)
    gone = [b"com\0example\0\0\1\0", b"com\0example\0\0\x1c\1", b"com\0example\0www\0\0\1\0"]
    kept = [b"com\0\0\1\0", b"com\0example2\0\0\1\0", b"org\0\0\1\0"]
    for name in gone + kept:
        cache.put(name, b"x")
    with reading(tmp_path) as reader:
        assert cache.flush(b"com\0example\0") == 3  # also those that were not yet committed
        assert [reader.get(name) for name in gone + kept] == [None] * 3 + [b"x"] * 3
    assert cache.entries == 3
    assert cache.flush(b"com\0example\0") == 0
    assert cache.flush(b"net\0") == 0
    assert cache.flush(b"") == 3
    assert (cache.entries, cache.octets, cache.get(kept[0])) == (0, 0, None)
    cache.put(gone[0], b"again")
    cache.commit()
    assert cache.get(gone[0]) == b"again"
    cache.close()


def test_flush_of_much_counts_right(tmp_path: Path) -> None:
    cache = filled(tmp_path, 3500)
    assert cache.flush(b"com\0example1") == 1111  # 1, 10 to 19, 100 to 199, 1000 to 1999
    assert cache.entries == 3500 - 1111
    assert cache.get(key(2000)) == b"value 2000"
    assert cache.flush(b"com\0") == 3500 - 1111
    assert (cache.entries, cache.octets) == (0, 0)
    cache.close()


# Readers


def test_reader_without_a_cache(tmp_path: Path) -> None:
    reader = CacheReader(tmp_path / "nowhere")
    reader.look_again()
    assert reader.get(key(1)) is None
    assert reader.get(b"") is None
    reader.close()
    assert not (tmp_path / "nowhere").exists()


def test_reader_sees_the_cache_that_appears(tmp_path: Path) -> None:
    with reading(tmp_path) as reader:
        assert reader.get(key(1)) is None
        cache = filled(tmp_path)
        reader.look_again()
        assert reader.get(key(1)) == b"value 1"
        assert reader.get(b"") is None  # which LMDB refuses
        reader.look_again()
        assert reader.get(key(1)) == b"value 1"
    cache.close()


def test_reader_follows_to_the_cache_that_was_made_anew(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    with reading(tmp_path) as reader:
        assert reader.get(key(1)) == b"value 1"
        cache.close()
        cache = Cache(tmp_path, 2 * OCTETS)  # another bound: another map
        cache.put(key(1), b"new")
        cache.commit()
        assert reader.get(key(1)) == b"value 1"  # until it looks again
        reader.look_again()
        assert reader.get(key(1)) == b"new"
        cache.close()
        Cache(tmp_path, 0).close()
        reader.look_again()
        assert reader.get(key(1)) is None


def test_killed_readers_are_forgotten(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    with reading(tmp_path) as reader:
        assert reader.get(key(1)) == b"value 1"
        pid = str(reader.process.pid)
        assert cache._env is not None
        assert pid in cache._env.readers().split()
        reader.process.kill()
        reader.process.wait()
        cache.chores()
        assert pid not in cache._env.readers().split()
    cache.close()


# Damage


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
    made_by.write_text(made_by.read_text().replace(f"{cache_folder.LAYOUT} ", "77 ", 1))


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
        reader.look_again()
        assert reader.get(key(1)) == b"value 1"


def test_a_damaged_lock_file_is_made_anew(tmp_path: Path) -> None:
    filled(tmp_path).close()
    file = data_file(tmp_path).with_name("lock.mdb")
    file.write_bytes(random.Random(1).randbytes(file.stat().st_size))
    cache = filled(tmp_path)
    with reading(tmp_path) as reader:
        assert cache.get(key(1)) == reader.get(key(1)) == b"value 1"
    cache.close()


def test_after_a_boot_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path).close()
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("of the next boot\n")
    monkeypatch.setattr(cache_folder, "_BOOT_ID", boot_id)
    assert CacheReader(tmp_path).get(key(1)) is None
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
    assert (cache.get(key(1)), cache.entries, cache.flush(b"")) == (None, 0, 0)
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
            reader.look_again()
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
            reader.look_again()
            assert cache.get(key(1)) is reader.get(key(1)) is None
        ballast.unlink()
        cache.chores()
        cache.put(key(1), b"room")
        cache.commit()
        reader.look_again()
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
            reader.look_again()
            for _ in range(rnd.randrange(2000, 6000)):
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
    assert hits > reads / 10
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
