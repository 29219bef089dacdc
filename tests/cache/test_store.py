"""The cache keeps what it is given, within its bound, and readers see what was committed."""

import random
from pathlib import Path

import pytest
from cache.store_processes import OCTETS, data_file, filled, flush, key, latest, reader_of, reading

from svcdns.cache.store import Cache, CacheReader


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
    assert (cache.entries, cache.octets, flush(cache, b"")) == (0, 0, 0)
    assert reader_of(tmp_path).get(key(1)) is None
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
        assert flush(cache, b"com\0example\0") == 3  # also those that were not yet committed
        assert [reader.get(name) for name in gone + kept] == [None] * 3 + [b"x"] * 3
    assert cache.entries == 3
    assert flush(cache, b"com\0example\0") == 0
    assert flush(cache, b"net\0") == 0
    assert flush(cache, b"") == 3
    assert (cache.entries, cache.octets, cache.get(kept[0])) == (0, 0, None)
    cache.put(gone[0], b"again")
    cache.commit()
    assert cache.get(gone[0]) == b"again"
    cache.close()


def test_flush_of_much_counts_right(tmp_path: Path) -> None:
    cache = filled(tmp_path, 3500)
    assert flush(cache, b"com\0example1") == 1111  # 1, 10 to 19, 100 to 199, 1000 to 1999
    assert cache.entries == 3500 - 1111
    assert cache.get(key(2000)) == b"value 2000"
    assert flush(cache, b"com\0") == 3500 - 1111
    assert (cache.entries, cache.octets) == (0, 0)
    cache.close()


# Where answers come from


def test_from_another_source_all_is_forgotten_and_readers_see_it_at_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path, OCTETS, "one")
    cache.put(key(1), b"from one")
    cache.commit()
    assert cache.use_source("one") == 0
    with reading(tmp_path) as reader:
        assert cache.use_source("two") == 1
        assert (cache.get(key(1)), reader.get(key(1)), cache.entries) == (None, None, 0)
        cache.put(key(1), b"from two")
        cache.commit()
        cache.chores()
        assert reader.get(key(1)) == b"from two", "nothing is made anew"
    cache.close()
    for source, kept in (("two", b"from two"), ("one", None)):
        cache = Cache(tmp_path, OCTETS, source)
        assert cache.get(key(1)) == kept
        cache.close()


def test_without_a_cache_another_source_is_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 0, "one")
    assert cache.use_source("two") == 0
    cache.close()


# Readers


def test_reader_without_a_cache(tmp_path: Path) -> None:
    reader = CacheReader(tmp_path / "nowhere")
    for generation in (0, 7):
        reader.refresh(generation)
    assert reader.get(key(1)) is None
    assert reader.get(b"") is None
    reader.close()
    assert not (tmp_path / "nowhere").exists()


def test_reader_reads_no_generation_that_it_was_not_told(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.close()
    reader = CacheReader(tmp_path)
    found = []
    for generation in (0, cache_number := latest(tmp_path), cache_number - 1, 0):
        reader.refresh(generation)
        found.append(reader.get(key(1)))
    reader.close()
    assert found == [None, b"value 1", None, None]


def test_reader_sees_the_cache_that_appears(tmp_path: Path) -> None:
    with reading(tmp_path) as reader:
        assert reader.get(key(1)) is None
        cache = filled(tmp_path)
        reader.refresh()
        assert reader.get(key(1)) == b"value 1"
        assert reader.get(b"") is None  # which LMDB refuses
        reader.refresh()
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
        reader.refresh()
        assert reader.get(key(1)) == b"new"
        cache.close()
        Cache(tmp_path, 0).close()
        reader.refresh()
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
