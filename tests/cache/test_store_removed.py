"""Entries that are removed, and a cache whose files are removed or replaced while it is in use."""

import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cache.store_processes import OCTETS, data_file, filled, flush, key, reading

from svcdns.cache.store import Cache


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was told, "lost" or "kept" each time."""
    words = ["lost" if "is lost" in text else "kept" if "again" in text else text for text in caplog.messages]
    assert set(words) <= {"lost", "kept"}
    return words


# Entries


def test_what_was_removed_is_gone_for_all(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    with reading(tmp_path) as reader:
        octets = cache.octets
        cache.remove(key(3))
        assert cache.get(key(3)) is None
        assert reader.get(key(3)) == b"value 3"
        cache.commit()
        assert cache.get(key(3)) is reader.get(key(3)) is None
        assert (cache.entries, cache.octets) == (9, octets * 9 // 10)
    assert flush(cache, b"") == 9
    cache.close()


def test_put_and_removed_before_a_commit(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.put(key(3), b"new")
    cache.remove(key(3))
    cache.remove(key(4))
    cache.put(key(4), b"new")
    cache.put(key(50), b"new")
    cache.remove(key(50))
    cache.commit()
    assert [cache.get(key(number)) for number in (3, 4, 50)] == [None, b"new", None]
    assert cache.entries == 9
    cache.close()
    cache = Cache(tmp_path, OCTETS)
    assert cache.entries == 9
    cache.close()


def test_removing_what_is_not_there_changes_nothing(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    for missing in (key(77), b"", b"k" * 512):
        cache.remove(missing)
        cache.commit()
    assert cache.entries == 10
    cache.close()
    cache = Cache(tmp_path, 0)
    cache.remove(key(1))
    cache.commit()
    cache.close()


def test_a_value_too_large_takes_the_old_one_with_it(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.put(key(3), bytes(OCTETS))
    cache.commit()
    assert cache.get(key(3)) is None
    assert cache.entries == 9
    cache.close()


def test_whatever_is_put_and_removed_counts_right(tmp_path: Path) -> None:
    rnd = random.Random(1)
    cache = Cache(tmp_path, OCTETS)
    expected: dict[bytes, bytes] = {}
    for _ in range(3000):
        which = key(rnd.randrange(50))
        if rnd.random() < 0.4:
            cache.remove(which)
            expected.pop(which, None)
        else:
            expected[which] = rnd.randbytes(rnd.choice([1, 100, 3000]))
            cache.put(which, expected[which])
        if rnd.random() < 0.2:
            cache.commit()
            assert cache.entries == len(expected)
    cache.commit()
    assert {which: cache.get(which) for which in expected} == expected
    octets = cache.octets
    cache.close()
    cache = Cache(tmp_path, OCTETS)
    assert (cache.entries, cache.octets) == (len(expected), octets)
    cache.close()


# Files


def _folder(folder: Path) -> None:
    shutil.rmtree(folder / "cache")


def _generation(folder: Path) -> None:
    shutil.rmtree(data_file(folder).parent)


def _data(folder: Path) -> None:
    data_file(folder).unlink()


def _lock(folder: Path) -> None:
    data_file(folder).with_name("lock.mdb").unlink()


def _made_by(folder: Path) -> None:
    data_file(folder).with_name("made-by").unlink()


def _copy_in_its_place(folder: Path) -> None:
    shutil.copytree(folder / "cache", folder / "copy")
    shutil.rmtree(folder / "cache")
    (folder / "copy").rename(folder / "cache")


def _other_data(folder: Path) -> None:
    file = data_file(folder)
    shutil.copy(file, file.with_name("other"))
    file.with_name("other").rename(file)


def _cut(folder: Path) -> None:
    with data_file(folder).open("r+b") as file:
        file.truncate(8192)


def _a_higher_number(folder: Path) -> None:
    generation = data_file(folder).parent
    (generation.parent / str(int(generation.name) + 5)).mkdir()


REMOVALS = [
    _folder,
    _generation,
    _data,
    _lock,
    _made_by,
    _copy_in_its_place,
    _other_data,
    _cut,
    _a_higher_number,
]


@pytest.mark.parametrize("remove", REMOVALS)
def test_a_cache_that_is_removed_in_use_is_made_anew(
    tmp_path: Path, remove: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cache = filled(tmp_path)
    with reading(tmp_path) as reader:
        assert reader.get(key(1)) == b"value 1"
        remove(tmp_path)
        cache.chores()
        cache.put(key(1), b"new")
        cache.commit()
        reader.refresh()
        assert cache.get(key(1)) == reader.get(key(1)) == b"new"
        with reading(tmp_path) as other:
            assert other.get(key(1)) == b"new"
        assert cache.entries == 1
        cache.chores()
        assert told(caplog) == ["lost", "kept"]
    cache.close()
    assert len(list(tmp_path.glob("cache/*"))) == 1


def test_nothing_is_told_of_a_cache_that_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cache = filled(tmp_path)
    with reading(tmp_path) as reader:
        for number in range(200):
            cache.put(key(number), bytes(2000))
            cache.commit()
            cache.chores()
            reader.refresh()
        assert cache.entries == 200
    assert told(caplog) == []
    cache.close()


def test_each_loss_and_each_return_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cache = filled(tmp_path)
    for times in range(1, 4):
        _folder(tmp_path)
        for _ in range(70):  # 10 s apart: more than ten minutes
            cache.chores()
        assert told(caplog) == ["lost", "kept"] * times
    cache.close()


def test_a_cache_that_is_lost_again_and_again_floods_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cache = filled(tmp_path)
    for _ in range(2000):
        _folder(tmp_path)
        for _ in range(3):
            cache.chores()
    assert 2 <= len(told(caplog)) <= 6
    for _ in range(61):
        cache.chores()
    assert told(caplog)[-1] == "kept"
    assert told(caplog) == ["lost", "kept"] * (len(told(caplog)) // 2)
    cache.close()
