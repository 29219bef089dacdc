"""Which readers of the store are ended, and which are left alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
from hypothesis import given
from hypothesis import strategies as st
from toolbox.running_server import SOURCE

from svcdns.server.counters import Counters
from svcdns.server.store_readers import LONGEST, LONGEST_TRANSFER, Reader, Readers, parse
from svcdns.server.writer import ReaderWatch
from svcdns.store.environment import open_store

HEAD = "    pid     thread     txnid\n"


def table(*rows: tuple[int, int | str]) -> str:
    return HEAD + "".join(f"{pid:7} 7fbd9dc68b80 {txn}\n" for pid, txn in rows)


def test_lmdbs_own_table_is_understood(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as env:
        assert list(parse(env.readers())) == []
        txn = env.begin()
        (reader,) = parse(env.readers())
        assert reader.txn == 0
        txn.abort()
        assert list(parse(env.readers())) == []


def test_a_worker_that_stays_behind_is_ended_after_five_seconds() -> None:
    readers = Readers()
    assert readers.behind_too_long(table((10, 7)), 8, 100.0, {10: False}) == []
    assert readers.behind_too_long(table((10, 7)), 9, 100.0 + LONGEST, {10: False}) == []
    assert readers.oldest_age(100.0 + LONGEST) == LONGEST
    assert readers.behind_too_long(table((10, 7)), 9, 100.1 + LONGEST, {10: False}) == [10]


def test_a_transfer_gets_more_time() -> None:
    readers = Readers()
    readers.behind_too_long(table((10, 7)), 8, 0.0, {10: True})
    assert readers.behind_too_long(table((10, 7)), 9, LONGEST + 1, {10: True}) == []
    assert readers.behind_too_long(table((10, 7)), 9, LONGEST_TRANSFER + 1, {10: True}) == [10]


def test_a_busy_worker_is_left_alone() -> None:
    readers = Readers()
    for second in range(100):  # each look finds it reading, but never the same old state
        assert readers.behind_too_long(table((10, second)), second + 1, float(second), {10: False}) == []


def test_reading_the_newest_state_is_fine_for_ever() -> None:
    readers = Readers()
    for second in range(100):
        assert readers.behind_too_long(table((10, 7)), 7, float(second), {10: False}) == []


def test_what_is_no_worker_is_left_alone() -> None:
    readers = Readers()
    readers.behind_too_long(table((99, 7)), 8, 0.0, {10: False})
    assert readers.behind_too_long(table((99, 7)), 8, 1000.0, {10: False}) == []


def test_idle_slots_are_no_readers() -> None:
    assert list(parse(table((10, "-"), (11, 5)))) == [Reader(11, "7fbd9dc68b80", 5)]


READER = """
import sys
from pathlib import Path
from svcdns.store.environment import open_store
txn = open_store(Path(sys.argv[1]), "reader").read()
print("reading", flush=True)
sys.stdin.read()
"""


def test_a_stuck_worker_is_killed_and_its_slot_is_cleared(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data", "writer")
    counters = Counters.create(1, 1)
    watch = ReaderWatch(store, counters)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
        counters.set(1, "pid", process.pid)
        with store.env.begin(write=True) as txn:
            txn.put(b"a", b"b", db=store.tables.meta)
        watch.check(1000.0)
        watch.check(1000.0 + LONGEST)
        assert process.poll() is None
        watch.check(1000.1 + LONGEST)
        assert process.wait(60) == -signal.SIGKILL
    assert str(process.pid) in store.env.readers()
    counters.set(1, "restarts", 1)
    watch.check(1000.2 + LONGEST)
    assert str(process.pid) not in store.env.readers()
    store.close()


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    list(parse(text))
